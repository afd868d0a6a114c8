//! The backward walk through the inner loop, shared by all unrolled estimators.

use super::inner_loop::descend;
use super::iterates::{Iterate, Iterates};
use super::{Draw, Estimate, Increment, Memory, PartialGradient, Probe, places};
use crate::launches::Phase;
use crate::{params::Params, problem::Bilevel, ranks::Share};
use burn::tensor::Tensor;

/// Computes the estimate described by `draw` at θ = `outer` (with the problem's task axis) by one inner loop and one
/// backward walk. With `forward` the inner loop, with all its iterates, and the gradient at its end are given.
pub fn estimate<P: Bilevel>(
    memory: Memory,
    problem: &P,
    outer: &Params,
    draw: &Draw,
    forward: Option<Forward>,
) -> Estimate {
    let losses = draw.losses();
    let (computed, mut begun) = forward.map(|forward| (forward.iterates, forward.start)).unzip();
    let mut iterates = Iterates::new(memory, problem, outer, draw, computed);
    let mut walk: Option<Walk<P>> = None;
    let mut sum = WeightedSum::new(draw);
    let (mut increments, mut probes) = (Vec::new(), Vec::new());
    // Σ_j w_j ∇_φ L_out(θ, φ_j) so far.
    let mut slope = None;
    let mut depth = 0;
    while let Some(Iterate { steps, tasks, fast }) = iterates.next_back() {
        let Some(walk) = &mut walk else {
            let start = match begun.take() {
                Some(begun) => Walk::from(problem, outer, begun),
                None => Walk::begin(problem, outer, steps, &fast, losses.get(steps)),
            };
            slope = draw.observes().then(|| start.vector.clone());
            walk = Some(start);
            continue;
        };
        // Steps that all tasks skip do not change v.
        while depth < draw.steps() - steps {
            sum.add(depth, walk);
            depth += 1;
        }
        let due = draw.due(steps + 1);
        if !due.is_empty() {
            let fast = fast.select(&places(&due, &tasks));
            probes.extend(walk.probes(steps + 1, &due, &fast, draw));
            increments.extend(Phase::Products.run(|| walk.step_back(steps + 1, &due, &fast, draw)));
        }
        let weight = losses.get(steps);
        if weight != 0.0 {
            let (passed, _) = Passed::at(problem, outer, steps, &fast, weight);
            sum.pass(depth, walk, &passed);
            slope = slope.map(|slope| slope + passed.vector.clone());
            walk.pass(passed);
        }
    }
    let walk = walk.unwrap_or_else(|| unreachable!("φ_r is always required, and is returned first"));
    (depth..=draw.steps()).for_each(|depth| sum.add(depth, &walk));
    let mut evaluations = draw.cost();
    evaluations.recomputed = iterates.recomputed();
    Estimate {
        share: Share::all(draw.tasks()),
        gradient: sum.total(&walk).unwrap_or_else(|| outer.zeros_like()),
        outer_loss: walk.outer_loss,
        outer_slope: slope.map(Params::squared_norm),
        probes,
        partial_gradients: sum.partial_gradients,
        increments,
        evaluations,
        iterate_bytes: iterates.peak_bytes(),
    }
}

/// The part of an estimate before its first product.
pub struct Forward {
    /// θ and the problem's constants, with the problem's task axis.
    pub outer: Params,
    /// φ_0 … φ_r of all tasks.
    iterates: Vec<Params>,
    /// The gradient of the outer loss at φ_r, and the loss of each task.
    start: (Passed, Tensor<1>),
}

/// Runs `steps` inner steps at θ = `outer`, which has the problem's task axis and constants, and takes the gradient of the
/// outer loss after them, times `weight`.
pub fn forward<P: Bilevel>(problem: &P, outer: Params, steps: usize, weight: f64) -> Forward {
    let mut iterates = vec![problem.start(&outer)];
    for step in 1..=steps {
        let next = descend(problem, &outer, step, iterates[step - 1].clone()).0;
        iterates.push(next);
    }
    let start = Passed::at(problem, &outer, steps, &iterates[steps], weight);
    Forward { outer, iterates, start }
}

impl Forward {
    /// The same, with copies of the gradient and the loss. `copy` copies parameters and the values of tasks; the result is
    /// `None` if `copy` returns `None`.
    pub fn with_own_start(
        &self,
        copy: impl Fn(&Params, &Tensor<1>) -> Option<(Params, Tensor<1>)>,
    ) -> Option<Self> {
        let (Passed { vector, direct }, loss) = &self.start;
        // As one stack of leaves: one launch copies them all.
        let leaves = vector.leaves().len();
        let all = direct.iter().fold(vector.clone(), |all, direct| all.and(direct.clone()));
        let (all, loss) = copy(&all, loss)?;
        let direct = direct.as_ref().map(|_| all.part(leaves..all.leaves().len()));
        let start = (Passed { vector: all.part(0..leaves), direct }, loss);
        Some(Self { outer: self.outer.clone(), iterates: self.iterates.clone(), start })
    }
}

/// Σ_k w_k g_k up to the current depth.
struct WeightedSum<'a> {
    draw: &'a Draw,
    total: Option<Params>,
    /// The weighted gradients, in φ and in θ, of the outer losses that the walk passed after the depths that sum them.
    late: Option<Passed>,
    partial_gradients: Vec<PartialGradient>,
}

impl<'a> WeightedSum<'a> {
    fn new(draw: &'a Draw) -> Self {
        Self { draw, total: None, late: None, partial_gradients: Vec::new() }
    }

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

    /// Adds an outer loss that the walk passes to each g_k with k < `depth`, which has been summed without it.
    fn pass<P: Bilevel>(&mut self, depth: usize, walk: &Walk<P>, passed: &Passed) {
        let weight = |task| (0..depth).map(|depth| self.draw.weight(depth, task)).sum();
        let weights: Vec<f64> = (0..self.draw.tasks()).map(weight).collect();
        if weights.iter().any(|weight| *weight != 0.0) {
            let weighted = passed.clone().scale(&weights);
            self.late = Some(match self.late.take() {
                Some(late) => late + weighted,
                None => weighted,
            });
        }
        if !self.partial_gradients.is_empty() {
            let gradient = walk.gradient_of(passed);
            for partial in &mut self.partial_gradients {
                partial.gradient = partial.gradient.clone() + gradient.select(&partial.tasks);
            }
        }
    }

    /// The sum after the last depth; `None` if it is empty.
    fn total<P: Bilevel>(&mut self, walk: &Walk<P>) -> Option<Params> {
        let late = self.late.take().map(|late| walk.gradient_of(&late));
        match (self.total.take(), late) {
            (Some(total), Some(late)) => Some(total + late),
            (total, late) => total.or(late),
        }
    }
}

/// The weighted gradient of an outer loss at an iterate of the inner loop, for every task.
#[derive(Clone)]
struct Passed {
    /// w_j ∇_φ L_out(θ, φ_j), in φ's shape.
    vector: Params,
    /// w_j ∂_θ L_out(θ, φ_j), in θ's shape; `None` if the outer loss does not depend on θ.
    direct: Option<Params>,
}

impl Passed {
    /// The gradient at φ_step = `fast` times `weight`, and the outer loss of each task without it.
    fn at<P: Bilevel>(
        problem: &P,
        outer: &Params,
        step: usize,
        fast: &Params,
        weight: f64,
    ) -> (Self, Tensor<1>) {
        Phase::Outer.run(|| {
            let (theta, phi) = (outer.tracked(), fast.tracked());
            let loss = problem.outer_loss(step, &theta, &phi);
            let value = loss.clone().inner();
            let [direct, vector] = Params::gradients([&theta, &phi], loss);
            let gradient = Self { vector: vector.unwrap_or_else(|| fast.zeros_like()), direct };
            (gradient.scale(&vec![weight; outer.tasks()]), value)
        })
    }

    /// The gradient of each task times that task's factor.
    fn scale(self, factors: &[f64]) -> Self {
        let direct = self.direct.map(|direct| direct.scale(factors));
        Self { vector: self.vector.scale(factors), direct }
    }
}

impl std::ops::Add for Passed {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { vector: self.vector + other.vector, direct: sum(self.direct, other.direct) }
    }
}

/// The sum of two gradients, either of which may be zero (`None`).
fn sum(left: Option<Params>, right: Option<Params>) -> Option<Params> {
    match (left, right) {
        (Some(left), Some(right)) => Some(left + right),
        (left, right) => left.or(right),
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
    /// L_out at φ_r, `[tasks]`.
    pub outer_loss: Tensor<1>,
}

impl<'a, P: Bilevel> Walk<'a, P> {
    /// Starts at φ_r = `fast`, r = `steps`, with v_r and h_0 for an outer loss with this `weight`.
    pub fn begin(problem: &'a P, outer: &'a Params, steps: usize, fast: &Params, weight: f64) -> Self {
        Self::from(problem, outer, Passed::at(problem, outer, steps, fast, weight))
    }

    /// Starts with v_r, h_0 and the outer loss at φ_r.
    fn from(
        problem: &'a P,
        outer: &'a Params,
        (Passed { vector, direct }, outer_loss): (Passed, Tensor<1>),
    ) -> Self {
        Self { problem, outer, vector, direct, outer_loss }
    }

    /// Adds the gradient of an outer loss at the current iterate to v and h.
    fn pass(&mut self, Passed { vector, direct }: Passed) {
        self.vector = self.vector.clone() + vector;
        self.direct = sum(self.direct.take(), direct);
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
        let [mixed, product] = products(&problem, &outer, step, at, along);
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
            self.vector = self.vector.clone().add_scaled_at(due, product, &factors);
            if let Some(bound) = draw.clip() {
                self.vector = self.vector.clone().map(|leaf| leaf.clamp(-bound, bound));
            }
        }
        if let Some(mixed) = mixed {
            let direct = self.direct.take().unwrap_or_else(|| self.outer.zeros_like());
            self.direct = Some(direct.add_scaled_at(due, mixed, &factors));
        }
        increment
    }

    /// h_k + (∂V/∂θ)ᵀ v_{r−k} of `tasks`: g_k, if no outer loss is left on the way.
    fn partial_gradient(&self, tasks: &[usize]) -> Params {
        let vector = self.vector.select(tasks);
        let direct = self.direct.as_ref().map(|direct| direct.select(tasks));
        gradient(&self.problem.select(tasks), &self.outer.select(tasks), vector, direct)
    }

    /// The gradient in θ of `passed`, without products.
    fn gradient_of(&self, passed: &Passed) -> Params {
        gradient(self.problem, self.outer, passed.vector.clone(), passed.direct.clone())
    }
}

/// `direct` + (∂V/∂θ)ᵀ `vector`, in θ's shape.
fn gradient<P: Bilevel>(problem: &P, outer: &Params, vector: Params, direct: Option<Params>) -> Params {
    let through = through_start(problem, outer, vector);
    sum(direct, through).unwrap_or_else(|| outer.zeros_like())
}

/// (∂V/∂θ)ᵀ `vector` at θ = `outer`, in θ's shape; `None` if V does not depend on θ.
pub fn through_start<P: Bilevel>(problem: &P, outer: &Params, vector: Params) -> Option<Params> {
    let theta = outer.tracked();
    problem.start(&theta).pull_back(&vector, &theta)
}

/// [∂²L_in/∂θ∂φ]ᵀ u and [∂²L_in/∂φ²] u of inner step `step` at θ = `outer`, φ = `at`, in θ's and φ's shapes; `None`
/// where the inner loss does not depend on the variable. u = `along`(θ) may depend on θ; the first result then includes
/// (∂u/∂θ)ᵀ ∂_φ L_in.
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
