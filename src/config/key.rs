//! Keys of the configuration: name, description, accepted values and default.

use super::checker::Checker;
use super::kind::Kind;
use super::shown;
use serde::Serialize;
use toml::Value;

/// Documentation of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyDoc {
    /// The dotted name, as in `inner.steps`.
    pub key: &'static str,
    /// Description, in whole sentences.
    pub doc: &'static str,
    /// The accepted type and range, as in "a whole number ≥ 1".
    pub accepts: String,
    /// The default: as TOML, or in words if it depends on other keys.
    pub default: String,
}

/// A key that accepts values of kind `K` and has default `F`.
pub struct Key<K, F> {
    /// The dotted name.
    pub name: &'static str,
    /// Description.
    pub doc: &'static str,
    /// Accepted values.
    pub kind: K,
    /// Default.
    pub fallback: F,
}

/// A key whose default is a value.
pub type Fixed<K> = Key<K, Is<<K as Kind>::Value>>;

/// A key whose default depends on other keys, or that may stay unset.
pub type Open<K> = Key<K, Otherwise>;

/// A default value.
pub struct Is<V>(pub fn() -> V);

/// A default described in words.
pub struct Otherwise(pub &'static str);

/// A default in words, computed from a registry.
pub struct Computed(pub fn() -> String);

/// A default.
pub trait Fallback: Sync + 'static {
    /// The default as TOML, or in words.
    fn describe(&self) -> String;

    /// The default, if it is a value.
    fn value(&self) -> Option<Value>;
}

impl<V: Serialize + 'static> Fallback for Is<V> {
    fn describe(&self) -> String {
        self.value().map(|value| shown::value(&value)).unwrap_or_default()
    }

    fn value(&self) -> Option<Value> {
        Value::try_from(self.0()).ok()
    }
}

impl Fallback for Otherwise {
    fn describe(&self) -> String {
        self.0.into()
    }

    fn value(&self) -> Option<Value> {
        None
    }
}

impl Fallback for Computed {
    fn describe(&self) -> String {
        (self.0)()
    }

    fn value(&self) -> Option<Value> {
        None
    }
}

/// A key of any type.
pub trait AnyKey: Sync {
    /// The dotted name.
    fn name(&self) -> &'static str;

    /// Documentation of the key.
    fn doc(&self) -> KeyDoc;

    /// Its value in the configuration of `checker`, or its default if that is a value.
    fn value(&self, checker: &mut Checker) -> Option<Value>;
}

impl<K: Kind, F: Fallback> AnyKey for Key<K, F> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn doc(&self) -> KeyDoc {
        KeyDoc {
            key: self.name,
            doc: self.doc.trim(),
            accepts: self.kind.describe(),
            default: self.fallback.describe(),
        }
    }

    fn value(&self, checker: &mut Checker) -> Option<Value> {
        let set = checker.find(self).and_then(|value| Value::try_from(value).ok());
        set.or_else(|| self.fallback.value())
    }
}

/// Declares the keys of a section as statics, and the list `KEYS` of all of them. The doc comment of a key is also
/// its [`KeyDoc::doc`].
macro_rules! keys {
    ($($(#[doc = $doc:literal])+ $id:ident: $type:ty = $name:literal, $kind:expr, $fallback:expr;)+) => {
        $(
            $(#[doc = $doc])+
            pub static $id: $type = $crate::config::key::Key {
                name: $name,
                doc: concat!($($doc),+),
                kind: $kind,
                fallback: $fallback,
            };
        )+

        /// Every key of this section.
        pub static KEYS: &[&dyn $crate::config::key::AnyKey] = &[$(&$id),+];
    };
}

pub(super) use keys;
