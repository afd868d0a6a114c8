//! Costs of an outer step with and without Hessian-vector products, counted or measured.

use super::average::Average;
use super::best_q::Costs;
use crate::choice;
use crate::hypergradient::Evaluations;
use serde::{Deserialize, Serialize};

/// Decay rate of the running averages of measured costs.
const BETA: f64 = 0.98;

choice! {
    /// How an adaptive estimator measures costs.
    pub enum CostUnit {
        /// In seconds on this machine and backend, measured while running.
        Measured = "measured",
        /// In gradient evaluations, with a Hessian-vector product counted as one.
        Counted = "counted",
        /// In gradient evaluations as counted by the reference code of Likhosherstov et al. (2021), which recomputes
        /// iterates.
        Reference = "reference",
    }
}

/// The size of the backward walks of an outer step.
#[derive(Clone, Copy, Debug)]
pub struct Walks {
    /// Tasks, T.
    pub tasks: usize,
    /// Inner steps, r.
    pub steps: usize,
    /// Inner steps that are always differentiated, K.
    pub depth: usize,
}

/// A line fitted to (products, seconds) of past outer steps, by least squares with exponentially decaying weights. Its
/// intercept is the cost of an outer step without products, its slope the cost of a product.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Prices {
    products: Average,
    seconds: Average,
    squares: Average,
    mixed: Average,
    /// Outer losses of a task beyond the last in the latest outer step.
    #[serde(default, skip_serializing_if = "is_zero")]
    losses_before: u64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Prices {
    /// Adds an outer step of `tasks` tasks with this `cost` that took `seconds`.
    pub fn observe(&mut self, cost: Evaluations, tasks: usize, seconds: f64) {
        let products = cost.products as f64;
        self.losses_before = (cost.outer / tasks.max(1) as u64).saturating_sub(1);
        self.products.add(products, BETA);
        self.seconds.add(seconds, BETA);
        self.squares.add(products * products, BETA);
        self.mixed.add(products * seconds, BETA);
    }

    /// C_det and C_rnd of an outer step. Measured costs fall back to counted ones until the line is known and positive.
    pub fn costs(&self, unit: CostUnit, Walks { tasks, steps, depth }: Walks) -> Costs {
        let (r, k) = (steps as f64, depth as f64);
        let losses = 1.0 + self.losses_before as f64;
        let counted = Costs { fixed: r + losses + k, random: r - k };
        match unit {
            CostUnit::Counted => counted,
            // docs/mathematics.md, "Choosing q": the reference code recomputes each iterate (its K is r here).
            CostUnit::Reference => Costs { fixed: r + losses, random: ((r - 1.0) / 2.0 + 1.0) * r },
            CostUnit::Measured => {
                let all = tasks as f64 * (r - k);
                let least = tasks as f64 * k;
                let costs = self.line().map(|(intercept, slope)| Costs {
                    fixed: intercept + slope * least,
                    random: slope * all,
                });
                costs.filter(|costs| costs.fixed > 0.0 && costs.random > 0.0).unwrap_or(counted)
            }
        }
    }

    /// Intercept and slope; `None` while all steps had the same number of products.
    fn line(&self) -> Option<(f64, f64)> {
        let (x, y) = (self.products.get()?, self.seconds.get()?);
        let variance = self.squares.get()? - x * x;
        let slope = (self.mixed.get()? - x * y) / variance;
        (variance > 1e-9 * x * x).then_some((y - slope * x, slope))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measured_costs_are_fitted_to_times() {
        let mut prices = Prices::default();
        let walks = Walks { tasks: 4, steps: 5, depth: 0 };
        let counted = Costs { fixed: 6.0, random: 5.0 };
        assert_eq!(prices.costs(CostUnit::Measured, walks), counted);
        for products in [0, 5, 0, 10, 20, 0, 5] {
            let cost = Evaluations { outer: 4, products, ..Evaluations::default() };
            prices.observe(cost, 4, 0.3 + 0.02 * products as f64);
        }
        let costs = prices.costs(CostUnit::Measured, walks);
        assert!((costs.fixed - 0.3).abs() < 1e-9 && (costs.random - 0.02 * 20.0).abs() < 1e-9);
        assert_eq!(prices.costs(CostUnit::Counted, walks), counted);
        prices.observe(Evaluations { outer: 4 * 5, ..Evaluations::default() }, 4, 0.3);
        assert_eq!(prices.costs(CostUnit::Counted, walks), Costs { fixed: 10.0, random: 5.0 });
    }
}
