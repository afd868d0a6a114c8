//! `Stack`: parameters as matrices with a task axis.
//!
//! Leaf ℓ is `[tasks, rows, columns]`. θ is a stack with one task, the fast weights of a meta-batch
//! a stack of T; so are gradients, and the vectors of the backward walk.

use crate::dual::Dual;
use burn::tensor::{Device, Int, Tensor, TensorData};
use std::ops::Range;

/// Matrices `[tasks, rows, columns]`, one per parameter, all with the same number of tasks.
#[derive(Clone, Debug)]
pub struct Stack(Vec<Tensor<3>>);

impl Stack {
    /// From its leaves, each `[tasks, rows, columns]`.
    pub fn new(leaves: Vec<Tensor<3>>) -> Self {
        debug_assert!(leaves.windows(2).all(|pair| pair[0].dims()[0] == pair[1].dims()[0]));
        Self(leaves)
    }

    /// The leaves.
    pub fn leaves(&self) -> &[Tensor<3>] {
        &self.0
    }

    /// The leaves, by value.
    pub fn into_leaves(self) -> Vec<Tensor<3>> {
        self.0
    }

    /// The leaves at `places` alone.
    pub fn part(&self, places: Range<usize>) -> Self {
        Self(self.0[places].to_vec())
    }

    /// How many tasks are stacked (0 for a stack without leaves).
    pub fn tasks(&self) -> usize {
        self.0.first().map_or(0, |leaf| leaf.dims()[0])
    }

    /// How many bytes its values take.
    pub fn bytes(&self) -> u64 {
        self.0.iter().map(|leaf| (leaf.dims().iter().product::<usize>() * leaf.dtype().size()) as u64).sum()
    }

    /// Each leaf mapped.
    pub fn map(self, map: impl FnMut(Tensor<3>) -> Tensor<3>) -> Self {
        Self(self.0.into_iter().map(map).collect())
    }

    /// Each pair of leaves mapped.
    pub fn zip(self, other: Self, mut map: impl FnMut(Tensor<3>, Tensor<3>) -> Tensor<3>) -> Self {
        debug_assert_eq!(self.0.len(), other.0.len());
        Self(self.0.into_iter().zip(other.0).map(|(a, b)| map(a, b)).collect())
    }

    /// The same parameters for each of `tasks` tasks; `self` has one task.
    pub fn repeat(&self, tasks: usize) -> Self {
        self.clone().map(|leaf| {
            let [_, rows, columns] = leaf.dims();
            leaf.expand([tasks, rows, columns])
        })
    }

    /// The tasks at `indices`, in that order. All of them, in order, costs nothing.
    pub fn select(&self, indices: &[usize]) -> Self {
        let Some(device) = self.device().filter(|_| !is_everything(indices, self.tasks())) else {
            return self.clone();
        };
        let indices = task_indices(indices, &device);
        self.clone().map(|leaf| leaf.select(0, indices.clone()))
    }

    /// `self` with `update` added to the tasks at `indices` (distinct).
    pub fn add_at(self, indices: &[usize], update: Self) -> Self {
        let Some(device) = self.device().filter(|_| !is_everything(indices, self.tasks())) else {
            return self + update;
        };
        let indices = task_indices(indices, &device);
        let add = burn::tensor::IndexingUpdateOp::Add;
        self.zip(update, |leaf, update| leaf.select_assign(0, indices.clone(), update, add))
    }

    /// Every task's parameters multiplied by that task's factor; `factors` has one per task.
    pub fn scale(self, factors: &[f64]) -> Self {
        debug_assert_eq!(factors.len(), self.tasks());
        match factors {
            [first, rest @ ..] if rest.iter().all(|factor| factor == first) => {
                let factor = *first;
                if factor == 1.0 { self } else { self.map(|leaf| leaf.mul_scalar(factor)) }
            }
            _ => self.map(|leaf| {
                let data = TensorData::new(factors.to_vec(), [factors.len(), 1, 1]);
                let factors = Tensor::from_data(data, (&leaf.device(), leaf.dtype()));
                leaf * factors
            }),
        }
    }

    /// Mean over the tasks, as a stack of one.
    pub fn mean(self) -> Self {
        self.map(|leaf| leaf.mean_dim(0))
    }

    /// Zeros of the same shapes.
    pub fn zeros_like(&self) -> Self {
        self.clone().map(|leaf| leaf.zeros_like())
    }

    /// Each task's inner product with `other`'s: `[tasks]`.
    ///
    /// # Panics
    /// On a stack without leaves, which no problem has.
    pub fn dot(self, other: Self) -> Tensor<1> {
        let products = self.zip(other, |a, b| {
            let [tasks, rows, columns] = a.dims();
            (a * b).reshape([tasks, 1, rows * columns]).sum_dim(2)
        });
        let total = products.0.into_iter().reduce(|sum, product| sum + product);
        let total = total.expect("a problem's parameters are at least one matrix");
        let tasks = total.dims()[0];
        total.reshape([tasks])
    }

    /// Each task's squared Euclidean norm: `[tasks]`.
    pub fn squared_norm(self) -> Tensor<1> {
        self.clone().dot(self)
    }

    /// The stacks one after the other along the task axis.
    pub fn cat(stacks: Vec<Self>) -> Self {
        let mut columns: Vec<Vec<Tensor<3>>> = Vec::new();
        for stack in stacks {
            columns.resize_with(stack.0.len(), Vec::new);
            columns.iter_mut().zip(stack.0).for_each(|(column, leaf)| column.push(leaf));
        }
        Self(columns.into_iter().map(|column| Tensor::cat(column, 0)).collect())
    }

    /// The same values as leaves of a fresh autodiff graph.
    pub fn tracked(&self) -> Self {
        self.clone().map(|leaf| leaf.inner().autodiff().require_grad())
    }

    /// The gradient of the scalar `loss` in each of these tracked stacks; `None` where it does not
    /// depend on any of a stack's leaves.
    pub fn gradients<const N: usize>(stacks: [&Self; N], loss: Tensor<1>) -> [Option<Self>; N] {
        if !loss.is_tracked() {
            return [const { None }; N];
        }
        let mut gradients = loss.backward();
        stacks.map(|stack| {
            let found: Vec<_> = stack.0.iter().map(|leaf| leaf.grad_remove(&mut gradients)).collect();
            let depends = found.iter().any(Option::is_some);
            let zeros = |leaf: &Tensor<3>| leaf.clone().inner().zeros_like();
            depends.then(|| {
                let pairs = found.into_iter().zip(&stack.0);
                Self(pairs.map(|(gradient, leaf)| gradient.unwrap_or_else(|| zeros(leaf))).collect())
            })
        })
    }

    /// As values that do not move.
    pub fn constant(&self) -> Vec<Dual<3>> {
        self.0.iter().cloned().map(Dual::constant).collect()
    }

    /// As values that move along `tangent`.
    pub fn moving(&self, tangent: &Self) -> Vec<Dual<3>> {
        let pairs = self.0.iter().cloned().zip(tangent.0.iter().cloned());
        pairs.map(|(leaf, tangent)| Dual::moving(leaf, tangent)).collect()
    }

    fn device(&self) -> Option<Device> {
        self.0.first().map(|leaf| leaf.device().inner())
    }
}

impl std::ops::Add for Stack {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        self.zip(other, |a, b| a + b)
    }
}

impl std::ops::Sub for Stack {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self.zip(other, |a, b| a - b)
    }
}

/// Task numbers as a tensor to select by.
pub fn task_indices(indices: &[usize], device: &Device) -> Tensor<1, Int> {
    let indices: Vec<i32> = indices.iter().map(|index| *index as i32).collect();
    let shape = [indices.len()];
    Tensor::from_data(TensorData::new(indices, shape), device)
}

/// Whether `indices` are 0, 1, …, `tasks` − 1.
pub fn is_everything(indices: &[usize], tasks: usize) -> bool {
    indices.len() == tasks && indices.iter().enumerate().all(|(place, index)| place == *index)
}
