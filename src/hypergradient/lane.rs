//! Lanes: a few threads each, for work that runs beside other work.
//!
//! On a CPU, Burn spreads a large operation over the pool of threads that it is called in, and outside of
//! any over the one of the whole process. Were N tasks computed by N threads of their own, all of them
//! would besides queue for that one. In a lane, an operation finds the lane's threads and no others, and
//! [`rayon::current_num_threads`] tells how many those are.
//!
//! Nothing in a lane can be kept up by another's work, and a lane has one piece of work at a time: so none
//! of its threads, waiting in an operation that holds a graph's lock, takes up work that wants the lock.

use rayon::{ThreadPool, ThreadPoolBuilder};
use std::sync::{Mutex, PoisonError};

/// The lanes that nobody is in, with the number of their threads. Starting threads anew at every outer
/// step would cost little time, but the allocator's memory of what they had.
static IDLE: Mutex<Vec<(usize, ThreadPool)>> = Mutex::new(Vec::new());

/// `work`, done in a lane of `threads` threads; on this thread where the system has none to spare.
pub fn in_lane<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> R {
    let idle = || IDLE.lock().unwrap_or_else(PoisonError::into_inner);
    let known = {
        let mut idle = idle();
        let place = idle.iter().position(|(size, _)| *size == threads);
        place.map(|place| idle.swap_remove(place).1)
    };
    let new = || ThreadPoolBuilder::new().num_threads(threads).build().ok();
    let Some(lane) = known.or_else(new) else { return work() };
    let result = lane.install(work);
    idle().push((threads, lane));
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use rayon::prelude::*;
    use std::collections::HashSet;
    use std::thread;

    #[test]
    fn work_in_a_lane_finds_the_lanes_threads_and_no_others() {
        for threads in [1, 3] {
            let (size, met) = in_lane(threads, || {
                let met: HashSet<_> = (0..1000).into_par_iter().map(|_| thread::current().id()).collect();
                (rayon::current_num_threads(), met)
            });
            assert_eq!(size, threads);
            assert!((1..=threads).contains(&met.len()) && !met.contains(&thread::current().id()));
        }
    }

    #[test]
    fn lanes_side_by_side_share_no_thread_and_are_used_again() {
        // A size that no other test has, so that nobody takes these lanes in between.
        let threads = 5;
        let both = || {
            let barrier = std::sync::Barrier::new(2);
            let lane = || {
                in_lane(threads, || {
                    barrier.wait();
                    rayon::broadcast(|_| thread::current().id())
                })
            };
            let (a, b) = thread::scope(|scope| {
                let other = scope.spawn(lane);
                (lane(), other.join().unwrap())
            });
            a.into_iter().chain(b).collect::<HashSet<_>>()
        };
        let first = both();
        assert_eq!(first.len(), 2 * threads);
        assert_eq!(both(), first);
    }
}
