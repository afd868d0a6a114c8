//! The inner loop: φ_j = φ_{j−1} − α_j ∘ ∇_φ L_in(θ, φ_{j−1}).

use crate::{problem::Bilevel, stack::Stack};
use burn::tensor::Tensor;

/// Runs the inner loop: φ_r, and L_in at φ_0 … φ_{r−1} (each `[tasks]`).
///
/// `outer` has the problem's task axis.
pub fn adapt<P: Bilevel + ?Sized>(problem: &P, outer: &Stack, steps: usize) -> (Stack, Vec<Tensor<1>>) {
    let mut fast = problem.start(outer);
    let mut losses = Vec::with_capacity(steps);
    for step in 1..=steps {
        let (next, loss) = descend(problem, outer, step, fast);
        losses.push(loss);
        fast = next;
    }
    (fast, losses)
}

/// Inner step `step` (1 to r) from φ_{step−1} = `fast`: φ_step, and L_in at `fast`, `[tasks]`.
pub fn descend<P: Bilevel + ?Sized>(
    problem: &P,
    outer: &Stack,
    step: usize,
    fast: Stack,
) -> (Stack, Tensor<1>) {
    let leaves = fast.tracked();
    let loss = problem.inner_loss(&outer.constant(), &leaves.constant()).primal;
    let value = loss.clone().inner();
    let [gradient] = Stack::gradients([&leaves], loss.sum());
    let next = match gradient {
        Some(gradient) => fast - problem.inner_rates(step, outer).times(&gradient),
        None => fast,
    };
    (next, value)
}
