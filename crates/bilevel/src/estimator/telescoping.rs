//! Telescoping: differentiates back to a random depth, and reweights each increment by the probability of reaching it.
//!
//! ```text
//! g = g_{K_0} + Σ_{l ≤ N} (g_{K_l} − g_{K_{l−1}})/s_l,   s_l = P(N ≥ l),   K_L = r,   E g = g_r
//! ```
//!
//! For MAML all g_K come from the same backward recursion, so the increments cost nothing extra. Since N is drawn
//! first, only the last K_N iterates are kept. With R_l = g_r − g_{K_{l−1}}, the error before level l, and E[1(N ≥ k)
//! 1(N ≥ l)] = s_max(k,l),
//!
//! ```text
//! E‖g − g_r‖² = Σ_l (1/s_l − 1) β_l,   β_l = E‖R_l‖² − E‖R_{l+1}‖²
//! ```
//!
//! (docs/mathematics.md, "Estimators"). One level is UFOM. Randomised telescopes: Beatson & Adams 2019; unbiased
//! truncated backpropagation: Tallec & Ollivier 2017. Here s_l = sˡ.

use super::range::assert_probability;
use super::telescope::telescope;
use super::{AdaptiveTelescoping, Coin, Estimator, Settings, Tuning};
use crate::choice;
use crate::hypergradient::Draw;
use rand::Rng;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

choice! {
    /// Rules for the depths at which a telescope may stop.
    pub enum LevelRule {
        /// Every inner step.
        Every = "every",
        /// 1, 2, 4, 8, … inner steps.
        Powers = "powers",
    }
}

/// Depths at which a telescope may stop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Levels {
    /// The depths of a rule, and r.
    Rule(LevelRule),
    /// These depths, and r. Neither their order nor repetitions matter.
    At(Vec<usize>),
}

impl Default for Levels {
    /// Powers of two.
    fn default() -> Self {
        Self::Rule(LevelRule::Powers)
    }
}

/// Settings of telescoping, with fixed or adaptive survival probabilities.
///
/// The default is adaptive: `levels` at powers of two, `truncate` 0 (first-order base), `coin` [`Coin::Task`],
/// `tuning` [`Tuning::default`]. Best if the last inner steps contribute most of the gradient for their cost, that is
/// if β_l divided by the cost of level l falls with l; otherwise UFOM is as good.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TelescopingSettings {
    /// Fixed survival probabilities.
    Fixed {
        /// P(N ≥ l) = survivalˡ, in (0, 1].
        survival: f64,
        /// Depths at which the telescope may stop.
        levels: Levels,
        /// K_0, the number of last inner steps that are always differentiated.
        truncate: usize,
        /// How depths are drawn for the tasks of an outer step.
        coin: Coin,
    },
    /// Survival probabilities chosen from running estimates.
    Adaptive {
        /// Depths at which the telescope may stop.
        levels: Levels,
        /// K_0, the number of last inner steps that are always differentiated.
        truncate: usize,
        /// How depths are drawn for the tasks of an outer step.
        coin: Coin,
        /// How the probabilities are chosen.
        #[serde(flatten)]
        tuning: Tuning,
    },
}

impl Default for TelescopingSettings {
    /// Adaptive, at powers of two, with a first-order base.
    fn default() -> Self {
        Self::Adaptive { levels: Levels::default(), truncate: 0, coin: Coin::Task, tuning: Tuning::default() }
    }
}

impl Settings for TelescopingSettings {
    const KEYS: &'static [&'static str] =
        &["survival", "levels", "truncate", "coin", "exponent", "beta", "floor", "costs"];
    const ADAPTS_WITHOUT: Option<&'static str> = Some("survival");

    fn build(&self) -> Box<dyn Estimator> {
        match self.clone() {
            Self::Fixed { survival, levels, truncate, coin } => {
                let telescoping = Telescoping { survival, levels, depth: truncate, coin };
                telescoping.check();
                Box::new(telescoping)
            }
            Self::Adaptive { levels, truncate, coin, tuning } => {
                Box::new(AdaptiveTelescoping::new(levels, truncate, coin, tuning))
            }
        }
    }
}

/// A telescope with geometric survival probabilities.
#[derive(Clone, Debug)]
pub struct Telescoping {
    /// s, the probability of going on from one level to the next, in (0, 1].
    pub survival: f64,
    /// Depths at which the telescope may stop.
    pub levels: Levels,
    /// K_0, the number of last inner steps that are always differentiated.
    pub depth: usize,
    /// How depths are drawn for the tasks of an outer step.
    pub coin: Coin,
}

impl Telescoping {
    /// Panics unless s is in (0, 1].
    fn check(&self) {
        assert_probability("the probability of telescoping to go on", self.survival);
    }
}

impl Estimator for Telescoping {
    /// # Panics
    /// Panics unless s is in (0, 1].
    fn draw(&self, coins: &mut dyn Rng, tasks: usize, steps: usize) -> Draw {
        self.check();
        let depths = depths(&self.levels, self.depth, steps);
        let survival: Vec<f64> = (1..depths.len()).map(|level| self.survival.powi(level as i32)).collect();
        telescope(self.coin, coins, tasks, steps, &depths, &survival).0
    }

    fn is_unbiased(&self, _steps: usize) -> bool {
        true
    }

    fn max_depth(&self, steps: usize) -> usize {
        steps
    }
}

/// K_0 … K_L: `first` (at most `steps`), the levels beyond it, and `steps`.
pub(crate) fn depths(levels: &Levels, first: usize, steps: usize) -> Vec<usize> {
    let first = first.min(steps);
    let between: Vec<usize> = match levels {
        Levels::Rule(LevelRule::Every) => (1..steps).collect(),
        Levels::Rule(LevelRule::Powers) => std::iter::successors(Some(1_usize), |depth| depth.checked_mul(2))
            .take_while(|depth| *depth < steps)
            .collect(),
        // A telescope ascends from level to level.
        Levels::At(depths) => depths.iter().copied().collect::<BTreeSet<usize>>().into_iter().collect(),
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
    fn levels_start_at_the_base_and_end_at_all_inner_steps() {
        let [every, powers] = [LevelRule::Every, LevelRule::Powers].map(Levels::Rule);
        assert_eq!(depths(&every, 0, 3), [0, 1, 2, 3]);
        assert_eq!(depths(&powers, 0, 10), [0, 1, 2, 4, 8, 10]);
        assert_eq!(depths(&powers, 2, 8), [2, 4, 8]);
        assert_eq!(depths(&Levels::At(vec![2, 5, 9]), 2, 9), [2, 5, 9]);
        assert_eq!(depths(&Levels::At(vec![7, 3, 3, 5, 7]), 0, 9), [0, 3, 5, 7, 9]);
        assert_eq!(depths(&every, 7, 3), [3]);
    }
}
