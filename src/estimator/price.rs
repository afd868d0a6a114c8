//! What products cost beside the rest of an outer step: counted, or measured while running.

use super::average::Average;
use super::best_q::Costs;
use crate::config::CostUnit;
use serde::{Deserialize, Serialize};

/// Share that the past keeps in the measured prices.
const BETA: f64 = 0.98;

/// A line through (products, seconds) of the outer steps seen, by least squares in which the past
/// fades: its height at 0 is the price of a step without exact draws, its slope that of a product.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Prices {
    products: Average,
    seconds: Average,
    squares: Average,
    mixed: Average,
}

impl Prices {
    /// An outer step of `products` products took `seconds`.
    pub fn observe(&mut self, products: f64, seconds: f64) {
        self.products.add(products, BETA);
        self.seconds.add(seconds, BETA);
        self.squares.add(products * products, BETA);
        self.mixed.add(products * seconds, BETA);
    }

    /// C_det and C_rnd of an outer step of `tasks` tasks and `steps` inner steps, `depth` of which are
    /// walked back in any case.
    pub fn costs(&self, unit: CostUnit, [tasks, steps, depth]: [usize; 3]) -> Costs {
        let (r, k) = (steps as f64, depth as f64);
        let counted = Costs { fixed: r + 1.0 + k, random: r - k };
        match unit {
            CostUnit::Counted => counted,
            // METHOD, "Choosing q": recomputing each iterate, K inner iterations in its counting.
            CostUnit::Reference => Costs { fixed: r + 1.0, random: ((r - 1.0) / 2.0 + 1.0) * r },
            CostUnit::Measured => {
                let all = tasks as f64 * (r - k);
                let least = tasks as f64 * k;
                let costs = self
                    .line()
                    .map(|(height, slope)| Costs { fixed: height + slope * least, random: slope * all });
                costs.filter(|costs| costs.fixed > 0.0 && costs.random > 0.0).unwrap_or(counted)
            }
        }
    }

    /// Height at 0 and slope; `None` while every step took as many products as every other.
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
    fn prices_are_learned_from_times() {
        let mut prices = Prices::default();
        let shape = [4, 5, 0];
        let counted = Costs { fixed: 6.0, random: 5.0 };
        assert_eq!(prices.costs(CostUnit::Measured, shape), counted);
        for products in [0.0, 5.0, 0.0, 10.0, 20.0, 0.0, 5.0] {
            prices.observe(products, 0.3 + 0.02 * products);
        }
        let costs = prices.costs(CostUnit::Measured, shape);
        assert!((costs.fixed - 0.3).abs() < 1e-9 && (costs.random - 0.02 * 20.0).abs() < 1e-9);
        assert_eq!(prices.costs(CostUnit::Counted, shape), counted);
    }
}
