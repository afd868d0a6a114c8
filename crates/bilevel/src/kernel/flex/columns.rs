//! Passes over a matrix `[rows, columns]` (columns are channels): column sums, and element-wise maps.
//!
//! A few SIMD vectors of columns are processed through all rows at a time, so that their sums and coefficients stay in
//! registers.

use super::tile::Number;
use super::uninit::{UninitSlice, as_uninit};
use crate::kernel::threads;
use macerator::{Simd, Vector, vload_unaligned, vstore_unaligned, with_simd};
use std::ops::Range;

/// Vectors of columns processed together: enough to hide the latency of an addition.
const VECTORS: usize = 2;
/// Upper bound of the lanes in a vector.
const MAX_LANES: usize = 64;
/// Rows summed in one block. Fixed, so that sums do not depend on the number of threads.
const BLOCK: usize = 256;

/// A function of K coefficients of a column and N values in one of its rows, with M results.
pub trait ColumnFn<T: Number, const K: usize, const N: usize, const M: usize>: Copy + Sync {
    /// The results for as many columns as a vector has lanes.
    fn apply<S: Simd>(self, coefficients: [Vector<S, T>; K], values: [Vector<S, T>; N]) -> [Vector<S, T>; M];
}

/// A [`ColumnFn`] written like a closure. It captures nothing but the number `$captured`, an `f64`.
macro_rules! column_fn {
    ($(with $captured:ident,)? |[$($coefficient:ident),*], [$($value:ident),*]| -> $results:literal $body:block) => {{
        #[derive(Clone, Copy)]
        struct Function {
            $($captured: f64,)?
        }
        impl<T: Number> ColumnFn<T, { [$(stringify!($coefficient)),*].len() }, { [$(stringify!($value)),*].len() }, $results>
            for Function
        {
            #[inline(always)]
            fn apply<S: Simd>(
                self,
                [$($coefficient),*]: [Vector<S, T>; [$(stringify!($coefficient)),*].len()],
                [$($value),*]: [Vector<S, T>; [$(stringify!($value)),*].len()],
            ) -> [Vector<S, T>; $results] {
                $(let $captured = self.$captured;)?
                $body
            }
        }
        Function { $($captured)? }
    }};
}
pub(super) use column_fn;

/// The M results of `function`, summed over the first `rows` rows: `[columns]` each. `coefficients` are `[columns]`
/// each, `values` `[rows, columns]` each.
pub fn sums<T: Number, const K: usize, const N: usize, const M: usize>(
    rows: usize,
    coefficients: [&[T]; K],
    values: [&[T]; N],
    function: impl ColumnFn<T, K, N, M>,
) -> [Vec<T>; M] {
    let width = coefficients[0].len();
    check_lengths(&coefficients, &values, rows);
    let mut partial = vec![T::default(); rows.div_ceil(BLOCK).max(1) * M * width];
    threads::for_each_chunk(&mut partial, M * width, |block, sums| {
        let rows = block * BLOCK..rows.min((block + 1) * BLOCK);
        // SAFETY: `isa::arch` is an instruction set of this processor.
        unsafe { sum_block(rows, coefficients, values, function, sums) };
    });
    let (total, others) = partial.split_at_mut(M * width);
    for block in others.chunks(M * width) {
        total.iter_mut().zip(block).for_each(|(total, sum)| *total = *total + *sum);
    }
    std::array::from_fn(|m| total[m * width..][..width].to_vec())
}

/// The M results of `function` for every row and column, written to `to`, `[rows, columns]` each; every value of `to`
/// is written. Arguments are as in [`sums`].
pub fn map<T: Number, const K: usize, const N: usize, const M: usize>(
    coefficients: [&[T]; K],
    values: [&[T]; N],
    to: [UninitSlice<T>; M],
    function: impl ColumnFn<T, K, N, M>,
) {
    let width = coefficients[0].len();
    let count = to[0].len() / width;
    check_lengths(&coefficients, &values, count);
    assert!(to.iter().all(|to| to.len() == count * width));
    let size = if threads::count() > 1 { BLOCK } else { count.max(1) };
    let mut parts = to.map(|to| to.chunks_mut(size * width));
    let blocks =
        (0..count.div_ceil(size)).map(|_| parts.each_mut().map(|part| part.next().unwrap_or_default()));
    let mut blocks: Vec<[UninitSlice<T>; M]> = blocks.collect();
    threads::for_each_chunk(&mut blocks, 1, |index, block| {
        let rows = index * size..count.min((index + 1) * size);
        for to in block {
            let to = to.each_mut().map(|to| &mut **to);
            // SAFETY: `isa::arch` is an instruction set of this processor.
            unsafe { map_block(rows.clone(), coefficients, values, function, to) };
        }
    });
}

/// Asserts the lengths that the loops below rely on.
fn check_lengths<T>(coefficients: &[&[T]], values: &[&[T]], rows: usize) {
    let width = coefficients[0].len();
    assert!(coefficients.iter().all(|all| all.len() == width) && width > 0);
    assert!(values.iter().all(|all| all.len() >= rows * width));
}

#[with_simd(on(arch = super::isa::arch()))]
fn sum_block<S: Simd, T: Number, F: ColumnFn<T, K, N, M>, const K: usize, const N: usize, const M: usize>(
    rows: Range<usize>,
    coefficients: [&[T]; K],
    values: [&[T]; N],
    function: F,
    sums: &mut [T],
) {
    let (width, lanes) = (coefficients[0].len(), T::lanes::<S>());
    for (first, count) in column_groups(width, lanes) {
        if count == VECTORS * lanes {
            sum_columns::<S, T, F, K, N, M, VECTORS>(
                rows.clone(),
                first,
                count,
                coefficients,
                values,
                function,
                sums,
            );
        } else {
            sum_columns::<S, T, F, K, N, M, 1>(
                rows.clone(),
                first,
                count,
                coefficients,
                values,
                function,
                sums,
            );
        }
    }
}

/// Groups of columns as (first, count): [`VECTORS`] vectors each while enough columns are left, then one vector each;
/// the last may be partial.
fn column_groups(width: usize, lanes: usize) -> impl Iterator<Item = (usize, usize)> {
    let whole = width - width % (VECTORS * lanes);
    let together = (0..whole).step_by(VECTORS * lanes).map(move |first| (first, VECTORS * lanes));
    together.chain((whole..width).step_by(lanes).map(move |first| (first, lanes.min(width - first))))
}

/// Sums `count` columns, beginning with column `first`.
#[inline(always)]
fn sum_columns<S: Simd, T: Number, F, const K: usize, const N: usize, const M: usize, const V: usize>(
    rows: Range<usize>,
    first: usize,
    count: usize,
    coefficients: [&[T]; K],
    values: [&[T]; N],
    function: F,
    sums: &mut [T],
) where
    F: ColumnFn<T, K, N, M>,
{
    let width = coefficients[0].len();
    let zero: Vector<S, T> = T::default().splat();
    let mut total = [[zero; V]; M];
    let own_coefficients = load::<S, T, K, V>(coefficients, first, count);
    for row in rows {
        let row = load::<S, T, N, V>(values, row * width + first, count);
        for v in 0..V {
            let results = function.apply(vector(&own_coefficients, v), vector(&row, v));
            for (total, result) in total.iter_mut().zip(results) {
                total[v] += result;
            }
        }
    }
    for (m, total) in total.into_iter().enumerate() {
        store(total, as_uninit(&mut sums[m * width + first..]), count);
    }
}

#[with_simd(on(arch = super::isa::arch()))]
fn map_block<
    'a,
    S: Simd,
    T: Number,
    F: ColumnFn<T, K, N, M>,
    const K: usize,
    const N: usize,
    const M: usize,
>(
    rows: Range<usize>,
    coefficients: [&[T]; K],
    values: [&[T]; N],
    function: F,
    to: [UninitSlice<'a, T>; M],
) {
    let (width, lanes) = (coefficients[0].len(), T::lanes::<S>());
    let mut to = to;
    for (first, count) in column_groups(width, lanes) {
        if count == VECTORS * lanes {
            map_columns::<S, T, F, K, N, M, VECTORS>(
                rows.clone(),
                first,
                count,
                coefficients,
                values,
                function,
                &mut to,
            );
        } else {
            map_columns::<S, T, F, K, N, M, 1>(
                rows.clone(),
                first,
                count,
                coefficients,
                values,
                function,
                &mut to,
            );
        }
    }
}

/// Maps `count` columns, beginning with column `first`.
#[inline(always)]
fn map_columns<S: Simd, T: Number, F, const K: usize, const N: usize, const M: usize, const V: usize>(
    rows: Range<usize>,
    first: usize,
    count: usize,
    coefficients: [&[T]; K],
    values: [&[T]; N],
    function: F,
    to: &mut [UninitSlice<T>; M],
) where
    F: ColumnFn<T, K, N, M>,
{
    let width = coefficients[0].len();
    let zero: Vector<S, T> = T::default().splat();
    let own_coefficients = load::<S, T, K, V>(coefficients, first, count);
    for (index, row) in rows.enumerate() {
        let row = load::<S, T, N, V>(values, row * width + first, count);
        let mut mapped = [[zero; V]; M];
        for v in 0..V {
            let results = function.apply(vector(&own_coefficients, v), vector(&row, v));
            for (mapped, result) in mapped.iter_mut().zip(results) {
                mapped[v] = result;
            }
        }
        for (to, mapped) in to.iter_mut().zip(mapped) {
            store(mapped, &mut to[index * width + first..], count);
        }
    }
}

/// Vector `v` of each group.
#[inline(always)]
fn vector<S: Simd, T: Number, const N: usize, const V: usize>(
    all: &[[Vector<S, T>; V]; N],
    v: usize,
) -> [Vector<S, T>; N] {
    let mut own = [all[0][v]; N];
    for (own, all) in own.iter_mut().zip(all) {
        *own = all[v];
    }
    own
}

/// Loads `count` values of each slice, beginning at `first`: V whole vectors, or less than one vector, padded with
/// zeros.
#[inline(always)]
pub(super) fn load<S: Simd, T: Number, const N: usize, const V: usize>(
    all: [&[T]; N],
    first: usize,
    count: usize,
) -> [[Vector<S, T>; V]; N] {
    let lanes = T::lanes::<S>();
    let mut own = [[T::default().splat(); V]; N];
    for (own, all) in own.iter_mut().zip(all) {
        let values = &all[first..][..count];
        if count == V * lanes {
            for (v, own) in own.iter_mut().enumerate() {
                // SAFETY: `values` has V vectors.
                *own = unsafe { vload_unaligned(values.as_ptr().add(v * lanes)) };
            }
        } else {
            let mut padded = [T::default(); MAX_LANES];
            padded[..count].copy_from_slice(values);
            // SAFETY: no vector has more than `MAX_LANES` lanes.
            own[0] = unsafe { vload_unaligned(padded.as_ptr()) };
        }
    }
    own
}

/// Stores the first `count` values of the vectors to the front of `to`.
#[inline(always)]
pub(super) fn store<S: Simd, T: Number, const V: usize>(
    vectors: [Vector<S, T>; V],
    to: UninitSlice<T>,
    count: usize,
) {
    let lanes = T::lanes::<S>();
    let to = &mut to[..count];
    if count == V * lanes {
        for (v, vector) in vectors.into_iter().enumerate() {
            // SAFETY: `to` has V vectors.
            unsafe { vstore_unaligned(to.as_mut_ptr().cast::<T>().add(v * lanes), vector) };
        }
    } else {
        let mut padded = [T::default(); MAX_LANES];
        // SAFETY: no vector has more than `MAX_LANES` lanes.
        unsafe { vstore_unaligned(padded.as_mut_ptr(), vectors[0]) };
        to.write_copy_of_slice(&padded[..count]);
    }
}
