//! What an adapted learner takes the query images of episodes for.

use super::{Images, Learner};
use crate::data::EpisodeShape;
use crate::host::host_together;
use crate::stack::Stack;
use burn::tensor::activation::softmax;

impl Learner {
    /// Probabilities at θ of the episodes of `shape` that `images` are of, each after `steps` inner steps:
    /// `[tasks][ways·queries·ways]`, way by way within a query image.
    pub fn probabilities(
        &self,
        theta: &Stack,
        images: Images,
        shape: &EpisodeShape,
        steps: usize,
    ) -> Vec<Vec<f64>> {
        let parts = self.adapted(theta, images, shape, steps, |learner, outer, fast| {
            softmax(learner.query_logits(outer, fast), 2).flatten(0, 2)
        });
        let all = host_together(parts).concat();
        all.chunks(shape.ways * shape.queries * shape.ways).map(<[f64]>::to_vec).collect()
    }
}
