//! Computes items ahead of their use on a separate thread.
//!
//! The thread computes the next item while the current one is in use, and holds at most that one. An item depends only on
//! its number, so it does not matter which thread computes it, or when.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{Builder, JoinHandle};

/// Consecutively numbered items, each computed while the previous one is in use.
pub struct Prefetcher<T> {
    make: Arc<dyn Fn(u64) -> T + Send + Sync>,
    next: u64,
    made: Option<Receiver<T>>,
    thread: Option<JoinHandle<()>>,
}

impl<T: Send + 'static> Prefetcher<T> {
    /// Computes items `first`, `first` + 1, … with `make`.
    pub fn new(first: u64, make: impl Fn(u64) -> T + Send + Sync + 'static) -> Self {
        let make: Arc<dyn Fn(u64) -> T + Send + Sync> = Arc::new(make);
        let (hand_over, made) = sync_channel(0);
        let maker = make.clone();
        let work = move || {
            // Ends when the receiver is dropped.
            let _ = (first..).try_for_each(|number| hand_over.send(maker(number)));
        };
        // If no thread can be started, `take` computes the items.
        let thread = Builder::new().name("ahead".into()).spawn(work).ok();
        Self { make, next: first, made: Some(made), thread }
    }

    /// Returns the next item, waiting for it if necessary.
    pub fn take(&mut self) -> T {
        let made = self.made.as_ref().and_then(|made| made.recv().ok());
        let item = made.unwrap_or_else(|| (self.make)(self.next));
        self.next += 1;
        item
    }
}

impl<T> Drop for Prefetcher<T> {
    /// Waits for the thread, which ends after its current item.
    fn drop(&mut self) {
        self.made = None;
        if let Some(thread) = self.thread.take() {
            // If the thread panicked, `take` has computed the item again and panicked in its caller.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::thread::{self, ThreadId};

    #[test]
    fn items_are_made_in_order_on_another_thread() {
        let mut items = Prefetcher::new(5, |number| (number, thread::current().id()));
        let taken: Vec<(u64, ThreadId)> = (0..100).map(|_| items.take()).collect();
        assert!(taken.iter().map(|item| item.0).eq(5..105));
        assert!(taken.iter().all(|item| item.1 == taken[0].1 && item.1 != thread::current().id()));
    }

    #[test]
    fn exactly_one_item_is_computed_ahead() {
        let made = Arc::new(AtomicU64::new(0));
        let count = made.clone();
        let mut items = Prefetcher::new(0, move |_| count.fetch_add(1, Ordering::SeqCst));
        for taken in 1..=3 {
            items.take();
            while made.load(Ordering::SeqCst) <= taken {
                thread::yield_now();
            }
            assert_eq!(made.load(Ordering::SeqCst), taken + 1);
        }
        // Dropping waits for the thread, which then has released its reference to the counter.
        drop(items);
        assert_eq!((Arc::strong_count(&made), made.load(Ordering::SeqCst)), (1, 4));
    }

    #[test]
    fn take_computes_items_after_the_thread_panicked() {
        let caller = thread::current().id();
        let mut items = Prefetcher::new(0, move |number| {
            assert!(number < 2 || thread::current().id() == caller, "expected panic of the thread");
            number
        });
        assert_eq!([items.take(), items.take(), items.take(), items.take()], [0, 1, 2, 3]);
    }
}
