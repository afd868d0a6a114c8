//! The family of one-dimensional problems on which first-order methods converge to a non-stationary point
//! (`docs/mathematics.md`, "The quadratic family"; Likhosherstov et al. 2021, section 5).
//!
//! A task has curvature a, offset b and radius A. With z = |x − b/a| its loss is
//!
//! ```text
//! z ≤ A:        ½ a z²
//! A < z ≤ A+1:  −a(z−A)³/6 + a(z−A)²/2 + aAz − aA²/2
//! z > A+1:      (a/2 + aA) z − a/6 − aA²/2 − aA/2
//! ```
//!
//! which is twice continuously differentiable, with bounded slope and curvature. L_in = L_out, V is the identity, and
//! there are two tasks.

/// A task of the family.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Task {
    /// Curvature a > 0.
    pub curvature: f64,
    /// Offset b.
    pub offset: f64,
    /// Radius A of the quadratic region.
    pub radius: f64,
}

impl Task {
    /// First derivative L′ at `x`.
    pub fn slope(&self, x: f64) -> f64 {
        let Self { curvature: a, offset, radius } = *self;
        let from = x - offset / a;
        let beyond = (from.abs() - radius).clamp(0.0, 1.0);
        // Terms in a(z − A) are 0 inside, and constant far outside.
        let within = from.abs().min(radius);
        (a * (within + beyond - 0.5 * beyond * beyond)).copysign(from)
    }

    /// Second derivative L″ at `x`.
    pub fn second_derivative(&self, x: f64) -> f64 {
        let beyond = (x - self.offset / self.curvature).abs() - self.radius;
        self.curvature * (1.0 - beyond.clamp(0.0, 1.0))
    }
}

/// Two tasks with probability ½ each, `steps` inner steps at `rate`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Family {
    /// The two tasks.
    pub tasks: [Task; 2],
    /// Inner rate α.
    pub rate: f64,
    /// Inner steps r.
    pub steps: usize,
}

impl Family {
    /// g_0 and g_r of the task with index `task` at θ = `theta`. In one dimension the Jacobians of the inner steps are
    /// numbers, which commute, so their product is accumulated in the forward loop.
    pub fn gradients(&self, task: usize, theta: f64) -> [f64; 2] {
        let task = &self.tasks[task];
        let (mut fast, mut jacobian) = (theta, 1.0);
        for _ in 0..self.steps {
            jacobian *= 1.0 - self.rate * task.second_derivative(fast);
            fast -= self.rate * task.slope(fast);
        }
        let first_order = task.slope(fast);
        [first_order, first_order * jacobian]
    }

    /// ∇M at θ = `theta`.
    pub fn slope(&self, theta: f64) -> f64 {
        0.5 * (self.gradients(0, theta)[1] + self.gradients(1, theta)[1])
    }

    /// p_i = (1 − αa_i)^r: the factor by which the inner steps shrink a displacement where the loss is quadratic.
    fn contractions(&self) -> [f64; 2] {
        self.tasks.map(|task| (1.0 - self.rate * task.curvature).powi(self.steps as i32))
    }

    /// The θ at which Σ(a_iθ − b_i)p_i^k = 0: first-order's limit for k = 1, the minimum of M for k = 2.
    fn zero(&self, power: i32) -> f64 {
        let [offsets, curvatures] = self.sums(power);
        offsets / curvatures
    }

    /// Σb_ip_i^k and Σa_ip_i^k.
    fn sums(&self, power: i32) -> [f64; 2] {
        let pairs = || self.tasks.iter().zip(self.contractions());
        let offsets = pairs().map(|(task, factor)| task.offset * factor.powi(power)).sum();
        [offsets, pairs().map(|(task, factor)| task.curvature * factor.powi(power)).sum()]
    }

    /// The limit of first-order steps, if both losses are quadratic there.
    pub fn first_order_limit(&self) -> f64 {
        self.zero(1)
    }

    /// The minimum of M, if both losses are quadratic there.
    pub fn minimum(&self) -> f64 {
        self.zero(2)
    }

    /// λ: M's curvature at its minimum.
    pub fn curvature(&self) -> f64 {
        0.5 * self.sums(2)[1]
    }

    /// 𝕍² = E g_r² and 𝔻² = E (g_r − g_0)² at θ = `theta`.
    pub fn moments(&self, theta: f64) -> [f64; 2] {
        let both = [0, 1].map(|task| self.gradients(task, theta));
        let mean = |value: fn([f64; 2]) -> f64| 0.5 * (value(both[0]) + value(both[1]));
        [mean(|[_, exact]| exact * exact), mean(|[first_order, exact]| (exact - first_order).powi(2))]
    }

    /// The family with curvatures `a`, b_1 = 0, and b_2 such that |∇M| = √(2`margin`) at first-order's limit. Both losses
    /// are quadratic between their minima, and for a distance of 1 beyond.
    pub fn with_margin(a: [f64; 2], rate: f64, steps: usize, margin: f64) -> Self {
        let family = |offset: f64| {
            let radius = offset / a[1] + 1.0;
            let task = |curvature, offset| Task { curvature, offset, radius };
            Self { tasks: [task(a[0], 0.0), task(a[1], offset)], rate, steps }
        };
        // ∇M at the limit is proportional to b_2.
        let unit = family(1.0);
        let slope = unit.curvature() * (unit.first_order_limit() - unit.minimum());
        family(((2.0 * margin).sqrt() / slope).abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: Task = Task { curvature: 0.7, offset: 1.4, radius: 1.5 };

    fn loss(task: &Task, x: f64) -> f64 {
        let Task { curvature: a, offset, radius } = *task;
        let z = (x - offset / a).abs();
        match z {
            _ if z <= radius => 0.5 * a * z * z,
            _ if z <= radius + 1.0 => {
                let beyond = z - radius;
                -a * beyond.powi(3) / 6.0 + a * beyond.powi(2) / 2.0 + a * radius * z
                    - a * radius.powi(2) / 2.0
            }
            _ => (a / 2.0 + a * radius) * z - a / 6.0 - a * radius.powi(2) / 2.0 - a * radius / 2.0,
        }
    }

    #[test]
    fn derivatives_match_finite_differences_in_all_regions() {
        let step = 1e-4;
        for x in (-40..80).map(|at| 0.1 * f64::from(at) + 0.03) {
            let slope = (loss(&TASK, x + step) - loss(&TASK, x - step)) / (2.0 * step);
            let second = (TASK.slope(x + step) - TASK.slope(x - step)) / (2.0 * step);
            assert!((TASK.slope(x) - slope).abs() < 1e-7, "slope at {x}");
            assert!((TASK.second_derivative(x) - second).abs() < 1e-4, "second derivative at {x}");
        }
    }

    #[test]
    fn first_order_limit_has_the_gradient_that_the_margin_gives() {
        let family = Family::with_margin([0.5, 1.5], 0.1, 10, 0.06);
        let limit = family.first_order_limit();
        let first_order: f64 = [0, 1].map(|task| family.gradients(task, limit)[0]).iter().sum();
        assert!(first_order.abs() < 1e-12);
        assert!((family.slope(limit).abs() - 0.12_f64.sqrt()).abs() < 1e-12);
        assert!(family.slope(family.minimum()).abs() < 1e-12);
    }
}
