//! `Params`: parameters as matrices with a task axis.

use crate::dual::Dual;
use crate::kernel::{leaves, seeded};
use crate::tree;
use burn::tensor::{Device, Int, Tensor, TensorData};
use std::ops::Range;

/// Parameters as matrices with a task axis: leaves `[tasks, rows, columns]`, all with the same number of tasks.
///
/// θ has one task; the fast weights of a meta-batch, their gradients and the vectors of the backward walk have T.
///
/// ```
/// use bilevel::Params;
/// use burn::tensor::{Device, Tensor};
///
/// let device = Device::flex();
/// let theta = Params::new(vec![Tensor::ones([1, 2, 3], &device), Tensor::zeros([1, 1, 3], &device)]);
/// let fast = theta.repeat(4).scale(&[0.0, 1.0, 2.0, 3.0]);
/// assert_eq!((theta.tasks(), fast.tasks()), (1, 4));
///
/// let norms: Vec<f64> = fast.squared_norm().into_data().iter().collect();
/// assert_eq!(norms, [0.0, 6.0, 24.0, 54.0]);
/// ```
#[derive(Clone, Debug)]
pub struct Params(Vec<Tensor<3>>);

impl Params {
    /// Parameters with the given leaves, each `[tasks, rows, columns]`.
    ///
    /// # Panics
    /// Panics if the leaves differ in their number of tasks.
    pub fn new(leaves: Vec<Tensor<3>>) -> Self {
        let tasks: Vec<usize> = leaves.iter().map(|leaf| leaf.dims()[0]).collect();
        assert!(
            tasks.windows(2).all(|pair| pair[0] == pair[1]),
            "leaves have {tasks:?} tasks, but must all have the same number"
        );
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

    /// The leaves in `range` only.
    pub fn part(&self, range: Range<usize>) -> Self {
        Self(self.0[range].to_vec())
    }

    /// These leaves, followed by those of `more`.
    ///
    /// # Panics
    /// Panics if the leaves differ in their number of tasks.
    pub fn and(mut self, more: Self) -> Self {
        self.0.extend(more.0);
        Self::new(self.0)
    }

    /// The number of tasks; 0 without leaves.
    pub fn tasks(&self) -> usize {
        self.0.first().map_or(0, |leaf| leaf.dims()[0])
    }

    /// The size of all values in bytes.
    pub fn bytes(&self) -> u64 {
        self.0.iter().map(|leaf| (leaf.dims().iter().product::<usize>() * leaf.dtype().size()) as u64).sum()
    }

    /// Applies `map` to each leaf.
    pub fn map(self, map: impl FnMut(Tensor<3>) -> Tensor<3>) -> Self {
        Self(self.0.into_iter().map(map).collect())
    }

    /// Applies `map` to each pair of leaves of `self` and `other`.
    ///
    /// # Panics
    /// Panics if `other` has a different number of leaves.
    pub fn zip(self, other: Self, mut map: impl FnMut(Tensor<3>, Tensor<3>) -> Tensor<3>) -> Self {
        assert_eq!(self.0.len(), other.0.len(), "both sides must have the same number of leaves");
        Self(self.0.into_iter().zip(other.0).map(|(a, b)| map(a, b)).collect())
    }

    /// The same parameters for each of `tasks` tasks; `self` must have one task. The values are shared, not copied.
    pub fn repeat(&self, tasks: usize) -> Self {
        self.clone().map(|leaf| {
            let [_, rows, columns] = leaf.dims();
            leaf.expand([tasks, rows, columns])
        })
    }

    /// The tasks at `indices`, in that order. Selecting all tasks in order copies nothing.
    pub fn select(&self, indices: &[usize]) -> Self {
        let Some(device) = self.device().filter(|_| !is_everything(indices, self.tasks())) else {
            return self.clone();
        };
        let indices = task_indices(indices, &device);
        self.clone().map(|leaf| leaf.select(0, indices.clone()))
    }

    /// Adds `update` to the tasks at `indices`, which must be distinct.
    pub fn add_at(self, indices: &[usize], update: Self) -> Self {
        let Some(device) = self.device().filter(|_| !is_everything(indices, self.tasks())) else {
            return self + update;
        };
        let indices = task_indices(indices, &device);
        let add = burn::tensor::IndexingUpdateOp::Add;
        self.zip(update, |leaf, update| leaf.select_assign(0, indices.clone(), update, add))
    }

    /// Adds `update`, times the factor of each of its tasks, to the tasks at `indices`, which must be distinct.
    ///
    /// # Panics
    /// Panics if the number of `factors` is not that of the tasks of `update`.
    pub fn add_scaled_at(self, indices: &[usize], update: Self, factors: &[f64]) -> Self {
        assert_eq!(factors.len(), update.tasks(), "there must be one factor per task");
        if is_everything(indices, self.tasks())
            && let Some(sums) = leaves::add_scaled(Some(&self.0), &update.0, factors)
        {
            return Self(sums);
        }
        self.add_at(indices, update.scale(factors))
    }

    /// Multiplies the parameters of each task by that task's factor.
    ///
    /// # Panics
    /// Panics if the number of `factors` is not the number of tasks.
    pub fn scale(self, factors: &[f64]) -> Self {
        assert_eq!(factors.len(), self.tasks(), "there must be one factor per task");
        let is_one = factors.iter().all(|factor| *factor == 1.0);
        if !is_one && let Some(scaled) = leaves::add_scaled(None, &self.0, factors) {
            return Self(scaled);
        }
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

    /// The tasks in `range`.
    pub(crate) fn tasks_in(&self, range: Range<usize>) -> Self {
        self.clone().map(|leaf| leaf.narrow(0, range.start, range.len()))
    }

    /// The sum over the tasks, in the order of [`tree::sum`]; the result has one task.
    pub(crate) fn sum(self) -> Self {
        self.map(|leaf| {
            let mut task =
                |range: &Range<usize>| (range.len() == 1).then(|| leaf.clone().narrow(0, range.start, 1));
            tree::sum(0..leaf.dims()[0], &mut task, &mut |left, right| left + right)
        })
    }

    /// These parameters divided by a number of tasks.
    pub(crate) fn over(self, tasks: usize) -> Self {
        self.map(|leaf| leaf.div_scalar(tasks as f64))
    }

    /// The mean over the tasks; the result has one task. Tasks are added in the order of a fixed tree over their numbers,
    /// on a GPU one after the other.
    pub fn mean(self) -> Self {
        if let Some(mean) = leaves::mean(&self.0) {
            return Self(mean);
        }
        let tasks = self.tasks();
        self.sum().over(tasks)
    }

    /// Zeros with the same shapes.
    pub fn zeros_like(&self) -> Self {
        self.clone().map(|leaf| leaf.zeros_like())
    }

    /// The inner product with `other`, per task: `[tasks]`.
    ///
    /// # Panics
    /// Panics if there are no leaves.
    pub fn dot(self, other: Self) -> Tensor<1> {
        if let Some([products]) = leaves::dots([[&self.0, &other.0]]) {
            return products;
        }
        let products = self.zip(other, |a, b| {
            let [tasks, rows, columns] = a.dims();
            (a * b).reshape([tasks, 1, rows * columns]).sum_dim(2)
        });
        let total = products.0.into_iter().reduce(|sum, product| sum + product);
        let total = total.expect("parameters must have at least one leaf");
        let tasks = total.dims()[0];
        total.reshape([tasks])
    }

    /// The squared Euclidean norm, per task: `[tasks]`.
    pub fn squared_norm(self) -> Tensor<1> {
        self.clone().dot(self)
    }

    /// The squared Euclidean norms of several parameters, each per task: `[tasks]`.
    pub(crate) fn squared_norms<const N: usize>(all: [&Self; N]) -> [Tensor<1>; N] {
        let together = leaves::dots(all.map(|params| [&params.0[..]; 2]));
        together.unwrap_or_else(|| all.map(|params| params.clone().squared_norm()))
    }

    /// Concatenates along the task axis.
    ///
    /// # Panics
    /// Panics if the `parts` differ in their number of leaves.
    pub fn cat(parts: Vec<Self>) -> Self {
        let mut columns: Vec<Vec<Tensor<3>>> = Vec::new();
        for part in parts {
            assert!(
                columns.is_empty() || columns.len() == part.0.len(),
                "all parts must have the same number of leaves"
            );
            columns.resize_with(part.0.len(), Vec::new);
            columns.iter_mut().zip(part.0).for_each(|(column, leaf)| column.push(leaf));
        }
        Self(columns.into_iter().map(|column| Tensor::cat(column, 0)).collect())
    }

    /// The same values as leaves of a new autodiff graph.
    pub fn tracked(&self) -> Self {
        self.clone().map(|leaf| leaf.inner().autodiff().require_grad())
    }

    /// The gradients of the sum of `loss` with respect to each of `params`, which must be [tracked](Self::tracked);
    /// `None` for those that the loss does not depend on.
    pub fn gradients<const N: usize>(params: [&Self; N], loss: Tensor<1>) -> [Option<Self>; N] {
        if !loss.is_tracked() {
            return [const { None }; N];
        }
        let mut gradients = loss.backward();
        params.map(|params| {
            let found: Vec<_> = params.0.iter().map(|leaf| leaf.grad_remove(&mut gradients)).collect();
            let depends = found.iter().any(Option::is_some);
            let zeros = |leaf: &Tensor<3>| leaf.clone().inner().zeros_like();
            depends.then(|| {
                let pairs = found.into_iter().zip(&params.0);
                Self(pairs.map(|(gradient, leaf)| gradient.unwrap_or_else(|| zeros(leaf))).collect())
            })
        })
    }

    /// `gradients` of these parameters, taken to `sources` on which they depend, which must be [tracked](Self::tracked); `None`
    /// if they do not depend on them.
    ///
    /// # Panics
    /// Panics if `gradients` has a different number of leaves.
    pub fn pull_back(&self, gradients: &Self, sources: &Self) -> Option<Self> {
        assert_eq!(self.0.len(), gradients.0.len(), "there must be a gradient for each leaf");
        let [found] = Self::gradients([sources], seeded(&self.0, &gradients.0)?);
        found
    }

    /// The leaves as constants: duals without a tangent.
    pub fn constant(&self) -> Vec<Dual<3>> {
        self.0.iter().cloned().map(Dual::constant).collect()
    }

    /// The leaves as duals that carry the leaves of `tangent`.
    ///
    /// # Panics
    /// Panics if `tangent` has a different number of leaves.
    pub fn moving(&self, tangent: &Self) -> Vec<Dual<3>> {
        assert_eq!(self.0.len(), tangent.0.len(), "the tangent must have the same number of leaves");
        let pairs = self.0.iter().cloned().zip(tangent.0.iter().cloned());
        pairs.map(|(leaf, tangent)| Dual::moving(leaf, tangent)).collect()
    }

    fn device(&self) -> Option<Device> {
        self.0.first().map(|leaf| leaf.device().inner())
    }
}

impl std::ops::Add for Params {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        if let Some(sums) = leaves::add_scaled(Some(&self.0), &other.0, &[1.0]) {
            return Self(sums);
        }
        self.zip(other, |a, b| a + b)
    }
}

impl std::ops::Sub for Params {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self.zip(other, |a, b| a - b)
    }
}

/// Task indices as a tensor, for `Tensor::select`.
pub fn task_indices(indices: &[usize], device: &Device) -> Tensor<1, Int> {
    let indices: Vec<i32> = indices.iter().map(|index| *index as i32).collect();
    let shape = [indices.len()];
    Tensor::from_data(TensorData::new(indices, shape), device)
}

/// Whether `indices` are all tasks in order: 0, 1, …, `tasks` − 1.
pub fn is_everything(indices: &[usize], tasks: usize) -> bool {
    indices.len() == tasks && indices.iter().enumerate().all(|(position, index)| position == *index)
}
