//! Settings as JSON objects, compared key by key.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// `settings` as a flat map with dotted keys.
pub fn flat(settings: &Value) -> BTreeMap<String, Value> {
    let Value::Object(entries) = settings else { return BTreeMap::new() };
    let mut all = BTreeMap::new();
    for (key, value) in entries {
        match value {
            Value::Object(_) => {
                all.extend(flat(value).into_iter().map(|(inner, value)| (format!("{key}.{inner}"), value)))
            }
            _ => drop(all.insert(key.clone(), value.clone())),
        }
    }
    all
}

/// A key with two values, each as JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The dotted key.
    pub key: String,
    /// The value in the first settings; `not set` if they have none.
    pub first: String,
    /// The value in the second.
    pub second: String,
}

/// The keys in which `first` and `second` differ.
pub fn differences(first: &Value, second: &Value) -> Vec<Difference> {
    let (first, second) = (flat(first), flat(second));
    let keys: BTreeSet<&String> = first.keys().chain(second.keys()).collect();
    let shown = |value: Option<&Value>| value.map_or("not set".into(), Value::to_string);
    let differing = keys.into_iter().filter(|key| first.get(*key) != second.get(*key));
    let difference = |key: &String| Difference {
        key: key.clone(),
        first: shown(first.get(key)),
        second: shown(second.get(key)),
    };
    differing.map(difference).collect()
}
