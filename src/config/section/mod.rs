//! The sections of a configuration, one file each: keys, checked type and rules.

pub mod checkpoint;
pub mod data;
pub mod divergence;
pub mod estimator;
mod estimator_kinds;
pub mod eval;
pub mod fit;
pub mod inner;
pub mod memory;
pub mod model;
pub mod outer;
pub mod records;
pub mod root;
pub mod task;

use super::key::{AnyKey, KeyDoc};
use std::sync::OnceLock;

/// Every key, in the order of the file.
pub fn all() -> impl Iterator<Item = &'static dyn AnyKey> {
    [
        root::KEYS,
        data::KEYS,
        task::KEYS,
        model::KEYS,
        inner::KEYS,
        estimator::KEYS,
        memory::KEYS,
        outer::KEYS,
        divergence::KEYS,
        checkpoint::KEYS,
        eval::KEYS,
        records::KEYS,
    ]
    .into_iter()
    .flatten()
    .copied()
}

/// Description, accepted values and default of every key, in the order of the file; for help and documentation.
pub fn keys() -> &'static [KeyDoc] {
    static DOCS: OnceLock<Vec<KeyDoc>> = OnceLock::new();
    DOCS.get_or_init(|| all().map(AnyKey::doc).collect())
}
