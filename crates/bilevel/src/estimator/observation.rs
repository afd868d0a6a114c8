//! Statistics of an estimate, still on the device, and the update of the estimator that uses them.
//!
//! Reading a number from a GPU waits for all work queued before it. An adaptive estimator therefore declares the
//! tensors it needs when the estimate is queued, and is updated after they have been read together with the other
//! numbers of the outer step. The types keep both halves consistent: the update receives [`Statistics::Values`].

use super::Estimator;
use crate::hypergradient::{Draw, Estimate};
use crate::ranks::Share;
use crate::readback::read_all;
use burn::tensor::Tensor;
use std::any::Any;

/// Numbers of an estimate, on the device.
#[derive(Clone, Debug)]
pub struct Readings {
    tensors: Vec<Tensor<1>>,
    is_of_tasks: bool,
}

impl Readings {
    /// Numbers of tasks, in the order of the tasks. When they have been read, they include those of the other ranks' tasks.
    /// Every rank must ask for the same readings in the same order, whichever tasks it has.
    pub fn of_tasks(tensors: Vec<Tensor<1>>) -> Self {
        Self { tensors, is_of_tasks: true }
    }

    /// Numbers of the whole meta-batch, the same on every rank.
    pub fn whole(tensor: Tensor<1>) -> Self {
        Self { tensors: vec![tensor], is_of_tasks: false }
    }
}

/// A set of numbers to read.
pub trait Statistics {
    /// The same set with the values of the numbers.
    type Values;

    /// The set with all readings replaced by the values that `read` returns for them.
    fn values(&self, read: &mut dyn FnMut(&Readings) -> Vec<f64>) -> Self::Values;
}

impl Statistics for Readings {
    type Values = Vec<f64>;

    fn values(&self, read: &mut dyn FnMut(&Readings) -> Vec<f64>) -> Vec<f64> {
        read(self)
    }
}

impl<S: Statistics> Statistics for Option<S> {
    type Values = Option<S::Values>;

    fn values(&self, read: &mut dyn FnMut(&Readings) -> Vec<f64>) -> Self::Values {
        self.as_ref().map(|statistics| statistics.values(read))
    }
}

impl<S: Statistics> Statistics for Vec<S> {
    type Values = Vec<S::Values>;

    fn values(&self, read: &mut dyn FnMut(&Readings) -> Vec<f64>) -> Self::Values {
        self.iter().map(|statistics| statistics.values(read)).collect()
    }
}

/// An update of an estimator with the values of the tensors and the duration of the estimate in seconds.
type Update = dyn FnOnce(&mut dyn Any, &mut dyn Iterator<Item = Vec<f64>>, f64);

/// Statistics of one estimate, and the update of the estimator that uses them.
pub struct Observation {
    readings: Vec<Readings>,
    update: Box<Update>,
}

impl Observation {
    /// An observation for an estimator of type `E`. `update` receives the values of `statistics` and the duration of
    /// the estimate in seconds.
    pub fn new<E: Estimator, S: Statistics + 'static>(
        statistics: S,
        update: impl FnOnce(&mut E, S::Values, f64) + 'static,
    ) -> Self {
        let mut readings = Vec::new();
        statistics.values(&mut |reading| {
            readings.push(reading.clone());
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
        Self { readings, update: Box::new(update) }
    }

    /// The tensors to read.
    pub fn tensors(&self) -> impl Iterator<Item = &Tensor<1>> {
        self.readings.iter().flat_map(|reading| &reading.tensors)
    }

    /// The values of the readings, from those of [`Self::tensors`], and the `more` lists of numbers of this rank's tasks: all with
    /// those of the other ranks of `share`. Waits for all ranks.
    pub fn collect<const N: usize>(
        this: Option<&Self>,
        values: &mut dyn Iterator<Item = Vec<f64>>,
        more: [Vec<f64>; N],
        share: &Share,
    ) -> (Vec<Vec<f64>>, [Vec<f64>; N]) {
        let readings = this.map_or(&[][..], |this| &this.readings);
        let mut read: Vec<Vec<f64>> =
            readings.iter().map(|reading| values.take(reading.tensors.len()).flatten().collect()).collect();
        let of_tasks: Vec<usize> = (0..read.len()).filter(|at| readings[*at].is_of_tasks).collect();
        let own = of_tasks.iter().map(|at| std::mem::take(&mut read[*at]));
        let mut all = share.collect_all(more.into_iter().chain(own).collect()).into_iter();
        let more = std::array::from_fn(|_| all.next().unwrap_or_default());
        of_tasks.into_iter().zip(all).for_each(|(at, values)| read[at] = values);
        (read, more)
    }

    /// Updates `estimator`, which made this observation, with the `values` of the readings and the duration of the
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
        let mut values = read_all(observation.tensors().cloned().collect()).into_iter();
        let (read, []) = Observation::collect(Some(&observation), &mut values, [], &estimate.share);
        observation.apply(estimator, &mut read.into_iter(), seconds);
    }
}
