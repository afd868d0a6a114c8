//! Outer steps in flight: their work is queued on the device, what they show is not read yet.
//!
//! A GPU works off a queue. Whoever reads a number waits until all that was queued before it is done, and
//! then the GPU waits for more. So what a step shows is read in one go, and where no later step depends
//! on it, in one go with that of other steps. A CPU computes as it is told, and has nothing to wait for.

use super::StepRecord;
use super::divergence::Before;
use crate::host::host_together;
use crate::hypergradient::{Draw, Estimate, Evaluations};
use crate::interval::mean;
use crate::stack::Stack;
use burn::tensor::Tensor;
use std::time::Instant;

/// The most steps in flight at once: enough to make the wait small, few enough to be stopped soon.
pub const MOST: usize = 8;

/// An outer step in flight.
pub struct Flight {
    /// What `metrics.jsonl` is to have of it; its loss and its gradient's norm are filled in on landing.
    pub record: StepRecord,
    /// The number of its draw: of its episodes and coins.
    pub draw: u64,
    /// What it cost.
    pub spent: Evaluations,
    /// The share of the budget that is used after it.
    pub progress: f64,
    /// The norm that its gradient was clipped to, if it was longer.
    pub clip: Option<f64>,
    /// Where the run stood before it.
    pub before: Before,
    /// The estimate of each task, `[tasks, …]`.
    pub estimates: Stack,
    /// L_out of each task, `[tasks]`.
    pub losses: Tensor<1>,
    /// ‖g‖² of the averaged estimate before clipping, `[1]`.
    pub gradient: Tensor<1>,
    /// ‖θ‖² after the step, `[1]`.
    pub weights: Tensor<1>,
    /// What the estimator learns from, for one that does.
    pub lesson: Option<Lesson>,
}

/// What an estimator learns from.
pub struct Lesson {
    /// What it drew.
    pub draw: Draw,
    /// What came of that.
    pub estimate: Estimate,
    /// What it looks at.
    pub shown: Vec<Tensor<1>>,
    /// When the work on the estimate began.
    pub began: Instant,
}

/// An outer step whose numbers are read.
pub struct Landed {
    /// With its record complete.
    pub flight: Flight,
    /// L_out of each task.
    pub losses: Vec<f64>,
    /// ‖θ‖² after the step.
    pub weights: f64,
    /// The values of what the estimator looks at.
    pub seen: Vec<Vec<f64>>,
}

/// Reads all that `flights` show, in one go.
pub fn land(flights: Vec<Flight>) -> Vec<Landed> {
    let mut seen = host_together(flights.iter().flat_map(Flight::shown).collect()).into_iter();
    flights.into_iter().map(|flight| flight.landed(&mut seen)).collect()
}

impl Flight {
    fn shown(&self) -> impl Iterator<Item = Tensor<1>> {
        let lesson = self.lesson.iter().flat_map(|lesson| &lesson.shown);
        [&self.losses, &self.gradient, &self.weights].into_iter().chain(lesson).cloned()
    }

    /// With the values of [`Self::shown`], which `seen` yields.
    fn landed(mut self, seen: &mut impl Iterator<Item = Vec<f64>>) -> Landed {
        let mut next = || seen.next().unwrap_or_default();
        let [losses, gradient, weights] = [next(), next(), next()];
        self.fill_in(mean(&losses), gradient.iter().sum());
        let looks = self.lesson.as_ref().map_or(0, |lesson| lesson.shown.len());
        Landed { losses, weights: weights.iter().sum(), seen: seen.take(looks).collect(), flight: self }
    }

    /// Completes the record with the mean loss and the meta-gradient's squared norm before clipping.
    pub fn fill_in(&mut self, loss: f64, gradient: f64) {
        let record = &mut self.record;
        (record.loss, record.gradient_norm) = (loss, gradient.sqrt());
        record.clipped = self.clip.is_some_and(|most| record.gradient_norm > most);
    }
}

impl Landed {
    /// What of the step is not finite, if something is.
    pub fn fault(&self) -> Option<&'static str> {
        let StepRecord { loss, gradient_norm, .. } = self.flight.record;
        let all = [
            ("the loss", loss),
            ("the meta-gradient", gradient_norm),
            ("the new weights' norm", self.weights),
        ];
        all.into_iter().find(|(_, value)| !value.is_finite()).map(|(what, _)| what)
    }
}

/// `gradient`, a stack of one of squared norm `square` `[1]`, scaled down to the norm `most` if it is longer:
/// by a factor that the device alone knows.
pub fn clipped(gradient: Stack, square: Tensor<1>, most: f64) -> Stack {
    let share = (square.sqrt().recip() * most).clamp_max(1.0).reshape([1, 1, 1]);
    gradient.map(|leaf| leaf * share.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::trainer::optimizer;
    use burn::tensor::{Device, TensorData};

    fn tensor<const D: usize>(values: &[f64], shape: [usize; D]) -> Tensor<D> {
        Tensor::from_data(TensorData::new(values.to_vec(), shape), &Device::flex())
    }

    #[test]
    fn only_what_is_too_long_is_clipped() {
        let stack = |values: &[f64]| Stack::new(vec![tensor(values, [1, 1, 2]), tensor(&[0.0], [1, 1, 1])]);
        let clip = |values: &[f64], most| {
            let (gradient, square) = (stack(values), stack(values).squared_norm());
            let clipped = clipped(gradient, square, most);
            clipped.leaves()[0].clone().into_data().iter::<f64>().collect::<Vec<_>>()
        };
        assert_eq!(clip(&[3.0, 4.0], 10.0), [3.0, 4.0]);
        assert_eq!(clip(&[0.0, 0.0], 1.0), [0.0, 0.0]);
        let [x, y] = clip(&[3.0, 4.0], 1.0)[..] else { panic!("two values") };
        assert!((x - 0.6).abs() < 1e-6 && (y - 0.8).abs() < 1e-6);
        assert!(clip(&[f64::NAN, 0.0], 1.0).iter().all(|value| value.is_nan()));
    }

    /// Step `step` in flight, with these losses and squared norms.
    fn flight(step: u64, losses: &[f64], gradient: f64, weights: f64) -> Flight {
        let record = StepRecord { step, ..StepRecord::default() };
        let [gradient, weights] = [gradient, weights].map(|value| tensor(&[value], [1]));
        let losses = tensor(losses, [losses.len()]);
        let theta = Stack::new(vec![tensor(&[0.0], [1, 1, 1])]);
        let optimizer = optimizer::from_config(&Config::load(None, &[]).unwrap().outer, 1);
        let before = Before { theta: theta.clone(), optimizer, evaluations: Evaluations::default() };
        let (progress, clip) = (0.0, Some(2.0));
        Flight {
            record,
            draw: step,
            spent: Evaluations::default(),
            progress,
            clip,
            before,
            estimates: theta,
            losses,
            gradient,
            weights,
            lesson: None,
        }
    }

    #[test]
    fn flights_land_together_each_with_its_own_numbers() {
        let landed = land(vec![flight(1, &[1.0, 2.0], 9.0, 1.0), flight(2, &[4.0], 4.0, 1.0)]);
        let records: Vec<_> = landed.iter().map(|landed| &landed.flight.record).collect();
        assert_eq!((records[0].step, records[0].loss, records[0].gradient_norm), (1, 1.5, 3.0));
        assert_eq!((records[1].step, records[1].loss, records[1].gradient_norm), (2, 4.0, 2.0));
        assert_eq!((records[0].clipped, records[1].clipped), (true, false));
        assert!(landed.iter().all(|landed| landed.fault().is_none()));
    }

    #[test]
    fn what_diverged_is_named() {
        let nan = f64::NAN;
        for (losses, gradient, weights, what) in [
            ([nan, 1.0], 1.0, 1.0, "the loss"),
            ([1.0, 1.0], f64::INFINITY, nan, "the meta-gradient"),
            ([1.0, 1.0], 1.0, nan, "the new weights' norm"),
        ] {
            let landed = land(vec![flight(6, &[1.0], 1.0, 1.0), flight(7, &losses, gradient, weights)]);
            assert_eq!([landed[0].fault(), landed[1].fault()], [None, Some(what)]);
        }
    }
}
