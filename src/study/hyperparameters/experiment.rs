//! Descents and random searches on the digits and initial weights of one seed.

use super::{HIDDEN, Hyperparameters, Method, OUTER, PENALTIES, RATES};
use crate::study::estimators::StudyEstimator;
use crate::study::{Error, Workspace};
use crate::task::{self, Batch};
use crate::train::outer_loop;
use bilevel::Params;
use bilevel::hypergradient::{LossWeights, Workers, adapt, objective};
use bilevel::readback::read;
use bilevel::rng::generator;
use rand::RngExt;
use serde::{Deserialize, Serialize};

/// The problem, and its test digits.
pub struct Experiment {
    problem: task::Hyperparameters,
    test: Batch,
    inner_steps: usize,
    workers: Workers,
    seed: u64,
}

/// Result of a descent or a random search.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// Key of the method.
    #[serde(rename = "by")]
    pub method: String,
    /// The seed.
    pub seed: u64,
    /// `[evaluations, loss]` of every trial: gradient evaluations spent when the validation loss of its θ was known, and
    /// that loss. Trials whose training diverged are left out.
    pub trials: Vec<[f64; 2]>,
    /// The θ with the lowest loss.
    pub best: Best,
    /// Euclidean distance of the final θ of a descent from its start; 0 for random search.
    #[serde(rename = "moved")]
    pub distance: f64,
}

/// The best hyperparameters of a record.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Best {
    /// Learning rate of each layer.
    pub rates: Vec<f64>,
    /// Penalty of each layer.
    pub penalties: Vec<f64>,
    /// Test accuracy of the network trained with them, in %.
    pub accuracy: f64,
}

impl Experiment {
    /// The experiment on the digits and initial weights of `seed`.
    ///
    /// # Errors
    /// Returns an error if there are not enough digits.
    pub fn new(study: &Hyperparameters, seed: u64) -> Result<Self, Error> {
        let size = &study.size;
        let sets = study.digits.parts([size.train, size.validation, size.test], seed)?;
        let [train, validation, test] = sets.map(|set| study.digits.batch(&set));
        let problem = task::Hyperparameters::new(train, validation, &HIDDEN, seed);
        let workers = study.digits.opened().workers;
        Ok(Self { problem, test, inner_steps: size.inner_steps, workers, seed })
    }

    /// θ in the ranges of the search. `position` gives, for the rate and the penalty of each layer in turn, the position
    /// in the range on a logarithmic scale, from 0 to 1.
    fn in_ranges(&self, mut position: impl FnMut() -> f64) -> Params {
        let mut at = |[low, high]: [f64; 2]| low * (high / low).powf(position());
        let (rates, penalties): (Vec<f64>, Vec<f64>) =
            (0..self.problem.layers()).map(|_| (at(RATES), at(PENALTIES))).unzip();
        self.problem.at(&rates, &penalties)
    }

    /// Descends by `estimator` from the middle of the ranges, over `budget` gradient evaluations.
    ///
    /// # Errors
    /// Returns an error if the descent cannot be computed. Divergence ends the descent, and is no error.
    pub fn descend(
        &self,
        estimator: StudyEstimator,
        budget: u64,
        workspace: &mut Workspace,
    ) -> Result<Record, Error> {
        let config = estimator.config(self.seed, self.inner_steps, budget, OUTER)?;
        let start = self.in_ranges(|| 0.5);
        let mut descent = outer_loop(&config, start.clone(), self.workers);
        let mut trials = Trials::new(start.clone());
        while descent.progress() < 1.0 {
            let theta = descent.theta().clone();
            let step = match descent.step(&self.problem) {
                Ok(step) => step,
                // Training diverged at this θ, so there is no gradient to continue with.
                Err(_diverged) => break,
            };
            // The loss is that of θ before the step; the cost includes the step.
            trials.add(descent.evaluations().total(), step.loss, &theta);
            if estimator == StudyEstimator::FirstOrder && step.gradient_norm == 0.0 {
                // Without random draws all further steps are equal to this one.
                break;
            }
            workspace.progress(descent.progress());
        }
        let distance = read((descent.theta().clone() - start).squared_norm())[0].sqrt();
        Ok(self.record(Method::Descent(estimator), trials, distance))
    }

    /// Draws θ at random from the ranges, over `budget` gradient evaluations.
    pub fn search(&self, budget: u64, workspace: &mut Workspace) -> Record {
        let cost = self.inner_steps as u64 + 1;
        let mut trials = Trials::new(self.in_ranges(|| 0.5));
        for draw in 0..budget / cost {
            let mut random = generator(self.seed, "random search", draw);
            let theta = self.in_ranges(|| random.random());
            trials.add(
                (draw + 1) * cost,
                objective(&self.problem, &theta, &LossWeights::last(self.inner_steps)),
                &theta,
            );
            workspace.progress((draw * cost) as f64 / budget as f64);
        }
        self.record(Method::RandomSearch, trials, 0.0)
    }

    fn record(&self, method: Method, trials: Trials, distance: f64) -> Record {
        let (fast, _) = adapt(&self.problem, &trials.best, self.inner_steps);
        let accuracy = 100.0 * read(self.problem.assess(&fast, &self.test).accuracy)[0];
        let [rates, penalties] = [0, 1].map(|leaf| {
            let logarithms = trials.best.leaves()[leaf].clone();
            read(logarithms.exp().reshape([self.problem.layers()]))
        });
        let best = Best { rates, penalties, accuracy };
        Record { method: method.key().into(), seed: self.seed, trials: trials.all, best, distance }
    }
}

/// Trials so far, and the θ of the best.
struct Trials {
    all: Vec<[f64; 2]>,
    lowest: f64,
    best: Params,
}

impl Trials {
    /// No trials; `start` is the best θ until there is one.
    fn new(start: Params) -> Self {
        Self { all: Vec::new(), lowest: f64::INFINITY, best: start }
    }

    /// Adds the `loss` of `theta`, known after `evaluations`. A loss that is not finite is ignored.
    fn add(&mut self, evaluations: u64, loss: f64, theta: &Params) {
        if !loss.is_finite() {
            return;
        }
        self.all.push([evaluations as f64, loss]);
        if loss < self.lowest {
            (self.lowest, self.best) = (loss, theta.clone());
        }
    }
}
