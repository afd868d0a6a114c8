//! What an adapted learner takes the query images of episodes for.

use super::{Images, Learner};
use crate::data::EpisodeShape;
use crate::host::host_together;
use crate::hypergradient::adapt;
use crate::problem::Bilevel;
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
        let problem = self.classify(images, shape);
        let parts = self.opened.workers.map(problem.tasks(), |chunk| {
            let problem = problem.select(chunk);
            let outer = theta.repeat(chunk.len());
            let (fast, _) = adapt(&problem, &outer, steps);
            let probabilities = softmax(problem.problem.query_logits(&outer, &fast), 2);
            let [tasks, queries, ways] = probabilities.dims();
            probabilities.reshape([tasks * queries * ways])
        });
        let all = host_together(parts).concat();
        all.chunks(shape.ways * shape.queries * shape.ways).map(<[f64]>::to_vec).collect()
    }
}
