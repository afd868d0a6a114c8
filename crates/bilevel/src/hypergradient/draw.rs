//! A draw: which Hessian-vector products one estimate takes, and with which weights it sums the truncated gradients.

use super::{ConjugateGradient, Evaluations, LossWeights, probe};
use crate::params::Params;

/// How a gradient is computed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Method {
    /// By a backward walk through the inner loop.
    Unroll,
    /// V(θ) − φ_r, without a gradient of the outer loss (Reptile).
    Displacement,
    /// By the implicit function theorem at φ_r, assuming that it minimises the inner loss.
    Implicit(ConjugateGradient),
}

/// A vector added to the estimate, independent of the backward walk.
#[derive(Clone, Debug)]
pub struct Offset {
    /// In θ's shape, with one task.
    pub vector: Params,
    /// The multiple of the vector that each task adds.
    pub weights: Vec<f64>,
}

/// What one estimate computes, decided before the inner loop runs.
///
/// UFOM takes the gradient truncated to one step, and with probability q adds 1/q times its difference to the exact one:
///
/// ```
/// use bilevel::hypergradient::Draw;
///
/// let (tasks, steps, q) = (4, 10, 0.2);
/// let mut draw = Draw::truncated(tasks, steps, 1);
/// // The coin of task 2 came up heads: add (g_10 − g_1)/q.
/// draw.add(2, 1, -1.0 / q);
/// draw.add(2, steps, 1.0 / q);
/// assert_eq!(draw.due(10), [0, 1, 2, 3]);
/// assert_eq!(draw.due(9), [2]);
/// assert_eq!(draw.cost().products, 4 + 9);
/// ```
#[derive(Clone, Debug)]
pub struct Draw {
    method: Method,
    tasks: usize,
    /// `factors[j − 1][task]`: the factor f_j of inner step j's product; 0 skips it.
    factors: Vec<Vec<f64>>,
    /// `weights[k][task]`: the weight of g_k, the gradient after k backward steps. With a weight of 0, g_k is still
    /// computed and reported to the estimator; with `None` it is not computed.
    weights: Vec<Vec<Option<f64>>>,
    losses: LossWeights,
    offset: Option<Offset>,
    clip: Option<f64>,
    observes: bool,
    /// The (step, task) of each curvature probe.
    probes: Vec<(usize, usize)>,
}

impl Draw {
    /// An empty draw for `tasks` tasks and `steps` inner steps: no products, no sum.
    pub fn new(tasks: usize, steps: usize) -> Self {
        Self {
            method: Method::Unroll,
            tasks,
            factors: vec![vec![0.0; tasks]; steps],
            weights: vec![vec![None; tasks]; steps + 1],
            losses: LossWeights::last(steps),
            offset: None,
            clip: None,
            observes: false,
            probes: Vec::new(),
        }
    }

    /// A draw for a method without a backward walk.
    pub fn without_walk(method: Method, tasks: usize, steps: usize) -> Self {
        Self { method, ..Self::new(tasks, steps) }
    }

    /// The gradient truncated to the last `depth` steps, for every task.
    pub fn truncated(tasks: usize, steps: usize, depth: usize) -> Self {
        let mut draw = Self::new(tasks, steps);
        (0..tasks).for_each(|task| draw.add(task, depth, 1.0));
        draw
    }

    /// The exact gradient of every task, [observed](Self::observed): g_0 … g_r are reported too.
    pub fn every_depth(tasks: usize, steps: usize) -> Self {
        let mut draw = Self::new(tasks, steps);
        for task in 0..tasks {
            (0..steps).for_each(|depth| draw.add(task, depth, 0.0));
            draw.add(task, steps, 1.0);
        }
        draw.observed()
    }

    /// Adds `weight`·g_k to `task`'s estimate, k = `depth`, and includes the products that g_k needs: the factors of the last
    /// `depth` inner steps become 1, also those that [`Self::set_factor`] has set before.
    pub fn add(&mut self, task: usize, depth: usize, weight: f64) {
        *self.weights[depth][task].get_or_insert(0.0) += weight;
        for factors in self.factors.iter_mut().rev().take(depth) {
            factors[task] = 1.0;
        }
    }

    /// Multiplies the product of inner step `step` (1 to r) by `factor` in `task`'s backward walk; 0 skips the product.
    pub fn set_factor(&mut self, step: usize, task: usize, factor: f64) {
        self.factors[step - 1][task] = factor;
    }

    /// The same draw for an outer objective with these weights of the losses along the inner loop.
    ///
    /// # Panics
    /// Panics if the weights are not for this draw's number of inner steps, or if they weight another loss than the last
    /// and the method has no backward walk, which is where the losses enter.
    pub fn with_losses(mut self, losses: LossWeights) -> Self {
        assert_eq!(losses.steps(), self.steps(), "there must be one loss weight for each iterate");
        assert!(
            self.method == Method::Unroll || losses == LossWeights::last(self.steps()),
            "losses along the inner loop need a backward walk, which this method does not have"
        );
        self.losses = losses;
        self
    }

    /// Adds `weights[task]`·`vector` to each task's estimate; `vector` has θ's shape and one task.
    pub fn add_offset(&mut self, vector: Params, weights: Vec<f64>) {
        self.offset = Some(Offset { vector, weights });
    }

    /// The same draw, with the statistics reported that adaptive estimators learn from: every summed g_k, and the
    /// norms of the products.
    pub fn observed(mut self) -> Self {
        self.observes = true;
        self
    }

    /// Adds a [curvature probe](super::Probe) at inner step `step` (1 to r) of `task`, which must be among the tasks
    /// [due](Self::due) at that step.
    pub fn probe(&mut self, step: usize, task: usize) {
        self.probes.push((step, task));
    }

    /// The same draw, with every element of a task's v clamped to ±`bound` after every product that it takes. This biases
    /// the estimate.
    ///
    /// # Panics
    /// Panics unless `bound` > 0.
    pub fn clipped(mut self, bound: Option<f64>) -> Self {
        assert!(bound.is_none_or(|bound| bound > 0.0), "the bound on v must be > 0, but is {bound:?}");
        self.clip = bound;
        self
    }

    /// The same draw for only the tasks at `tasks`, in that order.
    pub fn select(&self, tasks: &[usize]) -> Self {
        fn pick<V: Copy>(rows: &[Vec<V>], tasks: &[usize]) -> Vec<Vec<V>> {
            rows.iter().map(|row| tasks.iter().map(|task| row[*task]).collect()).collect()
        }
        let offset = self.offset.as_ref().map(|offset| Offset {
            vector: offset.vector.clone(),
            weights: tasks.iter().map(|task| offset.weights[*task]).collect(),
        });
        Self {
            tasks: tasks.len(),
            factors: pick(&self.factors, tasks),
            weights: pick(&self.weights, tasks),
            losses: self.losses.clone(),
            offset,
            probes: self
                .probes
                .iter()
                .filter_map(|(step, probed)| Some((*step, tasks.iter().position(|task| task == probed)?)))
                .collect(),
            ..*self
        }
    }

    /// How a gradient is computed.
    pub fn method(&self) -> Method {
        self.method
    }

    /// T, the number of tasks.
    pub fn tasks(&self) -> usize {
        self.tasks
    }

    /// r, the number of inner steps.
    pub fn steps(&self) -> usize {
        self.factors.len()
    }

    /// The tasks for which the product of inner step `step` is computed: its factor is not 0, and a g_k that depends
    /// on it is summed.
    pub fn due(&self, step: usize) -> Vec<usize> {
        let dependent = &self.weights[self.steps() - step + 1..];
        (0..self.tasks)
            .filter(|task| self.factors[step - 1][*task] != 0.0)
            .filter(|task| dependent.iter().rev().any(|weights| weights[*task].is_some()))
            .collect()
    }

    /// The tasks whose φ_step is required, `step` < r: all if its outer loss has a weight, otherwise those whose product of
    /// the next inner step is computed.
    pub fn required(&self, step: usize) -> Vec<usize> {
        if self.losses.get(step) == 0.0 { self.due(step + 1) } else { (0..self.tasks).collect() }
    }

    /// The weights of the outer losses.
    pub fn losses(&self) -> &LossWeights {
        &self.losses
    }

    /// The factor of `task`'s product at inner step `step`.
    pub fn factor(&self, step: usize, task: usize) -> f64 {
        self.factors[step - 1][task]
    }

    /// The weight of g_k, k = `depth`, in `task`'s estimate.
    pub fn weight(&self, depth: usize, task: usize) -> f64 {
        self.weights[depth][task].unwrap_or(0.0)
    }

    /// The tasks whose estimate sums g_k, k = `depth`, with any weight, 0 included.
    pub fn summed(&self, depth: usize) -> Vec<usize> {
        (0..self.tasks).filter(|task| self.weights[depth][*task].is_some()).collect()
    }

    /// The vector added to the estimate, if any.
    pub fn offset(&self) -> Option<&Offset> {
        self.offset.as_ref()
    }

    /// The bound on the elements of v, if any.
    pub fn clip(&self) -> Option<f64> {
        self.clip
    }

    /// The tasks with a curvature probe at inner step `step`.
    pub fn probed(&self, step: usize) -> Vec<usize> {
        self.probes.iter().filter(|(probed, _)| *probed == step).map(|(_, task)| *task).collect()
    }

    /// Whether statistics are reported; see [`Self::observed`].
    pub fn observes(&self) -> bool {
        self.observes
    }

    /// Whether all tasks take the same products with the same factors, and sum the same gradients with the same weights.
    pub(super) fn is_uniform(&self) -> bool {
        fn are_equal<V: PartialEq>(row: &[V]) -> bool {
            row.windows(2).all(|pair| pair[0] == pair[1])
        }
        self.probes.is_empty()
            && self.factors.iter().all(|row| are_equal(row))
            && self.weights.iter().all(|row| are_equal(row))
    }

    /// Whether the backward walks of both are the same.
    pub(super) fn is_same_walk(&self, other: &Self) -> bool {
        self.factors == other.factors
            && self.weights == other.weights
            && self.losses == other.losses
            && self.clip == other.clip
    }

    /// How often V is differentiated, summed over tasks: once for each, or for every g_k that is reported. A task without any
    /// counts too, since its V is computed.
    pub(super) fn starts(&self) -> u64 {
        let summed = |task: usize| self.weights.iter().filter(|weights| weights[task].is_some()).count();
        let starts = |task| if self.observes { summed(task).max(1) } else { 1 };
        (0..self.tasks).map(starts).sum::<usize>() as u64
    }

    /// The cost of the estimate if every iterate is stored, without what [V costs](crate::Bilevel::start_evaluations).
    pub fn cost(&self) -> Evaluations {
        let tasks = self.tasks as u64;
        let inner = tasks * self.steps() as u64;
        let products = match self.method {
            Method::Unroll => {
                let probes = (self.probes.len() * probe::ITERATIONS) as u64;
                probes + (1..=self.steps()).map(|step| self.due(step).len() as u64).sum::<u64>()
            }
            Method::Displacement => return Evaluations { inner, ..Default::default() },
            // Without an inner step there is no inner loss to differentiate.
            Method::Implicit(_) if self.steps() == 0 => 0,
            Method::Implicit(solver) => tasks * (solver.iterations as u64 + 1),
        };
        Evaluations { inner, outer: tasks * self.losses.count() as u64, products, recomputed: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_products_that_the_sum_needs_are_due() {
        let mut draw = Draw::new(2, 5);
        draw.add(0, 0, 1.0);
        draw.add(1, 2, 1.0);
        assert_eq!([5, 4, 3].map(|step| draw.due(step)), [vec![1], vec![1], vec![]]);
        assert_eq!(draw.cost(), Evaluations { inner: 10, outer: 2, products: 2, recomputed: 0 });
        assert_eq!(draw.select(&[1]).due(4), vec![0]);
    }

    #[test]
    fn losses_along_the_way_require_every_task_and_are_counted() {
        let draw = Draw::truncated(2, 3, 0).with_losses(LossWeights::new(vec![0.0, 0.25, 0.0, 0.75]));
        assert_eq!([0, 1, 2].map(|step| draw.required(step).len()), [0, 2, 0]);
        assert_eq!(draw.cost(), Evaluations { inner: 6, outer: 4, products: 0, recomputed: 0 });
        assert_eq!(draw.select(&[1]).cost().outer, 2);
    }

    #[test]
    #[should_panic(expected = "need a backward walk")]
    fn losses_along_the_way_are_refused_without_a_walk() {
        let draw = Draw::without_walk(Method::Displacement, 1, 1);
        let _ = draw.with_losses(LossWeights::new(vec![0.5, 0.5]));
    }

    #[test]
    fn a_step_with_factor_zero_is_not_due() {
        let mut draw = Draw::truncated(1, 3, 3);
        draw.set_factor(2, 0, 0.0);
        draw.set_factor(1, 0, 4.0);
        assert_eq!([1, 2, 3].map(|step| draw.due(step).len()), [1, 0, 1]);
        assert_eq!(draw.factor(1, 0), 4.0);
        assert_eq!(draw.cost().products, 2);
    }
}
