//! Room for results, handed out as it is: zeros that are written over at once took an eighth of the time
//! of a task that is alone.
//!
//! `unsafe` to take what was written there for values.

use std::mem::MaybeUninit;

/// Where values are to be written.
pub type Places<'a, T> = &'a mut [MaybeUninit<T>];

/// Room for some values.
pub struct Room<T>(Box<[MaybeUninit<T>]>);

impl<T: Copy> Room<T> {
    /// For `len` of them.
    pub fn new(len: usize) -> Self {
        Self(Box::new_uninit_slice(len))
    }

    /// Where they are to be written.
    pub fn places(&mut self) -> Places<'_, T> {
        &mut self.0
    }

    /// The values.
    ///
    /// # Safety
    /// All of them must have been written.
    pub unsafe fn written(self) -> Vec<T> {
        // SAFETY: the caller's promise.
        unsafe { self.0.assume_init() }.into_vec()
    }
}

/// Values as places to write to again.
pub fn again<T: Copy>(values: &mut [T]) -> Places<'_, T> {
    // SAFETY: the same layout, and what is written there are whole values.
    unsafe { &mut *(std::ptr::from_mut(values) as *mut [MaybeUninit<T>]) }
}
