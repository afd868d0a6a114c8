//! Passes over rows of channels: sums down the columns, and maps of every value.
//!
//! Some vectors of columns are taken through all rows together, so that their sums and coefficients
//! stay in registers.

use super::room::{Places, again};
use super::tile::Number;
use crate::kernel::share;
use macerator::{Simd, Vector, vload_unaligned, vstore_unaligned, with_simd};
use std::ops::Range;

/// Vectors of columns that go together: enough to hide an addition behind the next ones.
const VECTORS: usize = 2;
/// Lanes of the widest vectors, of the narrowest numbers.
const LANES: usize = 64;
/// Rows whose sums are taken together. Fixed, so that a sum is the same on any number of threads.
const BLOCK: usize = 256;

/// M values made of K coefficients of a column and the N values of one of its rows.
pub trait Term<T: Number, const K: usize, const N: usize, const M: usize>: Copy + Sync {
    /// The values, for as many columns as a vector has lanes.
    fn at<S: Simd>(self, coefficients: [Vector<S, T>; K], values: [Vector<S, T>; N]) -> [Vector<S, T>; M];
}

/// A [`Term`] written like a closure; it captures nothing.
macro_rules! term {
    (|[$($coefficient:ident),*], [$($value:ident),*]| -> $made:literal $body:block) => {{
        #[derive(Clone, Copy)]
        struct Made;
        impl<T: Number> Term<T, { [$(stringify!($coefficient)),*].len() }, { [$(stringify!($value)),*].len() }, $made>
            for Made
        {
            #[inline(always)]
            fn at<S: Simd>(
                self,
                [$($coefficient),*]: [Vector<S, T>; [$(stringify!($coefficient)),*].len()],
                [$($value),*]: [Vector<S, T>; [$(stringify!($value)),*].len()],
            ) -> [Vector<S, T>; $made] $body
        }
        Made
    }};
}
pub(super) use term;

/// M sums of each column over the first `rows` rows: `[columns]` each. `coefficients` are `[columns]` each,
/// `values` `[rows, columns]`.
pub fn sums<T: Number, const K: usize, const N: usize, const M: usize>(
    rows: usize,
    coefficients: [&[T]; K],
    values: [&[T]; N],
    term: impl Term<T, K, N, M>,
) -> [Vec<T>; M] {
    let width = coefficients[0].len();
    check(&coefficients, &values, rows);
    let mut partial = vec![T::default(); rows.div_ceil(BLOCK).max(1) * M * width];
    share::each_chunk(&mut partial, M * width, |block, sums| {
        let rows = block * BLOCK..rows.min((block + 1) * BLOCK);
        add_up(rows, coefficients, values, term, sums);
    });
    let (total, others) = partial.split_at_mut(M * width);
    for block in others.chunks(M * width) {
        total.iter_mut().zip(block).for_each(|(total, sum)| *total = *total + *sum);
    }
    std::array::from_fn(|m| total[m * width..][..width].to_vec())
}

/// M values for every row and column, written to `to`, `[rows, columns]` each, all of it; otherwise as [`sums`].
pub fn map<T: Number, const K: usize, const N: usize, const M: usize>(
    coefficients: [&[T]; K],
    values: [&[T]; N],
    to: [Places<T>; M],
    term: impl Term<T, K, N, M>,
) {
    let width = coefficients[0].len();
    let count = to[0].len() / width;
    check(&coefficients, &values, count);
    assert!(to.iter().all(|to| to.len() == count * width));
    let size = if share::threads() > 1 { BLOCK } else { count.max(1) };
    let mut parts = to.map(|to| to.chunks_mut(size * width));
    let blocks =
        (0..count.div_ceil(size)).map(|_| parts.each_mut().map(|part| part.next().unwrap_or_default()));
    let mut blocks: Vec<[Places<T>; M]> = blocks.collect();
    share::each_chunk(&mut blocks, 1, |at, block| {
        let rows = at * size..count.min((at + 1) * size);
        for to in block {
            write(rows.clone(), coefficients, values, term, to.each_mut().map(|to| &mut **to));
        }
    });
}

/// What the loops below rely on.
fn check<T>(coefficients: &[&[T]], values: &[&[T]], rows: usize) {
    let width = coefficients[0].len();
    assert!(coefficients.iter().all(|all| all.len() == width) && width > 0);
    assert!(values.iter().all(|all| all.len() >= rows * width));
}

#[with_simd]
fn add_up<S: Simd, T: Number, A: Term<T, K, N, M>, const K: usize, const N: usize, const M: usize>(
    rows: Range<usize>,
    coefficients: [&[T]; K],
    values: [&[T]; N],
    term: A,
    sums: &mut [T],
) {
    let (width, lanes) = (coefficients[0].len(), T::lanes::<S>());
    for (first, count) in groups(width, lanes) {
        if count == VECTORS * lanes {
            down::<S, T, A, K, N, M, VECTORS>(rows.clone(), first, count, coefficients, values, term, sums);
        } else {
            down::<S, T, A, K, N, M, 1>(rows.clone(), first, count, coefficients, values, term, sums);
        }
    }
}

/// The columns that go together, as (first, count): [`VECTORS`] vectors while there are so many, then one by one.
fn groups(width: usize, lanes: usize) -> impl Iterator<Item = (usize, usize)> {
    let whole = width - width % (VECTORS * lanes);
    let together = (0..whole).step_by(VECTORS * lanes).map(move |first| (first, VECTORS * lanes));
    together.chain((whole..width).step_by(lanes).map(move |first| (first, lanes.min(width - first))))
}

/// Sums of `count` columns from `first` on.
#[inline(always)]
fn down<S: Simd, T: Number, A, const K: usize, const N: usize, const M: usize, const V: usize>(
    rows: Range<usize>,
    first: usize,
    count: usize,
    coefficients: [&[T]; K],
    values: [&[T]; N],
    term: A,
    sums: &mut [T],
) where
    A: Term<T, K, N, M>,
{
    let width = coefficients[0].len();
    let zero: Vector<S, T> = T::default().splat();
    let mut total = [[zero; V]; M];
    let own = load::<S, T, K, V>(coefficients, first, count);
    for row in rows {
        let row = load::<S, T, N, V>(values, row * width + first, count);
        for v in 0..V {
            let terms = term.at(lane(&own, v), lane(&row, v));
            for (total, term) in total.iter_mut().zip(terms) {
                total[v] += term;
            }
        }
    }
    for (m, total) in total.into_iter().enumerate() {
        store(total, again(&mut sums[m * width + first..]), count);
    }
}

#[with_simd]
fn write<'a, S: Simd, T: Number, A: Term<T, K, N, M>, const K: usize, const N: usize, const M: usize>(
    rows: Range<usize>,
    coefficients: [&[T]; K],
    values: [&[T]; N],
    term: A,
    to: [Places<'a, T>; M],
) {
    let (width, lanes) = (coefficients[0].len(), T::lanes::<S>());
    let mut to = to;
    for (first, count) in groups(width, lanes) {
        if count == VECTORS * lanes {
            along::<S, T, A, K, N, M, VECTORS>(
                rows.clone(),
                first,
                count,
                coefficients,
                values,
                term,
                &mut to,
            );
        } else {
            along::<S, T, A, K, N, M, 1>(rows.clone(), first, count, coefficients, values, term, &mut to);
        }
    }
}

/// Values of `count` columns from `first` on.
#[inline(always)]
fn along<S: Simd, T: Number, A, const K: usize, const N: usize, const M: usize, const V: usize>(
    rows: Range<usize>,
    first: usize,
    count: usize,
    coefficients: [&[T]; K],
    values: [&[T]; N],
    term: A,
    to: &mut [Places<T>; M],
) where
    A: Term<T, K, N, M>,
{
    let width = coefficients[0].len();
    let zero: Vector<S, T> = T::default().splat();
    let own = load::<S, T, K, V>(coefficients, first, count);
    for (place, row) in rows.enumerate() {
        let row = load::<S, T, N, V>(values, row * width + first, count);
        let mut made = [[zero; V]; M];
        for v in 0..V {
            let terms = term.at(lane(&own, v), lane(&row, v));
            for (made, term) in made.iter_mut().zip(terms) {
                made[v] = term;
            }
        }
        for (to, made) in to.iter_mut().zip(made) {
            store(made, &mut to[place * width + first..], count);
        }
    }
}

/// Vector `v` of each.
#[inline(always)]
fn lane<S: Simd, T: Number, const N: usize, const V: usize>(
    all: &[[Vector<S, T>; V]; N],
    v: usize,
) -> [Vector<S, T>; N] {
    let mut own = [all[0][v]; N];
    for (own, all) in own.iter_mut().zip(all) {
        *own = all[v];
    }
    own
}

/// `count` values of each from `first` on: V whole vectors, or less than one.
#[inline(always)]
fn load<S: Simd, T: Number, const N: usize, const V: usize>(
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
            let mut few = [T::default(); LANES];
            few[..count].copy_from_slice(values);
            // SAFETY: no vector has more lanes.
            own[0] = unsafe { vload_unaligned(few.as_ptr()) };
        }
    }
    own
}

/// The first `count` of the vectors' values to the front of `to`.
#[inline(always)]
fn store<S: Simd, T: Number, const V: usize>(vectors: [Vector<S, T>; V], to: Places<T>, count: usize) {
    let lanes = T::lanes::<S>();
    let to = &mut to[..count];
    if count == V * lanes {
        for (v, vector) in vectors.into_iter().enumerate() {
            // SAFETY: `to` has V vectors.
            unsafe { vstore_unaligned(to.as_mut_ptr().cast::<T>().add(v * lanes), vector) };
        }
    } else {
        let mut few = [T::default(); LANES];
        // SAFETY: no vector has more lanes.
        unsafe { vstore_unaligned(few.as_mut_ptr(), vectors[0]) };
        to.write_copy_of_slice(&few[..count]);
    }
}
