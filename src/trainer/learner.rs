//! A learner: the network of a configuration on a device, fed with episodes.

use crate::backend::Opened;
use crate::config::{self, BatchNorm, Config};
use crate::data::{Episode, EpisodeShape, Part, Sampler};
use crate::hypergradient::adapt;
use crate::interval::mean_and_ci95;
use crate::model::{Architecture, Conv4Config, MlpConfig};
use crate::problem::{Batch, Bilevel, FewShot};
use crate::stack::Stack;
use burn::tensor::{Tensor, TensorData};
use serde::Serialize;
use std::sync::Arc;

/// Episodes that are evaluated together; on a GPU they share a launch.
const EVALUATED_TOGETHER: u64 = 32;

/// What turns episodes into meta-batches and θ into accuracies.
pub struct Learner {
    /// The network.
    pub architecture: Arc<dyn Architecture>,
    /// Where it runs.
    pub opened: Opened,
    ways: usize,
    rate: f64,
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
        Self { architecture, opened, ways, rate: config.inner.rate, batch_norm: config.model.batch_norm }
    }

    /// The meta-batch of `episodes`.
    pub fn problem(&self, episodes: &[Episode]) -> FewShot {
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
        FewShot::new(self.architecture.clone(), support, query, self.rate, self.batch_norm)
    }

    /// Accuracy at θ over `part`'s episodes 0 … `episodes` − 1, each after `steps` inner steps.
    pub fn evaluate(
        &self,
        theta: &Stack,
        sampler: &Sampler,
        part: Part,
        shape: &EpisodeShape,
        (episodes, steps): (usize, usize),
        mut progress: impl FnMut(usize),
    ) -> Accuracy {
        let (mut accuracies, mut losses) = (Vec::with_capacity(episodes), Vec::with_capacity(episodes));
        let mut first = 0;
        while first < episodes as u64 {
            let last = (first + EVALUATED_TOGETHER).min(episodes as u64);
            let drawn: Vec<Episode> =
                (first..last).map(|index| sampler.episode(part, index, shape)).collect();
            let problem = self.problem(&drawn);
            let parts = self.opened.workers.map(problem.tasks(), |chunk| {
                let problem = problem.select(chunk);
                let (fast, _) = adapt(&problem, &theta.repeat(chunk.len()), steps, |_, _| {});
                let adapted = problem.assess(&fast);
                (host(adapted.accuracy), host(adapted.loss))
            });
            for (accuracy, loss) in parts {
                accuracies.extend(accuracy);
                losses.extend(loss);
            }
            first = last;
            progress(first as usize);
        }
        let (mean, ci95) = mean_and_ci95(&accuracies);
        Accuracy { mean: 100.0 * mean, ci95: 100.0 * ci95, loss: mean_and_ci95(&losses).0, episodes }
    }
}

/// A tensor's values on the host.
///
/// # Panics
/// If the device was lost; Burn reports that by panicking everywhere.
pub fn host(values: Tensor<1>) -> Vec<f64> {
    values.into_data().iter::<f64>().collect()
}
