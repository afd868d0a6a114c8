//! The backward walk of every unrolled estimator.

use super::iterates::{Iterate, Iterates};
use super::{Draw, Estimate, Increment, Landmark, Memory, Probe};
use crate::{problem::Bilevel, stack::Stack};
use burn::tensor::Tensor;

/// The estimate that `draw` asks for at θ = `outer` (with the problem's task axis), by one inner loop
/// and one walk back.
pub fn estimate<P: Bilevel>(memory: Memory, problem: &P, outer: &Stack, draw: &Draw) -> Estimate {
    let mut iterates = Iterates::new(memory, problem, outer, draw);
    let mut walk: Option<Walk<P>> = None;
    let mut sum = Sum { draw, total: None, landmarks: Vec::new() };
    let (mut outer_slope, mut increments, mut probes) = (None, Vec::new(), Vec::new());
    let mut depth = 0;
    while let Some(Iterate { steps, tasks: due, fast }) = iterates.next_back() {
        let Some(walk) = &mut walk else {
            let begun = Walk::begin(problem, outer, &fast);
            outer_slope = draw.observes().then(|| begun.vector.clone().squared_norm());
            walk = Some(begun);
            continue;
        };
        // Steps that are skipped for all leave g_k as it was.
        while depth < draw.steps() - steps {
            sum.take_in(depth, walk);
            depth += 1;
        }
        probes.extend(walk.probes(steps + 1, &due, &fast, draw));
        increments.extend(walk.back(steps + 1, &due, &fast, draw));
    }
    let walk = walk.unwrap_or_else(|| unreachable!("φ_r is always wanted, and comes first"));
    (depth..=draw.steps()).for_each(|depth| sum.take_in(depth, &walk));
    let mut evaluations = draw.cost();
    evaluations.recomputed = iterates.recomputed();
    Estimate {
        gradient: sum.total.unwrap_or_else(|| outer.zeros_like()),
        outer_loss: walk.outer_loss,
        outer_slope,
        probes,
        landmarks: sum.landmarks,
        increments,
        evaluations,
        iterate_bytes: iterates.bytes(),
    }
}

/// Σ_k w_k g_k as far as the walk has come.
struct Sum<'a> {
    draw: &'a Draw,
    total: Option<Stack>,
    landmarks: Vec<Landmark>,
}

impl Sum<'_> {
    /// Adds g_k, k = `depth`, at which `walk` stands, for the tasks that want it.
    fn take_in<P: Bilevel>(&mut self, depth: usize, walk: &Walk<P>) {
        let tasks = self.draw.wanted(depth);
        if tasks.is_empty() {
            return;
        }
        let gradient = walk.landmark(&tasks);
        let weights: Vec<f64> = tasks.iter().map(|task| self.draw.weight(depth, *task)).collect();
        if weights.iter().any(|weight| *weight != 0.0) {
            let weighted = gradient.clone().scale(&weights);
            self.total = Some(match self.total.take() {
                None if tasks.len() == self.draw.tasks() => weighted,
                total => total.unwrap_or_else(|| walk.outer.zeros_like()).add_at(&tasks, weighted),
            });
        }
        if self.draw.observes() {
            self.landmarks.push(Landmark { depth, tasks, gradient });
        }
    }
}

/// Where the backward walk stands: v and h for every task.
pub struct Walk<'a, P> {
    problem: &'a P,
    outer: &'a Stack,
    /// v_{r−k}, in φ's shape.
    pub vector: Stack,
    /// h_k, in θ's shape; `None` while θ has entered no loss.
    pub direct: Option<Stack>,
    /// L_out, `[tasks]`.
    pub outer_loss: Tensor<1>,
}

impl<'a, P: Bilevel> Walk<'a, P> {
    /// At φ_r = `fast`: v_r and h_0.
    pub fn begin(problem: &'a P, outer: &'a Stack, fast: &Stack) -> Self {
        let (theta, phi) = (outer.tracked(), fast.tracked());
        let loss = problem.outer_loss(&theta, &phi);
        let outer_loss = loss.clone().inner();
        let [direct, vector] = Stack::gradients([&theta, &phi], loss.sum());
        let vector = vector.unwrap_or_else(|| fast.zeros_like());
        Self { problem, outer, vector, direct, outer_loss }
    }

    /// The probes that `draw` wants at inner step `step`, of tasks that are `due`, whose φ_{step−1} is `at`.
    fn probes(&self, step: usize, due: &[usize], at: &Stack, draw: &Draw) -> Vec<Probe> {
        let wanted = draw.probed(step).into_iter();
        let found = wanted.filter_map(|task| Some((task, due.binary_search(&task).ok()?)));
        let probe = |(task, place): (usize, usize)| {
            let (problem, outer) = (self.problem.select(&[task]), self.outer.select(&[task]));
            Probe::new(&problem, &outer, step, &at.select(&[place]), self.vector.select(&[task]))
        };
        found.map(probe).collect()
    }

    /// Steps back over inner step `step` for the tasks `due`, whose φ_{step−1} is `at`.
    fn back(&mut self, step: usize, due: &[usize], at: &Stack, draw: &Draw) -> Option<Increment> {
        let vector = self.vector.select(due);
        let (problem, outer) = (self.problem.select(due), self.outer.select(due));
        let rated = |theta: &Stack| problem.inner_rates(step, theta).times(&vector);
        let [mixed, product] = products(&problem, &outer, at, rated);
        let increment = product.as_ref().filter(|_| draw.observes()).map(|product| {
            let squared_norm = product.clone().squared_norm();
            Increment {
                step,
                tasks: due.to_vec(),
                direct: mixed.clone().map(Stack::squared_norm),
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
    fn landmark(&self, tasks: &[usize]) -> Stack {
        let outer = self.outer.select(tasks);
        let through = through_start(&self.problem.select(tasks), &outer, self.vector.select(tasks));
        let direct = self.direct.as_ref().map(|direct| direct.select(tasks));
        match (direct, through) {
            (Some(direct), Some(through)) => direct + through,
            (direct, through) => direct.or(through).unwrap_or_else(|| outer.zeros_like()),
        }
    }
}

/// (∂V/∂θ)ᵀ `vector` at θ = `outer`, in θ's shape; `None` where V does not depend on θ.
pub fn through_start<P: Bilevel>(problem: &P, outer: &Stack, vector: Stack) -> Option<Stack> {
    let theta = outer.tracked();
    let [through] = Stack::gradients([&theta], problem.start(&theta).dot(vector).sum());
    through
}

/// [∂²L_in/∂θ∂φ]ᵀ u and [∂²L_in/∂φ²] u at θ = `outer`, φ = `at`, in θ's and φ's shape; `None` where there is no
/// dependence. u = `along`(θ) may be made of θ; the first then has (∂u/∂θ)ᵀ ∂_φ L_in beside.
pub fn products<P: Bilevel>(
    problem: &P,
    outer: &Stack,
    at: &Stack,
    along: impl FnOnce(&Stack) -> Stack,
) -> [Option<Stack>; 2] {
    let (theta, phi) = (outer.tracked(), at.tracked());
    let slope = problem.inner_loss(&theta.constant(), &phi.moving(&along(&theta))).tangent;
    slope.map_or_else(|| [None, None], |slope| Stack::gradients([&theta, &phi], slope.sum()))
}

/// [∂²L_in/∂φ²] `vector` at θ = `outer`, φ = `at`; `None` where there is no curvature. Without the mixed
/// product beside it, which would go through all that θ is in, a body beneath a head for one.
pub fn curvature<P: Bilevel>(problem: &P, outer: &Stack, at: &Stack, vector: &Stack) -> Option<Stack> {
    let phi = at.tracked();
    let slope = problem.inner_loss(&outer.constant(), &phi.moving(vector)).tangent?;
    let [product] = Stack::gradients([&phi], slope.sum());
    product
}
