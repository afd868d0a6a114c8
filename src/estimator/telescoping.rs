//! Telescoping: differentiate down to a random depth, and reweight each increment by its chance of being reached.
//!
//! ```text
//! g = g_{K_0} + Σ_{l ≤ N} (g_{K_l} − g_{K_{l−1}})/s_l,   s_l = P(N ≥ l),   K_L = r,   E g = g_r
//! ```
//!
//! For MAML every g_K lies on the way of the one recursion, so increments are free by-products, and since N is
//! drawn first, only the last K_N iterates are kept. With R_l = g_r − g_{K_{l−1}}, what is still missing before
//! level l, and E[1(N ≥ k) 1(N ≥ l)] = s_max(k,l),
//!
//! ```text
//! E‖g − g_r‖² = Σ_l (1/s_l − 1) β_l,   β_l = E‖R_l‖² − E‖R_{l+1}‖²
//! ```
//!
//! (METHOD, "Telescoping's variance"). One level is UFOM. Randomised telescopes: Beatson & Adams 2019; unbiased truncated
//! backpropagation: Tallec & Ollivier 2017. Here s_l = sˡ.

use super::Estimator;
use super::telescope::telescope;
use crate::config::{Coin, LevelRule, Levels};
use crate::hypergradient::Draw;
use rand::Rng;

/// A telescope with a geometric law.
#[derive(Clone, Debug)]
pub struct Telescoping {
    /// s: the chance of going on from one level to the next, in (0, 1].
    pub survival: f64,
    /// Where it may stop.
    pub levels: Levels,
    /// K_0, taken in any case.
    pub depth: usize,
    /// Who shares a draw.
    pub coin: Coin,
}

impl Estimator for Telescoping {
    fn draw(&self, coins: &mut dyn Rng, tasks: usize, steps: usize) -> Draw {
        let depths = depths(&self.levels, self.depth, steps);
        let survival: Vec<f64> = (1..depths.len()).map(|level| self.survival.powi(level as i32)).collect();
        telescope(self.coin, coins, [tasks, steps], &depths, &survival).0
    }

    fn is_unbiased(&self, _steps: usize) -> bool {
        true
    }
}

/// K_0 … K_L: from `first` (at most `steps`), the levels beyond it, `steps`.
pub(crate) fn depths(levels: &Levels, first: usize, steps: usize) -> Vec<usize> {
    let first = first.min(steps);
    let between: Vec<usize> = match levels {
        Levels::Rule(LevelRule::Every) => (1..steps).collect(),
        Levels::Rule(LevelRule::Powers) => std::iter::successors(Some(1_usize), |depth| depth.checked_mul(2))
            .take_while(|depth| *depth < steps)
            .collect(),
        Levels::At(depths) => depths.clone(),
    };
    let mut depths = vec![first];
    depths.extend(between.into_iter().filter(|depth| first < *depth && *depth < steps));
    depths.extend((first < steps).then_some(steps));
    depths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_lie_between_the_base_and_the_whole_way() {
        let [every, powers] = [LevelRule::Every, LevelRule::Powers].map(Levels::Rule);
        assert_eq!(depths(&every, 0, 3), [0, 1, 2, 3]);
        assert_eq!(depths(&powers, 0, 10), [0, 1, 2, 4, 8, 10]);
        assert_eq!(depths(&powers, 2, 8), [2, 4, 8]);
        assert_eq!(depths(&Levels::At(vec![2, 5, 9]), 2, 9), [2, 5, 9]);
        assert_eq!(depths(&every, 7, 3), [3]);
    }
}
