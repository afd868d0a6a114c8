//! The learner: the network of a configuration on a device.

use super::{Images, outer_loop};
use crate::config::{self, Config, TaskKind};
use crate::data::{Episode, EpisodeShape};
use crate::model::{self, Architecture, Leaf};
use crate::task::{Adaptation, Batch, BatchNorm, FewShot, Head, Loss};
use bilevel::device::Opened;
use bilevel::hypergradient::Workers;
use bilevel::optimizer::LeafSettings;
use bilevel::ranks::{Alone, Ranks};
use bilevel::{OuterLoop, Params, Proximal};
use burn::tensor::{Tensor, TensorData};
use std::sync::Arc;

/// Converts episodes to meta-batches.
pub struct Learner {
    /// The network.
    pub architecture: Arc<dyn Architecture>,
    /// The device.
    pub opened: Opened,
    /// The ranks that share the tasks of meta-batches and the episodes of evaluations.
    pub ranks: Arc<dyn Ranks>,
    inner: config::Inner,
    adaptation: Adaptation,
    batch_norm: BatchNorm,
    loss: Loss,
}

impl Learner {
    /// The learner of `config` on the device of `opened`. Images whose channels `config` leaves open are grey; see
    /// [`Decided::config`](super::Decided::config).
    pub fn new(config: &Config, mut opened: Opened) -> Self {
        let architecture = config.model.architecture.build(config.input(), config.task.ways);
        let (inner, batch_norm) = (config.inner.clone(), config.model.batch_norm);
        let adaptation = inner.adaptation();
        let loss = match config.task.kind {
            TaskKind::Classification => Loss::CrossEntropy,
            TaskKind::Sinusoid => Loss::SquaredError,
        };
        if config.task.kind == TaskKind::Sinusoid {
            // So little is computed for a point that starting an operation costs more than the operation.
            opened.workers.chunk = Workers::TOGETHER.chunk;
        }
        Self { architecture, opened, ranks: Arc::new(Alone), inner, adaptation, batch_norm, loss }
    }

    /// The same learner, sharing its work with other ranks.
    #[must_use]
    pub fn with(self, ranks: Arc<dyn Ranks>) -> Self {
        Self { ranks, ..self }
    }

    /// The parameters of θ in the order of its leaves; see [`Adaptation::leaves`].
    pub fn leaves(&self) -> Vec<Leaf> {
        self.adaptation.leaves(&*self.architecture)
    }

    /// The initial θ.
    pub fn initialise(&self, seed: u64) -> Params {
        model::initialise_leaves(&self.leaves(), seed, &self.opened.device)
    }

    /// The outer loop of `config` for this learner, before its first step, at `theta`.
    pub fn outer_loop(&self, config: &Config, theta: Params) -> OuterLoop {
        let inner_rates = LeafSettings {
            rate_factor: self.inner.rates_learning_rate.map_or(1.0, |rate| rate / config.outer.rate),
            floor: self.inner.rate_floor,
        };
        let rates = self.adaptation.rates_in(&*self.architecture);
        let of = |leaf| if rates.contains(&leaf) { inner_rates } else { LeafSettings::default() };
        let leaves = (0..theta.leaves().len()).map(of).collect();
        let outer = outer_loop(config, theta, self.opened.workers).graphs(config.graphs);
        outer.ranks(self.ranks.clone()).leaf_settings(leaves)
    }

    /// Number of weights that adapt to an episode.
    pub fn fast_weights(&self) -> usize {
        let adapting = self.adaptation.fast_leaves(&*self.architecture);
        adapting.iter().map(|leaf| leaf.layout.count()).sum()
    }

    /// Whether one θ classifies episodes of any number of classes: whether the head does not depend on that number.
    pub fn any_ways(&self) -> bool {
        self.inner.head != Head::Learned
    }

    /// The meta-batch of `episodes`.
    pub fn problem(&self, episodes: &[Episode]) -> Proximal<FewShot> {
        let batch = |part: fn(&Episode) -> (&[f32], &[usize])| {
            let count = episodes.first().map_or(0, |episode| part(episode).1.len());
            let values = episodes.first().map_or(0, |episode| episode.values);
            let images: Vec<f32> =
                episodes.iter().flat_map(|episode| part(episode).0.iter().copied()).collect();
            let labels: Vec<usize> =
                episodes.iter().flat_map(|episode| part(episode).1.iter().copied()).collect();
            let images = TensorData::new(images, [episodes.len(), count, values]);
            let images = Tensor::from_data(images, &self.opened.device);
            let ways = episodes.first().map_or(0, |episode| episode.classes.len());
            Batch::new(&*self.architecture, images, &labels, ways)
        };
        let support = batch(|episode| (&episode.support, &episode.support_labels));
        let query = batch(|episode| (&episode.query, &episode.query_labels));
        self.adapting(support, query)
    }

    /// The meta-batch of the episodes of `shape` with these `images`.
    pub fn classify(&self, images: Images, shape: &EpisodeShape) -> Proximal<FewShot> {
        let batch = |images: Tensor<3>, labels: Vec<usize>| {
            let labels = labels.repeat(images.dims()[0]);
            Batch::new(&*self.architecture, images, &labels, shape.ways)
        };
        let support = batch(images.support, shape.support_labels());
        let query = batch(images.query, shape.query_labels());
        self.adapting(support, query)
    }

    /// The meta-batch `problem` as outer step `step` (from 0) trains on it: with `inner.head_only_until`, only the head adapts at
    /// first.
    pub fn at_step(&self, problem: Proximal<FewShot>, step: u64) -> Proximal<FewShot> {
        match self.inner.head_only_until {
            Some(until) if step < until => Proximal { problem: problem.problem.head_only(), ..problem },
            _ => problem,
        }
    }

    /// The meta-batch with these support and query sets.
    pub fn adapting(&self, support: Batch, query: Batch) -> Proximal<FewShot> {
        let network = self.architecture.clone();
        let plain = FewShot::new(network, support, query, self.inner.rate, self.batch_norm);
        let problem = plain.adapting(&self.adaptation).measured_by(self.loss);
        Proximal { problem, strength: self.inner.proximal }
    }
}
