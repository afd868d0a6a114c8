//! Every estimator at its own best setting, according to an error analysis and prices.
//!
//! The time to a given accuracy grows like cost × (second moment)^p. Relative to the exact gradient it is
//!
//! ```text
//! cost · (1 + variance/𝕍²)^p / cost of exact
//! ```
//!
//! with the variances of docs/mathematics.md, "Estimators": (1/q − 1)𝔻² for UFOM, Σ(1/s_l − 1)β_l for a telescope,
//! and Σ(1/p_j − 1)‖Δ_j‖² for step coins. The last holds for small errors only; if inner rate × curvature comes close
//! to p, use a [`Trial`](super::Trial).

use super::ErrorAnalysis;
use crate::estimator::allocation::{self, Budget, Share};
use crate::estimator::{Costs, LevelRule, Levels, SecondMoments, best_q, depths};
use serde::{Deserialize, Serialize};

/// Lower bound of the probabilities of step coins; the default of adaptive step coins.
const STEP_COINS_FLOOR: f64 = 0.05;
/// Lower bound of other probabilities, close to none.
const NEGLIGIBLE_FLOOR: f64 = 1e-6;

/// The costs of one task, in any unit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Price {
    /// C_det, the cost without products.
    pub fixed: f64,
    /// The cost of one product.
    pub product: f64,
}

impl Price {
    /// Costs in gradient evaluations for `steps` inner steps.
    pub fn counted(steps: usize) -> Self {
        Self { fixed: steps as f64 + 1.0, product: 1.0 }
    }

    /// The cost of a task with `products` products.
    pub fn of(self, products: f64) -> f64 {
        self.fixed + products * self.product
    }
}

/// An estimator at one setting, with its predicted cost, variance and time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TunedEstimator {
    /// Name of the estimator.
    pub name: String,
    /// q; s_1 … s_L; or p_1 … p_r. Empty for an estimator without settings.
    pub setting: Vec<f64>,
    /// Expected number of products a task.
    pub products: f64,
    /// Expected cost relative to first-order.
    pub cost: f64,
    /// E‖g − g_r‖²/𝕍² by formula; `None` for a biased estimator.
    pub variance: Option<f64>,
    /// Predicted time to a given accuracy relative to exact; `None` for a biased estimator.
    pub time: Option<f64>,
}

impl ErrorAnalysis {
    /// Every estimator at its best setting for `price`, if the time to a given accuracy grows with the second moment
    /// to the power `exponent`. The probabilities of step coins are at least 0.05 and at least `curvature_floor` ×
    /// the largest a_j.
    pub fn tuned_estimators(&self, price: Price, exponent: f64, curvature_floor: f64) -> Vec<TunedEstimator> {
        let tuner = Tuner { analysis: self, price, exponent };
        let mut all = vec![
            TunedEstimator { variance: None, time: None, ..tuner.tuned("first-order", vec![], 0.0, 0.0) },
            tuner.ufom("UFOM(0.1)", 0.1, self.error()),
            tuner.best_ufom("best UFOM", self.error()),
            tuner.best_ufom("best tracked UFOM", self.tracked_error()),
            tuner.best_telescope("best telescope, every step", LevelRule::Every),
            tuner.best_telescope("best telescope, powers of two", LevelRule::Powers),
        ];
        let fixed = |p: f64| tuner.step_coins(format!("step coins({p})"), vec![p; self.inner_steps()]);
        all.extend([0.1, 0.2, 0.5].map(fixed));
        all.push(tuner.best_step_coins(curvature_floor));
        all.push(tuner.tuned("exact", vec![], self.inner_steps() as f64, 0.0));
        all
    }
}

/// Chooses settings, and predicts cost, variance and time.
struct Tuner<'a> {
    analysis: &'a ErrorAnalysis,
    price: Price,
    exponent: f64,
}

impl Tuner<'_> {
    /// An estimator with `products` expected products a task and E‖g − g_r‖² = `variance`.
    fn tuned(
        &self,
        name: impl Into<String>,
        setting: Vec<f64>,
        products: f64,
        variance: f64,
    ) -> TunedEstimator {
        let (exact, cost) = (self.price.of(self.analysis.inner_steps() as f64), self.price.of(products));
        let variance = variance / self.analysis.exact.value;
        TunedEstimator {
            name: name.into(),
            setting,
            products,
            cost: cost / self.price.fixed,
            variance: Some(variance),
            time: Some(cost / exact * (1.0 + variance).powf(self.exponent)),
        }
    }

    fn ufom(&self, name: &str, q: f64, error: f64) -> TunedEstimator {
        let products = q * self.analysis.inner_steps() as f64;
        let variance = if error > 0.0 { (1.0 / q - 1.0) * error } else { 0.0 };
        self.tuned(name, vec![q], products, variance)
    }

    fn best_ufom(&self, name: &str, error: f64) -> TunedEstimator {
        let moments = SecondMoments { exact: self.analysis.exact.value, error };
        let random = self.analysis.inner_steps() as f64 * self.price.product;
        let q = best_q(moments, Costs { fixed: self.price.fixed, random }, self.exponent);
        self.ufom(name, q, error)
    }

    fn best_telescope(&self, name: &str, rule: LevelRule) -> TunedEstimator {
        let depths = depths(&Levels::Rule(rule), 0, self.analysis.inner_steps());
        let error = |depth: usize| self.analysis.truncations[depth].error.value;
        let share = |pair: &[usize]| Share {
            variance: error(pair[0]) - error(pair[1]),
            cost: (pair[1] - pair[0]) as f64 * self.price.product,
            floor: NEGLIGIBLE_FLOOR,
        };
        let shares: Vec<Share> = depths.windows(2).map(share).collect();
        let survival = allocation::descending(&shares, self.budget());
        self.allocated(name, &shares, survival)
    }

    fn best_step_coins(&self, curvature_floor: f64) -> TunedEstimator {
        let lowest = |at: usize| curvature_floor * self.analysis.steps[at].largest_curvature;
        let shares = self.steps(|at| lowest(at).clamp(STEP_COINS_FLOOR, 1.0));
        let p = allocation::independent(&shares, self.budget());
        self.allocated("best step coins", &shares, p)
    }

    fn step_coins(&self, name: String, p: Vec<f64>) -> TunedEstimator {
        self.allocated(name, &self.steps(|_| NEGLIGIBLE_FLOOR), p)
    }

    /// The inner steps as shares, inner step j at index j − 1.
    fn steps(&self, floor: impl Fn(usize) -> f64) -> Vec<Share> {
        let steps = self.analysis.steps.iter().enumerate();
        steps
            .map(|(at, step)| Share {
                variance: step.increment.value,
                cost: self.price.product,
                floor: floor(at),
            })
            .collect()
    }

    fn budget(&self) -> Budget {
        Budget { exact: self.analysis.exact.value, fixed: self.price.fixed, exponent: self.exponent }
    }

    /// An estimator that takes each of `shares` with its probability in `p`.
    fn allocated(&self, name: impl Into<String>, shares: &[Share], p: Vec<f64>) -> TunedEstimator {
        let each = || p.iter().zip(shares);
        let cost: f64 = each().map(|(p, share)| p * share.cost).sum();
        let variance: f64 = each().map(|(p, share)| (1.0 / p - 1.0) * share.variance).sum();
        self.tuned(name, p.clone(), cost / self.price.product, variance)
    }
}
