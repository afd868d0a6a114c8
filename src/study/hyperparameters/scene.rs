//! One seed's digits and initial weights; descents from the middle of the ranges, and random draws from them.

use super::{HIDDEN, Hyperparameters, OUTER, PENALTIES, RANDOM, RATES};
use crate::host::host;
use crate::hypergradient::{Workers, adapt, objective};
use crate::problem::{self, Batch};
use crate::random::generator;
use crate::stack::Stack;
use crate::study::laws::{FIRST_ORDER, Law};
use crate::study::{Desk, Error};
use crate::trainer::{self, Descent};
use rand::RngExt;
use serde::{Deserialize, Serialize};

/// The problem, and what its networks are judged on.
pub struct Scene {
    problem: problem::Hyperparameters,
    test: Batch,
    inner_steps: usize,
    workers: Workers,
    seed: u64,
}

/// What a descent or a search came upon.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Searched {
    /// A law's key, or [`RANDOM`].
    pub by: String,
    /// Its seed.
    pub seed: u64,
    /// Gradient evaluations by the time that each θ's validation loss was known, and the loss. Training that broke
    /// down has none.
    pub trials: Vec<[f64; 2]>,
    /// The θ with the least of them.
    pub best: Best,
    /// How far θ is from where a descent began, where it ends.
    pub moved: f64,
}

/// Hyperparameters, and how they do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Best {
    /// Of each layer.
    pub rates: Vec<f64>,
    /// Of each layer.
    pub penalties: Vec<f64>,
    /// Of the network trained by them, in %.
    pub accuracy: f64,
}

impl Scene {
    /// The digits and initial weights that `seed` draws.
    pub fn new(study: &Hyperparameters, seed: u64) -> Result<Self, Error> {
        let size = &study.size;
        let sets = study.digits.parts([size.train, size.validation, size.test], seed)?;
        let [train, validation, test] = sets.map(|set| study.digits.batch(&set));
        let problem = problem::Hyperparameters::new(train, validation, &HIDDEN, seed);
        let workers = study.digits.opened().workers;
        Ok(Self { problem, test, inner_steps: size.inner_steps, workers, seed })
    }

    /// θ at the shares `place` (0 to 1) of the ranges' logarithms, a rate's and a penalty's turn by turn.
    fn within(&self, mut place: impl FnMut() -> f64) -> Stack {
        let mut at = |[low, high]: [f64; 2]| low * (high / low).powf(place());
        let (rates, penalties): (Vec<f64>, Vec<f64>) =
            (0..self.problem.layers()).map(|_| (at(RATES), at(PENALTIES))).unzip();
        self.problem.at(&rates, &penalties)
    }

    /// The descent by `law` from the middle of the ranges, over `budget` gradient evaluations.
    pub fn descend(&self, law: &Law, budget: u64, desk: &mut Desk) -> Result<Searched, Error> {
        let config = law.config(self.seed, self.inner_steps, budget, OUTER)?;
        let start = self.within(|| 0.5);
        let mut descent = Descent::new(&config, start.clone(), self.workers);
        let mut trials = Trials::new(start.clone());
        while descent.progress() < 1.0 {
            let theta = descent.theta().clone();
            let step = match descent.step(&self.problem) {
                Ok(step) => step,
                // Training broke down at this θ, and there is no way on from here.
                Err(trainer::Error::Diverged { .. }) => break,
                Err(error) => return Err(error.into()),
            };
            // The loss is θ's before the step, whose whole cost is paid by now.
            trials.add(descent.evaluations().total(), step.loss, &theta);
            if law.key == FIRST_ORDER && step.gradient_norm == 0.0 {
                // Without coins every later step is this one again.
                break;
            }
            desk.progress(descent.progress());
        }
        let moved = host((descent.theta().clone() - start).squared_norm())[0].sqrt();
        Ok(self.searched(law.key, trials, moved))
    }

    /// Draws from the ranges, over `budget` gradient evaluations.
    pub fn search(&self, budget: u64, desk: &mut Desk) -> Searched {
        let cost = self.inner_steps as u64 + 1;
        let mut trials = Trials::new(self.within(|| 0.5));
        for draw in 0..budget / cost {
            let mut random = generator(self.seed, "random search", draw);
            let theta = self.within(|| random.random());
            trials.add((draw + 1) * cost, objective(&self.problem, &theta, self.inner_steps), &theta);
            desk.progress((draw * cost) as f64 / budget as f64);
        }
        self.searched(RANDOM, trials, 0.0)
    }

    fn searched(&self, by: &str, trials: Trials, moved: f64) -> Searched {
        let (fast, _) = adapt(&self.problem, &trials.best, self.inner_steps);
        let accuracy = 100.0 * host(self.problem.assess(&fast, &self.test).accuracy)[0];
        let [rates, penalties] = [0, 1].map(|leaf| {
            let logarithms = trials.best.leaves()[leaf].clone();
            host(logarithms.exp().reshape([self.problem.layers()]))
        });
        let best = Best { rates, penalties, accuracy };
        Searched { by: by.into(), seed: self.seed, trials: trials.all, best, moved }
    }
}

/// Trials, and the θ of the best.
struct Trials {
    all: Vec<[f64; 2]>,
    least: f64,
    best: Stack,
}

impl Trials {
    /// None yet.
    fn new(start: Stack) -> Self {
        Self { all: Vec::new(), least: f64::INFINITY, best: start }
    }

    /// `theta`'s loss, known after `evaluations`; one that is not finite is none.
    fn add(&mut self, evaluations: u64, loss: f64, theta: &Stack) {
        if !loss.is_finite() {
            return;
        }
        self.all.push([evaluations as f64, loss]);
        if loss < self.least {
            (self.least, self.best) = (loss, theta.clone());
        }
    }
}
