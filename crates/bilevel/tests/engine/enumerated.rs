//! The expected value of an estimate by all outcomes of its random numbers.

use super::problems::values;
use bilevel::estimator::Estimator;
use bilevel::hypergradient::{Draw, LossWeights, Memory, estimate};
use bilevel::{Bilevel, Params};
use rand::TryRng;
use std::convert::Infallible;

/// A generator of the given numbers, each uniform on [0, 1).
struct Scripted(std::vec::IntoIter<f64>);

impl TryRng for Scripted {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        unreachable!("a uniform number is made of 64 bits")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let uniform = self.0.next().expect("the estimator draws no more numbers than expected");
        // `random::<f64>` takes the first 53 bits.
        Ok(((uniform * 2_f64.powi(53)) as u64) << 11)
    }

    fn try_fill_bytes(&mut self, _: &mut [u8]) -> Result<(), Infallible> {
        unreachable!("a uniform number is made of 64 bits")
    }
}

/// The expected value of the mean over tasks of `estimator`'s estimates. `thresholds` has one entry for each random number,
/// in the order in which they are drawn: the values, ascending, at which the draw changes.
pub fn expectation<P: Bilevel>(
    problem: &P,
    theta: &Params,
    estimator: &dyn Estimator,
    thresholds: &[Vec<f64>],
    losses: &LossWeights,
) -> Vec<f64> {
    let draw_at = |numbers: Vec<f64>| {
        let mut numbers = Scripted(numbers.into_iter());
        let draw = estimator.draw(&mut numbers, problem.tasks(), losses.steps());
        assert_eq!(numbers.0.len(), 0, "the estimator draws as many numbers as expected");
        draw.with_losses(losses.clone())
    };
    let mut sum = vec![0.0; values(theta).len()];
    for outcome in outcomes(thresholds) {
        let draw = draw_at(outcome.iter().map(|[from, to]| (from + to) / 2.0).collect());
        // Between two thresholds nothing may change.
        for end in [1e-9, 1.0 - 1e-9] {
            let near = draw_at(outcome.iter().map(|[from, to]| from + end * (to - from)).collect());
            assert_eq!(law(&near), law(&draw), "a threshold is missing in {thresholds:?}");
        }
        let chance: f64 = outcome.iter().map(|[from, to]| to - from).product();
        let gradient = values(&estimate(problem, theta, &draw, Memory::Store).gradient.mean());
        sum.iter_mut().zip(gradient).for_each(|(sum, value)| *sum += chance * value);
    }
    sum
}

/// All combinations of one interval between thresholds for each random number.
fn outcomes(thresholds: &[Vec<f64>]) -> Vec<Vec<[f64; 2]>> {
    thresholds.iter().fold(vec![Vec::new()], |outcomes, thresholds| {
        let ends = [&[0.0][..], thresholds, &[1.0]].concat();
        let intervals = ends.windows(2).map(|pair| [pair[0], pair[1]]);
        let intervals: Vec<[f64; 2]> = intervals.filter(|[from, to]| from < to).collect();
        let mut all = Vec::new();
        for outcome in outcomes {
            all.extend(intervals.iter().map(|interval| [&outcome[..], &[*interval]].concat()));
        }
        all
    })
}

/// All factors and weights of a draw.
fn law(draw: &Draw) -> Vec<f64> {
    let (tasks, steps) = (draw.tasks(), draw.steps());
    let factors = (1..=steps).flat_map(|step| (0..tasks).map(move |task| draw.factor(step, task)));
    let weights = (0..=steps).flat_map(|depth| (0..tasks).map(move |task| draw.weight(depth, task)));
    let offset = draw.offset().iter().flat_map(|offset| offset.weights.clone()).collect::<Vec<f64>>();
    factors.chain(weights).chain(offset).collect()
}
