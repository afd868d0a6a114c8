//! Randomised telescopes: how the draw of every estimator that stops at a random depth is made.
//!
//! ```text
//! g = g_{K_0} + Σ_{l ≤ N} (g_{K_l} − g_{K_{l−1}})/P(N ≥ l),   0 ≤ K_0 < … < K_L = r,   E g = g_r
//! ```
//!
//! N is drawn before the inner loop and independently of the task. In units of the g's the weights are
//! 1/s_l − 1/s_{l+1} at a level passed and 1/s_N at the last, with s_l = P(N ≥ l) and s_0 = 1; one level is UFOM.
//! Beatson & Adams, *Efficient optimization of loops and limits with randomized telescoping sums*, 2019.

use super::coin::uniforms;
use crate::config::Coin;
use crate::hypergradient::Draw;
use rand::Rng;

/// A draw for `tasks` tasks of `steps` inner steps: `depths` are K_0 … K_L, `survival` s_1 … s_L, not
/// increasing; and N of each task.
pub fn telescope(
    coin: Coin,
    coins: &mut dyn Rng,
    [tasks, steps]: [usize; 2],
    depths: &[usize],
    survival: &[f64],
) -> (Draw, Vec<usize>) {
    let mut draw = Draw::new(tasks, steps);
    let reached = |uniform: f64| survival.iter().take_while(|chance| uniform < **chance).count();
    let levels: Vec<usize> = uniforms(coin, coins, tasks).into_iter().map(reached).collect();
    for (task, last) in levels.iter().enumerate() {
        let inverse = |level: usize| if level == 0 { 1.0 } else { 1.0 / survival[level - 1] };
        for (level, depth) in depths.iter().enumerate().take(*last) {
            draw.add(task, *depth, inverse(level) - inverse(level + 1));
        }
        draw.add(task, depths[*last], inverse(*last));
    }
    (draw, levels)
}
