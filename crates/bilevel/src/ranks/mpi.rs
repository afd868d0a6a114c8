//! Processes as ranks, by MPI. It moves bytes and never adds: a library's reduction would add in an order of its own.

use super::Ranks;
use ferrompi::{Communicator, Mpi, ThreadLevel};
use std::fmt::{Debug, Formatter};
use std::sync::Arc;

/// MPI, from its start until this is dropped. It stays on the thread that began it, as all exchanges must.
pub struct MpiSession(Mpi);

impl MpiSession {
    /// Starts MPI.
    ///
    /// # Errors
    /// Returns an error if the library cannot be started, or was before.
    pub fn begin() -> Result<Self, String> {
        Mpi::init_thread(ThreadLevel::Funneled)
            .map(Self)
            .map_err(|error| format!("MPI cannot start: {error}"))
    }

    /// The ranks of all processes that the launcher started.
    pub fn ranks(&self) -> Arc<dyn Ranks> {
        Arc::new(Processes(self.0.world()))
    }

    /// Ends all ranks with this exit code.
    pub fn abort(&self, code: i32) -> ! {
        self.0.world().abort(code)
    }
}

struct Processes(Communicator);

impl Debug for Processes {
    fn fmt(&self, out: &mut Formatter<'_>) -> std::fmt::Result {
        write!(out, "rank {} of {} by MPI", self.rank(), self.count())
    }
}

/// Where in a buffer the parts of these lengths begin.
///
/// # Panics
/// Panics if the buffer exceeds 2 GiB, the most that MPI addresses by its usual counts.
fn places(lengths: &[usize]) -> (Vec<i32>, Vec<i32>) {
    let number = |bytes: usize| i32::try_from(bytes).expect("ranks exchange at most 2 GiB at a time");
    let mut end = 0;
    let mut begin = |length: &usize| {
        end += length;
        number(end - length)
    };
    let begins = lengths.iter().map(&mut begin).collect();
    (lengths.iter().map(|length| number(*length)).collect(), begins)
}

/// Cuts a buffer into parts of these lengths.
fn cut(mut bytes: &[u8], lengths: &[usize]) -> Vec<Vec<u8>> {
    let part = |length: &usize| {
        let (part, rest) = bytes.split_at(*length);
        bytes = rest;
        part.to_vec()
    };
    lengths.iter().map(part).collect()
}

fn done<T>(result: ferrompi::Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("MPI failed, perhaps since another rank has ended: {error}"))
}

impl Ranks for Processes {
    fn rank(&self) -> usize {
        self.0.rank() as usize
    }

    fn count(&self) -> usize {
        self.0.size() as usize
    }

    fn exchange(&self, parts: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        assert_eq!(parts.len(), self.count(), "there must be one part for each rank");
        let sent: Vec<usize> = parts.iter().map(Vec::len).collect();
        let mut lengths = vec![0_u64; self.count()];
        done(self.0.alltoall(&sent.iter().map(|length| *length as u64).collect::<Vec<_>>(), &mut lengths));
        let lengths: Vec<usize> = lengths.into_iter().map(|length| length as usize).collect();
        let ((sizes, from), (received_sizes, to)) = (places(&sent), places(&lengths));
        let mut received = vec![0; lengths.iter().sum()];
        done(self.0.alltoallv(&parts.concat(), &sizes, &from, &mut received, &received_sizes, &to));
        cut(&received, &lengths)
    }

    fn gather(&self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut lengths = vec![0_u64; self.count()];
        done(self.0.allgather(&[bytes.len() as u64], &mut lengths));
        let lengths: Vec<usize> = lengths.into_iter().map(|length| length as usize).collect();
        let (sizes, to) = places(&lengths);
        let mut received = vec![0; lengths.iter().sum()];
        done(self.0.allgatherv(bytes, &mut received, &sizes, &to));
        cut(&received, &lengths)
    }
}
