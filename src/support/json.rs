//! Numbers in JSON, which has no NaN: a value that is not finite is written as `null`.

use serde::{Deserialize, Deserializer};

/// Reads a number, and `null` as NaN: for `#[serde(deserialize_with = "number_or_nan")]`.
///
/// # Errors
/// Returns an error if the value is neither.
pub fn number_or_nan<'de, D: Deserializer<'de>>(json: D) -> Result<f64, D::Error> {
    Ok(Option::<f64>::deserialize(json)?.unwrap_or(f64::NAN))
}
