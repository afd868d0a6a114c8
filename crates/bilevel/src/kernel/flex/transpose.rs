//! Matrix transposition, used by the input gradient.
//!
//! `unsafe` for the 8×8 blocks transposed in AVX registers, four times as fast as one value at a time; without it, a
//! layer with few images would spend as long on this as on its product.

use super::tile::Number;
use super::uninit::UninitSlice;
use burn::tensor::DType;

/// Rows and columns of a block.
const BLOCK: usize = 8;

/// Transposes `from [rows, columns]` to `to [columns, rows]`; every value of `to` is written.
pub fn transpose<T: Number>(from: &[T], to: UninitSlice<T>, rows: usize, columns: usize) {
    assert_eq!((from.len(), to.len()), (rows * columns, rows * columns));
    let in_registers = T::dtype() == DType::F32 && has_avx();
    for row in (0..rows).step_by(BLOCK) {
        for column in (0..columns).step_by(BLOCK) {
            let (height, width) = (BLOCK.min(rows - row), BLOCK.min(columns - column));
            let (from_start, to_start) = (row * columns + column, column * rows + row);
            if in_registers && (height, width) == (BLOCK, BLOCK) {
                // SAFETY: T is `f32`, the processor has AVX, and the block lies within both matrices.
                unsafe {
                    let from = from.as_ptr().add(from_start).cast::<f32>();
                    transpose_block(from, columns, to.as_mut_ptr().add(to_start).cast::<f32>(), rows);
                }
                continue;
            }
            for r in 0..height {
                for c in 0..width {
                    to[to_start + c * rows + r].write(from[from_start + r * columns + c]);
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn has_avx() -> bool {
    std::arch::is_x86_feature_detected!("avx")
}

#[cfg(not(target_arch = "x86_64"))]
fn has_avx() -> bool {
    false
}

/// Transposes an 8×8 block whose rows are `from_row` values apart in `from` and `to_row` values apart in `to`.
///
/// # Safety
/// The processor must have AVX, and both blocks must lie within their allocations.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx")]
unsafe fn transpose_block(from: *const f32, from_row: usize, to: *mut f32, to_row: usize) {
    use std::arch::x86_64::*;
    for half in 0..2 {
        // Row r beside row r + 4: two 4×4 transpositions remain, one in each half of the registers.
        let rows: [__m256; 4] = std::array::from_fn(|r| {
            // SAFETY: guaranteed by the caller.
            let quarter = |row: usize| unsafe { _mm_loadu_ps(from.add(row * from_row + 4 * half)) };
            _mm256_insertf128_ps::<1>(_mm256_castps128_ps256(quarter(r)), quarter(r + 4))
        });
        let [a, b, c, d] = rows;
        let (ab, ab_high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
        let (cd, cd_high) = (_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
        let transposed = [
            _mm256_shuffle_ps::<0x44>(ab, cd),
            _mm256_shuffle_ps::<0xEE>(ab, cd),
            _mm256_shuffle_ps::<0x44>(ab_high, cd_high),
            _mm256_shuffle_ps::<0xEE>(ab_high, cd_high),
        ];
        for (row, values) in transposed.into_iter().enumerate() {
            // SAFETY: guaranteed by the caller.
            unsafe { _mm256_storeu_ps(to.add((4 * half + row) * to_row), values) };
        }
    }
}

/// Never called, as [`has_avx`] is false.
#[cfg(not(target_arch = "x86_64"))]
unsafe fn transpose_block(_: *const f32, _: usize, _: *mut f32, _: usize) {}

#[cfg(test)]
mod tests {
    use super::super::uninit::UninitBuffer;
    use super::*;

    #[test]
    fn transposes_matrices_of_every_shape() {
        for (rows, columns) in [(1, 1), (8, 8), (64, 64), (9, 20), (16, 3), (5, 24), (23, 17)] {
            let from: Vec<f32> = (0..rows * columns).map(|index| index as f32).collect();
            let mut to = UninitBuffer::new(from.len());
            transpose(&from, to.as_mut_slice(), rows, columns);
            // SAFETY: `transpose` writes every value.
            let to = unsafe { to.assume_init() };
            let wide: Vec<f64> = from.iter().map(|value| f64::from(*value)).collect();
            let mut wide_to = UninitBuffer::new(wide.len());
            transpose(&wide, wide_to.as_mut_slice(), rows, columns);
            // SAFETY: as above.
            let wide_to = unsafe { wide_to.assume_init() };
            for (r, c) in (0..rows).flat_map(|r| (0..columns).map(move |c| (r, c))) {
                assert_eq!(to[c * rows + r], (r * columns + c) as f32, "{rows}x{columns}");
                assert_eq!(wide_to[c * rows + r], (r * columns + c) as f64, "{rows}x{columns}");
            }
        }
    }
}
