//! A key of the configuration: its name, what it means, what it accepts, what it is when absent.

use super::kind::Kind;
use super::shown;
use serde::Serialize;

/// What a person needs to know about a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyDoc {
    /// The dotted name, as in `inner.steps`.
    pub key: &'static str,
    /// What the key means, in a sentence.
    pub doc: &'static str,
    /// The type and range of its values, as in "a whole number ≥ 1".
    pub accepts: String,
    /// Its value when absent: as TOML, or in words where it depends on other keys.
    pub default: String,
}

/// A key that accepts `K` and falls back on `F`.
pub struct Key<K, F> {
    /// The dotted name.
    pub name: &'static str,
    /// What it means.
    pub doc: &'static str,
    /// What it accepts.
    pub kind: K,
    /// What it is when absent.
    pub fallback: F,
}

/// A key whose default is one value.
pub type Fixed<K> = Key<K, Is<<K as Kind>::Value>>;

/// A key whose default depends on other keys, or that may stay unset.
pub type Open<K> = Key<K, Otherwise>;

/// A default value.
pub struct Is<V>(pub fn() -> V);

/// A default in words.
pub struct Otherwise(pub &'static str);

/// A default as a person reads it.
pub trait Fallback: Sync + 'static {
    /// The default as TOML, or in words.
    fn describe(&self) -> String;
}

impl<V: Serialize + 'static> Fallback for Is<V> {
    fn describe(&self) -> String {
        toml::Value::try_from(self.0()).map(|value| shown::value(&value)).unwrap_or_default()
    }
}

impl Fallback for Otherwise {
    fn describe(&self) -> String {
        self.0.into()
    }
}

/// A key of any type.
pub trait AnyKey: Sync {
    /// The dotted name.
    fn name(&self) -> &'static str;

    /// What a person needs to know about it.
    fn doc(&self) -> KeyDoc;
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
}

/// Declares a section's keys, one static each, and `KEYS`, all of them. The doc comment is also the
/// text of [`KeyDoc::doc`].
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
