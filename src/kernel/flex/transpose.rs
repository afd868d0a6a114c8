//! Transposed matrices: what an input gradient multiplies by.
//!
//! `unsafe` for the eight rows of eight that AVX turns round in registers, four times as fast as value by
//! value; a layer of few images would otherwise spend as long on this as on its product.

use super::room::Places;
use super::tile::Number;
use burn::tensor::DType;

/// Rows and columns that go together.
const BLOCK: usize = 8;

/// `from [rows, columns]` → `to [columns, rows]`, every value of it.
pub fn transpose<T: Number>(from: &[T], to: Places<T>, rows: usize, columns: usize) {
    assert_eq!((from.len(), to.len()), (rows * columns, rows * columns));
    let in_registers = T::dtype() == DType::F32 && has_avx();
    for row in (0..rows).step_by(BLOCK) {
        for column in (0..columns).step_by(BLOCK) {
            let (height, width) = (BLOCK.min(rows - row), BLOCK.min(columns - column));
            let (first, place) = (row * columns + column, column * rows + row);
            if in_registers && (height, width) == (BLOCK, BLOCK) {
                // SAFETY: T is `f32`, the processor has AVX, and the block lies within both matrices.
                unsafe {
                    let from = from.as_ptr().add(first).cast::<f32>();
                    turn(from, columns, to.as_mut_ptr().add(place).cast::<f32>(), rows);
                }
                continue;
            }
            for r in 0..height {
                for c in 0..width {
                    to[place + c * rows + r].write(from[first + r * columns + c]);
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

/// Eight rows of eight, `from_row` and `to_row` values apart.
///
/// # Safety
/// The processor must have AVX, and both blocks must lie within what may be read and written.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx")]
unsafe fn turn(from: *const f32, from_row: usize, to: *mut f32, to_row: usize) {
    use std::arch::x86_64::*;
    for half in 0..2 {
        // Row r beside row r + 4: what is left is four rows of four, twice.
        let rows: [__m256; 4] = std::array::from_fn(|r| {
            // SAFETY: the caller's promise.
            let quarter = |row: usize| unsafe { _mm_loadu_ps(from.add(row * from_row + 4 * half)) };
            _mm256_insertf128_ps::<1>(_mm256_castps128_ps256(quarter(r)), quarter(r + 4))
        });
        let [a, b, c, d] = rows;
        let (ab, ab_high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
        let (cd, cd_high) = (_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
        let turned = [
            _mm256_shuffle_ps::<0x44>(ab, cd),
            _mm256_shuffle_ps::<0xEE>(ab, cd),
            _mm256_shuffle_ps::<0x44>(ab_high, cd_high),
            _mm256_shuffle_ps::<0xEE>(ab_high, cd_high),
        ];
        for (row, values) in turned.into_iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe { _mm256_storeu_ps(to.add((4 * half + row) * to_row), values) };
        }
    }
}

/// Never called: [`has_avx`] says no.
#[cfg(not(target_arch = "x86_64"))]
unsafe fn turn(_: *const f32, _: usize, _: *mut f32, _: usize) {}

#[cfg(test)]
mod tests {
    use super::super::room::Room;
    use super::*;

    #[test]
    fn every_value_finds_its_place() {
        for (rows, columns) in [(1, 1), (8, 8), (64, 64), (9, 20), (16, 3), (5, 24), (23, 17)] {
            let from: Vec<f32> = (0..rows * columns).map(|at| at as f32).collect();
            let mut to = Room::new(from.len());
            transpose(&from, to.places(), rows, columns);
            // SAFETY: `transpose` writes every value.
            let to = unsafe { to.written() };
            let wide: Vec<f64> = from.iter().map(|value| f64::from(*value)).collect();
            let mut wide_to = Room::new(wide.len());
            transpose(&wide, wide_to.places(), rows, columns);
            // SAFETY: as above.
            let wide_to = unsafe { wide_to.written() };
            for (r, c) in (0..rows).flat_map(|r| (0..columns).map(move |c| (r, c))) {
                assert_eq!(to[c * rows + r], (r * columns + c) as f32, "{rows}x{columns}");
                assert_eq!(wide_to[c * rows + r], (r * columns + c) as f64, "{rows}x{columns}");
            }
        }
    }
}
