//! The size of φ_0 = V(θ), from which a memory plan follows, without computing V for it at every outer step.

use super::recording::{inputs_of, shapes};
use crate::params::Params;
use crate::problem::Bilevel;
use burn::tensor::Tensor;
use std::any::Any;

/// Bytes of the fast weights of one task at θ = `theta` (one task). Computes V for one task only: the tasks of a problem have
/// the same shapes.
pub fn bytes_of_start<P: Bilevel>(problem: &P, theta: &Params) -> u64 {
    match problem.tasks() {
        0 => 0,
        1 => problem.start(theta).bytes(),
        _ => problem.select(&[0]).start(theta).bytes(),
    }
}

/// Remembers the size for as long as the problems of an outer loop differ in the values of their data alone.
#[derive(Default)]
pub struct StartSize(Option<Known>);

/// The size for a kind of problem.
struct Known {
    /// A problem of that kind, with nothing in the place of its data.
    problem: Box<dyn Any + Send>,
    /// The shapes of θ and of the data.
    shapes: Vec<[usize; 3]>,
    bytes: u64,
}

impl StartSize {
    /// As [`bytes_of_start`], remembered if `problem` says [what it is like](Bilevel::is_like).
    pub fn of<P: Bilevel>(&mut self, problem: &P, theta: &Params) -> u64 {
        let Some(inputs) = inputs_of(problem, theta) else { return bytes_of_start(problem, theta) };
        let shapes = shapes(&inputs);
        if let Some(known) = &self.0
            && known.shapes == shapes
            && known.problem.downcast_ref::<P>().is_some_and(|known| known.is_like(problem))
        {
            return known.bytes;
        }
        let bytes = bytes_of_start(problem, theta);
        // The data themselves would keep a meta-batch in memory; one zero in their shape does not.
        let zeros = |data: &Tensor<3>| {
            Tensor::<3>::zeros([1, 1, 1], (&data.device(), data.dtype())).expand(data.dims())
        };
        let without_data = problem.with_data(&mut |data| zeros(&data));
        self.0 = without_data.map(|problem| Known { problem: Box::new(problem), shapes, bytes });
        bytes
    }
}
