//! A learner: the network of a configuration on a device, fed with episodes.

use super::{Gallery, Images};
use crate::backend::Opened;
use crate::config::{self, BatchNorm, Config, RateKind};
use crate::data::{Episode, EpisodeShape, Part};
use crate::host::host_together;
use crate::hypergradient::adapt;
use crate::interval::{mean, mean_and_ci95};
use crate::model::{self, Architecture, Conv4Config, Leaf, MlpConfig};
use crate::problem::{Adaptation, Batch, Bilevel, FewShot, InnerRates, Proximal, Rates};
use crate::stack::Stack;
use burn::tensor::{Tensor, TensorData};
use serde::Serialize;
use std::ops::Range;
use std::sync::Arc;

/// Episodes that are evaluated together; on a GPU they share a launch.
const EVALUATED_TOGETHER: u64 = 32;

/// Episodes 0 … `episodes` − 1 in batches that are evaluated together.
pub fn together(episodes: u64) -> impl Iterator<Item = Range<u64>> {
    let step = EVALUATED_TOGETHER as usize;
    (0..episodes).step_by(step).map(move |first| first..episodes.min(first + EVALUATED_TOGETHER))
}

/// What turns episodes into meta-batches and θ into accuracies.
pub struct Learner {
    /// The network.
    pub architecture: Arc<dyn Architecture>,
    /// Where it runs.
    pub opened: Opened,
    ways: usize,
    inner: config::Inner,
    batch_norm: BatchNorm,
}

/// Accuracy over a list of episodes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Accuracy {
    /// Mean over episodes, percent.
    pub mean: f64,
    /// Half of the 95 % interval: 1.96 standard errors, percent.
    pub ci95: f64,
    /// Mean query cross-entropy.
    pub loss: f64,
    /// How many episodes.
    pub episodes: usize,
}

impl Learner {
    /// The learner that `config` describes, on `opened`.
    pub fn new(config: &Config, opened: Opened) -> Self {
        let (side, ways) = (config.data.image_size, config.task.ways);
        let architecture: Arc<dyn Architecture> = match &config.model.architecture {
            config::Architecture::Conv4 { filters, blocks } => {
                Arc::new(Conv4Config::new(side, *blocks, *filters, ways))
            }
            config::Architecture::Mlp { hidden } => Arc::new(MlpConfig::new(side * side, hidden, ways)),
        };
        let (inner, batch_norm) = (config.inner.clone(), config.model.batch_norm);
        Self { architecture, opened, ways, inner, batch_norm }
    }

    /// θ's parameters, in the order of its leaves: see [`Adaptation::leaves`].
    pub fn leaves(&self) -> Vec<Leaf> {
        self.adaptation().leaves(&*self.architecture)
    }

    /// θ before the first step.
    pub fn initialise(&self, seed: u64) -> Stack {
        model::initialise_leaves(&self.leaves(), seed, &self.opened.device)
    }

    /// How many weights adapt to an episode.
    pub fn fast_weights(&self) -> usize {
        let still = self.adaptation().still(&*self.architecture);
        self.architecture.leaves()[still..].iter().map(|leaf| leaf.layout.count()).sum()
    }

    fn adaptation(&self) -> Adaptation {
        let rate = self.inner.rate;
        let rates = match self.inner.rates {
            RateKind::Fixed => InnerRates::Fixed(Rates::Scalar(rate)),
            RateKind::Learned => InnerRates::Learned { start: rate },
        };
        Adaptation { adapts: self.inner.adapts, rates }
    }

    /// The meta-batch of `episodes`.
    pub fn problem(&self, episodes: &[Episode]) -> Proximal<FewShot> {
        let batch = |part: fn(&Episode) -> (&[f32], &[usize])| {
            let count = episodes.first().map_or(0, |episode| part(episode).1.len());
            let pixels = episodes.first().map_or(0, |episode| episode.size * episode.size);
            let images: Vec<f32> =
                episodes.iter().flat_map(|episode| part(episode).0.iter().copied()).collect();
            let labels: Vec<usize> =
                episodes.iter().flat_map(|episode| part(episode).1.iter().copied()).collect();
            let images = TensorData::new(images, [episodes.len(), count, pixels]);
            let images = Tensor::from_data(images, &self.opened.device);
            Batch::new(&*self.architecture, images, &labels, self.ways)
        };
        let support = batch(|episode| (&episode.support, &episode.support_labels));
        let query = batch(|episode| (&episode.query, &episode.query_labels));
        self.adapting(support, query)
    }

    /// The meta-batch of the episodes of `shape` that `images` are of.
    pub fn classify(&self, images: Images, shape: &EpisodeShape) -> Proximal<FewShot> {
        let batch = |images: Tensor<3>, labels: Vec<usize>| {
            let labels = labels.repeat(images.dims()[0]);
            Batch::new(&*self.architecture, images, &labels, self.ways)
        };
        let support = batch(images.support, shape.support_labels());
        let query = batch(images.query, shape.query_labels());
        self.adapting(support, query)
    }

    /// The meta-batch that adapts to `support` and is judged on `query`.
    pub fn adapting(&self, support: Batch, query: Batch) -> Proximal<FewShot> {
        let network = self.architecture.clone();
        let plain = FewShot::new(network, support, query, self.inner.rate, self.batch_norm);
        Proximal { problem: plain.adapting(self.adaptation()), strength: self.inner.proximal }
    }

    /// What `look` sees of the episodes of `shape` that `images` are of, each adapted from θ by `steps` inner steps:
    /// of the learner, its start and its fast weights, chunk by chunk of the tasks.
    pub(super) fn adapted<R: Send>(
        &self,
        theta: &Stack,
        images: Images,
        shape: &EpisodeShape,
        steps: usize,
        look: impl Fn(&FewShot, &Stack, &Stack) -> R + Sync,
    ) -> Vec<R> {
        let problem = self.classify(images, shape);
        self.opened.workers.map(problem.tasks(), |chunk| {
            let problem = problem.select(chunk);
            let outer = theta.repeat(chunk.len());
            let (fast, _) = adapt(&problem, &outer, steps);
            look(&problem.problem, &outer, &fast)
        })
    }

    /// Accuracy at θ over `part`'s episodes 0 … `episodes` − 1, each after `steps` inner steps.
    pub fn evaluate(
        &self,
        theta: &Stack,
        gallery: &Gallery,
        part: Part,
        shape: &EpisodeShape,
        (episodes, steps): (usize, usize),
        mut progress: impl FnMut(usize),
    ) -> Accuracy {
        let (mut accuracies, mut losses) = (Vec::with_capacity(episodes), Vec::with_capacity(episodes));
        for batch in together(episodes as u64) {
            let last = batch.end;
            let images = gallery.images(part, batch, shape);
            let parts = self.adapted(theta, images, shape, steps, |learner, outer, fast| {
                let adapted = learner.assess(outer, fast);
                [adapted.accuracy, adapted.loss]
            });
            let mut seen = host_together(parts.into_iter().flatten().collect()).into_iter();
            while let (Some(accuracy), Some(loss)) = (seen.next(), seen.next()) {
                accuracies.extend(accuracy);
                losses.extend(loss);
            }
            progress(last as usize);
        }
        let (accuracy, ci95) = mean_and_ci95(&accuracies);
        Accuracy { mean: 100.0 * accuracy, ci95: 100.0 * ci95, loss: mean(&losses), episodes }
    }
}
