//! Σ_k w_k g_k of a draw, collected along the backward walk.
//!
//! g_k = h_k + (∂V/∂θ)ᵀ v_{r−k} is linear in the state (v, h) of the walk. So the weighted states are added up, and V is
//! differentiated once, for their sum. Only a draw that is observed needs each g_k, and so differentiates V for each.

use super::outer_gradient::OuterGradient;
use super::{Draw, PartialGradient};
use crate::{params::Params, problem::Bilevel};

/// Σ_k w_k g_k up to the current depth.
pub struct WeightedSum<'a, P> {
    draw: &'a Draw,
    problem: &'a P,
    outer: &'a Params,
    /// Σ_k w_k (v_{r−k}, h_k), unless the draw is observed.
    total: Option<OuterGradient>,
    /// Each g_k, if the draw is observed.
    partial_gradients: Vec<PartialGradient>,
    /// The state at each depth instead, if the walk passes losses, which belong to earlier g_k too.
    states: Vec<State>,
}

/// (v_{r−k}, h_k), k = `depth`, of the tasks that sum g_k.
struct State {
    depth: usize,
    tasks: Vec<usize>,
    gradient: OuterGradient,
}

impl State {
    /// g_k at θ = `outer`, with the task axis of `problem`.
    fn in_theta<P: Bilevel>(self, problem: &P, outer: &Params) -> PartialGradient {
        let Self { depth, tasks, gradient } = self;
        let gradient = gradient.in_theta(&problem.select(&tasks), &outer.select(&tasks));
        PartialGradient { depth, tasks, gradient }
    }
}

impl<'a, P: Bilevel> WeightedSum<'a, P> {
    /// The empty sum, for θ = `outer` with the problem's task axis.
    pub fn new(draw: &'a Draw, problem: &'a P, outer: &'a Params) -> Self {
        Self { draw, problem, outer, total: None, partial_gradients: Vec::new(), states: Vec::new() }
    }

    /// Adds g_k, k = `depth`, for the tasks that sum it; `state` is (v_{r−k}, h_k) of all tasks.
    pub fn add(&mut self, depth: usize, state: &OuterGradient) {
        let tasks = self.draw.summed(depth);
        if tasks.is_empty() {
            return;
        }
        if self.draw.observes() {
            let gradient = state.select(&tasks);
            let state = State { depth, tasks, gradient };
            let passes_losses = self.draw.losses().first() < self.draw.steps();
            return match passes_losses {
                true => self.states.push(state),
                false => self.partial_gradients.push(state.in_theta(self.problem, self.outer)),
            };
        }
        let Some(weights) = weights(self.draw, depth, &tasks) else { return };
        let weighted = state.select(&tasks).scale(&weights);
        self.total = Some(match self.total.take() {
            None if tasks.len() == self.draw.tasks() => weighted,
            total => total.unwrap_or_else(|| state.zeros_like()).add_at(&tasks, weighted, self.outer),
        });
    }

    /// Adds the gradient of an outer loss that the walk passes at `depth` to each g_k with k < `depth`, which has been added
    /// without it.
    pub fn pass(&mut self, depth: usize, passed: &OuterGradient) {
        if self.draw.observes() {
            for State { tasks, gradient, .. } in &mut self.states {
                *gradient = gradient.clone() + passed.select(tasks);
            }
            return;
        }
        let weight = |task| (0..depth).map(|depth| self.draw.weight(depth, task)).sum();
        let weights: Vec<f64> = (0..self.draw.tasks()).map(weight).collect();
        if weights.iter().any(|weight| *weight != 0.0) {
            let weighted = passed.clone().scale(&weights);
            self.total = Some(match self.total.take() {
                Some(total) => total + weighted,
                None => weighted,
            });
        }
    }

    /// The sum after the last depth, in θ's shape, and each g_k if the draw is observed.
    pub fn finish(self) -> (Params, Vec<PartialGradient>) {
        let Self { draw, problem, outer, total, mut partial_gradients, states } = self;
        if !draw.observes() {
            let total = total.map(|total| total.in_theta(problem, outer));
            return (total.unwrap_or_else(|| outer.zeros_like()), Vec::new());
        }
        partial_gradients.extend(states.into_iter().map(|state| state.in_theta(problem, outer)));
        (sum_of(&partial_gradients, draw, outer), partial_gradients)
    }
}

/// Σ_k w_k g_k of the g_k in `partial_gradients`, which `draw` reports, at θ = `outer` with the task axis of the problem.
pub fn sum_of(partial_gradients: &[PartialGradient], draw: &Draw, outer: &Params) -> Params {
    let mut sum: Option<Params> = None;
    for PartialGradient { depth, tasks, gradient } in partial_gradients {
        let Some(weights) = weights(draw, *depth, tasks) else { continue };
        let weighted = gradient.clone().scale(&weights);
        sum = Some(match sum.take() {
            None if tasks.len() == draw.tasks() => weighted,
            sum => sum.unwrap_or_else(|| outer.zeros_like()).add_at(tasks, weighted),
        });
    }
    sum.unwrap_or_else(|| outer.zeros_like())
}

/// The weight of g_k, k = `depth`, of each of `tasks`; `None` if all are zero.
fn weights(draw: &Draw, depth: usize, tasks: &[usize]) -> Option<Vec<f64>> {
    let weights: Vec<f64> = tasks.iter().map(|task| draw.weight(depth, *task)).collect();
    weights.iter().any(|weight| *weight != 0.0).then_some(weights)
}
