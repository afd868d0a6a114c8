//! The outer loop alone: θ ← θ − rate·estimate on any bi-level problem, by any estimator and any of the
//! optimisers. No run directory, no evaluation: whoever walks down looks around himself.
//!
//! ```text
//! let mut descent = Descent::new(&config, theta, workers);
//! while descent.progress() < 1.0 {
//!     let step = descent.step(&problem)?;
//! }
//! ```

use super::optimizer::{self, OuterOptimizer};
use super::{Error, schedule};
use crate::config::{Config, Outer};
use crate::estimator::{self, Estimator};
use crate::host::host;
use crate::hypergradient::{Evaluations, Workers};
use crate::interval::mean;
use crate::problem::Bilevel;
use crate::random::generator;
use crate::stack::Stack;
use std::time::Instant;

/// θ on its way down.
pub struct Descent {
    theta: Stack,
    estimator: Box<dyn Estimator>,
    optimizer: Box<dyn OuterOptimizer>,
    outer: Outer,
    inner_steps: usize,
    seed: u64,
    workers: Workers,
    steps: u64,
    evaluations: Evaluations,
}

/// One outer step, as it was taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Descended {
    /// Mean of L_out over the tasks, at θ before the step.
    pub loss: f64,
    /// Norm of the estimate, before clipping.
    pub gradient_norm: f64,
    /// What the step cost.
    pub evaluations: Evaluations,
}

impl Descent {
    /// Before the first step, at θ = `theta` (a stack of one task). Of `config` it has the estimator, the outer loop's
    /// optimiser, rate, schedule, budget and clipping, how many inner steps there are, and the seed of the coins.
    pub fn new(config: &Config, theta: Stack, workers: Workers) -> Self {
        Self {
            estimator: estimator::from_config(&config.estimator),
            optimizer: optimizer::from_config(&config.outer, theta.leaves().len()),
            outer: config.outer.clone(),
            inner_steps: config.inner.steps,
            seed: config.seed,
            theta,
            workers,
            steps: 0,
            evaluations: Evaluations::default(),
        }
    }

    /// One outer step on `problem`: the same one every time, or each step's own meta-batch.
    ///
    /// # Errors
    /// If the loss, the estimate or the new θ is not finite; θ is then as it was before.
    pub fn step<P: Bilevel>(&mut self, problem: &P) -> Result<Descended, Error> {
        let rate = self.outer.rate * schedule::share(self.outer.schedule, self.progress());
        let mut coins = generator(self.seed, "coin", self.steps);
        let draw = self.estimator.draw(&mut coins, problem.tasks(), self.inner_steps);
        let began = Instant::now();
        let estimate = self.workers.estimate(problem, &self.theta, &draw);
        let loss = mean(&host(estimate.outer_loss.clone()));
        let gradient = estimate.gradient.clone().mean();
        let gradient_norm = host(gradient.clone().squared_norm())[0].sqrt();
        self.finite("the loss", loss)?;
        self.finite("the meta-gradient", gradient_norm)?;
        let excess = self.outer.clip.map_or(1.0, |most| gradient_norm / most).max(1.0);
        let theta = self.optimizer.step(self.theta.clone(), gradient.scale(&[1.0 / excess]), rate);
        self.finite("the new θ's norm", host(theta.clone().squared_norm())[0])?;
        self.estimator.observe(&draw, &estimate, began.elapsed().as_secs_f64());
        self.theta = theta;
        self.steps += 1;
        self.evaluations += estimate.evaluations;
        Ok(Descended { loss, gradient_norm, evaluations: estimate.evaluations })
    }

    /// θ as it stands, a stack of one task.
    pub fn theta(&self) -> &Stack {
        &self.theta
    }

    /// The law, for what it knows and does.
    pub fn estimator(&self) -> &dyn Estimator {
        &*self.estimator
    }

    /// Outer steps taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// What all of them cost.
    pub fn evaluations(&self) -> Evaluations {
        self.evaluations
    }

    /// How much of the budget is used: 0 to 1, or a little more.
    pub fn progress(&self) -> f64 {
        schedule::progress(self.outer.budget, self.steps, self.evaluations.total())
    }

    fn finite(&self, what: &'static str, value: f64) -> Result<(), Error> {
        if value.is_finite() {
            Ok(())
        } else {
            Err(Error::Diverged { step: self.steps + 1, what, report: None })
        }
    }
}
