//! A rank's share of the tasks of a meta-batch, and what ranks make of their shares together.
//!
//! The mean over tasks: each rank adds whole branches of the tree among its own tasks. Of each branch's sum, rank i gets the
//! i-th slice, adds the slices in the tree's order, and sends the result to all. So a rank sends and receives about twice
//! the size of θ, however many ranks and tasks there are.

use super::bytes::{Number, decode, decode_lists, encode, encode_lists};
use super::{Alone, Ranks};
use crate::params::Params;
use crate::tree;
use burn::tensor::{DType, Element, Tensor, TensorData};
use std::ops::Range;
use std::sync::Arc;

/// The tasks of a meta-batch that this rank computes, and the ranks that compute the others.
#[derive(Clone, Debug)]
pub struct Share {
    ranks: Arc<dyn Ranks>,
    tasks: usize,
}

impl Share {
    /// This rank's share of `tasks` tasks: about as many as that of any other rank, none if there are more ranks than tasks.
    pub fn new(ranks: Arc<dyn Ranks>, tasks: usize) -> Self {
        Self { ranks, tasks }
    }

    /// All `tasks` tasks, without other ranks.
    pub fn all(tasks: usize) -> Self {
        Self { ranks: Arc::new(Alone), tasks }
    }

    /// The numbers of this rank's tasks.
    pub fn own(&self) -> Range<usize> {
        self.of(self.ranks.rank())
    }

    /// T, the number of tasks of all ranks.
    pub fn tasks(&self) -> usize {
        self.tasks
    }

    /// Whether this rank has all tasks.
    pub fn is_all(&self) -> bool {
        self.ranks.count() == 1
    }

    /// The numbers of the tasks of `rank`.
    fn of(&self, rank: usize) -> Range<usize> {
        let first = |rank: usize| rank * self.tasks / self.ranks.count();
        first(rank)..first(rank + 1)
    }

    /// The positions in this rank's stacks of those of the `chosen` tasks, in ascending order, that are its own.
    pub fn places(&self, chosen: &[usize]) -> Vec<usize> {
        let own = self.own();
        chosen.iter().filter(|task| own.contains(task)).map(|task| task - own.start).collect()
    }

    /// Of each list of values of the own tasks, those of all tasks. Waits for all ranks.
    ///
    /// # Panics
    /// Panics if another rank has ended.
    pub fn collect<const N: usize>(&self, lists: [Vec<f64>; N]) -> [Vec<f64>; N] {
        let mut all = self.collect_all(lists.into()).into_iter();
        std::array::from_fn(|_| all.next().unwrap_or_default())
    }

    /// The same for any number of lists, which must be the same on all ranks.
    pub(crate) fn collect_all(&self, lists: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
        if self.is_all() {
            return lists;
        }
        let mut all = vec![Vec::new(); lists.len()];
        for from in self.ranks.gather(&encode_lists(&lists)) {
            all.iter_mut().zip(decode_lists(&from)).for_each(|(all, list)| all.extend(list));
        }
        all
    }

    /// Each of this rank's `counts` with those of the others, in the order of ranks. Waits for all ranks.
    pub(crate) fn collect_counts<const N: usize>(&self, counts: [u64; N]) -> [Vec<u64>; N] {
        if self.is_all() {
            return counts.map(|count| vec![count]);
        }
        let mut all = counts.map(|_| Vec::new());
        for from in self.ranks.gather(&counts.map(u64::to_le_bytes).concat()) {
            let from = from.as_chunks().0.iter().map(|bytes| u64::from_le_bytes(*bytes));
            all.iter_mut().zip(from).for_each(|(all, count)| all.push(count));
        }
        all
    }

    /// The mean over the `chosen` tasks of all ranks, in ascending order; `own` are the values of those that are this rank's,
    /// if any, and `like` has the shapes of one task. Waits for all ranks.
    ///
    /// # Panics
    /// Panics if no task is chosen, or another rank has ended.
    pub fn mean(&self, chosen: &[usize], own: Option<Params>, like: &Params) -> Params {
        assert!(!chosen.is_empty(), "there must be a task to take the mean of");
        if self.is_all() {
            return own.expect("the chosen tasks are this rank's").mean();
        }
        let sum = match like.leaves().first().map(|leaf| leaf.dtype()) {
            Some(DType::F64) => self.sum::<f64>(chosen, own, like),
            _ => self.sum::<f32>(chosen, own, like),
        };
        sum.over(chosen.len())
    }

    /// The sum over the chosen tasks, as in [`Self::mean`].
    fn sum<N: Number + Element>(&self, chosen: &[usize], own: Option<Params>, like: &Params) -> Params {
        let count = self.ranks.count();
        // Among the chosen tasks, those of a rank are neighbours.
        let place = |task: usize| chosen.partition_point(|chosen| *chosen < task);
        let branches = |rank: usize| {
            let Range { start, end } = self.of(rank);
            tree::branches(place(start)..place(end))
        };
        let first = place(self.own().start);
        let sums = branches(self.ranks.rank()).into_iter().map(|branch| {
            let own = own.as_ref().expect("this rank has chosen tasks");
            flat::<N>(own.tasks_in(branch.start - first..branch.end - first).sum())
        });
        let sums: Vec<Vec<N>> = sums.collect();
        let length: usize = like.leaves().iter().map(|leaf| leaf.dims().iter().product::<usize>()).sum();
        let slice = |rank: usize| rank * length / count..(rank + 1) * length / count;
        let part = |rank| sums.iter().map(|sum| encode(&sum[slice(rank)])).collect::<Vec<_>>().concat();
        let received = self.ranks.exchange((0..count).map(part).collect());

        let mut known = Vec::new();
        for (rank, bytes) in received.iter().enumerate() {
            let size = slice(self.ranks.rank()).len() * N::SIZE;
            known.extend(
                branches(rank)
                    .into_iter()
                    .enumerate()
                    .map(|(at, branch)| (branch, &bytes[at * size..(at + 1) * size])),
            );
        }
        let mut branch = |range: &Range<usize>| {
            known.iter().find(|(branch, _)| branch == range).map(|(_, bytes)| decode::<N>(bytes))
        };
        let mut add = |mut left: Vec<N>, right: Vec<N>| {
            left.iter_mut().zip(right).for_each(|(left, right)| *left = *left + right);
            left
        };
        let total = tree::sum(0..chosen.len(), &mut branch, &mut add);
        let all = decode::<N>(&self.ranks.gather(&encode(&total)).concat());
        let mut rest = &all[..];
        like.clone().map(|leaf| {
            let (dims, options) = (leaf.dims(), (&leaf.device(), leaf.dtype()));
            let (values, after) = rest.split_at(dims.iter().product());
            rest = after;
            Tensor::from_data(TensorData::new(values.to_vec(), dims), options)
        })
    }
}

/// All values, leaf after leaf.
fn flat<N: Element>(params: Params) -> Vec<N> {
    let values = |leaf: Tensor<3>| {
        leaf.into_data().convert::<N>().try_into_vec::<N>().expect("the values were converted to this kind")
    };
    params.into_leaves().into_iter().map(values).collect::<Vec<_>>().concat()
}
