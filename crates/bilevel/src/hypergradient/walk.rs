//! The backward walk through the inner loop, shared by all unrolled estimators.

use super::iterates::{Iterate, Iterates};
use super::{Draw, Estimate, Increment, Memory, PartialGradient, Probe};
use crate::{params::Params, problem::Bilevel};
use burn::tensor::Tensor;

/// Computes the estimate described by `draw` at θ = `outer` (with the problem's task axis) by one inner loop and one
/// backward walk.
pub fn estimate<P: Bilevel>(memory: Memory, problem: &P, outer: &Params, draw: &Draw) -> Estimate {
    let mut iterates = Iterates::new(memory, problem, outer, draw);
    let mut walk: Option<Walk<P>> = None;
    let mut sum = WeightedSum { draw, total: None, partial_gradients: Vec::new() };
    let (mut outer_slope, mut increments, mut probes) = (None, Vec::new(), Vec::new());
    let mut depth = 0;
    while let Some(Iterate { steps, tasks: due, fast }) = iterates.next_back() {
        let Some(walk) = &mut walk else {
            let start = Walk::begin(problem, outer, &fast);
            outer_slope = draw.observes().then(|| start.vector.clone().squared_norm());
            walk = Some(start);
            continue;
        };
        // Steps that all tasks skip do not change g_k.
        while depth < draw.steps() - steps {
            sum.add(depth, walk);
            depth += 1;
        }
        probes.extend(walk.probes(steps + 1, &due, &fast, draw));
        increments.extend(walk.step_back(steps + 1, &due, &fast, draw));
    }
    let walk = walk.unwrap_or_else(|| unreachable!("φ_r is always required, and is returned first"));
    (depth..=draw.steps()).for_each(|depth| sum.add(depth, &walk));
    let mut evaluations = draw.cost();
    evaluations.recomputed = iterates.recomputed();
    Estimate {
        gradient: sum.total.unwrap_or_else(|| outer.zeros_like()),
        outer_loss: walk.outer_loss,
        outer_slope,
        probes,
        partial_gradients: sum.partial_gradients,
        increments,
        evaluations,
        iterate_bytes: iterates.peak_bytes(),
    }
}

/// Σ_k w_k g_k up to the current depth.
struct WeightedSum<'a> {
    draw: &'a Draw,
    total: Option<Params>,
    partial_gradients: Vec<PartialGradient>,
}

impl WeightedSum<'_> {
    /// Adds g_k, k = `depth` = the depth of `walk`, for the tasks that sum it.
    fn add<P: Bilevel>(&mut self, depth: usize, walk: &Walk<P>) {
        let tasks = self.draw.summed(depth);
        if tasks.is_empty() {
            return;
        }
        let gradient = walk.partial_gradient(&tasks);
        let weights: Vec<f64> = tasks.iter().map(|task| self.draw.weight(depth, *task)).collect();
        if weights.iter().any(|weight| *weight != 0.0) {
            let weighted = gradient.clone().scale(&weights);
            self.total = Some(match self.total.take() {
                None if tasks.len() == self.draw.tasks() => weighted,
                total => total.unwrap_or_else(|| walk.outer.zeros_like()).add_at(&tasks, weighted),
            });
        }
        if self.draw.observes() {
            self.partial_gradients.push(PartialGradient { depth, tasks, gradient });
        }
    }
}

/// State of a backward walk: v and h of every task.
pub struct Walk<'a, P> {
    problem: &'a P,
    outer: &'a Params,
    /// v_{r−k}, in φ's shape.
    pub vector: Params,
    /// h_k, in θ's shape; `None` as long as no loss depended on θ.
    pub direct: Option<Params>,
    /// L_out, `[tasks]`.
    pub outer_loss: Tensor<1>,
}

impl<'a, P: Bilevel> Walk<'a, P> {
    /// Starts at φ_r = `fast`, with v_r and h_0.
    pub fn begin(problem: &'a P, outer: &'a Params, fast: &Params) -> Self {
        let (theta, phi) = (outer.tracked(), fast.tracked());
        let loss = problem.outer_loss(&theta, &phi);
        let outer_loss = loss.clone().inner();
        let [direct, vector] = Params::gradients([&theta, &phi], loss.sum());
        let vector = vector.unwrap_or_else(|| fast.zeros_like());
        Self { problem, outer, vector, direct, outer_loss }
    }

    /// Runs the probes of `draw` at inner step `step` for tasks in `due`, whose φ_{step−1} is `at`.
    fn probes(&self, step: usize, due: &[usize], at: &Params, draw: &Draw) -> Vec<Probe> {
        let tasks = draw.probed(step).into_iter();
        let positions = tasks.filter_map(|task| Some((task, due.binary_search(&task).ok()?)));
        let probe = |(task, position): (usize, usize)| {
            let (problem, outer) = (self.problem.select(&[task]), self.outer.select(&[task]));
            Probe::new(&problem, &outer, step, &at.select(&[position]), self.vector.select(&[task]))
        };
        positions.map(probe).collect()
    }

    /// Walks back over inner step `step` for the tasks in `due`, whose φ_{step−1} is `at`.
    fn step_back(&mut self, step: usize, due: &[usize], at: &Params, draw: &Draw) -> Option<Increment> {
        let vector = self.vector.select(due);
        let (problem, outer) = (self.problem.select(due), self.outer.select(due));
        let along = |theta: &Params| problem.inner_rates(step, theta).times(&vector);
        let [mixed, product] = products(&problem, &outer, at, along);
        let increment = product.as_ref().filter(|_| draw.observes()).map(|product| {
            let squared_norm = product.clone().squared_norm();
            Increment {
                step,
                tasks: due.to_vec(),
                direct: mixed.clone().map(Params::squared_norm),
                curvature: (squared_norm.clone() / vector.squared_norm()).sqrt(),
                squared_norm,
            }
        });
        let factors: Vec<f64> = due.iter().map(|task| -draw.factor(step, *task)).collect();
        if let Some(product) = product {
            self.vector = self.vector.clone().add_at(due, product.scale(&factors));
            if let Some(bound) = draw.clip() {
                self.vector = self.vector.clone().map(|leaf| leaf.clamp(-bound, bound));
            }
        }
        if let Some(mixed) = mixed {
            let direct = self.direct.take().unwrap_or_else(|| self.outer.zeros_like());
            self.direct = Some(direct.add_at(due, mixed.scale(&factors)));
        }
        increment
    }

    /// g_k = h_k + (∂V/∂θ)ᵀ v_{r−k} of `tasks`.
    fn partial_gradient(&self, tasks: &[usize]) -> Params {
        let outer = self.outer.select(tasks);
        let through = through_start(&self.problem.select(tasks), &outer, self.vector.select(tasks));
        let direct = self.direct.as_ref().map(|direct| direct.select(tasks));
        match (direct, through) {
            (Some(direct), Some(through)) => direct + through,
            (direct, through) => direct.or(through).unwrap_or_else(|| outer.zeros_like()),
        }
    }
}

/// (∂V/∂θ)ᵀ `vector` at θ = `outer`, in θ's shape; `None` if V does not depend on θ.
pub fn through_start<P: Bilevel>(problem: &P, outer: &Params, vector: Params) -> Option<Params> {
    let theta = outer.tracked();
    let [through] = Params::gradients([&theta], problem.start(&theta).dot(vector).sum());
    through
}

/// [∂²L_in/∂θ∂φ]ᵀ u and [∂²L_in/∂φ²] u at θ = `outer`, φ = `at`, in θ's and φ's shapes; `None` where the inner loss
/// does not depend on the variable. u = `along`(θ) may depend on θ; the first result then includes (∂u/∂θ)ᵀ ∂_φ L_in.
pub fn products<P: Bilevel>(
    problem: &P,
    outer: &Params,
    at: &Params,
    along: impl FnOnce(&Params) -> Params,
) -> [Option<Params>; 2] {
    let (theta, phi) = (outer.tracked(), at.tracked());
    let slope = problem.inner_loss(&theta.constant(), &phi.moving(&along(&theta))).tangent;
    slope.map_or_else(|| [None, None], |slope| Params::gradients([&theta, &phi], slope.sum()))
}

/// [∂²L_in/∂φ²] `vector` at θ = `outer`, φ = `at`; `None` if the inner loss has no curvature. Cheaper than
/// [`products`], which also differentiates with respect to θ, for example through the shared body below an adapted
/// head.
pub fn curvature<P: Bilevel>(problem: &P, outer: &Params, at: &Params, vector: &Params) -> Option<Params> {
    let phi = at.tracked();
    let slope = problem.inner_loss(&outer.constant(), &phi.moving(vector)).tangent?;
    let [product] = Params::gradients([&phi], slope.sum());
    product
}
