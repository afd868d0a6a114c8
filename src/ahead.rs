//! Work done ahead of its use, by a thread of its own.
//!
//! The thread makes item after item, and holds each until it is asked for: one is ready while its
//! predecessor is used, and no more than that is ever kept. What an item is depends on its number alone,
//! so it makes no difference who makes it, or when.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{Builder, JoinHandle};

/// Items numbered in a row, the next of which is made while the one before it is used.
pub struct Ahead<T> {
    make: Arc<dyn Fn(u64) -> T + Send + Sync>,
    next: u64,
    made: Option<Receiver<T>>,
    thread: Option<JoinHandle<()>>,
}

impl<T: Send + 'static> Ahead<T> {
    /// Items `first`, `first` + 1, … as `make` makes them.
    pub fn new(first: u64, make: impl Fn(u64) -> T + Send + Sync + 'static) -> Self {
        let make: Arc<dyn Fn(u64) -> T + Send + Sync> = Arc::new(make);
        let (hand_over, made) = sync_channel(0);
        let maker = make.clone();
        let work = move || {
            // Ends when nobody is left to take an item.
            let _ = (first..).try_for_each(|number| hand_over.send(maker(number)));
        };
        // Where the system has no thread to spare, items are made when they are asked for.
        let thread = Builder::new().name("ahead".into()).spawn(work).ok();
        Self { make, next: first, made: Some(made), thread }
    }

    /// The next item.
    pub fn take(&mut self) -> T {
        let made = self.made.as_ref().and_then(|made| made.recv().ok());
        let item = made.unwrap_or_else(|| (self.make)(self.next));
        self.next += 1;
        item
    }
}

impl<T> Drop for Ahead<T> {
    /// Waits for the thread, which ends with the item at hand.
    fn drop(&mut self) {
        self.made = None;
        if let Some(thread) = self.thread.take() {
            // Its panic, if there was one, has come to whoever asked for the item.
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
    fn items_come_in_order_from_another_thread() {
        let mut items = Ahead::new(5, |number| (number, thread::current().id()));
        let taken: Vec<(u64, ThreadId)> = (0..100).map(|_| items.take()).collect();
        assert!(taken.iter().map(|item| item.0).eq(5..105));
        assert!(taken.iter().all(|item| item.1 == taken[0].1 && item.1 != thread::current().id()));
    }

    #[test]
    fn one_item_is_ready_and_no_more() {
        let made = Arc::new(AtomicU64::new(0));
        let count = made.clone();
        let mut items = Ahead::new(0, move |_| count.fetch_add(1, Ordering::SeqCst));
        for taken in 1..=3 {
            items.take();
            while made.load(Ordering::SeqCst) <= taken {
                thread::yield_now();
            }
            assert_eq!(made.load(Ordering::SeqCst), taken + 1);
        }
        // Dropping waits for the thread, whose share of the counter then is gone.
        drop(items);
        assert_eq!((Arc::strong_count(&made), made.load(Ordering::SeqCst)), (1, 4));
    }

    #[test]
    fn what_its_thread_cannot_make_is_made_by_whoever_asks() {
        let asker = thread::current().id();
        let mut items = Ahead::new(0, move |number| {
            assert!(number < 2 || thread::current().id() == asker, "the thread fails, as it should here");
            number
        });
        assert_eq!([items.take(), items.take(), items.take(), items.take()], [0, 1, 2, 3]);
    }
}
