//! Utilities for all modules: files, paths, locks, archives of arrays, settings and numbers as JSON, prefetching, hexadecimal text,
//! classification of errors.

pub mod archive;
pub mod atomic_file;
pub mod classified;
pub mod hex;
pub mod json;
pub mod lock;
pub mod paths;
pub mod prefetch;
pub mod settings;
