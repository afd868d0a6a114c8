//! Adaptive step coins: step coins with probabilities chosen from running estimates.
//!
//! The error is a sum of martingale differences, one for each inner step, in terms of the noisy v_j:
//!
//! ```text
//! E‖g − g_r‖² = Σ_j (1/p_j − 1) E‖P_{<j} α_jH_jv_j‖² ≤ Σ_j (1/p_j − 1) D_j,   D_j = E‖α_jH_jv_j‖²
//! minimise  (C + Σ_j p_j c_j) · (𝕍² + Σ_j (1/p_j − 1) D_j)^e,   p_j ≥ max(floor, κ·a_j)
//! ```
//!
//! P_{<j} is the exact backward recursion from inner step j to the start, a contraction if the inner loop descends.
//! Every product taken gives ‖α_jH_jv_j‖², and its coin is independent of v_j, so averages over the products taken
//! are unbiased for D_j. They include the noise in v_j from earlier coins, which raises p when the tails grow heavy.
//! Nothing is clipped. If θ enters the inner loss, D_j is the contribution of Δ_j to the gradient in θ: the mixed
//! product, and α_jH_jv_j in units of 𝕍²/‖v_r‖².
//!
//! Heavy tails come from rare events, so running averages notice them too late. Along a direction in which an inner
//! step has inner rate × curvature a, the second moment changes by the factor 1 − 2a + a²/p, which stays bounded for
//! p ≥ a/2. Therefore a_j = α_jλ̂_j in the bound uses the largest curvature: from power iterations (at every inner step
//! in the first outer step, then at one inner step of one task every [`PROBE_EVERY`] outer steps, in turn), or the largest
//! ‖α_jH_jv_j‖/‖v_j‖ of recent products of step j, whichever is larger. The product at a probe is taken with certainty
//! and the factor 1. Which one that is follows from the past alone, so the estimate stays unbiased, also with one coin
//! for all tasks: every task's factors still have mean 1 and are independent from step to step. κ = ½ is the limit of
//! stability. At the default ¾, p = κa_j contracts by 1 − ⅔a, and a_j may be a third too small (measured on Omniglot:
//! docs/estimators.md).
//!
//! 𝕍² = E‖g‖² − Σ_j (1/p_j − 1) D_j, from the same draws. Until the product of a step has been taken [`WARM_UP`]
//! times, its p is 1.

use super::allocation::{self, Budget, Share};
use super::average::Average;
use super::metrics::metrics;
use super::price::{Prices, Walks};
use super::step_coins::toss;
use super::{Coin, Estimator, Observation, Readings, State, Statistics, Tuning};
use crate::hypergradient::{Draw, Estimate, Increment};
use crate::stats::mean;
use burn::tensor::Tensor;
use rand::Rng;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Number of products of an inner step that are taken with probability 1 before its p adapts.
pub const WARM_UP: u64 = 16;
/// Outer steps between two probes of the curvature, which cost a few percent of the first-order estimator.
pub const PROBE_EVERY: u64 = 8;
/// Decay rate of a probed curvature when a later probe finds less.
const PROBE_DECAY: f64 = 0.5;
/// Lower bound of 𝕍² relative to E‖g‖²; the estimate of 𝕍² is a difference and can be negative.
const MIN_EXACT_RATIO: f64 = 0.05;

/// Step coins with probabilities chosen from running estimates.
#[derive(Clone, Debug)]
pub struct AdaptiveStepCoins {
    /// How coins are drawn for the tasks of an outer step.
    pub coin: Coin,
    /// How the probabilities are chosen.
    pub tuning: Tuning,
    /// κ ≥ 0: p is at least κ × inner rate × the largest curvature observed.
    pub curvature_floor: f64,
    estimates: RunningEstimates,
}

/// Running estimates.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct RunningEstimates {
    /// Estimates of inner step j at index j − 1.
    steps: Vec<Step>,
    /// ‖g‖² of the estimates.
    estimate: Average,
    /// 𝕍², before its lower bound is applied.
    exact: Average,
    /// ‖v_r‖².
    slope: Average,
    /// Number of outer steps observed.
    #[serde(rename = "seen", default)]
    outer_steps: u64,
    prices: Prices,
}

/// Estimates of one inner step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Step {
    /// ‖α_jH_jv_j‖².
    product: Average,
    /// The squared norm of the mixed product.
    direct: Average,
    /// a_j from the products of the walk.
    curvature: f64,
    /// a_j from probes.
    #[serde(default)]
    steepest: f64,
    /// Number of products taken.
    #[serde(rename = "seen")]
    count: u64,
}

impl AdaptiveStepCoins {
    /// Adaptive step coins before their first draw.
    ///
    /// # Panics
    /// Panics if a setting of `tuning` is outside of its range, or κ is not finite and ≥ 0.
    pub fn new(coin: Coin, tuning: Tuning, curvature_floor: f64) -> Self {
        assert!(
            curvature_floor >= 0.0 && curvature_floor.is_finite(),
            "κ of step coins must be finite and ≥ 0, but is {curvature_floor}"
        );
        Self { coin, tuning: tuning.checked(), curvature_floor, estimates: RunningEstimates::default() }
    }

    /// The current p_1 … p_r for `tasks` tasks of `steps` inner steps.
    pub fn probabilities(&self, tasks: usize, steps: usize) -> Vec<f64> {
        let Tuning { exponent, costs, .. } = self.tuning;
        let costs = self.estimates.prices.costs(costs, Walks { tasks, steps, depth: 0 });
        let shares: Vec<Share> = (0..steps)
            .map(|at| Share {
                variance: self.variance(at),
                cost: costs.random / steps as f64,
                floor: self.floor(at),
            })
            .collect();
        let exact = self.exact().unwrap_or_default();
        allocation::independent(&shares, Budget { exact, fixed: costs.fixed, exponent })
    }

    /// D_j at index j − 1.
    fn variance(&self, at: usize) -> f64 {
        let Some(step) = self.estimates.steps.get(at) else { return 0.0 };
        let product = step.product.get().unwrap_or_default();
        match step.direct.get() {
            Some(direct) => direct + product * self.gain(),
            None => product,
        }
    }

    /// 𝕍²/‖v_r‖², which converts squared norms of v to squared norms of the gradient in θ.
    fn gain(&self) -> f64 {
        let slope = self.estimates.slope.get().filter(|slope| *slope > 0.0);
        slope.map_or(1.0, |slope| self.exact().unwrap_or_default() / slope)
    }

    /// The lower bound of p_j at index j − 1.
    fn floor(&self, at: usize) -> f64 {
        match self.estimates.steps.get(at) {
            Some(step) if step.count >= WARM_UP => {
                let steepest = step.steepest.max(step.curvature);
                (self.curvature_floor * steepest).clamp(self.tuning.floor, 1.0)
            }
            _ => 1.0,
        }
    }

    /// The products to probe in this outer step, by inner step and task: those of all inner steps in the first outer step, then
    /// one after another, for one task after another.
    fn probed(&self, tasks: usize, steps: usize) -> Vec<(usize, usize)> {
        if tasks == 0 || steps == 0 {
            return Vec::new();
        }
        match self.estimates.outer_steps {
            0 => (1..=steps).map(|step| (step, 0)).collect(),
            count if count.is_multiple_of(PROBE_EVERY) => {
                let turn = (count / PROBE_EVERY) as usize;
                vec![(turn % steps + 1, turn / steps % tasks)]
            }
            _ => Vec::new(),
        }
    }

    /// Updates the running estimates with the statistics of an estimate for `tasks` tasks of `steps` inner steps.
    fn update(&mut self, tasks: usize, steps: usize, statistics: EstimateStatistics<Vec<f64>>) {
        let beta = self.tuning.beta;
        self.estimates.steps.resize_with(steps, Step::default);
        let mut noise = 0.0;
        let taken = statistics.products.into_iter().filter(|products| !products.squares.is_empty());
        for ProductStatistics { step, factors, squares, direct, curvatures } in taken {
            let direct = Some(direct).filter(|direct| !direct.is_empty());
            let gain = direct.as_ref().map_or(1.0, |_| self.gain());
            for (index, factor) in factors.iter().enumerate() {
                let square = direct.as_ref().map_or(0.0, |direct| direct[index]) + gain * squares[index];
                noise += factor * (factor - 1.0) * square;
            }
            let step = &mut self.estimates.steps[step - 1];
            step.product.add(mean(&squares), beta);
            direct.iter().for_each(|direct| step.direct.add(mean(direct), beta));
            let largest =
                curvatures.into_iter().filter(|curvature| curvature.is_finite()).fold(0.0, f64::max);
            step.curvature = decayed_maximum(step.curvature, largest, beta);
            step.count += factors.len() as u64;
        }
        let square = mean(&statistics.squares);
        self.estimates.estimate.add(square, beta);
        self.estimates.exact.add(square - noise / tasks as f64, beta);
        self.estimates.slope.add(mean(&statistics.slopes), beta);
        for ProbeStatistics { step, steepest } in statistics.probes {
            for steepest in steepest.into_iter().filter(|steepest| steepest.is_finite()) {
                let step = &mut self.estimates.steps[step - 1];
                step.steepest = decayed_maximum(step.steepest, steepest, PROBE_DECAY);
            }
        }
        self.estimates.outer_steps += 1;
    }

    /// 𝕍², with its lower bound applied; `None` before the first outer step.
    fn exact(&self) -> Option<f64> {
        let least = MIN_EXACT_RATIO * self.estimates.estimate.get()?;
        Some(self.estimates.exact.get()?.max(least))
    }
}

impl Estimator for AdaptiveStepCoins {
    fn draw(&self, coins: &mut dyn Rng, tasks: usize, steps: usize) -> Draw {
        let mut draw = toss(self.coin, coins, tasks, &self.probabilities(tasks, steps)).observed();
        for (step, task) in self.probed(tasks, steps) {
            // Taken whatever the coin, and unbiased, since the past alone decides that it is. With a coin alone, a small p
            // would keep a step from being probed for hundreds of outer steps.
            draw.set_factor(step, task, 1.0);
            draw.probe(step, task);
        }
        draw
    }

    fn is_unbiased(&self, _steps: usize) -> bool {
        true
    }

    fn max_depth(&self, steps: usize) -> usize {
        steps
    }

    fn observe(&mut self, draw: &Draw, estimate: &Estimate) -> Option<Observation> {
        let (tasks, steps, cost) = (draw.tasks(), draw.steps(), estimate.evaluations);
        Some(Observation::new(statistics(draw, estimate), move |coins: &mut Self, statistics, seconds| {
            coins.estimates.prices.observe(cost, tasks, seconds);
            coins.update(tasks, steps, statistics);
        }))
    }

    fn metrics(&self, tasks: usize, steps: usize) -> Map<String, Value> {
        let costs = self.estimates.prices.costs(self.tuning.costs, Walks { tasks, steps, depth: 0 });
        let each = |value: &dyn Fn(usize) -> f64| json!((0..steps).map(value).collect::<Vec<_>>());
        let curvature = |at: usize| self.estimates.steps.get(at).map_or(0.0, |step| step.curvature);
        metrics([
            ("p", json!(self.probabilities(tasks, steps))),
            ("step_second_moments", each(&|at| self.variance(at))),
            ("step_curvatures", each(&curvature)),
            ("step_steepest", each(&|at| self.estimates.steps.get(at).map_or(0.0, |step| step.steepest))),
            ("exact_second_moment", json!(self.exact())),
            ("cost_fixed", json!(costs.fixed)),
            ("cost_random", json!(costs.random)),
        ])
    }

    fn state(&self) -> State {
        State::of(json!(self.estimates))
    }

    fn restore(&mut self, state: &State) -> Result<(), String> {
        self.estimates = state.read()?.unwrap_or_default();
        Ok(())
    }
}

/// The larger of `new` and the moving average of `past` and `new` with decay rate `rate`.
fn decayed_maximum(past: f64, new: f64, rate: f64) -> f64 {
    new.max(rate * past + (1.0 - rate) * new)
}

/// Statistics of an estimate.
struct EstimateStatistics<T> {
    /// ‖g‖² of each task.
    squares: T,
    /// ‖v_r‖² of each task.
    slopes: T,
    /// Those of each inner step at which products are due.
    products: Vec<ProductStatistics<T>>,
    /// The curvatures probed.
    probes: Vec<ProbeStatistics<T>>,
}

/// The products of one inner step, one value for each task that takes it.
struct ProductStatistics<T> {
    /// j.
    step: usize,
    /// The factors of the draw.
    factors: Vec<f64>,
    /// ‖α_jH_jv_j‖²; none if the inner step changes neither v nor the gradient in θ.
    squares: T,
    /// The squared norms of the mixed products; none if θ does not enter the inner loss.
    direct: T,
    /// ‖α_jH_jv_j‖/‖v_j‖.
    curvatures: T,
}

/// inner rate × largest curvature at inner step `step`, from a probe.
struct ProbeStatistics<T> {
    step: usize,
    steepest: T,
}

fn statistics(draw: &Draw, estimate: &Estimate) -> EstimateStatistics<Readings> {
    let squares = estimate.gradient.clone().squared_norm();
    let slopes = estimate.outer_slope.clone().unwrap_or_else(|| squares.clone());
    let products = |step| {
        let factors: Vec<f64> = draw.due(step).iter().map(|task| draw.factor(step, *task)).collect();
        let taken = estimate.increments.iter().filter(move |increment| increment.step == step);
        let readings = |of: fn(&Increment) -> Option<Tensor<1>>| {
            Readings::of_tasks(taken.clone().filter_map(of).collect())
        };
        (!factors.is_empty()).then(|| ProductStatistics {
            step,
            factors,
            squares: readings(|increment| Some(increment.squared_norm.clone())),
            direct: readings(|increment| increment.direct.clone()),
            curvatures: readings(|increment| Some(increment.curvature.clone())),
        })
    };
    let probes = |step| {
        let made = estimate.probes.iter().filter(|probe| probe.step == step);
        let steepest = Readings::of_tasks(made.map(|probe| probe.steepest.clone()).collect());
        (!draw.probed(step).is_empty()).then_some(ProbeStatistics { step, steepest })
    };
    EstimateStatistics {
        squares: Readings::of_tasks(vec![squares]),
        slopes: Readings::of_tasks(vec![slopes]),
        products: (1..=draw.steps()).filter_map(products).collect(),
        probes: (1..=draw.steps()).filter_map(probes).collect(),
    }
}

impl Statistics for EstimateStatistics<Readings> {
    type Values = EstimateStatistics<Vec<f64>>;

    fn values(&self, read: &mut dyn FnMut(&Readings) -> Vec<f64>) -> Self::Values {
        EstimateStatistics {
            squares: read(&self.squares),
            slopes: read(&self.slopes),
            products: self.products.values(read),
            probes: self.probes.values(read),
        }
    }
}

impl Statistics for ProductStatistics<Readings> {
    type Values = ProductStatistics<Vec<f64>>;

    fn values(&self, read: &mut dyn FnMut(&Readings) -> Vec<f64>) -> Self::Values {
        ProductStatistics {
            step: self.step,
            factors: self.factors.clone(),
            squares: read(&self.squares),
            direct: read(&self.direct),
            curvatures: read(&self.curvatures),
        }
    }
}

impl Statistics for ProbeStatistics<Readings> {
    type Values = ProbeStatistics<Vec<f64>>;

    fn values(&self, read: &mut dyn FnMut(&Readings) -> Vec<f64>) -> Self::Values {
        ProbeStatistics { step: self.step, steepest: read(&self.steepest) }
    }
}
