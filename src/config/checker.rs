//! Checks a raw configuration and collects all faults.

use super::error::{Error, Fault, Place};
use super::key::{AnyKey, Fallback, Fixed, Key};
use super::kind::Kind;
use super::nearest::nearest;
use super::raw::{Entry, RawConfig};
use super::{section, shown};
use std::fmt::Display;
use toml::Value;

/// The most unknown keys that are listed. Finding suggestions for each takes time.
const MAX_UNKNOWN: usize = 100;

/// A raw configuration and its faults so far. A default replaces each invalid value, so that one pass finds all
/// faults.
pub struct Checker {
    raw: RawConfig,
    faults: Vec<Fault>,
}

impl Checker {
    /// Starts a check; unknown keys are the first faults.
    pub fn new(raw: RawConfig) -> Self {
        let faults = raw.entries.iter().filter_map(unknown).take(MAX_UNKNOWN).collect();
        Self { raw, faults }
    }

    /// The value of a key, or its default if it is not set or invalid.
    pub fn get<K: Kind>(&mut self, key: &Fixed<K>) -> K::Value {
        self.find(key).unwrap_or_else(key.fallback.0)
    }

    /// The value of a key if it is set. An invalid value is a fault, and gives `None`.
    pub fn find<K: Kind, F: Fallback>(&mut self, key: &Key<K, F>) -> Option<K::Value> {
        let value = &self.entry(key.name)?.value;
        let accepted = key.kind.read(value);
        if accepted.is_none() {
            let (allowed, got) = (key.kind.explain(value), shown::value(value));
            self.refuse(key, format!("`{}` must be {allowed}, got {got}", key.name));
        }
        accepted
    }

    /// The value of a key if it is set and valid. An invalid value is not recorded as a fault.
    pub fn peek<K: Kind, F: Fallback>(&self, key: &Key<K, F>) -> Option<K::Value> {
        key.kind.read(&self.entry(key.name)?.value)
    }

    /// Whether the images are needed, so that their folder must be named.
    pub fn needs_data(&self) -> bool {
        !self.raw.without_data
    }

    /// Whether there are no faults so far.
    pub fn is_clean(&self) -> bool {
        self.faults.is_empty()
    }

    /// Whether a key is set, even to an invalid value.
    pub fn is_set(&self, key: &dyn AnyKey) -> bool {
        self.entry(key.name()).is_some()
    }

    /// Refuses a key that has no effect with the value `choice` of `selector`, for the reason `why`.
    pub fn unused(&mut self, key: &dyn AnyKey, selector: &dyn AnyKey, choice: impl Display, why: &str) {
        let Some(entry) = self.entry(key.name()) else { return };
        let (name, value) = (key.name(), shown::value(&entry.value));
        let (selector_name, choice) = (selector.name(), choice.to_string());
        let reason = format!("`{name}` (= {value}) has no effect with {selector_name} = {choice:?}: {why}");
        self.unfit(key, selector, reason);
    }

    /// Refuses a key that cannot be combined with the value of `selector`. If `selector` is an override and the key
    /// is not, removes the key instead.
    pub fn unfit(&mut self, key: &dyn AnyKey, selector: &dyn AnyKey, reason: String) {
        if self.overrides(selector, key) {
            self.raw.entries.retain(|entry| entry.key != key.name());
        } else {
            self.contradicts(key, selector, reason);
        }
    }

    /// Whether `winner` is set by an override and `loser` is not.
    pub fn overrides(&self, winner: &dyn AnyKey, loser: &dyn AnyKey) -> bool {
        let is_override = |key: &dyn AnyKey| self.entry(key.name()).is_some_and(Entry::is_override);
        is_override(winner) && !is_override(loser)
    }

    /// Refuses a key (or its absence) because of the value of `other`. Does nothing if one of the two is refused
    /// already, because its value is then only a default.
    pub fn contradicts(&mut self, key: &dyn AnyKey, other: &dyn AnyKey, reason: String) {
        let refused = |name| self.faults.iter().any(|fault| fault.key == name);
        if !refused(key.name()) && !refused(other.name()) {
            let cause = if self.is_set(key) { key } else { other };
            self.refuse_at(key, cause, reason);
        }
    }

    /// Refuses a key at its place, or as missing from the file.
    pub fn refuse(&mut self, key: &dyn AnyKey, reason: String) {
        self.refuse_at(key, key, reason);
    }

    /// Refuses a key at the place where `cause` is written.
    fn refuse_at(&mut self, key: &dyn AnyKey, cause: &dyn AnyKey, reason: String) {
        let missing = || Place::File { name: self.raw.name.clone(), line: None };
        let fault = Fault {
            key: key.name().into(),
            value: self.entry(key.name()).map(|entry| shown::value(&entry.value)),
            place: self.entry(cause.name()).map_or_else(missing, |entry| entry.place.clone()),
            reason,
        };
        self.faults.push(fault);
    }

    /// Returns all faults, in the order of their places, if there are any.
    pub fn finish(mut self) -> Result<(), Error> {
        self.faults.sort_by_key(|fault| fault.place.order());
        if self.faults.is_empty() { Ok(()) } else { Err(Error::Invalid(self.faults)) }
    }

    fn entry(&self, name: &str) -> Option<&Entry> {
        self.raw.entries.iter().find(|entry| entry.key == name)
    }
}

/// The fault of an entry if its key does not exist.
fn unknown(entry: &Entry) -> Option<Fault> {
    let names = || section::all().map(AnyKey::name);
    if names().any(|name| name == entry.key) {
        return None;
    }

    let inside: Vec<_> = names().filter(|name| is_inside(name, &entry.key)).collect();
    let is_section = !inside.is_empty();
    if is_section && matches!(&entry.value, Value::Table(_)) {
        return None; // An empty section.
    }

    let key = entry.key.clone();
    let value = shown::value(&entry.value);
    let reason = if is_section {
        format!("`{key}` (= {value}) is a section; its keys are {}", list(&inside, "and"))
    } else {
        format!("unknown key `{key}` (= {value}); {}", advice(&key))
    };
    Some(Fault { key, value: Some(value), place: entry.place.clone(), reason })
}

/// Suggestions for the unknown `key`.
fn advice(key: &str) -> String {
    let names = || section::all().map(AnyKey::name);
    let mut near: Vec<&str> =
        names().filter(|name| name.rsplit_once('.').is_some_and(|(_, last)| last == key)).collect();
    if near.is_empty() {
        near = nearest(key, names());
    }
    if !near.is_empty() {
        return format!("did you mean {}?", list(&near, "or"));
    }

    let section = key.split('.').next().unwrap_or(key);
    let siblings: Vec<_> = names().filter(|name| is_inside(name, section)).collect();
    if !siblings.is_empty() {
        return format!("the keys of [{section}] are {}", list(&siblings, "and"));
    }

    let mut sections: Vec<_> = names().filter_map(|name| Some(name.split_once('.')?.0)).collect();
    sections.dedup();
    format!("the sections are {}", list(&sections, "and"))
}

fn is_inside(name: &str, section: &str) -> bool {
    name.strip_prefix(section).is_some_and(|rest| rest.starts_with('.'))
}

/// Formats names as `` `a`, `b` and `c` ``.
fn list(names: &[&str], last: &str) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        Some((end, [])) => end.clone(),
        Some((end, most)) => format!("{} {last} {end}", most.join(", ")),
        None => String::new(),
    }
}
