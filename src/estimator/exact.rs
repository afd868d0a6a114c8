//! Exact: every inner step's product, g_r (Finn et al. 2017; Maclaurin et al. 2015).

use super::Estimator;
use crate::hypergradient::Draw;
use rand::Rng;

/// The exact gradient.
#[derive(Clone, Copy, Debug)]
pub struct Exact;

impl Estimator for Exact {
    fn draw(&self, _coins: &mut dyn Rng, tasks: usize, steps: usize) -> Draw {
        Draw::truncated(tasks, steps, steps)
    }

    fn is_unbiased(&self, _steps: usize) -> bool {
        true
    }
}
