//! An outer step, first pending on the device, then completed by reading its numbers.

use crate::estimator::Observation;
use crate::hypergradient::Evaluations;
use crate::optimizer::OuterOptimizer;
use crate::params::Params;
use crate::ranks::Share;
use crate::readback::{read, read_all};
use crate::stats::mean;
use burn::tensor::Tensor;
use serde_json::{Map, Value};
use std::time::Instant;

/// The state of an outer loop, without the estimators.
pub struct Snapshot {
    /// θ.
    pub theta: Params,
    /// The optimiser.
    pub optimizer: Box<dyn OuterOptimizer>,
    /// Outer steps taken.
    pub steps: u64,
    /// Their cost.
    pub evaluations: Evaluations,
}

/// An outer step that is queued on the device, with its numbers not yet read.
pub struct PendingStep {
    /// Its number, from 1.
    pub step: u64,
    /// The index of its draw of coins.
    pub draw: u64,
    /// The index of its phase in the schedule of estimators.
    pub phase: usize,
    /// The learning rate.
    pub rate: f64,
    /// Its cost.
    pub spent: Evaluations,
    /// The largest size of the iterates kept by one worker at a time, in bytes.
    pub iterate_bytes: u64,
    /// The fraction of the budget used, including this step.
    pub progress: f64,
    /// The estimator's [metrics](crate::estimator::Estimator::metrics) at the time of the draw. If the schedule has several phases,
    /// `estimator` is the estimator's name.
    pub metrics: Map<String, Value>,
    /// The state of the loop before this step.
    pub before: Snapshot,
    /// The tasks that this rank computed.
    pub share: Share,
    /// The estimate of each task of the share, `[tasks, …]` in θ's shape.
    pub estimates: Params,
    /// L_out of each task of the share, `[tasks]`.
    pub losses: Tensor<1>,
    /// ‖mean estimate‖² before clipping, `[1]`.
    pub gradient: Tensor<1>,
    /// ‖θ‖² after the step, `[1]`.
    pub weights: Tensor<1>,
    /// Statistics for the update of an adaptive estimator; `None` for others.
    pub observation: Option<Observation>,
    /// When the work on the estimate started.
    pub began: Instant,
    /// The loop's bound on the norm of the gradient, if it has one.
    pub clip: Option<f64>,
}

/// An outer step whose numbers have been read.
pub struct CompletedStep {
    /// The step. Its observation is taken by [`super::OuterLoop::learn`].
    pub pending: PendingStep,
    /// L_out of each task.
    pub losses: Vec<f64>,
    /// Mean L_out over the tasks, at θ before the step.
    pub loss: f64,
    /// Norm of the mean estimate before clipping.
    pub gradient_norm: f64,
    /// ‖θ‖² after the step.
    pub weights: f64,
    /// The values of the observation's readings.
    pub observed: Vec<Vec<f64>>,
    /// Seconds from the start of the work to the end of reading it; on several ranks, the longest.
    pub seconds: f64,
}

/// Error of an outer step whose loss, gradient or new θ is not finite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("outer step {step} diverged: {what} is not finite")]
pub struct Diverged {
    /// Number of the step, from 1.
    pub step: u64,
    /// The quantity that is not finite.
    pub what: &'static str,
}

/// Reads the numbers of all `steps` at once.
///
/// # Panics
/// Panics if the device was lost.
pub fn resolve<const N: usize>(steps: [PendingStep; N]) -> [CompletedStep; N] {
    let mut completed = resolve_all(steps.into()).into_iter();
    std::array::from_fn(|_| completed.next().unwrap_or_else(|| unreachable!("every step is completed")))
}

/// [`resolve`] for any number of steps.
///
/// # Panics
/// Panics if the device was lost.
pub fn resolve_all(steps: Vec<PendingStep>) -> Vec<CompletedStep> {
    let mut values = read_all(steps.iter().flat_map(PendingStep::tensors).collect()).into_iter();
    steps.into_iter().map(|step| step.complete(&mut values)).collect()
}

impl PendingStep {
    /// The tensors to read.
    fn tensors(&self) -> impl Iterator<Item = Tensor<1>> {
        let observed = self.observation.iter().flat_map(Observation::tensors);
        [&self.losses, &self.gradient, &self.weights].into_iter().chain(observed).cloned()
    }

    /// ‖estimate‖² of each task, those of the other ranks included. Waits for them.
    ///
    /// # Panics
    /// Panics if the device was lost, or another rank has ended.
    pub fn squared_norms(&self) -> Vec<f64> {
        self.share.collect([read(self.estimates.clone().squared_norm())]).concat()
    }

    /// Completes the step with the values of [`Self::tensors`], taken from `values`.
    fn complete(self, values: &mut impl Iterator<Item = Vec<f64>>) -> CompletedStep {
        let mut next = || values.next().unwrap_or_default();
        let [losses, gradient, weights] = [next(), next(), next()];
        let more = [losses, vec![self.began.elapsed().as_secs_f64()]];
        let (observed, [losses, seconds]) =
            Observation::collect(self.observation.as_ref(), values, more, &self.share);
        CompletedStep {
            loss: mean(&losses),
            gradient_norm: gradient.iter().sum::<f64>().sqrt(),
            weights: weights.iter().sum(),
            observed,
            seconds: seconds.into_iter().fold(0.0, f64::max),
            losses,
            pending: self,
        }
    }
}

impl std::fmt::Debug for CompletedStep {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { pending, losses, loss, gradient_norm, .. } = self;
        out.debug_struct("CompletedStep")
            .field("step", &pending.step)
            .field("losses", losses)
            .field("loss", loss)
            .field("gradient_norm", gradient_norm)
            .finish_non_exhaustive()
    }
}

impl CompletedStep {
    /// The first quantity of the step that is not finite, if any.
    pub fn fault(&self) -> Option<&'static str> {
        let all = [
            ("the loss", self.loss),
            ("the meta-gradient", self.gradient_norm),
            ("the new weights' norm", self.weights),
        ];
        all.into_iter().find(|(_, value)| !value.is_finite()).map(|(what, _)| what)
    }

    /// Whether the gradient was clipped.
    pub fn was_clipped(&self) -> bool {
        self.pending.clip.is_some_and(|limit| self.gradient_norm > limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optimizer::Optimizer;
    use burn::tensor::{Device, TensorData};

    fn tensor<const D: usize>(values: &[f64], shape: [usize; D]) -> Tensor<D> {
        Tensor::from_data(TensorData::new(values.to_vec(), shape), &Device::flex())
    }

    /// Pending step number `step` with the given losses and squared norms.
    fn pending(step: u64, losses: &[f64], gradient: f64, weights: f64) -> PendingStep {
        let [gradient, weights] = [gradient, weights].map(|value| tensor(&[value], [1]));
        let theta = Params::new(vec![tensor(&[0.0], [1, 1, 1])]);
        let optimizer = Optimizer::default().build(0.0, 1);
        PendingStep {
            step,
            draw: step,
            phase: 0,
            rate: 1.0,
            spent: Evaluations::default(),
            iterate_bytes: 0,
            progress: 0.0,
            metrics: Map::new(),
            before: Snapshot {
                theta: theta.clone(),
                optimizer,
                steps: step - 1,
                evaluations: Evaluations::default(),
            },
            share: Share::all(losses.len()),
            estimates: theta,
            losses: tensor(losses, [losses.len()]),
            gradient,
            weights,
            observation: None,
            began: Instant::now(),
            clip: Some(2.0),
        }
    }

    #[test]
    fn steps_resolved_together_get_their_own_values() {
        let [first, second] = resolve([pending(1, &[1.0, 2.0], 9.0, 1.0), pending(2, &[4.0], 4.0, 1.0)]);
        assert_eq!((first.pending.step, first.loss, first.gradient_norm), (1, 1.5, 3.0));
        assert_eq!((second.pending.step, second.loss, second.gradient_norm), (2, 4.0, 2.0));
        assert_eq!((first.was_clipped(), second.was_clipped()), (true, false));
        assert!(first.fault().is_none() && second.fault().is_none());
    }

    #[test]
    fn fault_names_the_quantity_that_is_not_finite() {
        let nan = f64::NAN;
        for (losses, gradient, weights, what) in [
            ([nan, 1.0], 1.0, 1.0, "the loss"),
            ([1.0, 1.0], f64::INFINITY, nan, "the meta-gradient"),
            ([1.0, 1.0], 1.0, nan, "the new weights' norm"),
        ] {
            let [finite, diverged] =
                resolve([pending(6, &[1.0], 1.0, 1.0), pending(7, &losses, gradient, weights)]);
            assert_eq!([finite.fault(), diverged.fault()], [None, Some(what)]);
        }
    }
}
