//! Truncated(K): the recursion for the last K inner steps only, g_K; biased unless K = r.
//!
//! Shaban et al., *Truncated back-propagation for bilevel optimization*, 2019.

use super::Estimator;
use crate::hypergradient::Draw;
use rand::Rng;

/// Truncation to the last `depth` steps (all of them if there are fewer).
#[derive(Clone, Copy, Debug)]
pub struct Truncated {
    /// K.
    pub depth: usize,
}

impl Estimator for Truncated {
    fn draw(&self, _coins: &mut dyn Rng, tasks: usize, steps: usize) -> Draw {
        Draw::truncated(tasks, steps, self.depth.min(steps))
    }

    fn is_unbiased(&self, steps: usize) -> bool {
        self.depth >= steps
    }
}
