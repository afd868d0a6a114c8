//! Truncated(K): the backward recursion through the last K inner steps only, g = g_K; biased unless K = r.
//!
//! Shaban et al., *Truncated back-propagation for bilevel optimization*, 2019.

use super::{Estimator, OuterPart, Settings};
use crate::hypergradient::Draw;
use rand::Rng;
use serde::{Deserialize, Serialize};

/// Truncation to the last `depth` inner steps, or to all of them if there are fewer.
///
/// Default: `depth` 1. Costs `depth` products a task. Best if the last inner steps contribute most of the gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Truncated {
    /// K, the number of inner steps to differentiate.
    #[serde(rename = "truncate")]
    pub depth: usize,
}

impl Default for Truncated {
    /// Depth 1.
    fn default() -> Self {
        Self { depth: 1 }
    }
}

impl Settings for Truncated {
    const KEYS: &'static [&'static str] = &["truncate"];
    const REQUIRED: &'static [&'static str] = &["truncate"];

    fn build(&self) -> Box<dyn Estimator> {
        Box::new(*self)
    }

    fn cannot_learn(&self, part: OuterPart) -> Option<&'static str> {
        let none = self.depth == 0 && part == OuterPart::InnerRates;
        none.then_some("the inner rates have no gradient if no inner step is differentiated")
    }
}

impl Estimator for Truncated {
    fn draw(&self, _coins: &mut dyn Rng, tasks: usize, steps: usize) -> Draw {
        Draw::truncated(tasks, steps, self.depth.min(steps))
    }

    fn is_unbiased(&self, steps: usize) -> bool {
        self.depth >= steps
    }

    fn max_depth(&self, steps: usize) -> usize {
        self.depth.min(steps)
    }
}
