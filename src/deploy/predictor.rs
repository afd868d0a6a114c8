//! A trained learner that adapts to a few images of each class and names new ones.

use super::Error;
use crate::backend;
use crate::config::{BatchNorm, Config};
use crate::data::Request;
use crate::host::host;
use crate::hypergradient::adapt;
use crate::problem::Batch;
use crate::stack::Stack;
use crate::trainer::{Learner, Saved};
use burn::tensor::{Tensor, TensorData};
use std::path::{Path, PathBuf};

/// Images that are named together where none depends on another, to bound memory.
const TOGETHER: usize = 128;

/// A trained learner.
pub struct Predictor {
    learner: Learner,
    theta: Stack,
    config: Config,
}

/// What an image was taken for.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// The network's output for each class.
    pub logits: Vec<f64>,
    /// Their softmax, which sums to 1.
    pub probabilities: Vec<f64>,
    /// The class of the largest; the first of equals.
    pub class: usize,
}

impl Predictor {
    /// The learner of a run of `config` as its checkpoint `saved` has it.
    ///
    /// `batch_norm` says which images give batch norm its statistics. With those of the support images every
    /// answer stands alone. With those of the batch at hand, the queries', it depends on what else is asked: that
    /// is how a transductive run was trained, on as many images of one class as of another, and few new images
    /// are so balanced.
    ///
    /// # Errors
    /// If the backend is not to be had, or the checkpoint is another network's.
    pub fn new(config: &Config, saved: &Saved, batch_norm: BatchNorm) -> Result<Self, Error> {
        let mut config = config.clone();
        config.model.batch_norm = batch_norm;
        let opened = backend::open(config.backend)?.with_threads(config.threads);
        let learner = Learner::new(&config, opened);
        let theta = saved.theta(&learner.leaves(), &learner.opened.device)?;
        Ok(Self { learner, theta, config })
    }

    /// Reads class folders to adapt to and images to name, made as the run's own were; `invert` is as in
    /// [`Request::read`], and without it the run's `data.invert`.
    ///
    /// # Errors
    /// As [`Request::read`].
    pub fn request(
        &self,
        support: &Path,
        queries: &[PathBuf],
        invert: Option<bool>,
    ) -> Result<Request, Error> {
        let data = &self.config.data;
        Ok(Request::read(support, queries, data.image_size, invert.or(data.invert))?)
    }

    /// Names the queries of `request`, in their order, after `steps` inner steps on its support images.
    ///
    /// # Errors
    /// If there are more or fewer classes than the network tells apart, the images have another size than it
    /// takes, one alone is to share statistics, or adapting leaves nothing finite.
    ///
    /// # Panics
    /// If the device fails; Burn reports that by panicking everywhere.
    pub fn predict(&self, request: &Request, steps: usize) -> Result<Vec<Prediction>, Error> {
        self.check(request)?;
        let (learner, ways) = (&self.learner, self.config.task.ways);
        let area = request.support.size() * request.support.size();
        let batch = |ink: Vec<f32>, labels: &[usize]| {
            let count = ink.len() / area;
            let images = Tensor::from_data(TensorData::new(ink, [1, count, area]), &learner.opened.device);
            Batch::new(&*learner.architecture, images, labels, ways)
        };
        let support = batch(request.support_ink(), &request.support_labels());
        // Adapting does not look at the queries.
        let (fast, _) = adapt(&learner.adapting(support.clone(), support.clone()), &self.theta, steps);

        let all = request.queries.len();
        let together = if self.shares_statistics() { all } else { TOGETHER };
        let mut predictions = Vec::with_capacity(all);
        for first in (0..all).step_by(together.max(1)) {
            let query = batch(request.query_ink(first..all.min(first + together)), &[]);
            let problem = learner.adapting(support.clone(), query).problem;
            let logits = host(problem.query_logits(&self.theta, &fast).flatten(0, 2));
            predictions.extend(logits.chunks_exact(ways).map(Prediction::new));
        }
        let finite = |prediction: &Prediction| prediction.logits.iter().all(|logit| logit.is_finite());
        if predictions.iter().all(finite) { Ok(predictions) } else { Err(Error::NotFinite { steps }) }
    }

    fn check(&self, request: &Request) -> Result<(), Error> {
        let (classes, ways) = (request.support.classes(), self.config.task.ways);
        if classes.len() != ways {
            let found = classes.iter().map(|class| class.name.clone()).collect();
            return Err(Error::Ways { found, ways });
        }
        let (found, expected) = (request.support.size(), self.config.data.image_size);
        if found != expected {
            return Err(Error::Size { found, expected });
        }
        if self.shares_statistics() && request.queries.len() == 1 {
            return Err(Error::Alone);
        }
        Ok(())
    }

    fn shares_statistics(&self) -> bool {
        self.config.model.batch_norm == BatchNorm::Transductive
    }
}

impl Prediction {
    fn new(logits: &[f64]) -> Self {
        let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let powers: Vec<f64> = logits.iter().map(|logit| (logit - most).exp()).collect();
        let sum: f64 = powers.iter().sum();
        Self {
            logits: logits.to_vec(),
            probabilities: powers.into_iter().map(|power| power / sum).collect(),
            class: logits.iter().position(|logit| *logit == most).unwrap_or(0),
        }
    }

    /// The class of the second largest probability.
    pub fn runner_up(&self) -> usize {
        let others = (0..self.logits.len()).filter(|class| *class != self.class);
        let better =
            |best: usize, class: usize| if self.logits[class] > self.logits[best] { class } else { best };
        others.reduce(better).unwrap_or(self.class)
    }
}

#[cfg(test)]
mod tests {
    use super::Prediction;

    #[test]
    fn probabilities_are_the_softmax_of_logits_of_any_size() {
        let prediction = Prediction::new(&[1000.0, 1001.0, 999.0]);
        assert_eq!((prediction.class, prediction.runner_up()), (1, 0));
        let e = 1f64.exp();
        let expected = [1.0 / e, 1.0, 1.0 / (e * e)].map(|power| power / (1.0 + 1.0 / e + 1.0 / (e * e)));
        prediction.probabilities.iter().zip(expected).for_each(|(p, q)| assert!((p - q).abs() < 1e-12));
        let equal = Prediction::new(&[2.0, 2.0]);
        assert_eq!((equal.class, equal.runner_up(), equal.probabilities), (0, 1, vec![0.5; 2]));
    }
}
