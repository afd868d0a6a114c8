//! Utilities for all modules: files, archives of arrays, prefetching, hexadecimal text, classification of errors.

pub mod archive;
pub mod atomic_file;
pub mod classified;
pub mod hex;
pub mod prefetch;
