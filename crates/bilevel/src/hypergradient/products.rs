//! Products of a vector with second derivatives of the inner loss, and with the derivative of V.

use crate::{params::Params, problem::Bilevel};

/// (∂V/∂θ)ᵀ `vector` at θ = `outer`, in θ's shape; `None` if V does not depend on θ.
pub fn through_start<P: Bilevel>(problem: &P, outer: &Params, vector: Params) -> Option<Params> {
    let theta = outer.tracked();
    problem.start(&theta).pull_back(&vector, &theta)
}

/// [∂²L_in/∂θ∂φ]ᵀ u and [∂²L_in/∂φ²] u of inner step `step` at θ = `outer`, φ = `at`, in θ's and φ's shapes; `None`
/// where the slope of the inner loss along u does not depend on the variable. u = `along`(θ) may depend on θ; the first
/// result then includes (∂u/∂θ)ᵀ ∂_φ L_in.
pub fn products<P: Bilevel>(
    problem: &P,
    outer: &Params,
    step: usize,
    at: &Params,
    along: impl FnOnce(&Params) -> Params,
) -> [Option<Params>; 2] {
    let (theta, phi) = (outer.tracked(), at.tracked());
    let slope = problem.inner_loss(step, &theta.constant(), &phi.moving(&along(&theta))).tangent;
    slope.map_or_else(|| [None, None], |slope| Params::gradients([&theta, &phi], slope))
}

/// [∂²L_in/∂φ²] `vector` of inner step `step` at θ = `outer`, φ = `at`; `None` if the inner loss has no curvature. Cheaper
/// than [`products`], which also differentiates with respect to θ, for example through the shared body below an
/// adapted head.
pub fn curvature<P: Bilevel>(
    problem: &P,
    outer: &Params,
    step: usize,
    at: &Params,
    vector: &Params,
) -> Option<Params> {
    let phi = at.tracked();
    let slope = problem.inner_loss(step, &outer.constant(), &phi.moving(vector)).tangent?;
    let [product] = Params::gradients([&phi], slope);
    product
}
