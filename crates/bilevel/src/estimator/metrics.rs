//! Builds the metrics of an adaptive estimator.

use serde_json::{Map, Value};

/// A JSON object with `fields` in the given order.
pub fn metrics<const N: usize>(fields: [(&str, Value); N]) -> Map<String, Value> {
    fields.into_iter().map(|(name, value)| (name.to_string(), value)).collect()
}
