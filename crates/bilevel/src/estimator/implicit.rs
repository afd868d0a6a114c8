//! Implicit: the gradient under the assumption that φ_r minimises the inner loss, independent of the path to it.
//!
//! ```text
//! ∇_φ L_in(θ, φ*) = 0   ⇒   ∂φ*/∂θ = −[∂²L_in/∂φ²]⁻¹ [∂²L_in/∂φ∂θ]
//! g = ∂_θ L_out − [∂²L_in/∂θ∂φ]ᵀ w,   ([∂²L_in/∂φ²] + δI) w = ∂_φ L_out
//! ```
//!
//! w comes from a few iterations of conjugate gradients, one Hessian-vector product each; δ is the damping. θ must
//! enter the inner loss: through a proximal term (iMAML: Rajeswaran et al., *Meta-learning with implicit gradients*,
//! 2019), as the body of a network of which only the head adapts, or as hyperparameters (Pedregosa, *Hyperparameter
//! optimization with approximate gradient*, 2016). Cost and memory do not grow with r, since no inner step is
//! differentiated. The estimate is biased to the extent that φ_r is not a minimum, w not the solution, or δ not 0.

use super::{Estimator, OuterPart, Settings};
use crate::hypergradient::{ConjugateGradient, Draw, Method};
use rand::Rng;
use serde::{Deserialize, Serialize};

/// The implicit gradient.
///
/// Defaults: `solver` with 5 iterations and no damping. Costs `iterations` + 1 products a task. Best for long inner
/// loops that come close to a minimum.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Implicit {
    /// The solver for w.
    #[serde(flatten)]
    pub solver: ConjugateGradient,
}

impl Default for Implicit {
    /// Five iterations, no damping.
    fn default() -> Self {
        Self { solver: ConjugateGradient { iterations: 5, damping: 0.0 } }
    }
}

impl Settings for Implicit {
    const KEYS: &'static [&'static str] = &["iterations", "damping"];

    fn build(&self) -> Box<dyn Estimator> {
        let damping = self.solver.damping;
        assert!(
            damping >= 0.0 && damping.is_finite(),
            "the damping must be finite and ≥ 0, but is {damping}"
        );
        Box::new(*self)
    }

    fn ignores_losses(&self) -> Option<&'static str> {
        Some("it assumes a minimum of the inner loss, which the iterates before the last are not")
    }

    fn cannot_learn(&self, part: OuterPart) -> Option<&'static str> {
        match part {
            OuterPart::InnerRates => Some("the minimum of the inner loss does not depend on the rates"),
            OuterPart::SharedWeights => None,
            OuterPart::StartOnly => {
                Some("the minimum of the inner loss does not depend on the start of the inner loop")
            }
        }
    }
}

impl Estimator for Implicit {
    fn draw(&self, _coins: &mut dyn Rng, tasks: usize, steps: usize) -> Draw {
        Draw::without_walk(Method::Implicit(self.solver), tasks, steps)
    }

    /// Without inner steps there is no inner loss, and the estimate is the exact gradient.
    fn is_unbiased(&self, steps: usize) -> bool {
        steps == 0
    }

    fn max_depth(&self, _steps: usize) -> usize {
        0
    }
}
