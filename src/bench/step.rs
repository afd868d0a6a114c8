//! One outer step as in a run, and as measured for other frameworks: the inner loops, the meta-gradient estimate and the
//! Adam update. Two meta-batches stay on the device and alternate; sampling episodes is not part of a step.

use super::Error;
use crate::config::Config;
use crate::data::{Episode, Part};
use crate::task::FewShot;
use crate::train::{self, Learner, Watcher};
use bilevel::device::Opened;
use bilevel::hypergradient::{Evaluations, Memory};
use bilevel::{OuterLoop, Proximal, resolve};

/// Number of alternating meta-batches.
const BATCHES: u64 = 2;

/// An outer loop on two meta-batches.
pub struct OuterStep {
    learner: Learner,
    problems: Vec<Proximal<FewShot>>,
    outer: OuterLoop,
    memory: Memory,
    loss: f64,
}

impl OuterStep {
    /// The outer loop of `config` on `opened`, before its first step, with the last estimator of its schedule.
    ///
    /// # Errors
    /// Returns an error if the data is insufficient.
    pub fn new(config: &Config, opened: Opened, watcher: &mut dyn Watcher) -> Result<Self, Error> {
        let sampler = train::sampler(config, watcher)?;
        let config = &train::resolved(config, &sampler);
        let learner = Learner::new(config, opened);
        let (shape, tasks) = (train::training_shape(config), config.outer.meta_batch as u64);
        let problems = (0..BATCHES).map(|batch| {
            let indices = batch * tasks..(batch + 1) * tasks;
            let episodes: Vec<Episode> =
                indices.map(|index| sampler.episode(Part::Train, index, &shape)).collect();
            learner.problem(&episodes)
        });
        let problems: Vec<_> = problems.collect();
        let config = &Config { estimator: config.estimator.last().clone().into(), ..config.clone() };
        let outer = learner.outer_loop(config, learner.initialise(config.seed));
        let memory = outer.plan(&problems[0]);
        Ok(Self { learner, problems, outer, memory, loss: f64::NAN })
    }

    /// Takes one outer step, waits until the device has finished it, and returns its evaluations. Divergence is ignored.
    ///
    /// # Errors
    /// Returns an error if the device fails.
    pub fn take(&mut self) -> Result<Evaluations, Error> {
        let taken = self.outer.steps();
        let pending = self.outer.launch(&self.problems[(taken % BATCHES) as usize], taken);
        let spent = pending.spent;
        self.learner.opened.device.sync().map_err(|error| Error::Device(error.to_string()))?;
        let [mut completed] = resolve([pending]);
        self.outer.learn(&mut completed);
        self.loss = completed.loss;
        Ok(spent)
    }

    /// Mean query loss of the latest step.
    pub fn loss(&self) -> f64 {
        self.loss
    }

    /// The network and its device.
    pub fn learner(&self) -> &Learner {
        &self.learner
    }

    /// The memory plan: which iterates of each task are stored.
    pub fn memory(&self) -> Memory {
        self.memory
    }
}
