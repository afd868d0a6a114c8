//! Predictions of an adapted learner for query images.

use super::{Images, Learner};
use crate::data::EpisodeShape;
use bilevel::hypergradient::adapt;
use bilevel::readback::read_all;
use bilevel::{Bilevel, Params};
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
        let problem = self.classify(images, shape);
        let parts = self.opened.workers.map(problem.tasks(), |chunk| {
            let (problem, outer) = (problem.select(chunk), theta.repeat(chunk.len()));
            let (fast, _) = adapt(&problem, &outer, steps);
            softmax(problem.problem.query_logits(steps, &outer, &fast), 2).flatten(0, 2)
        });
        let all = read_all(parts).concat();
        all.chunks(shape.ways * shape.queries * shape.ways).map(<[f64]>::to_vec).collect()
    }
}
