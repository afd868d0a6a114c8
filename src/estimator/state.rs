//! What an estimator has learned, as checkpoints hold it.

use crate::stack::Stack;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// An estimator's memory.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// Numbers; `Null` where there are none.
    pub values: Value,
    /// A vector in θ's shape, a stack of one.
    pub vector: Option<Stack>,
}

impl State {
    /// Numbers alone.
    pub fn of(values: Value) -> Self {
        Self { values, vector: None }
    }

    /// The numbers as `L`; `None` where there are none.
    ///
    /// # Errors
    /// If they are something else.
    pub fn read<L: DeserializeOwned>(&self) -> Result<Option<L>, String> {
        match &self.values {
            Value::Null => Ok(None),
            values => L::deserialize(values).map(Some).map_err(|error| error.to_string()),
        }
    }

    /// For an estimator that keeps nothing.
    ///
    /// # Errors
    /// If there is something.
    pub fn refuse(&self) -> Result<(), String> {
        match (&self.values, &self.vector) {
            (Value::Null, None) => Ok(()),
            _ => Err("this estimator keeps no state, but the checkpoint has some".into()),
        }
    }
}
