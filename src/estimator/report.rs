//! What a law tells the metrics.

use serde_json::{Map, Value};

/// `fields` by their names, in their order.
pub fn report<const N: usize>(fields: [(&str, Value); N]) -> Map<String, Value> {
    fields.into_iter().map(|(name, value)| (name.to_string(), value)).collect()
}
