//! Adaptive step coins: step coins whose probabilities follow running estimates of what they depend on.
//!
//! The error is a sum of martingale differences, one a step, in the noisy v itself:
//!
//! ```text
//! E‖g − g_r‖² = Σ_j (1/p_j − 1) E‖P_{<j} α_jH_jv_j‖² ≤ Σ_j (1/p_j − 1) D_j,   D_j = E‖α_jH_jv_j‖²
//! minimise  (C + Σ_j p_j c_j) · (𝕍² + Σ_j (1/p_j − 1) D_j)^e,   p_j ≥ max(floor, κ·a_j)
//! ```
//!
//! where P_{<j}, the exact way back from there, shrinks where the inner loop descends. A taken product shows ‖α_jH_jv_j‖²,
//! and its coin is independent of v_j, so averages over taken products are unbiased for D_j; noise that earlier coins
//! put into v_j is in them, which is what raises p when the tails grow heavy. Nothing is clipped. Where θ enters the
//! inner loss D_j is Δ_j's share of θ's gradient: the mixed product, and α_jH_jv_j in units of 𝕍²/‖v_r‖².
//!
//! Tails are heavy because what makes them is rare, so averages see them too late. Along a direction of which a step takes
//! the share a, the second moment grows by 1 − 2a + a²/p, and stays bounded as long as p ≥ a/2. The a_j = α_jλ̂_j of the floor
//! is therefore the largest that there is, by power iterations beside a product that is taken (at every step in the
//! first outer step, then at one inner step every [`PROBE_EVERY`] outer steps), or the largest ‖α_jH_jv_j‖/‖v_j‖ that
//! products of step j showed of late, if that is more. κ = ½ is the brink; at ¾, the default, p = κa_j contracts by 1 − ⅔a,
//! and a_j may be a third too small (measured on Omniglot: docs/estimators.md).
//!
//! 𝕍² = E‖g‖² − Σ_j (1/p_j − 1) D_j, by the same draws. Until a step's product was seen [`WARM_UP`] times its p is 1.

use super::allocation::{self, Budget, Share};
use super::average::Average;
use super::price::Prices;
use super::report::report;
use super::step_coins::tossed;
use super::{Estimator, State};
use crate::config::{Coin, Tuning};
use crate::hypergradient::{Draw, Estimate, Increment};
use crate::interval::mean;
use burn::tensor::Tensor;
use rand::Rng;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Products of a step that are taken for sure before its p adapts.
pub const WARM_UP: u64 = 16;
/// Outer steps from one probe of a step's curvature to the next: a few percent of first-order's cost.
pub const PROBE_EVERY: u64 = 8;
/// Share that the past keeps when a probe finds less curvature than the one before.
const FADE: f64 = 0.5;
/// Of E‖g‖², the least that 𝕍² is taken for: its estimate is a difference, and may come out negative.
const LEAST: f64 = 0.05;

/// Step coins that adapt.
#[derive(Clone, Debug)]
pub struct AdaptiveStepCoins {
    /// Who shares a step's coin.
    pub coin: Coin,
    /// How the probabilities are chosen.
    pub tuning: Tuning,
    /// κ.
    pub curvature_floor: f64,
    learned: Learned,
}

/// What they have learned.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Learned {
    /// Of inner step j at place j − 1.
    steps: Vec<Step>,
    /// ‖g‖² of the estimates.
    estimate: Average,
    /// 𝕍², before it is bounded.
    exact: Average,
    /// ‖v_r‖².
    slope: Average,
    /// Outer steps.
    #[serde(default)]
    seen: u64,
    prices: Prices,
}

/// What is known of an inner step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Step {
    /// ‖α_jH_jv_j‖².
    product: Average,
    /// The squared norm of the mixed product.
    direct: Average,
    /// a_j, by the products of the walk.
    curvature: f64,
    /// a_j, by probes.
    #[serde(default)]
    steepest: f64,
    /// Products taken.
    seen: u64,
}

impl AdaptiveStepCoins {
    /// Knowing nothing yet.
    pub fn new(coin: Coin, tuning: Tuning, curvature_floor: f64) -> Self {
        Self { coin, tuning, curvature_floor, learned: Learned::default() }
    }

    /// p_1 … p_r as things stand, for `tasks` tasks of `steps` inner steps.
    pub fn probabilities(&self, tasks: usize, steps: usize) -> Vec<f64> {
        let Tuning { exponent, costs, .. } = self.tuning;
        let costs = self.learned.prices.costs(costs, [tasks, steps, 0]);
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

    /// D_j, at place j − 1.
    fn variance(&self, at: usize) -> f64 {
        let Some(step) = self.learned.steps.get(at) else { return 0.0 };
        let product = step.product.get().unwrap_or_default();
        match step.direct.get() {
            Some(direct) => direct + product * self.gain(),
            None => product,
        }
    }

    /// What a unit of v is worth in θ's gradient, squared.
    fn gain(&self) -> f64 {
        let slope = self.learned.slope.get().filter(|slope| *slope > 0.0);
        slope.map_or(1.0, |slope| self.exact().unwrap_or_default() / slope)
    }

    /// The least p_j, at place j − 1.
    fn floor(&self, at: usize) -> f64 {
        match self.learned.steps.get(at) {
            Some(step) if step.seen >= WARM_UP => {
                let steepest = step.steepest.max(step.curvature);
                (self.curvature_floor * steepest).clamp(self.tuning.floor, 1.0)
            }
            _ => 1.0,
        }
    }

    /// The inner steps whose curvature is to be probed at this outer step: all at the first, then by turns.
    fn probed(&self, steps: usize) -> Vec<usize> {
        match self.learned.seen {
            0 => (1..=steps).collect(),
            seen if seen.is_multiple_of(PROBE_EVERY) => vec![(seen / PROBE_EVERY) as usize % steps + 1],
            _ => Vec::new(),
        }
    }

    /// 𝕍².
    fn exact(&self) -> Option<f64> {
        let least = LEAST * self.learned.estimate.get()?;
        Some(self.learned.exact.get()?.max(least))
    }
}

impl Estimator for AdaptiveStepCoins {
    fn draw(&self, coins: &mut dyn Rng, tasks: usize, steps: usize) -> Draw {
        let mut draw = tossed(self.coin, coins, tasks, &self.probabilities(tasks, steps)).observed();
        for step in self.probed(steps) {
            if let Some(task) = draw.due(step).first() {
                draw.probe(step, *task);
            }
        }
        draw
    }

    fn is_unbiased(&self, _steps: usize) -> bool {
        true
    }

    fn look(&mut self, _draw: &Draw, estimate: &Estimate) -> Vec<Tensor<1>> {
        let squares = estimate.gradient.clone().squared_norm();
        let slopes = estimate.outer_slope.clone().unwrap_or_else(|| squares.clone());
        let mut shown = vec![squares, slopes];
        for Increment { squared_norm, direct, curvature, .. } in &estimate.increments {
            shown.extend([squared_norm, curvature].into_iter().chain(direct).cloned());
        }
        shown.extend(estimate.probes.iter().map(|probe| probe.steepest.clone()));
        shown
    }

    fn learn(&mut self, draw: &Draw, estimate: &Estimate, seen: &[Vec<f64>], seconds: f64) {
        let beta = self.tuning.beta;
        self.learned.prices.observe(estimate.evaluations.products as f64, seconds);
        self.learned.steps.resize_with(draw.steps(), Step::default);
        let mut noise = 0.0;
        let [squares, slopes, seen @ ..] = seen else { return };
        let mut seen = seen.iter();
        for Products { at, tasks, squares, direct, curvatures } in
            Products::of(&estimate.increments, draw.steps(), seen.by_ref())
        {
            let gain = direct.as_ref().map_or(1.0, |_| self.gain());
            for (place, task) in tasks.iter().enumerate() {
                let factor = draw.factor(at + 1, *task);
                let square = direct.as_ref().map_or(0.0, |direct| direct[place]) + gain * squares[place];
                noise += factor * (factor - 1.0) * square;
            }
            let step = &mut self.learned.steps[at];
            step.product.add(mean(&squares), beta);
            direct.iter().for_each(|direct| step.direct.add(mean(direct), beta));
            let largest =
                curvatures.into_iter().filter(|curvature| curvature.is_finite()).fold(0.0, f64::max);
            step.curvature = faded(step.curvature, largest, beta);
            step.seen += tasks.len() as u64;
        }
        let square = mean(squares);
        self.learned.estimate.add(square, beta);
        self.learned.exact.add(square - noise / draw.tasks() as f64, beta);
        self.learned.slope.add(mean(slopes), beta);
        let found = estimate.probes.iter().zip(seen.flatten());
        for (probe, steepest) in found.filter(|(_, steepest)| steepest.is_finite()) {
            let step = &mut self.learned.steps[probe.step - 1];
            step.steepest = faded(step.steepest, *steepest, FADE);
        }
        self.learned.seen += 1;
    }

    fn report(&self, tasks: usize, steps: usize) -> Map<String, Value> {
        let costs = self.learned.prices.costs(self.tuning.costs, [tasks, steps, 0]);
        let each = |value: &dyn Fn(usize) -> f64| json!((0..steps).map(value).collect::<Vec<_>>());
        let curvature = |at: usize| self.learned.steps.get(at).map_or(0.0, |step| step.curvature);
        report([
            ("p", json!(self.probabilities(tasks, steps))),
            ("step_second_moments", each(&|at| self.variance(at))),
            ("step_curvatures", each(&curvature)),
            ("step_steepest", each(&|at| self.learned.steps.get(at).map_or(0.0, |step| step.steepest))),
            ("exact_second_moment", json!(self.exact())),
            ("cost_fixed", json!(costs.fixed)),
            ("cost_random", json!(costs.random)),
        ])
    }

    fn state(&self) -> State {
        State::of(json!(self.learned))
    }

    fn restore(&mut self, state: &State) -> Result<(), String> {
        self.learned = state.read()?.unwrap_or_default();
        Ok(())
    }
}

/// The larger of `news` and what `past` has faded to.
fn faded(past: f64, news: f64, share: f64) -> f64 {
    news.max(share * past + (1.0 - share) * news)
}

/// The products of one inner step, on the host.
struct Products {
    /// j − 1.
    at: usize,
    tasks: Vec<usize>,
    squares: Vec<f64>,
    direct: Option<Vec<f64>>,
    curvatures: Vec<f64>,
}

impl Products {
    /// Those of `steps` inner steps that were taken, a step's tasks together. `seen` yields the values of each
    /// increment: squared norms, curvatures and, where there are any, the mixed products' squared norms.
    fn of<'a>(
        increments: &[Increment],
        steps: usize,
        seen: &mut impl Iterator<Item = &'a Vec<f64>>,
    ) -> Vec<Self> {
        let mut next = || seen.next().into_iter().flatten();
        let mut all: Vec<Option<Self>> = (0..steps).map(|_| None).collect();
        for Increment { step, tasks, direct, .. } in increments {
            let at = step - 1;
            let empty = Self { at, tasks: vec![], squares: vec![], direct: None, curvatures: vec![] };
            let products = all[at].get_or_insert(empty);
            products.tasks.extend(tasks);
            products.squares.extend(next());
            products.curvatures.extend(next());
            direct.iter().for_each(|_| products.direct.get_or_insert_default().extend(next()));
        }
        all.into_iter().flatten().collect()
    }
}
