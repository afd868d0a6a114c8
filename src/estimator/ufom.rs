//! UFOM(q): an unbiased estimate at little more than the price of a truncated one.
//!
//! ```text
//! g = g_K + (ξ/q)(g_r − g_K),   ξ ~ Bernoulli(q),   E g = g_r
//! ```
//!
//! ξ is drawn before the inner loop and independently of the task. Expected cost beyond the inner
//! loop: 1 + K + q(r − K). Likhosherstov et al., *Debiasing a first-order heuristic for approximate
//! bi-level optimization*, ICML 2021 (K = 0 there).

use super::{Estimator, coin::toss};
use crate::{config::Coin, hypergradient::Draw};
use rand::Rng;

/// Truncation debiased by a coin.
#[derive(Clone, Copy, Debug)]
pub struct Ufom {
    /// Probability of an exact draw, in (0, 1].
    pub q: f64,
    /// K of the truncated base.
    pub depth: usize,
    /// Who shares a coin.
    pub coin: Coin,
}

impl Estimator for Ufom {
    fn draw(&self, coins: &mut dyn Rng, tasks: usize, steps: usize) -> Draw {
        let depth = self.depth.min(steps);
        let mut draw = Draw::truncated(tasks, steps, depth);
        let exact = toss(self.coin, coins, tasks, self.q);
        for task in (0..tasks).filter(|task| exact[*task]) {
            draw.add(task, depth, -1.0 / self.q);
            draw.add(task, steps, 1.0 / self.q);
        }
        draw
    }

    fn is_unbiased(&self, _steps: usize) -> bool {
        true
    }
}
