//! A draw: which products one estimate takes, and with which weights it sums what it meets.

use super::{ConjugateGradient, Evaluations, probe};
use crate::stack::Stack;

/// How the gradient is come by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Method {
    /// By the walk back through the inner loop.
    Unroll,
    /// V(θ) − φ_r: no gradient of the outer loss at all (Reptile).
    Displacement,
    /// By the implicit function theorem at φ_r, as if it minimised the inner loss.
    Implicit(ConjugateGradient),
}

/// A vector that is part of the estimate whatever the walk meets.
#[derive(Clone, Debug)]
pub struct Offset {
    /// In θ's shape, a stack of one.
    pub vector: Stack,
    /// What each task adds of it.
    pub weights: Vec<f64>,
}

/// What one estimate does, decided before the inner loop runs.
#[derive(Clone, Debug)]
pub struct Draw {
    method: Method,
    tasks: usize,
    /// `factors[j − 1][task]`: what inner step j's product is multiplied by; 0 skips it.
    factors: Vec<Vec<f64>>,
    /// `weights[k][task]`: weight of g_k, the estimate after k steps back. A weight of 0 still shows
    /// the law g_k; without one it is not even formed.
    weights: Vec<Vec<Option<f64>>>,
    offset: Option<Offset>,
    clip: Option<f64>,
    observes: bool,
    /// (step, task) of each curvature that is probed.
    probes: Vec<(usize, usize)>,
}

impl Draw {
    /// Nothing taken and nothing summed yet, for `tasks` tasks and `steps` inner steps.
    pub fn new(tasks: usize, steps: usize) -> Self {
        Self {
            method: Method::Unroll,
            tasks,
            factors: vec![vec![0.0; tasks]; steps],
            weights: vec![vec![None; tasks]; steps + 1],
            offset: None,
            clip: None,
            observes: false,
            probes: Vec::new(),
        }
    }

    /// A method that does not walk back.
    pub fn without_walk(method: Method, tasks: usize, steps: usize) -> Self {
        Self { method, ..Self::new(tasks, steps) }
    }

    /// The gradient truncated to the last `depth` steps, for every task.
    pub fn truncated(tasks: usize, steps: usize, depth: usize) -> Self {
        let mut draw = Self::new(tasks, steps);
        (0..tasks).for_each(|task| draw.add(task, depth, 1.0));
        draw
    }

    /// Adds `weight`·g_k to `task`'s estimate, k = `depth`, and takes the products that g_k needs.
    pub fn add(&mut self, task: usize, depth: usize, weight: f64) {
        *self.weights[depth][task].get_or_insert(0.0) += weight;
        for factors in self.factors.iter_mut().rev().take(depth) {
            factors[task] = 1.0;
        }
    }

    /// Multiplies inner step `step`'s (1 to r) product by `factor` in `task`'s walk; 0 skips it.
    pub fn set_factor(&mut self, step: usize, task: usize, factor: f64) {
        self.factors[step - 1][task] = factor;
    }

    /// Adds `weights[task]`·`vector` to each task's estimate; `vector` is a stack of one in θ's shape.
    pub fn add_offset(&mut self, vector: Stack, weights: Vec<f64>) {
        self.offset = Some(Offset { vector, weights });
    }

    /// The same, with what the law learns from reported: the g_k that it wants, the products' norms.
    pub fn observed(mut self) -> Self {
        self.observes = true;
        self
    }

    /// Has the largest curvature at inner step `step` (1 to r) of `task`, which takes that step's product, looked
    /// for beside the walk.
    pub fn probe(&mut self, step: usize, task: usize) {
        self.probes.push((step, task));
    }

    /// The same with every element of v bounded after every product, which makes the estimate biased.
    pub fn clipped(mut self, bound: Option<f64>) -> Self {
        self.clip = bound;
        self
    }

    /// Only the tasks at `tasks`, in that order.
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
            offset,
            probes: self
                .probes
                .iter()
                .filter_map(|(step, probed)| Some((*step, tasks.iter().position(|task| task == probed)?)))
                .collect(),
            ..*self
        }
    }

    /// How the gradient is come by.
    pub fn method(&self) -> Method {
        self.method
    }

    /// T.
    pub fn tasks(&self) -> usize {
        self.tasks
    }

    /// r.
    pub fn steps(&self) -> usize {
        self.factors.len()
    }

    /// The tasks that take inner step `step`'s product: its factor is not 0, and something at or
    /// beyond that depth is wanted.
    pub fn due(&self, step: usize) -> Vec<usize> {
        let beyond = &self.weights[self.steps() - step + 1..];
        (0..self.tasks)
            .filter(|task| self.factors[step - 1][*task] != 0.0)
            .filter(|task| beyond.iter().rev().any(|weights| weights[*task].is_some()))
            .collect()
    }

    /// What `task`'s product of inner step `step` is multiplied by.
    pub fn factor(&self, step: usize, task: usize) -> f64 {
        self.factors[step - 1][task]
    }

    /// `task`'s weight of g_k, k = `depth`.
    pub fn weight(&self, depth: usize, task: usize) -> f64 {
        self.weights[depth][task].unwrap_or(0.0)
    }

    /// The tasks that want g_k, k = `depth`.
    pub fn wanted(&self, depth: usize) -> Vec<usize> {
        (0..self.tasks).filter(|task| self.weights[depth][*task].is_some()).collect()
    }

    /// The vector that the estimate has whatever the walk meets.
    pub fn offset(&self) -> Option<&Offset> {
        self.offset.as_ref()
    }

    /// The bound of v's elements.
    pub fn clip(&self) -> Option<f64> {
        self.clip
    }

    /// The tasks whose largest curvature at inner step `step` is looked for.
    pub fn probed(&self, step: usize) -> Vec<usize> {
        self.probes.iter().filter(|(probed, _)| *probed == step).map(|(_, task)| *task).collect()
    }

    /// Whether what the law learns from is reported.
    pub fn observes(&self) -> bool {
        self.observes
    }

    /// What the estimate costs with every iterate stored.
    pub fn cost(&self) -> Evaluations {
        let tasks = self.tasks as u64;
        let inner = tasks * self.steps() as u64;
        let products = match self.method {
            Method::Unroll => {
                let probes = (self.probes.len() * probe::ITERATIONS) as u64;
                probes + (1..=self.steps()).map(|step| self.due(step).len() as u64).sum::<u64>()
            }
            Method::Displacement => return Evaluations { inner, ..Default::default() },
            Method::Implicit(solver) => tasks * (solver.iterations as u64 + 1),
        };
        Evaluations { inner, outer: tasks, products, recomputed: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_summed_is_walked() {
        let mut draw = Draw::new(2, 5);
        draw.add(0, 0, 1.0);
        draw.add(1, 2, 1.0);
        assert_eq!([5, 4, 3].map(|step| draw.due(step)), [vec![1], vec![1], vec![]]);
        assert_eq!(draw.cost(), Evaluations { inner: 10, outer: 2, products: 2, recomputed: 0 });
        assert_eq!(draw.select(&[1]).due(4), vec![0]);
    }

    #[test]
    fn a_skipped_step_is_not_due_and_a_factor_stays() {
        let mut draw = Draw::truncated(1, 3, 3);
        draw.set_factor(2, 0, 0.0);
        draw.set_factor(1, 0, 4.0);
        assert_eq!([1, 2, 3].map(|step| draw.due(step).len()), [1, 0, 1]);
        assert_eq!(draw.factor(1, 0), 4.0);
        assert_eq!(draw.cost().products, 2);
    }
}
