//! Batch normalisation with its own differentiation rule: composed of elementary rules it would make twice as many
//! passes over the activations.
//!
//! Ioffe & Szegedy, *Batch normalization*, 2015. With μ and σ² the mean and biased variance of the rows that the
//! statistics are computed from, and a = γ/√(σ² + ε):
//!
//! ```text
//! y = (x − μ)·a + β
//! ẏ = (ẋ − μ̇)·a + (x − μ)·ȧ + β̇,   μ̇ = mean(ẋ),   ȧ = γ̇ r − γ r³ mean((x − μ)(ẋ − μ̇)),   r = 1/√(σ² + ε)
//! ```

use super::{Dual, ops::sum_of};
use crate::kernel::{self, Norm};
use burn::tensor::Tensor;

impl Dual<3> {
    /// [`Self::batch_norm`] followed by [`Self::relu`], in one pass where a kernel exists for it.
    pub fn batch_norm_relu(self, gamma: Dual<3>, beta: Dual<3>, rows: usize, epsilon: f64) -> Self {
        self.batch_norm_leaky_relu(gamma, beta, rows, epsilon, 0.0)
    }

    /// [`Self::batch_norm`] followed by [`Self::leaky_relu`], in one pass where a kernel exists for it. A
    /// `negative_slope` of 1 is batch norm alone.
    pub fn batch_norm_leaky_relu(
        self,
        gamma: Dual<3>,
        beta: Dual<3>,
        rows: usize,
        epsilon: f64,
        negative_slope: f64,
    ) -> Self {
        if !kernel::is_fused(&self.primal) {
            return self.batch_norm(gamma, beta, rows, epsilon).leaky_relu(negative_slope);
        }
        let norm = Norm { counted: rows, epsilon, negative_slope };
        let moves = [&self, &gamma, &beta].iter().any(|part| part.tangent.is_some());
        let weights = [gamma.primal.clone(), beta.primal.clone()];
        if moves && kernel::has_pairs(&self.primal) {
            let tangents = [self.tangent, gamma.tangent, beta.tangent];
            let [primal, tangent] = kernel::norm_relu_pair(self.primal, weights, tangents, norm);
            return Self { primal, tangent: Some(tangent) };
        }
        let tangent = moves.then(|| {
            let [x, gamma, beta] = [self.clone(), gamma, beta].map(Dual::into_tangent);
            kernel::norm_relu_tangent(self.primal.clone(), weights.clone(), x, [gamma, beta], norm)
        });
        Self { primal: kernel::norm_relu(self.primal, weights, norm), tangent }
    }

    /// Normalises `self [tasks, rows, channels]` per task and channel by the statistics of its first `rows` rows, then
    /// scales by `gamma` and shifts by `beta`, both `[tasks, 1, channels]`.
    ///
    /// Transductive batch normalisation uses all rows; to use the statistics of the support set alone, put its rows
    /// first.
    pub fn batch_norm(self, gamma: Dual<3>, beta: Dual<3>, rows: usize, epsilon: f64) -> Self {
        let mean = |x: Tensor<3>| {
            let all = x.dims()[1];
            if rows == all { x.mean_dim(1) } else { x.narrow(1, 0, rows).mean_dim(1) }
        };
        let centre = |x: Tensor<3>| x.clone() - mean(x);

        let centred = centre(self.primal);
        let variance = mean(centred.clone() * centred.clone());
        let inverse_deviation = variance.add_scalar(epsilon).sqrt().recip();
        let slope = gamma.primal.clone() * inverse_deviation.clone();

        let through_x = self.tangent.map(|tangent| {
            let tangent = centre(tangent);
            let covariance = mean(centred.clone() * tangent.clone());
            let cubed = inverse_deviation.clone().powi_scalar(3);
            let slope_tangent = gamma.primal * cubed * covariance;
            tangent * slope.clone() - centred.clone() * slope_tangent
        });
        let through_gamma = gamma.tangent.map(|tangent| centred.clone() * (tangent * inverse_deviation));
        let shape = centred.dims();
        let through_beta = beta.tangent.map(|tangent| tangent.expand(shape));
        Dual {
            primal: centred * slope + beta.primal,
            tangent: sum_of(sum_of(through_x, through_gamma), through_beta),
        }
    }
}
