//! Parameters in a file: under their names, in PyTorch's layouts.

use super::Leaf;
use crate::archive::{Archive, Error};
use crate::stack::Stack;
use burn::tensor::{DType, Device};

/// Puts the one task of `stack` into `archive`, leaf by leaf, each name behind `prefix`.
pub fn store(archive: &mut Archive, prefix: &str, leaves: &[Leaf], stack: &Stack) {
    for (leaf, matrix) in leaves.iter().zip(stack.leaves()) {
        let flat = leaf.layout.unpack(matrix.clone());
        archive.set_tensor(format!("{prefix}{}", leaf.name), &leaf.layout.shape(), flat);
    }
}

/// What [`store`] put there, on `device`.
///
/// # Errors
/// If an array is missing, or not of its leaf's shape, or holds no floats.
pub fn stored(archive: &Archive, prefix: &str, leaves: &[Leaf], device: &Device) -> Result<Stack, Error> {
    let leaves = leaves.iter().map(|leaf| {
        let name = format!("{prefix}{}", leaf.name);
        let flat = archive.flat(&name, &leaf.layout.shape(), (device, DType::F32))?;
        Ok(leaf.layout.pack(flat))
    });
    leaves.collect::<Result<_, Error>>().map(Stack::new)
}
