//! The innermost loops: small tiles of a product held in registers.
//!
//! A tile is R rows × V vectors of the result. For every meeting and every channel it takes one
//! broadcast a row and V vectors of weights, and R·V fused multiply-adds, so that arithmetic and not
//! loading is what takes the time: 99 % of what the unit can do at the sizes of Conv4-64.
//!
//! `unsafe` because these loops go through raw pointers: bounds checks in them cost a third. What they
//! may touch is asserted once a call, in [`super::convolution`].

use crate::kernel::grid::Meeting;
use macerator::{Simd, VAdd, VMul, VMulAdd, VOrd, VSelect, VSub, Vector, vload_unaligned, vstore_unaligned};

/// Most rows in a tile.
pub const ROWS: usize = 6;

/// What floats can do here.
pub trait Number:
    burn::tensor::Element + VAdd + VSub + VMul + VMulAdd + VOrd + VSelect + num_traits::Float
{
}
impl Number for f32 {}
impl Number for f64 {}

/// Rows that lie `stride` values apart.
#[derive(Clone, Copy)]
pub struct Rows<P> {
    /// The first row.
    pub first: P,
    /// From one row to the next.
    pub stride: usize,
}

/// Vectors that fit a tile beside its weights: 32 registers with AVX-512, 16 before it.
pub fn widest<S: Simd>() -> usize {
    if S::lanes32() >= 16 { 4 } else { 2 }
}

/// R rows × V vectors of Σ_meetings (source row) × (tap's matrix), written to `to` or added to it.
///
/// # Safety
/// For every meeting, `from` + its pixel's row must have `inner` values in each of R rows,
/// `weights` + its tap's matrix `inner` rows of `columns` values, and `to` V vectors in each of R rows.
#[inline(always)]
pub unsafe fn gathered<S: Simd, T: Number, const R: usize, const V: usize>(
    from: Rows<*const T>,
    (inner, columns): (usize, usize),
    weights: *const T,
    to: Rows<*mut T>,
    meetings: &[Meeting],
    add: bool,
) {
    let lanes = T::lanes::<S>();
    let zero: Vector<S, T> = T::zero().splat();
    let mut sums = [[zero; V]; R];
    // SAFETY: the caller's promise.
    unsafe {
        if add {
            for (r, sums) in sums.iter_mut().enumerate() {
                for (v, sum) in sums.iter_mut().enumerate() {
                    *sum = vload_unaligned(to.first.add(r * to.stride + v * lanes));
                }
            }
        }
        for meeting in meetings {
            let mut from_at = from.first.add(meeting.pixel * inner);
            let mut weight_at = weights.add(meeting.tap * inner * columns);
            for _ in 0..inner {
                let mut row = [zero; V];
                for (v, vector) in row.iter_mut().enumerate() {
                    *vector = vload_unaligned(weight_at.add(v * lanes));
                }
                for (r, sums) in sums.iter_mut().enumerate() {
                    let value: Vector<S, T> = (*from_at.add(r * from.stride)).splat();
                    for (sum, vector) in sums.iter_mut().zip(row) {
                        *sum = value.mul_add(vector, *sum);
                    }
                }
                from_at = from_at.add(1);
                weight_at = weight_at.add(columns);
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            for (v, sum) in sums.iter().enumerate() {
                vstore_unaligned(to.first.add(r * to.stride + v * lanes), *sum);
            }
        }
    }
}

/// R rows × V vectors of Σ_{images, pairs} (source row)ᵀ (target row), written to `to`.
///
/// # Safety
/// For every image and pair, `from` + its source pixel's row must have R values, `along` + its target
/// pixel's row V vectors, and `to` V vectors in each of R rows.
#[inline(always)]
pub unsafe fn outer_products<S: Simd, T: Number, const R: usize, const V: usize>(
    from: (Rows<*const T>, usize),
    along: (Rows<*const T>, usize),
    to: Rows<*mut T>,
    images: usize,
    pairs: &[(usize, usize)],
) {
    let lanes = T::lanes::<S>();
    let zero: Vector<S, T> = T::zero().splat();
    let mut sums = [[zero; V]; R];
    let ((from, from_width), (along, along_width)) = (from, along);
    // SAFETY: the caller's promise.
    unsafe {
        for image in 0..images {
            for &(source, target) in pairs {
                let from_at = from.first.add(image * from.stride + source * from_width);
                let along_at = along.first.add(image * along.stride + target * along_width);
                let mut row = [zero; V];
                for (v, vector) in row.iter_mut().enumerate() {
                    *vector = vload_unaligned(along_at.add(v * lanes));
                }
                for (r, sums) in sums.iter_mut().enumerate() {
                    let value: Vector<S, T> = (*from_at.add(r)).splat();
                    for (sum, vector) in sums.iter_mut().zip(row) {
                        *sum = value.mul_add(vector, *sum);
                    }
                }
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            for (v, sum) in sums.iter().enumerate() {
                vstore_unaligned(to.first.add(r * to.stride + v * lanes), *sum);
            }
        }
    }
}
