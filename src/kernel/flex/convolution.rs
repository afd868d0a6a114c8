//! Convolutions of many tasks, each with its own weights, straight on the pixel rows: no patches are
//! ever copied.
//!
//! ```text
//! forward          y_p = Σ_(q, tap) x_q W_tap             x [images, sources, channels]
//! input gradient   x̄_q = Σ_(p, tap) ȳ_p W_tapᵀ            W [taps, channels, filters]
//! weight gradient  W̄_tap = Σ_(q, p) x_qᵀ ȳ_p              y [images, targets, filters]
//! ```
//!
//! The first two are one loop, with the meetings turned round and the matrices transposed. A tile's
//! rows are the same pixel of several images: they share their meetings, so a patch that reaches over
//! the border costs only what of it lies inside.

use super::room::{Places, Room};
use super::tile::{Number, ROWS, Rows, gathered, outer_products, widest};
use super::transpose::transpose;
use crate::kernel::grid::{Grid, Meeting};
use crate::kernel::share;
use macerator::{Simd, with_simd};
use std::mem::MaybeUninit;

/// `tile!(rows, vectors)` for the tile at hand; `$single` where not one vector is left.
macro_rules! each_tile {
    ($tile:ident, $rows:expr, $vectors:expr, $single:block) => {
        match ($vectors, $rows) {
            (4, 6) => $tile!(6, 4),
            (4, 5) => $tile!(5, 4),
            (4, 4) => $tile!(4, 4),
            (4, 3) => $tile!(3, 4),
            (4, 2) => $tile!(2, 4),
            (4, _) => $tile!(1, 4),
            (2, 6) => $tile!(6, 2),
            (2, 5) => $tile!(5, 2),
            (2, 4) => $tile!(4, 2),
            (2, 3) => $tile!(3, 2),
            (2, 2) => $tile!(2, 2),
            (2, _) => $tile!(1, 2),
            (1, 6) => $tile!(6, 1),
            (1, 5) => $tile!(5, 1),
            (1, 4) => $tile!(4, 1),
            (1, 3) => $tile!(3, 1),
            (1, 2) => $tile!(2, 1),
            (1, _) => $tile!(1, 1),
            _ => $single,
        }
    };
}

/// Sizes of one convolution.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Tasks, each with its own weights.
    pub tasks: usize,
    /// Images of each task.
    pub images: usize,
    /// Channels of the source pixels.
    pub channels: usize,
    /// Channels of the target pixels.
    pub filters: usize,
}

/// y, every value of it; or y + the convolution where it has a start already.
///
/// # Safety
/// `y` must hold values where they are added to.
pub unsafe fn forward<T: Number>(grid: &Grid, sizes: Sizes, x: &[T], w: &[T], y: Places<T>, add: bool) {
    let sums = Sums {
        meetings: grid.forward(),
        taps: grid.taps(),
        from_image: grid.source_pixels() * sizes.channels,
        inner: sizes.channels,
        columns: sizes.filters,
    };
    // SAFETY: the caller's promise.
    unsafe { sums.of_tasks(sizes, x, w, y, add) };
}

/// x̄, every value of it, for the gradient `g` of y.
pub fn input_gradient<T: Number>(grid: &Grid, sizes: Sizes, g: &[T], w: &[T], x: Places<T>) {
    let sums = Sums {
        meetings: grid.backward(),
        taps: grid.taps(),
        from_image: grid.target_pixels() * sizes.filters,
        inner: sizes.filters,
        columns: sizes.channels,
    };
    let matrix = sizes.channels * sizes.filters;
    let mut transposed = Room::new(w.len());
    for (from, to) in w.chunks(matrix).zip(transposed.places().chunks_mut(matrix)) {
        transpose(from, to, sizes.channels, sizes.filters);
    }
    // SAFETY: the matrices follow one another, and each was written whole.
    let transposed = unsafe { transposed.written() };
    // SAFETY: nothing is added to.
    unsafe { sums.of_tasks(sizes, g, &transposed, x, false) };
}

/// W̄, every value of it, for the gradient `g` of y.
pub fn weight_gradient<T: Number>(grid: &Grid, sizes: Sizes, x: &[T], g: &[T], w: Places<T>) {
    let Sizes { tasks, images, channels, filters } = sizes;
    let (x_task, g_task) =
        (images * grid.source_pixels() * channels, images * grid.target_pixels() * filters);
    let w_task = grid.taps() * channels * filters;
    assert_eq!((x.len(), g.len(), w.len()), (tasks * x_task, tasks * g_task, tasks * w_task));
    if x.is_empty() {
        return w.fill(MaybeUninit::new(T::zero()));
    }
    // Some channels of one tap go together: enough pieces for all threads, and whole tiles.
    let together = if share::threads() > 1 { (2 * ROWS).min(channels) } else { channels };
    for (task, w) in w.chunks_mut(w_task).enumerate() {
        let (x, g) = (&x[task * x_task..][..x_task], &g[task * g_task..][..g_task]);
        let pieces = channels.div_ceil(together);
        let mut rows: Vec<Places<T>> =
            w.chunks_mut(channels * filters).flat_map(|tap| tap.chunks_mut(together * filters)).collect();
        share::each_chunk(&mut rows, 1, |at, rows| {
            let outer = Outer {
                pairs: &grid.pairs()[at / pieces],
                images,
                sources: grid.source_pixels(),
                targets: grid.target_pixels(),
                channels,
                filters,
            };
            rows.iter_mut().for_each(|rows| of_channels(outer, x, g, at % pieces * together, rows));
        });
    }
}

/// A sum of products for every pixel of an image.
#[derive(Clone, Copy)]
struct Sums<'a> {
    /// For each pixel of an image in the result, what meets there.
    meetings: &'a [Vec<Meeting>],
    /// Matrices in the kernel.
    taps: usize,
    /// Values of an image in the source.
    from_image: usize,
    /// Channels of a source pixel: rows of a tap's matrix.
    inner: usize,
    /// Channels of a pixel of the result: its columns.
    columns: usize,
}

impl Sums<'_> {
    /// Values of an image in the result.
    fn to_image(self) -> usize {
        self.meetings.len() * self.columns
    }

    /// The sums of all tasks and images, shared out; every value of `to` is written.
    ///
    /// # Safety
    /// `to` must hold values where they are added to.
    unsafe fn of_tasks<T: Number>(self, sizes: Sizes, from: &[T], w: &[T], to: Places<T>, add: bool) {
        let Sizes { tasks, images, .. } = sizes;
        let (to_image, w_task) = (self.to_image(), w.len() / tasks.max(1));
        assert_eq!((from.len(), to.len()), (tasks * images * self.from_image, tasks * images * to_image));
        assert_eq!(w.len(), tasks * self.taps * self.inner * self.columns);
        if to.is_empty() {
            return;
        }
        let parts = share::threads().div_ceil(tasks).clamp(1, images);
        let together = images.div_ceil(parts);
        share::each_chunk(to, images * to_image, |task, to| {
            let w = &w[task * w_task..][..w_task];
            share::each_chunk(to, together * to_image, |part, to| {
                let first = task * images + part * together;
                let from = &from[first * self.from_image..][..to.len() / to_image * self.from_image];
                of_images(self, from, w, to, add);
            });
        });
    }
}

/// All targets of some images of one task.
#[with_simd]
fn of_images<'a, S: Simd, T: Number>(sums: Sums<'a>, from: &[T], w: &[T], to: Places<'a, T>, add: bool) {
    let Sums { from_image, inner, columns, .. } = sums;
    let to_image = sums.to_image();
    let images = to.len() / to_image;
    let lanes = T::lanes::<S>();
    for (target, meetings) in sums.meetings.iter().enumerate() {
        let mut first = 0;
        while first < images {
            let rows = next_rows(images - first);
            let source = Rows { first: from[first * from_image..].as_ptr(), stride: from_image };
            let at = first * to_image + target * columns;
            let mut column = 0;
            while column < columns {
                let vectors = next_vectors::<S>((columns - column) / lanes);
                let weights = w[column..].as_ptr();
                let target = Rows { first: to[at + column..].as_mut_ptr().cast(), stride: to_image };
                // SAFETY: the lengths were asserted in `of_tasks`, and a tile ends within its images
                // and columns.
                macro_rules! tile {
                    ($rows:literal, $vectors:literal) => {
                        unsafe {
                            gathered::<S, T, $rows, $vectors>(
                                source,
                                (inner, columns),
                                weights,
                                target,
                                meetings,
                                add,
                            )
                        }
                    };
                }
                each_tile!(tile, rows, vectors, {
                    let sums = |row: usize| {
                        let from = &from[(first + row) * from_image..];
                        let products = meetings.iter().map(|meeting| {
                            let from = &from[meeting.pixel * inner..][..inner];
                            let w = w[meeting.tap * inner * columns + column..].iter().step_by(columns);
                            from.iter().zip(w).map(|(a, b)| *a * *b).fold(T::zero(), |sum, x| sum + x)
                        });
                        products.fold(T::zero(), |sum, x| sum + x)
                    };
                    for row in 0..rows {
                        let place = at + row * to_image + column;
                        // SAFETY: there is a value to add to, the caller says.
                        let start = if add { unsafe { to[place].assume_init() } } else { T::zero() };
                        to[place].write(start + sums(row));
                    }
                });
                column += (vectors * lanes).max(1);
            }
            first += rows;
        }
    }
}

/// One tap's share of a weight gradient.
#[derive(Clone, Copy)]
struct Outer<'a> {
    pairs: &'a [(usize, usize)],
    images: usize,
    sources: usize,
    targets: usize,
    channels: usize,
    filters: usize,
}

/// As many rows of it as `w` holds, from channel `first` on.
#[with_simd]
fn of_channels<'a, S: Simd, T: Number>(outer: Outer<'a>, x: &[T], g: &[T], first: usize, w: Places<'a, T>) {
    let Outer { pairs, images, sources, targets, channels, filters } = outer;
    let lanes = T::lanes::<S>();
    let count = w.len() / filters;
    let mut channel = 0;
    while channel < count {
        let rows = next_rows(count - channel);
        let mut column = 0;
        while column < filters {
            let vectors = next_vectors::<S>((filters - column) / lanes);
            let from = Rows { first: x[first + channel..].as_ptr(), stride: sources * channels };
            let along = Rows { first: g[column..].as_ptr(), stride: targets * filters };
            let to = Rows { first: w[channel * filters + column..].as_mut_ptr().cast(), stride: filters };
            // SAFETY: the lengths were asserted in `weight_gradient`, and a tile ends within its
            // channels and columns.
            macro_rules! tile {
                ($rows:literal, $vectors:literal) => {
                    unsafe {
                        outer_products::<S, T, $rows, $vectors>(
                            (from, channels),
                            (along, filters),
                            to,
                            images,
                            pairs,
                        )
                    }
                };
            }
            each_tile!(tile, rows, vectors, {
                for row in channel..channel + rows {
                    let mut sum = T::zero();
                    for image in 0..images {
                        for (source, target) in pairs {
                            let x = x[(image * sources + source) * channels + first + row];
                            sum = sum + x * g[(image * targets + target) * filters + column];
                        }
                    }
                    w[row * filters + column].write(sum);
                }
            });
            column += (vectors * lanes).max(1);
        }
        channel += rows;
    }
}

/// Rows of the next tile of `left`: even shares, at most [`ROWS`].
fn next_rows(left: usize) -> usize {
    left.div_ceil(left.div_ceil(ROWS))
}

/// Vectors of the next tile where `left` whole ones are left; 0 where none is.
#[inline(always)]
fn next_vectors<S: Simd>(left: usize) -> usize {
    let widest = widest::<S>();
    if left >= widest {
        widest
    } else if left >= 2 {
        2
    } else {
        left
    }
}
