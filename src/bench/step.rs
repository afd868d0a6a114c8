//! One outer step as in a run, and as measured for other frameworks: the inner loops, the meta-gradient estimate and the
//! Adam update. Two meta-batches stay on the device and alternate; sampling episodes is not part of a step.

use super::{Error, LaunchCounts, Timed};
use crate::config::Config;
use crate::data::{Episode, Part};
use crate::task::FewShot;
use crate::train::{self, Learner, RunData, Watcher};
use bilevel::device::Opened;
use bilevel::hypergradient::{Evaluations, Memory};
use bilevel::{OuterLoop, Proximal, resolve};
use std::time::Instant;

/// Number of alternating meta-batches.
const BATCHES: u64 = 2;

/// An outer loop on two meta-batches.
pub struct OuterStep {
    learner: Learner,
    problems: Vec<Proximal<FewShot>>,
    outer: OuterLoop,
    memory: Memory,
    loss: f64,
    wants_graphs: bool,
}

impl OuterStep {
    /// The outer loop of `config` on `opened`, before its first step, with the last estimator of its schedule.
    ///
    /// # Errors
    /// Returns an error if the data is insufficient.
    pub fn new(config: &Config, opened: Opened, watcher: &mut dyn Watcher) -> Result<Self, Error> {
        let RunData { sampler, ref config, .. } = RunData::load(config, None, watcher)?;
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
        Ok(Self { learner, problems, outer, memory, loss: f64::NAN, wants_graphs: config.graphs })
    }

    /// Sets whether launches are recorded as graphs.
    pub(super) fn record_graphs(&mut self, enabled: bool) {
        self.outer.record_graphs(enabled);
    }

    /// Whether recording a graph has failed.
    pub(super) fn graphs_refused(&self) -> bool {
        self.outer.graphs_refused()
    }

    /// Whether the configuration asks for graphs.
    pub(super) fn wants_graphs(&self) -> bool {
        self.wants_graphs
    }

    /// Queues one outer step and returns the milliseconds that this took; then waits until the device has finished it.
    ///
    /// # Errors
    /// Returns an error if the device fails.
    pub(super) fn queue(&mut self) -> Result<f64, Error> {
        let (start, taken) = (Instant::now(), self.outer.steps());
        drop(self.outer.launch(&self.problems[(taken % BATCHES) as usize], taken));
        let queued = 1e3 * start.elapsed().as_secs_f64();
        self.learner.opened.device.sync().map_err(|error| Error::Device(error.to_string()))?;
        Ok(queued)
    }
}

impl Timed for OuterStep {
    /// Takes one outer step and waits until the device has finished it. Divergence is ignored.
    fn take(&mut self) -> Result<Evaluations, Error> {
        let taken = self.outer.steps();
        let pending = self.outer.launch(&self.problems[(taken % BATCHES) as usize], taken);
        let spent = pending.spent;
        self.learner.opened.device.sync().map_err(|error| Error::Device(error.to_string()))?;
        let [mut completed] = resolve([pending]);
        self.outer.learn(&mut completed);
        self.loss = completed.loss;
        Ok(spent)
    }

    fn loss(&self) -> f64 {
        self.loss
    }

    fn learner(&self) -> &Learner {
        &self.learner
    }

    fn memory(&self) -> Option<Memory> {
        Some(self.memory)
    }

    fn launches(&mut self) -> Result<Option<LaunchCounts>, Error> {
        LaunchCounts::measure(self)
    }
}
