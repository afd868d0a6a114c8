//! An evaluation as `metaburn eval` makes it, or the work of `metaburn predict` on one task: sampling the episodes,
//! adapting θ to each support set, and classifying the queries.

use super::{Error, LaunchCounts, Timed};
use crate::config::Config;
use crate::data::Part;
use crate::task::BatchNorm;
use crate::train::{EpisodeLoader, Evaluation, Learner, RunData, Watcher};
use bilevel::Params;
use bilevel::device::Opened;
use bilevel::hypergradient::{Evaluations, Memory};

/// An untrained learner, evaluated on the same episodes again and again.
pub struct EvaluationPass {
    learner: Learner,
    loader: EpisodeLoader,
    theta: Params,
    evaluation: Evaluation,
    mode: BatchNorm,
    loss: f64,
}

impl EvaluationPass {
    /// An evaluation of the learner of `config` on as many episodes as a meta-batch has.
    ///
    /// # Errors
    /// Returns an error if the data is insufficient.
    pub fn new(config: &Config, opened: Opened, watcher: &mut dyn Watcher) -> Result<Self, Error> {
        let RunData { sampler, ref config, .. } = RunData::load(config, None, watcher)?;
        let loader = EpisodeLoader::new(sampler, &opened);
        let learner = Learner::new(config, opened);
        let theta = learner.initialise(config.seed);
        let evaluation = Evaluation::new(config, Part::Test, config.outer.meta_batch);
        Ok(Self { learner, loader, theta, evaluation, mode: config.model.batch_norm, loss: f64::NAN })
    }
}

impl Timed for EvaluationPass {
    fn take(&mut self) -> Result<Evaluations, Error> {
        let members = std::slice::from_ref(&self.theta);
        let [accuracy] = self.learner.evaluate(members, &self.loader, &self.evaluation, [self.mode], |_| {});
        self.loss = accuracy.loss;
        let inner = (self.evaluation.episodes * self.evaluation.steps) as u64;
        Ok(Evaluations { inner, ..Evaluations::default() })
    }

    fn loss(&self) -> f64 {
        self.loss
    }

    fn learner(&self) -> &Learner {
        &self.learner
    }

    fn memory(&self) -> Option<Memory> {
        None
    }

    fn launches(&mut self) -> Result<Option<LaunchCounts>, Error> {
        Ok(None)
    }
}
