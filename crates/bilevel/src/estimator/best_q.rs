//! The probability of an exact draw that reaches a given accuracy at the least cost.
//!
//! With 𝕍² = E‖g_exact‖², 𝔻² = E‖g_exact − g_K‖², C_det the fixed cost of an outer step and C_rnd the extra cost of an
//! exact draw, the time to a given accuracy grows like
//!
//! ```text
//! (C_det + q C_rnd) · (𝕍² + (1/q − 1) 𝔻²)^p,   q ∈ (0, 1]
//! ```
//!
//! whose derivative in q has the sign of A q² + B q − C with A = C_rnd(𝕍² − 𝔻²), B = (1 − p) C_rnd 𝔻², C = p C_det 𝔻²
//! (docs/mathematics.md, "Choosing q"; Likhosherstov et al. 2021 have p = 2 and p = ½). It is negative at 0, so the
//! minimum is at the first root of the parabola or at 1: at 1 if there is no root below it, and at whichever of the two
//! has the lower value if 𝔻² > 𝕍² (A < 0) and p < 1.

/// 𝕍² and 𝔻².
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SecondMoments {
    /// 𝕍², second moment of the exact gradient.
    pub exact: f64,
    /// 𝔻², second moment of the truncation error.
    pub error: f64,
}

/// C_det and C_rnd, in the same unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Costs {
    /// C_det > 0, the fixed cost.
    pub fixed: f64,
    /// C_rnd > 0, the extra cost of an exact draw.
    pub random: f64,
}

/// The best q, in [0, 1]; 0 only if the truncation error is zero.
pub fn best_q(moments: SecondMoments, costs: Costs, exponent: f64) -> f64 {
    Tradeoff { moments, costs, exponent }.best_q(0.0)
}

/// The time to an accuracy as a function of q.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tradeoff {
    pub(super) moments: SecondMoments,
    pub(super) costs: Costs,
    /// p > 0.
    pub(super) exponent: f64,
}

impl Tradeoff {
    /// The time to a given accuracy with `q`, up to a constant factor.
    pub(super) fn time(&self, q: f64) -> f64 {
        let moment = self.moments.exact + (1.0 / q - 1.0) * self.moments.error;
        (self.costs.fixed + q * self.costs.random) * moment.powf(self.exponent)
    }

    /// The best q in [`floor`, 1]; `floor` if the truncation error is zero.
    pub(super) fn best_q(&self, floor: f64) -> f64 {
        let Self { moments, costs, exponent } = *self;
        if moments.error <= 0.0 {
            return floor;
        }
        let a = costs.random * (moments.exact - moments.error);
        let b = (1.0 - exponent) * costs.random * moments.error;
        let c = exponent * costs.fixed * moments.error;
        let root = (b * b + 4.0 * a * c).sqrt();
        // Two forms of the same root; each avoids cancellation for one sign of B.
        let q = if b >= 0.0 { 2.0 * c / (b + root) } else { (root - b) / (2.0 * a) };
        // Without a real root q is NaN, and `max` returns the floor.
        let q = q.max(floor);
        if q < 1.0 && self.time(q) < self.time(1.0) { q } else { 1.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::generator;
    use rand::RngExt;

    #[test]
    fn best_q_is_not_beaten_on_a_fine_grid() {
        let mut random = generator(0, "test", 0);
        let mut inside = 0;
        for _ in 0..1000 {
            let mut draw = |from: f64, to: f64| (random.random::<f64>() * (to / from).ln()).exp() * from;
            let moments = SecondMoments { exact: draw(0.1, 10.0), error: draw(0.001, 10.0) };
            let costs = Costs { fixed: draw(0.1, 100.0), random: draw(0.1, 100.0) };
            let exponent = draw(0.25, 4.0);
            let time = |q: f64| {
                let moment = moments.exact + (1.0 / q - 1.0) * moments.error;
                (costs.fixed + q * costs.random) * moment.powf(exponent)
            };
            let q = best_q(moments, costs, exponent);
            let best = (1..=10_000).map(|step| time(f64::from(step) / 1e4)).fold(f64::INFINITY, f64::min);
            assert!(time(q) <= best * (1.0 + 1e-9), "q = {q} for {moments:?}, {costs:?}, p = {exponent}");
            inside += usize::from(q < 1.0);
        }
        assert!((200..=900).contains(&inside), "{inside} of 1000 cases have their minimum inside (0, 1)");
    }

    #[test]
    fn best_q_is_zero_without_truncation_error() {
        let costs = Costs { fixed: 1.0, random: 1.0 };
        assert_eq!(best_q(SecondMoments { exact: 1.0, error: 0.0 }, costs, 2.0), 0.0);
    }
}
