//! Passes over rows of channels: sums down the columns, and maps of every value.
//!
//! Columns are taken [`WIDTH`] at a time, so that their sums and coefficients stay in registers.

use super::tile::Number;
use crate::kernel::share;
use macerator::{Simd, with_simd};
use std::ops::Range;

/// Columns that go together: a cache line of `f32`.
const WIDTH: usize = 16;
/// Rows whose sums are taken together. Fixed, so that a sum is the same on any number of threads.
const BLOCK: usize = 256;

/// M sums of each column over `rows`, of terms made of K coefficients of the column and N values of
/// the row: `[columns]` each. `values` are `[rows, columns]` each.
pub fn sums<T, const N: usize, const K: usize, const M: usize>(
    rows: usize,
    coefficients: [&[T]; K],
    values: [&[T]; N],
    term: impl Fn([T; K], [T; N]) -> [T; M] + Sync,
) -> [Vec<T>; M]
where
    T: Number,
{
    let width = coefficients[0].len();
    let mut partial = vec![T::default(); rows.div_ceil(BLOCK).max(1) * M * width];
    share::each_chunk(&mut partial, M * width, |block, sums| {
        let rows = block * BLOCK..rows.min((block + 1) * BLOCK);
        add_up(rows, coefficients, values, &term, sums);
    });
    let (total, others) = partial.split_at_mut(M * width);
    for block in others.chunks(M * width) {
        total.iter_mut().zip(block).for_each(|(total, sum)| *total = *total + *sum);
    }
    std::array::from_fn(|m| total[m * width..][..width].to_vec())
}

/// M values for every row and column, made as in [`sums`] and written to `to`, `[rows, columns]` each.
pub fn map<T, const N: usize, const K: usize, const M: usize>(
    coefficients: [&[T]; K],
    values: [&[T]; N],
    to: [&mut [T]; M],
    value: impl Fn([T; K], [T; N]) -> [T; M] + Sync,
) where
    T: Number,
{
    let width = coefficients[0].len();
    let count = to[0].len() / width;
    let size = if share::threads() > 1 { BLOCK } else { count.max(1) };
    let mut parts = to.map(|to| to.chunks_mut(size * width));
    let blocks =
        (0..count.div_ceil(size)).map(|_| parts.each_mut().map(|part| part.next().unwrap_or_default()));
    let mut blocks: Vec<[&mut [T]; M]> = blocks.collect();
    share::each_chunk(&mut blocks, 1, |at, block| {
        let rows = at * size..count.min((at + 1) * size);
        for to in block {
            write(rows.clone(), coefficients, values, &value, to.each_mut().map(|to| &mut **to));
        }
    });
}

#[with_simd]
fn add_up<
    S: Simd,
    T: Number,
    F: Fn([T; K], [T; N]) -> [T; M],
    const N: usize,
    const K: usize,
    const M: usize,
>(
    rows: Range<usize>,
    coefficients: [&[T]; K],
    values: [&[T]; N],
    term: &F,
    sums: &mut [T],
) {
    let width = coefficients[0].len();
    for first in (0..width).step_by(WIDTH) {
        if width - first >= WIDTH {
            add_up_columns::<T, F, N, K, M, WIDTH>(rows.clone(), first, coefficients, values, term, sums);
        } else {
            (first..width).for_each(|column| {
                add_up_columns::<T, F, N, K, M, 1>(rows.clone(), column, coefficients, values, term, sums);
            });
        }
    }
}

#[inline(always)]
fn add_up_columns<T, F, const N: usize, const K: usize, const M: usize, const W: usize>(
    rows: Range<usize>,
    first: usize,
    coefficients: [&[T]; K],
    values: [&[T]; N],
    term: &F,
    sums: &mut [T],
) where
    T: Number,
    F: Fn([T; K], [T; N]) -> [T; M],
{
    let width = coefficients[0].len();
    let own = coefficients.map(|all| columns::<T, W>(all, first));
    let mut total = [[T::default(); W]; M];
    for row in rows {
        let row = values.map(|values| columns::<T, W>(values, row * width + first));
        for column in 0..W {
            let terms = term(own.map(|own| own[column]), row.map(|row| row[column]));
            for (total, term) in total.iter_mut().zip(terms) {
                total[column] = total[column] + term;
            }
        }
    }
    for (m, total) in total.iter().enumerate() {
        sums[m * width + first..][..W].copy_from_slice(total);
    }
}

#[with_simd]
fn write<
    S: Simd,
    T: Number,
    F: Fn([T; K], [T; N]) -> [T; M],
    const N: usize,
    const K: usize,
    const M: usize,
>(
    rows: Range<usize>,
    coefficients: [&[T]; K],
    values: [&[T]; N],
    value: &F,
    to: [&mut [T]; M],
) {
    let (width, mut to) = (coefficients[0].len(), to);
    let to = &mut to;
    for first in (0..width).step_by(WIDTH) {
        if width - first >= WIDTH {
            write_columns::<T, F, N, K, M, WIDTH>(rows.clone(), first, coefficients, values, value, to);
        } else {
            (first..width).for_each(|column| {
                write_columns::<T, F, N, K, M, 1>(rows.clone(), column, coefficients, values, value, to);
            });
        }
    }
}

#[inline(always)]
fn write_columns<T, F, const N: usize, const K: usize, const M: usize, const W: usize>(
    rows: Range<usize>,
    first: usize,
    coefficients: [&[T]; K],
    values: [&[T]; N],
    value: &F,
    to: &mut [&mut [T]; M],
) where
    T: Number,
    F: Fn([T; K], [T; N]) -> [T; M],
{
    let width = coefficients[0].len();
    let own = coefficients.map(|all| columns::<T, W>(all, first));
    for (place, row) in rows.enumerate() {
        let row = values.map(|values| columns::<T, W>(values, row * width + first));
        let mut made = [[T::default(); W]; M];
        for column in 0..W {
            let values = value(own.map(|own| own[column]), row.map(|row| row[column]));
            for (made, value) in made.iter_mut().zip(values) {
                made[column] = value;
            }
        }
        for (to, made) in to.iter_mut().zip(made) {
            to[place * width + first..][..W].copy_from_slice(&made);
        }
    }
}

/// W values from `first` on.
#[inline(always)]
fn columns<T: Number, const W: usize>(values: &[T], first: usize) -> [T; W] {
    let mut own = [T::default(); W];
    own.copy_from_slice(&values[first..][..W]);
    own
}
