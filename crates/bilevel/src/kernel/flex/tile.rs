//! The innermost loops: small tiles of a matrix product, held in registers.
//!
//! A tile is R rows × V vectors of the result. For every connection and every channel it loads one broadcast value
//! per row and V vectors of weights for R·V fused multiply-adds, so that the loop is bound by arithmetic, not by
//! loads: at the sizes of Conv4-64 it reaches 99 % of the peak of the floating-point unit.
//!
//! `unsafe` because these loops use raw pointers: bounds checks would cost a third of the speed. The bounds are
//! asserted once per call in [`super::convolution`].

use crate::kernel::grid::Connection;
use macerator::{Simd, VAdd, VMul, VMulAdd, VOrd, VSelect, VSub, Vector, vload_unaligned, vstore_unaligned};

/// The most rows in a tile.
pub const MAX_ROWS: usize = 6;

/// The float types of the kernels.
pub trait Number:
    burn::tensor::Element + VAdd + VSub + VMul + VMulAdd + VOrd + VSelect + num_traits::Float
{
}
impl Number for f32 {}
impl Number for f64 {}

/// Rows whose starts are `stride` values apart.
#[derive(Clone, Copy)]
pub struct StridedRows<P> {
    /// Start of the first row.
    pub first: P,
    /// Distance between the starts of neighbouring rows, in values.
    pub stride: usize,
}

/// The most vectors per row of a tile that fit in the registers: there are 32 with AVX-512 and on Arm, else 16.
pub fn max_vectors<S: Simd>() -> usize {
    if S::lanes32() >= 16 || cfg!(target_arch = "aarch64") { 4 } else { 2 }
}

/// Computes R rows × V vectors of Σ_connections (source row) × (tap's matrix), and writes them to `to`, or adds them if
/// `add`. The rows of all matrices are `weights.stride` values apart, each matrix has `inner` of them.
///
/// # Safety
/// For every connection, `from` + its pixel's row must have `inner` values in each of R rows, `weights` + its tap's
/// matrix `inner` rows of V vectors, and `to` V vectors in each of R rows.
#[inline(always)]
pub unsafe fn connected_products<S: Simd, T: Number, const R: usize, const V: usize>(
    from: StridedRows<*const T>,
    inner: usize,
    weights: StridedRows<*const T>,
    to: StridedRows<*mut T>,
    connections: &[Connection],
    add: bool,
) {
    let lanes = T::lanes::<S>();
    let zero: Vector<S, T> = T::zero().splat();
    let mut sums = [[zero; V]; R];
    // SAFETY: guaranteed by the caller.
    unsafe {
        if add {
            for (r, sums) in sums.iter_mut().enumerate() {
                for (v, sum) in sums.iter_mut().enumerate() {
                    *sum = vload_unaligned(to.first.add(r * to.stride + v * lanes));
                }
            }
        }
        for connection in connections {
            let mut from_at = from.first.add(connection.pixel * inner);
            let mut weight_at = weights.first.add(connection.tap * inner * weights.stride);
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
                weight_at = weight_at.add(weights.stride);
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            for (v, sum) in sums.iter().enumerate() {
                vstore_unaligned(to.first.add(r * to.stride + v * lanes), *sum);
            }
        }
    }
}

/// Computes R rows × V vectors of Σ_{images, pairs} (source row)ᵀ (target row), and writes them to `to`, or adds them if
/// `add`.
///
/// # Safety
/// For every image and pair, `sources` + its source pixel's row must have R values, `targets` + its target pixel's row
/// V vectors, and `to` V vectors in each of R rows. Each comes with the number of values per pixel.
#[inline(always)]
pub unsafe fn outer_products<S: Simd, T: Number, const R: usize, const V: usize>(
    sources: (StridedRows<*const T>, usize),
    targets: (StridedRows<*const T>, usize),
    to: StridedRows<*mut T>,
    images: std::ops::Range<usize>,
    pairs: &[(usize, usize)],
    add: bool,
) {
    let lanes = T::lanes::<S>();
    let zero: Vector<S, T> = T::zero().splat();
    let mut sums = [[zero; V]; R];
    let ((sources, source_width), (targets, target_width)) = (sources, targets);
    // SAFETY: guaranteed by the caller.
    unsafe {
        if add {
            for (r, sums) in sums.iter_mut().enumerate() {
                for (v, sum) in sums.iter_mut().enumerate() {
                    *sum = vload_unaligned(to.first.add(r * to.stride + v * lanes));
                }
            }
        }
        for image in images {
            for &(source, target) in pairs {
                let source_at = sources.first.add(image * sources.stride + source * source_width);
                let target_at = targets.first.add(image * targets.stride + target * target_width);
                let mut row = [zero; V];
                for (v, vector) in row.iter_mut().enumerate() {
                    *vector = vload_unaligned(target_at.add(v * lanes));
                }
                for (r, sums) in sums.iter_mut().enumerate() {
                    let value: Vector<S, T> = (*source_at.add(r)).splat();
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
