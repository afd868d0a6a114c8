//! Storing parameters in archives, under their names and in PyTorch's layouts.

use super::Leaf;
use crate::support::archive::{Archive, Error};
use bilevel::Params;
use burn::tensor::{DType, Device};

/// Stores the parameters of `stack`, a stack of one task, in `archive`. `prefix` is prepended to each name.
pub fn store(archive: &mut Archive, prefix: &str, leaves: &[Leaf], stack: &Params) {
    for (leaf, matrix) in leaves.iter().zip(stack.leaves()) {
        let flat = leaf.layout.unpack(matrix.clone());
        archive.set_tensor(format!("{prefix}{}", leaf.name), &leaf.layout.shape(), flat);
    }
}

/// Reads the parameters that [`store`] wrote, on `device`.
///
/// # Errors
/// Returns an error if an array is missing, does not have the shape of its leaf, or does not hold floats.
pub fn stored(archive: &Archive, prefix: &str, leaves: &[Leaf], device: &Device) -> Result<Params, Error> {
    let leaves = leaves.iter().map(|leaf| {
        let name = format!("{prefix}{}", leaf.name);
        let flat = archive.flat(&name, &leaf.layout.shape(), (device, DType::F32))?;
        Ok(leaf.layout.pack(flat))
    });
    leaves.collect::<Result<_, Error>>().map(Params::new)
}
