//! One outer step as a run takes it, and as other frameworks are timed at it: the inner loops, the
//! meta-gradient's estimate, Adam. Two meta-batches lie ready on the device and are taken in turn;
//! drawing episodes is not part of a step.

use super::Error;
use crate::backend::Opened;
use crate::config::Config;
use crate::data::{Episode, Part};
use crate::estimator::{self, Estimator};
use crate::host::host;
use crate::hypergradient::Evaluations;
use crate::interval::mean;
use crate::problem::{FewShot, Proximal};
use crate::random;
use crate::stack::Stack;
use crate::trainer::{self, Learner, OuterOptimizer, Plan, Watcher};
use std::time::Instant;

/// Meta-batches that are taken in turn.
const BATCHES: u64 = 2;

/// What takes one outer step after the other.
pub struct OuterStep {
    config: Config,
    learner: Learner,
    problems: Vec<Proximal<FewShot>>,
    estimator: Box<dyn Estimator>,
    optimizer: Box<dyn OuterOptimizer>,
    theta: Stack,
    taken: u64,
    loss: f64,
}

impl OuterStep {
    /// The steps of `config` on `opened`, none taken yet.
    ///
    /// # Errors
    /// If the data does not suffice.
    pub fn new(config: Config, opened: Opened, watcher: &mut dyn Watcher) -> Result<Self, Error> {
        let sampler = trainer::sampler(&config, watcher)?;
        let mut learner = Learner::new(&config, opened);
        learner.opened.workers.memory = Plan::new(&config, &learner).memory;
        let (shape, tasks) = (trainer::training_shape(&config), config.outer.meta_batch as u64);
        let problems = (0..BATCHES).map(|batch| {
            let indices = batch * tasks..(batch + 1) * tasks;
            let episodes: Vec<Episode> =
                indices.map(|index| sampler.episode(Part::Train, index, &shape)).collect();
            learner.problem(&episodes)
        });
        let problems = problems.collect();
        let theta = learner.initialise(config.seed);
        Ok(Self {
            estimator: estimator::from_config(&config.estimator),
            optimizer: trainer::optimizer(&config.outer, theta.leaves().len()),
            problems,
            theta,
            learner,
            config,
            taken: 0,
            loss: f64::NAN,
        })
    }

    /// Takes one, to its end on the device, and says what it evaluated.
    ///
    /// # Errors
    /// If the device fails.
    pub fn take(&mut self) -> Result<Evaluations, Error> {
        let began = Instant::now();
        let (tasks, steps) = (self.config.outer.meta_batch, self.config.inner.steps);
        let mut coins = random::generator(self.config.seed, "coin", self.taken);
        let draw = self.estimator.draw(&mut coins, tasks, steps);
        let problem = &self.problems[(self.taken % BATCHES) as usize];
        let estimate = self.learner.opened.workers.estimate(problem, &self.theta, &draw);
        let gradient = estimate.gradient.clone().mean();
        self.theta = self.optimizer.step(self.theta.clone(), gradient, self.config.outer.rate);
        self.learner.opened.device.sync().map_err(|error| Error::Device(error.to_string()))?;
        self.estimator.observe(&draw, &estimate, began.elapsed().as_secs_f64());
        self.loss = mean(&host(estimate.outer_loss));
        self.taken += 1;
        Ok(estimate.evaluations)
    }

    /// Mean query loss of the step taken last.
    pub fn loss(&self) -> f64 {
        self.loss
    }

    /// The network and its device.
    pub fn learner(&self) -> &Learner {
        &self.learner
    }
}
