//! Exponential moving averages without the bias of their initial value.

use serde::{Deserialize, Serialize};

/// Σ_i β^{n−i} x_i / Σ_i β^{n−i}: an exponential moving average divided by 1 − βⁿ, which removes the bias towards its
/// initial value of zero (Kingma & Ba 2015, §3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Average {
    sum: f64,
    weight: f64,
}

impl Average {
    /// Adds `value`; earlier values decay by the factor `beta`.
    pub fn add(&mut self, value: f64, beta: f64) {
        self.sum = beta * self.sum + (1.0 - beta) * value;
        self.weight = beta * self.weight + (1.0 - beta);
    }

    /// The average; `None` before the first value.
    pub fn get(&self) -> Option<f64> {
        (self.weight > 0.0).then(|| self.sum / self.weight)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn average_has_no_initial_bias_and_follows_its_input() {
        let mut average = Average::default();
        assert_eq!(average.get(), None);
        average.add(3.0, 0.99);
        assert!((average.get().unwrap() - 3.0).abs() < 1e-12);
        (0..2000).for_each(|_| average.add(5.0, 0.99));
        assert!((average.get().unwrap() - 5.0).abs() < 1e-6);
    }
}
