//! Thread pools of a few threads each, for chunks of tasks that are computed at the same time.
//!
//! On a CPU, Burn runs a large operation on the rayon pool that it is called in, and outside of any pool on the
//! global one. If N tasks ran on N plain threads, their operations would all compete for the global pool. Within its
//! own pool, an operation uses that pool's threads only, and [`rayon::current_num_threads`] gives their number.
//!
//! A pool runs one chunk at a time. This also avoids a deadlock: a thread that waits within an operation and holds
//! the lock of an autodiff graph cannot pick up another chunk that needs the same lock.
//!
//! While a chunk is computed, all threads of its pool stay awake. An operation on one task takes 20 to 500 µs, and
//! some thousand of them follow each other in an outer step: waking a thread for each would take a fifth of the time.

use crate::kernel::wait_until;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Idle pools, with their numbers of threads. Starting new threads at every outer step would take little time, but
/// lose the allocator's per-thread caches.
static IDLE: Mutex<Vec<(usize, ThreadPool)>> = Mutex::new(Vec::new());

/// Runs `work` in a pool of `threads` threads; on the current thread if the system cannot start any.
pub fn in_pool<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> R {
    let idle = || IDLE.lock().unwrap_or_else(PoisonError::into_inner);
    let reused = {
        let mut idle = idle();
        let index = idle.iter().position(|(size, _)| *size == threads);
        index.map(|index| idle.swap_remove(index).1)
    };
    let new = || ThreadPoolBuilder::new().num_threads(threads).build().ok();
    let Some(pool) = reused.or_else(new) else { return work() };
    let result = pool.install(|| if threads > 1 { with_all_awake(work) } else { work() });
    idle().push((threads, pool));
    result
}

/// Runs `work` on this thread of a pool; the others wait for parts of its operations without sleeping.
///
/// `work` begins when all others wait. Otherwise a thread could take a part of `work` first, and begin to wait for the end of
/// `work` within that part, where it looks for something to do. Then neither would end.
fn with_all_awake<R>(work: impl FnOnce() -> R) -> R {
    let (this, others) = (rayon::current_thread_index(), rayon::current_num_threads() - 1);
    let (waiting, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    rayon::in_place_scope(|scope| {
        let _done = SetOnDrop(&done);
        scope.spawn_broadcast(|_, other| {
            if Some(other.index()) != this {
                waiting.fetch_add(1, Ordering::Release);
                wait_until(|| done.load(Ordering::Acquire));
            }
        });
        wait_until(|| waiting.load(Ordering::Acquire) == others);
        work()
    })
}

/// Sets a flag when it is dropped, also by a panic.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rayon::prelude::*;
    use std::collections::HashSet;
    use std::thread;

    #[test]
    fn work_runs_on_the_threads_of_its_pool_only() {
        for threads in [1, 3] {
            let (size, used) = in_pool(threads, || {
                let used: HashSet<_> = (0..1000).into_par_iter().map(|_| thread::current().id()).collect();
                (rayon::current_num_threads(), used)
            });
            assert_eq!(size, threads);
            assert!((1..=threads).contains(&used.len()) && !used.contains(&thread::current().id()));
        }
    }

    #[test]
    fn concurrent_pools_share_no_threads_and_are_reused() {
        // A size that no other test uses, so that no other test takes these pools.
        let threads = 5;
        let both = || {
            let barrier = std::sync::Barrier::new(2);
            let ids = || {
                in_pool(threads, || {
                    barrier.wait();
                    rayon::broadcast(|_| thread::current().id())
                })
            };
            let (a, b) = thread::scope(|scope| {
                let other = scope.spawn(ids);
                (ids(), other.join().unwrap())
            });
            a.into_iter().chain(b).collect::<HashSet<_>>()
        };
        let first = both();
        assert_eq!(first.len(), 2 * threads);
        assert_eq!(both(), first);
    }
}
