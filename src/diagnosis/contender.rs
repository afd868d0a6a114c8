//! Every estimator at its own best setting, as a diagnosis and prices call it.
//!
//! The time to an accuracy grows like cost × (second moment)^p, here relative to exact's:
//!
//! ```text
//! cost · (1 + variance/𝕍²)^p / cost of exact
//! ```
//!
//! with the variances of METHOD, "Estimators": (1/q − 1)𝔻² for UFOM, Σ(1/s_l − 1)β_l for a telescope, and for step coins
//! Σ(1/p_j − 1)‖Δ_j‖². That holds while they err little; where inner rate × curvature nears p, only a [`Trial`](super::Trial)
//! tells.

use super::Diagnosis;
use crate::config::{LevelRule, Levels};
use crate::estimator::allocation::{self, Budget, Share};
use crate::estimator::{Costs, SecondMoments, best_q, depths};
use serde::{Deserialize, Serialize};

/// The least probability of a step's coin: an adapting law's default.
const FLOOR: f64 = 0.05;
/// The least probability of a telescope's level, for which no floor is needed.
const LEAST: f64 = 1e-6;

/// What one task costs, in any one unit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Price {
    /// C_det: of everything but products.
    pub fixed: f64,
    /// Of a product.
    pub product: f64,
}

impl Price {
    /// In gradient evaluations, for `steps` inner steps.
    pub fn counted(steps: usize) -> Self {
        Self { fixed: steps as f64 + 1.0, product: 1.0 }
    }

    /// Of a task with `products` products.
    pub fn of(self, products: f64) -> f64 {
        self.fixed + products * self.product
    }
}

/// An estimator at one setting.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Contender {
    /// Which.
    pub name: String,
    /// q; s_1 … s_L; or p_1 … p_r. Empty where there is nothing to set.
    pub setting: Vec<f64>,
    /// Expected products of a task.
    pub products: f64,
    /// Expected cost, first-order's being 1.
    pub cost: f64,
    /// E‖g − g_r‖²/𝕍² by formula; `None` for a biased estimator, whose error is not variance.
    pub variance: Option<f64>,
    /// Predicted time to an accuracy, exact's being 1; `None` for a biased estimator.
    pub time: Option<f64>,
}

impl Diagnosis {
    /// Every estimator at its best setting for `price`s, where the time to an accuracy grows with the second
    /// moment to the power of `exponent`; step coins stay above 0.05 and above `curvature_floor` × the largest a_j.
    pub fn contenders(&self, price: Price, exponent: f64, curvature_floor: f64) -> Vec<Contender> {
        let desk = Desk { diagnosis: self, price, exponent };
        let mut all = vec![
            Contender { variance: None, time: None, ..desk.contender("first-order", vec![], 0.0, 0.0) },
            desk.ufom("UFOM(0.1)", 0.1, self.error()),
            desk.best_ufom("best UFOM", self.error()),
            desk.best_ufom("best tracked UFOM", self.tracked_error()),
            desk.best_telescope("best telescope, every step", LevelRule::Every),
            desk.best_telescope("best telescope, powers of two", LevelRule::Powers),
        ];
        let same = |p: f64| desk.step_coins(format!("step coins({p})"), vec![p; self.inner_steps()]);
        all.extend([0.1, 0.2, 0.5].map(same));
        all.push(desk.best_step_coins(curvature_floor));
        all.push(desk.contender("exact", vec![], self.inner_steps() as f64, 0.0));
        all
    }
}

/// Where settings are chosen and priced.
struct Desk<'a> {
    diagnosis: &'a Diagnosis,
    price: Price,
    exponent: f64,
}

impl Desk<'_> {
    /// One that expects `products` products and has this `variance`.
    fn contender(
        &self,
        name: impl Into<String>,
        setting: Vec<f64>,
        products: f64,
        variance: f64,
    ) -> Contender {
        let (exact, cost) = (self.price.of(self.diagnosis.inner_steps() as f64), self.price.of(products));
        let variance = variance / self.diagnosis.exact.value;
        Contender {
            name: name.into(),
            setting,
            products,
            cost: cost / self.price.fixed,
            variance: Some(variance),
            time: Some(cost / exact * (1.0 + variance).powf(self.exponent)),
        }
    }

    fn ufom(&self, name: &str, q: f64, error: f64) -> Contender {
        let products = q * self.diagnosis.inner_steps() as f64;
        let variance = if error > 0.0 { (1.0 / q - 1.0) * error } else { 0.0 };
        self.contender(name, vec![q], products, variance)
    }

    fn best_ufom(&self, name: &str, error: f64) -> Contender {
        let moments = SecondMoments { exact: self.diagnosis.exact.value, error };
        let random = self.diagnosis.inner_steps() as f64 * self.price.product;
        let q = best_q(moments, Costs { fixed: self.price.fixed, random }, self.exponent);
        self.ufom(name, q, error)
    }

    fn best_telescope(&self, name: &str, rule: LevelRule) -> Contender {
        let depths = depths(&Levels::Rule(rule), 0, self.diagnosis.inner_steps());
        let error = |depth: usize| self.diagnosis.truncations[depth].error.value;
        let share = |pair: &[usize]| Share {
            variance: error(pair[0]) - error(pair[1]),
            cost: (pair[1] - pair[0]) as f64 * self.price.product,
            floor: LEAST,
        };
        let shares: Vec<Share> = depths.windows(2).map(share).collect();
        let survival = allocation::descending(&shares, self.budget());
        self.allocated(name, &shares, survival)
    }

    fn best_step_coins(&self, curvature_floor: f64) -> Contender {
        let lowest = |at: usize| curvature_floor * self.diagnosis.steps[at].largest_curvature;
        let shares = self.steps(|at| lowest(at).clamp(FLOOR, 1.0));
        let p = allocation::independent(&shares, self.budget());
        self.allocated("best step coins", &shares, p)
    }

    fn step_coins(&self, name: String, p: Vec<f64>) -> Contender {
        self.allocated(name, &self.steps(|_| LEAST), p)
    }

    /// The inner steps as shares, inner step j at place j − 1.
    fn steps(&self, floor: impl Fn(usize) -> f64) -> Vec<Share> {
        let steps = self.diagnosis.steps.iter().enumerate();
        steps
            .map(|(at, step)| Share {
                variance: step.increment.value,
                cost: self.price.product,
                floor: floor(at),
            })
            .collect()
    }

    fn budget(&self) -> Budget {
        Budget { exact: self.diagnosis.exact.value, fixed: self.price.fixed, exponent: self.exponent }
    }

    /// One that takes each of `shares` with its probability in `p`.
    fn allocated(&self, name: impl Into<String>, shares: &[Share], p: Vec<f64>) -> Contender {
        let each = || p.iter().zip(shares);
        let cost: f64 = each().map(|(p, share)| p * share.cost).sum();
        let variance: f64 = each().map(|(p, share)| (1.0 / p - 1.0) * share.variance).sum();
        self.contender(name, p.clone(), cost / self.price.product, variance)
    }
}
