//! Statistics of an estimate, still on the device, and the update of the estimator that uses them.
//!
//! Reading a number from a GPU waits for all work queued before it. An adaptive estimator therefore declares the
//! tensors it needs when the estimate is queued, and is updated after they have been read together with the other
//! numbers of the outer step. The types keep both halves consistent: the update receives [`Statistics::Values`].

use super::Estimator;
use crate::hypergradient::{Draw, Estimate};
use crate::readback::read_all;
use burn::tensor::Tensor;
use std::any::Any;

/// A set of tensors to read.
pub trait Statistics {
    /// The same set with the tensors' values.
    type Values;

    /// The set with each tensor replaced by the values that `read` returns for it.
    fn values(&self, read: &mut dyn FnMut(&Tensor<1>) -> Vec<f64>) -> Self::Values;
}

impl Statistics for Tensor<1> {
    type Values = Vec<f64>;

    fn values(&self, read: &mut dyn FnMut(&Tensor<1>) -> Vec<f64>) -> Vec<f64> {
        read(self)
    }
}

impl<S: Statistics> Statistics for Option<S> {
    type Values = Option<S::Values>;

    fn values(&self, read: &mut dyn FnMut(&Tensor<1>) -> Vec<f64>) -> Self::Values {
        self.as_ref().map(|statistics| statistics.values(read))
    }
}

impl<S: Statistics> Statistics for Vec<S> {
    type Values = Vec<S::Values>;

    fn values(&self, read: &mut dyn FnMut(&Tensor<1>) -> Vec<f64>) -> Self::Values {
        self.iter().map(|statistics| statistics.values(read)).collect()
    }
}

/// An update of an estimator with the values of the tensors and the duration of the estimate in seconds.
type Update = dyn FnOnce(&mut dyn Any, &mut dyn Iterator<Item = Vec<f64>>, f64);

/// Statistics of one estimate, and the update of the estimator that uses them.
pub struct Observation {
    tensors: Vec<Tensor<1>>,
    update: Box<Update>,
}

impl Observation {
    /// An observation for an estimator of type `E`. `update` receives the values of `statistics` and the duration of
    /// the estimate in seconds.
    pub fn new<E: Estimator, S: Statistics + 'static>(
        statistics: S,
        update: impl FnOnce(&mut E, S::Values, f64) + 'static,
    ) -> Self {
        let mut tensors = Vec::new();
        statistics.values(&mut |tensor| {
            tensors.push(tensor.clone());
            Vec::new()
        });
        let update =
            move |estimator: &mut dyn Any, read: &mut dyn Iterator<Item = Vec<f64>>, seconds: f64| {
                let estimator = estimator.downcast_mut::<E>();
                let estimator =
                    estimator.expect("an observation must be applied to the type of estimator that made it");
                let values = statistics.values(&mut |_| read.next().unwrap_or_default());
                update(estimator, values, seconds);
            };
        Self { tensors, update: Box::new(update) }
    }

    /// The tensors to read, in the order in which [`Self::apply`] expects their values.
    pub fn tensors(&self) -> &[Tensor<1>] {
        &self.tensors
    }

    /// Updates `estimator`, which made this observation, with the `values` of the tensors and the duration of the
    /// estimate in `seconds`.
    ///
    /// # Panics
    /// Panics if `estimator` is not of the type that made this observation.
    pub fn apply(
        self,
        estimator: &mut dyn Estimator,
        values: &mut dyn Iterator<Item = Vec<f64>>,
        seconds: f64,
    ) {
        (self.update)(estimator, values, seconds);
    }
}

/// Updates `estimator` immediately with an `estimate` made with its `draw` in `seconds`. Waits for the device.
///
/// # Panics
/// Panics if the device was lost.
pub fn learn(estimator: &mut dyn Estimator, draw: &Draw, estimate: &Estimate, seconds: f64) {
    if let Some(observation) = estimator.observe(draw, estimate) {
        let values = read_all(observation.tensors.clone());
        observation.apply(estimator, &mut values.into_iter(), seconds);
    }
}
