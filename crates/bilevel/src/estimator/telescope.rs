//! Randomised telescopes: the draw of every estimator that stops at a random depth.
//!
//! ```text
//! g = g_{K_0} + Σ_{l ≤ N} (g_{K_l} − g_{K_{l−1}})/P(N ≥ l),   0 ≤ K_0 < … < K_L = r,   E g = g_r
//! ```
//!
//! N is drawn before the inner loop and independently of the task. With s_l = P(N ≥ l) and s_0 = 1, the weight of
//! g_{K_l} is 1/s_l − 1/s_{l+1} for l < N and 1/s_N for l = N. One level is UFOM. Beatson & Adams, *Efficient
//! optimization of loops and limits with randomized telescoping sums*, 2019.

use super::coin::{Coin, uniforms};
use crate::hypergradient::Draw;
use rand::Rng;

/// A draw for `tasks` tasks of `steps` inner steps, and N of each task. `depths` are K_0 … K_L; `survival` are s_1 …
/// s_L, which must not increase.
pub fn telescope(
    coin: Coin,
    coins: &mut dyn Rng,
    tasks: usize,
    steps: usize,
    depths: &[usize],
    survival: &[f64],
) -> (Draw, Vec<usize>) {
    let mut draw = Draw::new(tasks, steps);
    let reached = |uniform: f64| survival.iter().take_while(|chance| uniform < **chance).count();
    let levels: Vec<usize> = uniforms(coin, coins, tasks).into_iter().map(reached).collect();
    for (task, last) in levels.iter().enumerate() {
        let inverse = |level: usize| if level == 0 { 1.0 } else { 1.0 / survival[level - 1] };
        for (level, depth) in depths[..*last].iter().enumerate() {
            draw.add(task, *depth, inverse(level) - inverse(level + 1));
        }
        draw.add(task, depths[*last], inverse(*last));
    }
    (draw, levels)
}
