//! The weights of the outer losses along the inner loop.
//!
//! ```text
//! M(θ) = E_T Σ_j w_j L_out(θ, φ_j),   j = 0 … r
//! ```
//!
//! The usual outer objective has w_r = 1 and no other loss. Losses along the way give the early inner steps a gradient
//! of their own, which makes training more stable: the multi-step loss of Antoniou, Edwards & Storkey, *How to train
//! your MAML*, 2019.

/// w_0 … w_r: the weight of L_out(θ, φ_j) in the outer objective, for each iterate of the inner loop.
///
/// ```
/// use bilevel::hypergradient::LossWeights;
///
/// assert_eq!(LossWeights::last(3), LossWeights::new(vec![0.0, 0.0, 0.0, 1.0]));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct LossWeights(Vec<f64>);

impl LossWeights {
    /// The weights w_0 … w_r, r + 1 of them.
    ///
    /// # Panics
    /// Panics if there is no weight, or one is not finite.
    pub fn new(weights: Vec<f64>) -> Self {
        assert!(
            !weights.is_empty(),
            "φ_0 exists even without an inner step, so there is at least one weight"
        );
        assert!(weights.iter().all(|weight| weight.is_finite()), "loss weights must be finite: {weights:?}");
        Self(weights)
    }

    /// Only the loss after all `steps` inner steps.
    pub fn last(steps: usize) -> Self {
        let mut weights = vec![0.0; steps + 1];
        weights[steps] = 1.0;
        Self(weights)
    }

    /// r, the number of inner steps.
    pub fn steps(&self) -> usize {
        self.0.len() - 1
    }

    /// w_j, j = `step`.
    pub fn get(&self, step: usize) -> f64 {
        self.0[step]
    }

    /// The number of iterates whose outer loss is computed: those with a weight, and always φ_r.
    pub fn count(&self) -> usize {
        self.0[..self.steps()].iter().filter(|weight| **weight != 0.0).count() + 1
    }

    /// The first iterate with a weight; r if there is none before.
    pub fn first(&self) -> usize {
        self.0.iter().position(|weight| *weight != 0.0).unwrap_or(self.steps())
    }
}
