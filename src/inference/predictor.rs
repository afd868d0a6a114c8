//! A trained learner that adapts to a few images of each class and classifies others.

use super::Error;
use crate::config::Config;
use crate::data::{Channels, Fit, Form, Request};
use crate::run::Saved;
use crate::task::Batch;
use crate::task::BatchNorm;
use crate::train::Learner;
use bilevel::hypergradient::adapt;
use bilevel::readback::read;
use bilevel::{Params, device};
use burn::tensor::{Tensor, TensorData};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Which queries of `request` are also support images: whose pixels are equal to those of one.
pub fn support_among_queries(request: &Request) -> Vec<bool> {
    let set = &request.support;
    let of_class = |class: usize| (0..set.examples(class)).map(move |example| set.image(class, example));
    let support: BTreeSet<_> = (0..set.classes().len()).flat_map(of_class).collect();
    (0..request.queries.len()).map(|query| support.contains(request.query_pixels(query))).collect()
}

/// Number of images classified at once if they are independent of each other, to bound memory.
const BATCH: usize = 128;

/// A trained learner.
pub struct Predictor {
    learner: Learner,
    theta: Params,
    config: Config,
}

/// The prediction for an image.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// The network's output for each class.
    pub logits: Vec<f64>,
    /// Softmax of the logits.
    pub probabilities: Vec<f64>,
    /// The most probable class; the first among equals.
    pub class: usize,
}

impl Predictor {
    /// The learner in checkpoint `saved` of a run of `config`.
    ///
    /// `batch_norm` chooses the images whose statistics batch norm uses. With those of the support images, each
    /// prediction is independent of the other queries. With those of the query batch (transductive), it is not: that
    /// is how a transductive run was trained, on equally many images of each class, and new images are rarely so
    /// balanced.
    ///
    /// # Errors
    /// Returns an error if the run is not of images, the backend is unavailable or the checkpoint is of another network.
    pub fn new(config: &Config, saved: &Saved, batch_norm: BatchNorm) -> Result<Self, Error> {
        let mut config = config.clone();
        config.images()?;
        // A network without batch norm has no choice.
        if config.model.batch_norm != BatchNorm::Absent {
            config.model.batch_norm = batch_norm;
        }
        let opened = device::open(config.backend)?.with_threads(config.threads);
        let learner = Learner::new(&config, opened);
        let theta = saved.theta(&learner.leaves(), &learner.opened.device)?;
        Ok(Self { learner, theta, config })
    }

    /// Reads class folders to adapt to and images to classify, preprocessed like the run's images. `invert` is as in
    /// [`Request::read`] and defaults to the run's `data.invert`.
    ///
    /// # Errors
    /// As for [`Request::read`].
    pub fn request(
        &self,
        support: &Path,
        queries: &[PathBuf],
        invert: Option<bool>,
    ) -> Result<Request, Error> {
        let data = self.config.images()?;
        let channels = data.channels.unwrap_or(Channels::Grey);
        let form = Form { size: data.image_size, channels, fit: data.fit.unwrap_or(Fit::Stretch) };
        Ok(Request::read(support, queries, form, invert.or(data.invert))?)
    }

    /// Classifies the queries of `request`, in order, after `steps` inner steps on its support images.
    ///
    /// # Errors
    /// Returns an error if the number of classes is not the network's and its head depends on it, if there is one class only, if
    /// the images' size or channels are not the network's, if a single query would be classified with transductive batch norm, or
    /// if the outputs are not finite.
    ///
    /// # Panics
    /// If the device fails; Burn reports that by panicking everywhere.
    pub fn predict(&self, request: &Request, steps: usize) -> Result<Vec<Prediction>, Error> {
        self.check(request)?;
        let (learner, ways) = (&self.learner, request.support.classes().len());
        let normalisation = self.config.images()?.normalisation()?;
        let each = request.support.format().values();
        let batch = |values: Vec<f32>, labels: &[usize]| {
            let count = values.len() / each;
            let images = Tensor::from_data(TensorData::new(values, [1, count, each]), &learner.opened.device);
            Batch::new(&*learner.architecture, images, labels, ways)
        };
        let support = batch(request.support_values(&normalisation), &request.support_labels());
        // Adaptation does not use the queries.
        let (fast, _) = adapt(&learner.adapting(support.clone(), support.clone()), &self.theta, steps);

        let all = request.queries.len();
        let together = if self.shares_statistics() { all } else { BATCH };
        let mut predictions = Vec::with_capacity(all);
        for first in (0..all).step_by(together.max(1)) {
            let range = first..all.min(first + together);
            let query = batch(request.query_values(range, &normalisation), &[]);
            let problem = learner.adapting(support.clone(), query).problem;
            let logits = read(problem.query_logits(steps, &self.theta, &fast).flatten(0, 2));
            predictions.extend(logits.chunks_exact(ways).map(Prediction::new));
        }
        let finite = |prediction: &Prediction| prediction.logits.iter().all(|logit| logit.is_finite());
        if predictions.iter().all(finite) { Ok(predictions) } else { Err(Error::NotFinite { steps }) }
    }

    fn check(&self, request: &Request) -> Result<(), Error> {
        let (classes, ways) = (request.support.classes(), self.config.task.ways);
        if classes.len() != ways && !self.learner.any_ways() {
            let found = classes.iter().map(|class| class.name.clone()).collect();
            return Err(Error::Ways { found, ways });
        }
        if let [class] = classes {
            return Err(Error::OneClass { class: class.name.clone() });
        }
        let data = self.config.images()?;
        let (found, expected) = (request.support.size(), data.image_size);
        if found != expected {
            return Err(Error::Size { found, expected });
        }
        let [found, expected] =
            [request.support.channels(), data.channels.unwrap_or(Channels::Grey)].map(Channels::count);
        if found != expected {
            return Err(Error::Channels { found, expected });
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

    /// The second most probable class.
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
    fn probabilities_are_the_softmax_of_large_logits() {
        let prediction = Prediction::new(&[1000.0, 1001.0, 999.0]);
        assert_eq!((prediction.class, prediction.runner_up()), (1, 0));
        let e = 1f64.exp();
        let expected = [1.0 / e, 1.0, 1.0 / (e * e)].map(|power| power / (1.0 + 1.0 / e + 1.0 / (e * e)));
        prediction.probabilities.iter().zip(expected).for_each(|(p, q)| assert!((p - q).abs() < 1e-12));
        let equal = Prediction::new(&[2.0, 2.0]);
        assert_eq!((equal.class, equal.runner_up(), equal.probabilities), (0, 1, vec![0.5; 2]));
    }
}
