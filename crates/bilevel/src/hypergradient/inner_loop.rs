//! The inner loop: φ_j = φ_{j−1} − α_j ∘ ∇_φ L_in(θ, φ_{j−1}).

use super::constants::extended;
use crate::launches::Phase;
use crate::{params::Params, problem::Bilevel};
use burn::tensor::Tensor;

/// Runs `steps` inner steps at θ = `outer`, which has the problem's task axis. Returns φ_r, and L_in at φ_0 …
/// φ_{r−1}, each `[tasks]`.
pub fn adapt<P: Bilevel + ?Sized>(problem: &P, outer: &Params, steps: usize) -> (Params, Vec<Tensor<1>>) {
    run(problem, &extended(problem, outer), steps)
}

/// The same at `outer` with the problem's [constants](super::constants).
pub(super) fn run<P: Bilevel + ?Sized>(
    problem: &P,
    outer: &Params,
    steps: usize,
) -> (Params, Vec<Tensor<1>>) {
    let mut fast = problem.start(outer);
    let mut losses = Vec::with_capacity(steps);
    for step in 1..=steps {
        let (next, loss) = descend(problem, outer, step, fast);
        losses.push(loss);
        fast = next;
    }
    (fast, losses)
}

/// Inner step `step` (1 to r) from φ_{step−1} = `fast` at θ = `outer`, both with the problem's task axis. Returns φ_step, and
/// L_in at `fast`, `[tasks]`.
pub fn descend<P: Bilevel + ?Sized>(
    problem: &P,
    outer: &Params,
    step: usize,
    fast: Params,
) -> (Params, Tensor<1>) {
    Phase::Inner.run(|| take_step(problem, outer, step, fast))
}

fn take_step<P: Bilevel + ?Sized>(
    problem: &P,
    outer: &Params,
    step: usize,
    fast: Params,
) -> (Params, Tensor<1>) {
    let leaves = fast.tracked();
    let loss = problem.inner_loss(step, &outer.constant(), &leaves.constant()).primal;
    let value = loss.clone().inner();
    let [gradient] = Params::gradients([&leaves], loss);
    let next = match gradient {
        Some(gradient) => problem.inner_rates(step, outer).descend(fast, gradient),
        None => fast,
    };
    (next, value)
}
