//! The state of an estimator, as saved in checkpoints.

use crate::params::Params;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The state of an estimator.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// Numbers; `Null` if there are none.
    pub values: Value,
    /// A vector in the shape of θ (one task).
    pub vector: Option<Params>,
}

impl State {
    /// A state of numbers only.
    pub fn of(values: Value) -> Self {
        Self { values, vector: None }
    }

    /// The numbers deserialised as `L`; `None` if there are none.
    ///
    /// # Errors
    /// Returns an error if the numbers do not have the form of an `L`.
    pub fn read<L: DeserializeOwned>(&self) -> Result<Option<L>, String> {
        match &self.values {
            Value::Null => Ok(None),
            values => L::deserialize(values).map(Some).map_err(|error| error.to_string()),
        }
    }

    /// Checks that the state is empty, for an estimator without state.
    ///
    /// # Errors
    /// Returns an error if the state is not empty.
    pub fn refuse(&self) -> Result<(), String> {
        match (&self.values, &self.vector) {
            (Value::Null, None) => Ok(()),
            _ => Err("this estimator has no state, but the checkpoint contains one".into()),
        }
    }
}
