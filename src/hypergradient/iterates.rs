//! The inner loop's iterates, remembered for the way back.
//!
//! This is the store-all plan: every iterate that a product needs is kept, and of it only the tasks
//! that take the product. A leaner plan would answer the same two calls.

use crate::stack::Stack;
use std::collections::BTreeMap;

/// φ_{j−1} for the inner steps j whose products will be taken.
#[derive(Default)]
pub struct Iterates(BTreeMap<usize, Stack>);

impl Iterates {
    /// Remembers φ_{step−1} = `fast` for the tasks `due`; nothing if there are none.
    pub fn keep(&mut self, step: usize, fast: &Stack, due: &[usize]) {
        if !due.is_empty() {
            self.0.insert(step, fast.select(due));
        }
    }

    /// φ_{step−1} of the tasks for which it was kept, to be used once.
    pub fn take(&mut self, step: usize) -> Option<Stack> {
        self.0.remove(&step)
    }
}
