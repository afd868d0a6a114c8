//! Exact: differentiates every inner step, g = g_r (Finn et al. 2017; Maclaurin et al. 2015).

use super::{Estimator, Settings};
use crate::hypergradient::Draw;
use rand::Rng;
use serde::{Deserialize, Serialize};

/// The exact gradient.
///
/// No parameters. Costs r products a task. Best for few inner steps, above all for one, and as the reference for other
/// estimators.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exact {}

impl Settings for Exact {
    const KEYS: &'static [&'static str] = &[];

    fn build(&self) -> Box<dyn Estimator> {
        Box::new(*self)
    }
}

impl Estimator for Exact {
    fn draw(&self, _coins: &mut dyn Rng, tasks: usize, steps: usize) -> Draw {
        Draw::truncated(tasks, steps, steps)
    }

    fn is_unbiased(&self, _steps: usize) -> bool {
        true
    }

    fn max_depth(&self, steps: usize) -> usize {
        steps
    }
}
