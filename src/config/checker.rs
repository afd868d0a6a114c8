//! Takes a raw configuration apart key by key and collects everything that is wrong with it.

use super::choice::Choice;
use super::error::{Error, Fault, Place};
use super::key::{AnyKey, Fallback, Fixed, Key};
use super::kind::Kind;
use super::nearest::nearest;
use super::raw::{Entry, RawConfig};
use super::{section, shown};
use toml::Value;

/// The most unknown keys that are worth listing; finding what each was meant to be takes time.
const UNKNOWN: usize = 100;

/// A raw configuration under inspection. Faults are collected, and defaults stand in for what is
/// wrong, so that one pass finds them all.
pub struct Checker {
    raw: RawConfig,
    faults: Vec<Fault>,
}

impl Checker {
    /// Begins with the keys that do not exist.
    pub fn new(raw: RawConfig) -> Self {
        let faults = raw.entries.iter().filter_map(unknown).take(UNKNOWN).collect();
        Self { raw, faults }
    }

    /// The value of a key that has a default of its own.
    pub fn get<K: Kind>(&mut self, key: &Fixed<K>) -> K::Value {
        self.find(key).unwrap_or_else(key.fallback.0)
    }

    /// The value of a key, where it is set and possible.
    pub fn find<K: Kind, F: Fallback>(&mut self, key: &Key<K, F>) -> Option<K::Value> {
        let value = &self.entry(key.name)?.value;
        let accepted = key.kind.read(value);
        if accepted.is_none() {
            let (allowed, got) = (key.kind.explain(value), shown::value(value));
            self.refuse(key, format!("`{}` must be {allowed}, got {got}", key.name));
        }
        accepted
    }

    /// Whether a key is set, possibly to something impossible.
    pub fn is_set(&self, key: &dyn AnyKey) -> bool {
        self.entry(key.name()).is_some()
    }

    /// Refuses a key that the `choice` made by `selector` leaves without meaning, because of `why`.
    pub fn unused(&mut self, key: &dyn AnyKey, selector: &dyn AnyKey, choice: impl Choice, why: &str) {
        let Some(entry) = self.entry(key.name()) else { return };
        let (name, value) = (key.name(), shown::value(&entry.value));
        let (selector_name, choice) = (selector.name(), choice.name());
        let reason = format!("`{name}` (= {value}) has no meaning with {selector_name} = {choice:?}: {why}");
        self.unfit(key, selector, reason);
    }

    /// Refuses a key that does not fit the choice made by `selector`; but where the choice is an
    /// override and the key stands in the file, the key is displaced without a word.
    pub fn unfit(&mut self, key: &dyn AnyKey, selector: &dyn AnyKey, reason: String) {
        if self.displaces(selector, key) {
            self.raw.entries.retain(|entry| entry.key != key.name());
        } else {
            self.contradicts(key, selector, reason);
        }
    }

    /// Whether `winner` is an override and `loser` is not.
    pub fn displaces(&self, winner: &dyn AnyKey, loser: &dyn AnyKey) -> bool {
        let is_override = |key: &dyn AnyKey| self.entry(key.name()).is_some_and(Entry::is_override);
        is_override(winner) && !is_override(loser)
    }

    /// Refuses a key (or its absence) because of what `other` is; silent where one of the two is
    /// refused already, since then a default stood in for it.
    pub fn contradicts(&mut self, key: &dyn AnyKey, other: &dyn AnyKey, reason: String) {
        let refused = |name| self.faults.iter().any(|fault| fault.key == name);
        if !refused(key.name()) && !refused(other.name()) {
            let cause = if self.is_set(key) { key } else { other };
            self.refuse_at(key, cause, reason);
        }
    }

    /// Refuses a key, at its place, or as missing from the file.
    pub fn refuse(&mut self, key: &dyn AnyKey, reason: String) {
        self.refuse_at(key, key, reason);
    }

    /// Refuses a key at the place of `cause`.
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

    /// Nothing wrong, or all faults in the order in which they were written.
    pub fn finish(mut self) -> Result<(), Error> {
        self.faults.sort_by_key(|fault| fault.place.order());
        if self.faults.is_empty() { Ok(()) } else { Err(Error::Impossible(self.faults)) }
    }

    fn entry(&self, name: &str) -> Option<&Entry> {
        self.raw.entries.iter().find(|entry| entry.key == name)
    }
}

/// The fault of an entry whose key does not exist.
fn unknown(entry: &Entry) -> Option<Fault> {
    let names = || section::all().map(AnyKey::name);
    if names().any(|name| name == entry.key) {
        return None;
    }

    let inside: Vec<_> = names().filter(|name| is_inside(name, &entry.key)).collect();
    let is_section = !inside.is_empty();
    if is_section && matches!(&entry.value, Value::Table(_)) {
        return None; // A section's header with nothing below it.
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

/// What to write instead of the unknown `key`.
fn advice(key: &str) -> String {
    let names = || section::all().map(AnyKey::name);
    let near = nearest(key, names());
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

/// `` `a`, `b` and `c` ``.
fn list(names: &[&str], last: &str) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        Some((end, [])) => end.clone(),
        Some((end, most)) => format!("{} {last} {end}", most.join(", ")),
        None => String::new(),
    }
}
