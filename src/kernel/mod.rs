//! The operations that Burn does not have: convolution of many tasks, each with its own weights,
//! is a gather of patches ([`PatchGrid`]) and one batched matrix product.

mod patches;

pub use patches::PatchGrid;
