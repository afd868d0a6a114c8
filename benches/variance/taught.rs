//! Adaptive step coins, taught at one θ on changing tasks, then frozen and measured.

use crate::place::{META_BATCH, Place};
use crate::progress::Progress;
use crate::{EXPONENT, Options};
use metaburn::config::{Adaptation, Coin, CostUnit};
use metaburn::diagnosis::{Price, Trial, Verdict};
use metaburn::estimator::{AdaptiveStepCoins, Estimator};
use metaburn::problem::FewShot;
use metaburn::random::generator;

/// What became of them.
pub struct Taught {
    /// κ.
    pub curvature_floor: f64,
    /// p_1 … p_r.
    pub p: Vec<f64>,
    /// What they take 𝕍² for.
    pub exact: f64,
    /// What they err by.
    pub verdict: Verdict,
}

impl Taught {
    /// Taught with products at `price`, as a run's own clock would show it without noise.
    pub fn new(
        options: &Options,
        place: &Place,
        trial: &Trial<FewShot>,
        curvature_floor: f64,
        price: Price,
        progress: &mut Progress,
    ) -> Self {
        let steps = options.steps;
        let adaptation =
            Adaptation { exponent: EXPONENT, beta: 0.99, floor: 0.05, costs: CostUnit::Measured };
        let mut law = AdaptiveStepCoins::new(Coin::Task, adaptation, curvature_floor);
        let name = format!("adaptive step coins, κ = {curvature_floor}: ");
        let half = 0.5 * steps as f64;
        progress.begin(&(name.clone() + "taught"), place.weight(options.taught as usize * META_BATCH, half));
        for step in 0..options.taught {
            let draw = law.draw(&mut generator(2, "coin", step), META_BATCH, steps);
            let estimate = place.learner.opened.workers.estimate(&place.lesson(step), &place.theta, &draw);
            let products = estimate.evaluations.products as f64;
            law.observe(&draw, &estimate, META_BATCH as f64 * price.fixed + products * price.product);
        }
        progress.begin(&(name + "measured"), place.weight(options.draws as usize * options.tasks, half));
        Self {
            curvature_floor,
            p: law.probabilities(META_BATCH, steps),
            exact: law.report(META_BATCH, steps)["exact_second_moment"].as_f64().unwrap_or_default(),
            verdict: trial.run(&law, options.draws, 3),
        }
    }
}
