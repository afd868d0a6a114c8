//! Predictions of an adapted learner for query images.

use super::{Images, Learner};
use crate::data::EpisodeShape;
use bilevel::Params;
use bilevel::readback::read_all;
use burn::tensor::activation::softmax;

impl Learner {
    /// Class probabilities of the query images in the episodes of `shape` with these `images`, each after `steps` inner
    /// steps from θ: `[tasks][ways·queries·ways]`, the last index being the class.
    pub fn probabilities(
        &self,
        theta: &Params,
        images: Images,
        shape: &EpisodeShape,
        steps: usize,
    ) -> Vec<Vec<f64>> {
        let parts = self.adapted(theta, images, shape, steps, |learner, outer, fast| {
            softmax(learner.query_logits(steps, outer, fast), 2).flatten(0, 2)
        });
        let all = read_all(parts).concat();
        all.chunks(shape.ways * shape.queries * shape.ways).map(<[f64]>::to_vec).collect()
    }
}
