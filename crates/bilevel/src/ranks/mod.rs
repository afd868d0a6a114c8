//! Ranks: processes or threads that compute one outer loop together, each a share of the tasks of every meta-batch.
//!
//! Every rank has the same θ, draws the same coins for all tasks, and computes a block of the tasks. What they exchange is
//! bytes: the mean over tasks, and the numbers that the step reports and its estimator learns from. Sums follow the tree of
//! [`crate::tree`], whatever the number of ranks, so that on CPU backends one number of ranks gives the same bits as
//! any other. A library's own reduction would not: its order depends on the number of ranks.
//!
//! All ranks must exchange in the same order. So whether there is an exchange is decided from what all ranks know, such as
//! the draw of the whole meta-batch, never from what one of them computed.

mod alone;
mod bytes;
#[cfg(feature = "mpi")]
mod mpi;
mod share;
mod threads;

pub use alone::Alone;
#[cfg(feature = "mpi")]
pub use mpi::MpiSession;
pub use share::Share;
pub use threads::Threads;

use std::fmt::Debug;

/// How a rank reaches the others.
pub trait Ranks: Debug + Send + Sync {
    /// The number of this rank, from 0.
    fn rank(&self) -> usize;

    /// The number of ranks.
    fn count(&self) -> usize;

    /// Sends `parts[i]` to rank i, and returns what each rank sent to this one, in the order of ranks. Waits for all ranks.
    ///
    /// # Panics
    /// Panics if another rank has ended, or if there is not one part for each rank.
    fn exchange(&self, parts: Vec<Vec<u8>>) -> Vec<Vec<u8>>;

    /// Sends `bytes` to all ranks, and returns what each of them sent, in the order of ranks. Waits for all ranks.
    ///
    /// # Panics
    /// Panics if another rank has ended.
    fn gather(&self, bytes: &[u8]) -> Vec<Vec<u8>> {
        self.exchange(vec![bytes.to_vec(); self.count()])
    }
}

impl dyn Ranks + '_ {
    /// The bytes that rank 0 gives, on all ranks. Waits for all ranks; what the others give is dropped.
    ///
    /// # Panics
    /// Panics if another rank has ended.
    pub fn of_first(&self, bytes: Vec<u8>) -> Vec<u8> {
        if self.count() == 1 {
            return bytes;
        }
        let own = if self.rank() == 0 { &bytes[..] } else { &[] };
        self.gather(own).swap_remove(0)
    }
}
