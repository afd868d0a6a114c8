//! The backward walk through the inner loop, shared by all unrolled estimators.

use super::inner_loop::descend;
use super::iterates::{Iterate, Iterates};
use super::outer_gradient::OuterGradient;
use super::products::products;
use super::weighted_sum::WeightedSum;
use super::{Draw, Estimate, Increment, Memory, Probe, places};
use crate::launches::Phase;
use crate::params::{Params, is_everything};
use crate::{problem::Bilevel, ranks::Share};
use burn::tensor::{Bool, Tensor, TensorData};

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
    let mut sum = WeightedSum::new(draw, problem, outer);
    let (mut increments, mut probes) = (Vec::new(), Vec::new());
    // Σ_j w_j ∇_φ L_out(θ, φ_j) so far.
    let mut slope = None;
    let mut depth = 0;
    while let Some(Iterate { steps, tasks, fast }) = iterates.next_back() {
        let Some(walk) = &mut walk else {
            let at_end = || OuterGradient::at(problem, outer, steps, &fast, losses.get(steps));
            let (gradient, outer_loss) = begun.take().unwrap_or_else(at_end);
            slope = draw.observes().then(|| gradient.fast.clone());
            walk = Some(Walk { problem, outer, gradient, outer_loss });
            continue;
        };
        // Steps that all tasks skip do not change v.
        while depth < draw.steps() - steps {
            sum.add(depth, &walk.gradient);
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
            let (passed, _) = OuterGradient::at(problem, outer, steps, &fast, weight);
            sum.pass(depth, &passed);
            slope = slope.map(|slope| slope + passed.fast.clone());
            walk.gradient = walk.gradient.clone() + passed;
        }
    }
    let walk = walk.unwrap_or_else(|| unreachable!("φ_r is always required, and is returned first"));
    (depth..=draw.steps()).for_each(|depth| sum.add(depth, &walk.gradient));
    let (gradient, partial_gradients) = sum.finish();
    let mut evaluations = draw.cost();
    evaluations.recomputed = iterates.recomputed();
    Estimate {
        share: Share::all(draw.tasks()),
        gradient,
        outer_loss: walk.outer_loss,
        outer_slope: slope.map(Params::squared_norm),
        probes,
        partial_gradients,
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
    start: (OuterGradient, Tensor<1>),
}

/// Runs `steps` inner steps at θ = `outer`, which has the problem's task axis and constants, and takes the gradient of the
/// outer loss after them, times `weight`.
pub fn forward<P: Bilevel>(problem: &P, outer: Params, steps: usize, weight: f64) -> Forward {
    let mut iterates = vec![problem.start(&outer)];
    for step in 1..=steps {
        let next = descend(problem, &outer, step, iterates[step - 1].clone()).0;
        iterates.push(next);
    }
    let start = OuterGradient::at(problem, &outer, steps, &iterates[steps], weight);
    Forward { outer, iterates, start }
}

impl Forward {
    /// The same, with copies of the gradient and the loss. `copy` copies parameters and the values of tasks; the result is
    /// `None` if `copy` returns `None`.
    pub fn with_own_start(
        &self,
        copy: impl Fn(&Params, &Tensor<1>) -> Option<(Params, Tensor<1>)>,
    ) -> Option<Self> {
        let (OuterGradient { fast, direct }, loss) = &self.start;
        // As one stack of leaves: one launch copies them all.
        let leaves = fast.leaves().len();
        let all = direct.iter().fold(fast.clone(), |all, direct| all.and(direct.clone()));
        let (all, loss) = copy(&all, loss)?;
        let direct = direct.as_ref().map(|_| all.part(leaves..all.leaves().len()));
        let start = (OuterGradient { fast: all.part(0..leaves), direct }, loss);
        Some(Self { outer: self.outer.clone(), iterates: self.iterates.clone(), start })
    }
}

/// State of a backward walk.
struct Walk<'a, P> {
    problem: &'a P,
    outer: &'a Params,
    /// v_{r−k} and h_k of every task.
    gradient: OuterGradient,
    /// L_out at φ_r, `[tasks]`.
    outer_loss: Tensor<1>,
}

impl<P: Bilevel> Walk<'_, P> {
    /// Runs the probes of `draw` at inner step `step` for tasks in `due`, whose φ_{step−1} is `at`.
    fn probes(&self, step: usize, due: &[usize], at: &Params, draw: &Draw) -> Vec<Probe> {
        let tasks = draw.probed(step).into_iter();
        let positions = tasks.filter_map(|task| Some((task, due.binary_search(&task).ok()?)));
        let probe = |(task, position): (usize, usize)| {
            let (problem, outer) = (self.problem.select(&[task]), self.outer.select(&[task]));
            let start = self.gradient.fast.select(&[task]);
            Probe::new(&problem, &outer, step, &at.select(&[position]), start)
        };
        positions.map(probe).collect()
    }

    /// Walks back over inner step `step` for the tasks in `due`, whose φ_{step−1} is `at`.
    fn step_back(&mut self, step: usize, due: &[usize], at: &Params, draw: &Draw) -> Option<Increment> {
        let vector = self.gradient.fast.select(due);
        let (problem, outer) = (self.problem.select(due), self.outer.select(due));
        let along = |theta: &Params| problem.inner_rates(step, theta).times(&vector);
        let both = products(&problem, &outer, step, at, along);
        let increment = if draw.observes() { increment(step, due, vector, &both) } else { None };
        let [mixed, product] = both;
        let factors: Vec<f64> = due.iter().map(|task| -draw.factor(step, *task)).collect();
        if let Some(product) = product {
            let fast = self.gradient.fast.clone().add_scaled_at(due, product, &factors);
            self.gradient.fast = match draw.clip() {
                Some(bound) => clamped(fast, due, bound),
                None => fast,
            };
        }
        if let Some(mixed) = mixed {
            let direct = self.gradient.direct.take().unwrap_or_else(|| self.outer.zeros_like());
            self.gradient.direct = Some(direct.add_scaled_at(due, mixed, &factors));
        }
        increment
    }
}

/// `params` with the elements of the tasks in `due` clamped to ±`bound`.
fn clamped(params: Params, due: &[usize], bound: f64) -> Params {
    let clamp = |leaf: Tensor<3>| leaf.clamp(-bound, bound);
    let tasks = params.tasks();
    if is_everything(due, tasks) {
        return params.map(clamp);
    }
    let is_due: Vec<bool> = (0..tasks).map(|task| due.contains(&task)).collect();
    let device = params.leaves()[0].device();
    let is_due = Tensor::<3, Bool>::from_data(TensorData::new(is_due, [tasks, 1, 1]), &device);
    params.map(|leaf| leaf.clone().mask_where(is_due.clone().expand(leaf.dims()), clamp(leaf)))
}

/// The norms of the mixed and the Hessian-vector product of inner step `step` for the tasks in `due`, whose v is `vector`;
/// `None` if the step changes neither v nor h.
fn increment(
    step: usize,
    due: &[usize],
    vector: Params,
    [mixed, product]: &[Option<Params>; 2],
) -> Option<Increment> {
    if mixed.is_none() && product.is_none() {
        return None;
    }
    let length = vector.squared_norm();
    let squared_norm = product.clone().map_or_else(|| length.zeros_like(), Params::squared_norm);
    Some(Increment {
        step,
        tasks: due.to_vec(),
        direct: mixed.clone().map(Params::squared_norm),
        curvature: (squared_norm.clone() / length).sqrt(),
        squared_norm,
    })
}
