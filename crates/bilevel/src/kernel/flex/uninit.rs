//! Uninitialised output buffers. Zeroing buffers that are overwritten at once took an eighth of the time of a task
//! that runs alone.
//!
//! `unsafe` is needed to treat the buffer as initialised once every value has been written.

use std::mem::MaybeUninit;

/// Memory to write results to; may be uninitialised.
pub type UninitSlice<'a, T> = &'a mut [MaybeUninit<T>];

/// A buffer of values that are still to be written.
pub struct UninitBuffer<T>(Box<[MaybeUninit<T>]>);

impl<T: Copy> UninitBuffer<T> {
    /// A buffer of `len` uninitialised values.
    pub fn new(len: usize) -> Self {
        Self(Box::new_uninit_slice(len))
    }

    /// The memory to write to.
    pub fn as_mut_slice(&mut self) -> UninitSlice<'_, T> {
        &mut self.0
    }

    /// The values.
    ///
    /// # Safety
    /// All of them must have been written.
    pub unsafe fn assume_init(self) -> Vec<T> {
        // SAFETY: guaranteed by the caller.
        unsafe { self.0.assume_init() }.into_vec()
    }
}

/// Initialised values as memory to overwrite.
pub fn as_uninit<T: Copy>(values: &mut [T]) -> UninitSlice<'_, T> {
    // SAFETY: the layout is the same, and only initialised values are ever written.
    unsafe { &mut *(std::ptr::from_mut(values) as *mut [MaybeUninit<T>]) }
}
