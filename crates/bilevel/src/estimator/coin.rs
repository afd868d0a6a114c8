//! Random numbers for the tasks of an outer step, independent, shared or stratified.

use super::Readings;
use crate::hypergradient::Estimate;
use crate::{choice, params::Params};
use rand::seq::SliceRandom;
use rand::{Rng, RngExt};

choice! {
    /// How the random numbers ("coins") of the tasks of an outer step depend on each other.
    pub enum Coin {
        /// Independent for each task; less variance than a shared coin.
        Task = "task",
        /// One for all tasks, so that some outer steps are cheap as a whole.
        Step = "step",
        /// Stratified over the tasks: the number of exact tasks varies by at most one.
        Stratified = "stratified",
    }
}

/// One number for each of `tasks` tasks, uniform on [0, 1), so that it is below q with probability q. Stratified
/// numbers come from systematic sampling.
///
/// The same number can be compared with several thresholds, such as the survival probabilities of a telescope.
pub fn uniforms(coin: Coin, coins: &mut dyn Rng, tasks: usize) -> Vec<f64> {
    match coin {
        Coin::Task => (0..tasks).map(|_| coins.random()).collect(),
        Coin::Step => vec![coins.random(); tasks],
        // Systematic sampling: points at distance 1/tasks on a circle of length 1, with a random start. An arc of
        // length q contains ⌊q·tasks⌋ or ⌈q·tasks⌉ of them. They are shuffled so that repeated draws for the same
        // tasks are not correlated task by task.
        Coin::Stratified => {
            let start: f64 = coins.random();
            let point = |task| (start + task as f64 / tasks as f64).fract();
            let mut points: Vec<f64> = (0..tasks).map(point).collect();
            points.shuffle(coins);
            points
        }
    }
}

/// Gradients at the level at which coins are drawn.
#[derive(Clone)]
pub(super) enum AtCoin {
    /// For a coin per task: those of this estimate's tasks, if it has any.
    Task(Option<Params>),
    /// For a shared coin: their mean over all ranks.
    Step(Params),
}

impl AtCoin {
    /// At the level of `coin`, the gradients `own` of those of the `chosen` tasks of the whole meta-batch that `estimate` has.
    pub fn new(estimate: &Estimate, chosen: &[usize], own: Option<Params>, coin: Coin) -> Self {
        match coin {
            Coin::Step => Self::Step(estimate.mean_of(chosen, own)),
            Coin::Task | Coin::Stratified => Self::Task(own),
        }
    }

    /// The squared norm of each.
    pub fn squared_norms(&self) -> Readings {
        self.products(self)
    }

    /// The inner product of each with `vector`, which has one task.
    pub fn along(&self, vector: &Params) -> Readings {
        let repeated = |gradients: &Params| vector.repeat(gradients.tasks());
        self.products(&match self {
            Self::Task(own) => Self::Task(own.as_ref().map(repeated)),
            Self::Step(mean) => Self::Step(repeated(mean)),
        })
    }

    /// The inner product of each with that of the same tasks in `other`, made with the same coin.
    pub fn products(&self, other: &Self) -> Readings {
        let dot = |one: &Params, other: &Params| one.clone().dot(other.clone());
        match (self, other) {
            (Self::Task(one), Self::Task(other)) => {
                Readings::of_tasks(one.iter().zip(other).map(|(one, other)| dot(one, other)).collect())
            }
            (Self::Step(one), Self::Step(other)) => Readings::whole(dot(one, other)),
            _ => unreachable!("both are of the same coin"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::generator;

    #[test]
    fn every_coin_has_the_given_probability() {
        let (tasks, tosses) = (7, 4000);
        let thresholds = [0.1, 0.35, 3.0 / 7.0, 0.9, 1.0];
        for coin in [Coin::Task, Coin::Step, Coin::Stratified] {
            let mut counts = [[0; 7]; 5];
            for index in 0..tosses {
                let numbers = uniforms(coin, &mut generator(0, "coin", index), tasks);
                for (q, counts) in thresholds.iter().zip(&mut counts) {
                    let up = numbers.iter().map(|number| number < q);
                    let all = up.clone().filter(|up| *up).count();
                    match coin {
                        Coin::Task => {}
                        Coin::Step => assert!(all == 0 || all == tasks),
                        Coin::Stratified => assert!((all as f64 - q * tasks as f64).abs() < 1.0),
                    }
                    counts.iter_mut().zip(up).for_each(|(count, up)| *count += usize::from(up));
                }
            }
            for (q, counts) in thresholds.iter().zip(counts) {
                let error = (q * (1.0 - q) / tosses as f64).sqrt();
                for count in counts {
                    let share = count as f64 / tosses as f64;
                    assert!((share - q).abs() <= 4.0 * error, "{coin} with q = {q} has frequency {share}");
                }
            }
        }
    }
}
