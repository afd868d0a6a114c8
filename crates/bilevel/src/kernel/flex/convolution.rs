//! Convolutions of many tasks, each with its own weights, directly on the pixel rows: no patches are copied.
//!
//! ```text
//! forward          y_p = Σ_(q, tap) x_q W_tap             x [images, sources, channels]
//! input gradient   x̄_q = Σ_(p, tap) ȳ_p W_tapᵀ            W [taps, channels, filters]
//! weight gradient  W̄_tap = Σ_(q, p) x_qᵀ ȳ_p              y [images, targets, filters]
//! ```
//!
//! The first two share one loop; the input gradient uses the reversed connections and the transposed matrices. The
//! rows of a tile are the same pixel in several images: they have the same connections, so a patch that extends
//! beyond the border costs only as much as its part inside the image.

use super::tile::{MAX_ROWS, Number, StridedRows, connected_products, max_vectors, outer_products};
use super::transpose::transpose;
use super::uninit::{UninitBuffer, UninitSlice};
use crate::kernel::grid::{Connection, Grid};
use crate::kernel::threads;
use macerator::{Simd, with_simd};
use std::mem::MaybeUninit;

/// Calls `$tile!(rows, vectors)` with constants for the given size; `$single` if `$vectors` is 0.
macro_rules! dispatch_tile {
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

/// Bytes of the images that a forward pass or an input gradient computes together: with the matrices, they fit in a
/// second-level cache.
const SOURCE_BYTES: usize = 256 << 10;
/// Bytes of the pixels that a weight gradient walks through for each tile: they fit in a first-level cache.
const PAIR_BYTES: usize = 20 << 10;

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

/// Writes the convolution to `y`, every value of it, or adds it to `y` if `add`.
///
/// # Safety
/// If `add`, `y` must be initialised.
pub unsafe fn forward<T: Number>(grid: &Grid, sizes: Sizes, x: &[T], w: &[T], y: UninitSlice<T>, add: bool) {
    let sums = PixelSums {
        connections: grid.forward(),
        taps: grid.taps(),
        from_image: grid.source_pixels() * sizes.channels,
        inner: sizes.channels,
        columns: sizes.filters,
    };
    // SAFETY: guaranteed by the caller.
    unsafe { sums.compute(sizes, x, w, y, add) };
}

/// Writes x̄ to `x`, every value of it, given the gradient `g` of y.
pub fn input_gradient<T: Number>(grid: &Grid, sizes: Sizes, g: &[T], w: &[T], x: UninitSlice<T>) {
    let sums = PixelSums {
        connections: grid.backward(),
        taps: grid.taps(),
        from_image: grid.target_pixels() * sizes.filters,
        inner: sizes.filters,
        columns: sizes.channels,
    };
    let matrix = sizes.channels * sizes.filters;
    let mut transposed = UninitBuffer::new(w.len());
    threads::for_each_chunk(transposed.as_mut_slice(), matrix, |tap, to| {
        transpose(&w[tap * matrix..][..matrix], to, sizes.channels, sizes.filters);
    });
    // SAFETY: the matrices fill the buffer, and `transpose` writes every value of each.
    let transposed = unsafe { transposed.assume_init() };
    // SAFETY: `add` is false.
    unsafe { sums.compute(sizes, g, &transposed, x, false) };
}

/// Writes W̄ to `w`, every value of it, given the gradient `g` of y.
pub fn weight_gradient<T: Number>(grid: &Grid, sizes: Sizes, x: &[T], g: &[T], w: UninitSlice<T>) {
    let Sizes { tasks, images, channels, filters } = sizes;
    let (x_task, g_task) =
        (images * grid.source_pixels() * channels, images * grid.target_pixels() * filters);
    let w_task = grid.taps() * channels * filters;
    assert_eq!((x.len(), g.len(), w.len()), (tasks * x_task, tasks * g_task, tasks * w_task));
    if x.is_empty() {
        return w.fill(MaybeUninit::new(T::zero()));
    }
    // Some rows of the gradient for each thread.
    let rows = (grid.taps() * channels).div_ceil(threads::count());
    for (task, w) in w.chunks_mut(w_task).enumerate() {
        let (x, g) = (&x[task * x_task..][..x_task], &g[task * g_task..][..g_task]);
        threads::for_each_chunk(w, rows * filters, |part, w| {
            // SAFETY: `isa::arch` is an instruction set of this processor.
            unsafe { gradient_rows(grid, sizes, x, g, part * rows, w) };
        });
    }
}

/// One sum of products for every pixel of an image: the forward pass or the input gradient.
#[derive(Clone, Copy)]
struct PixelSums<'a> {
    /// For each pixel of a result image, its connections to source pixels.
    connections: &'a [Vec<Connection>],
    /// Taps of the kernel.
    taps: usize,
    /// Values of a source image.
    from_image: usize,
    /// Channels of a source pixel; rows of a tap's matrix.
    inner: usize,
    /// Channels of a result pixel; columns of a tap's matrix.
    columns: usize,
}

impl PixelSums<'_> {
    /// Values of a result image.
    fn to_image(self) -> usize {
        self.connections.len() * self.columns
    }

    /// Computes the sums of all tasks and images on all threads; every value of `to` is written.
    ///
    /// # Safety
    /// If `add`, `to` must be initialised.
    unsafe fn compute<T: Number>(self, sizes: Sizes, from: &[T], w: &[T], to: UninitSlice<T>, add: bool) {
        let Sizes { tasks, images, .. } = sizes;
        let (to_image, w_task) = (self.to_image(), w.len() / tasks.max(1));
        assert_eq!((from.len(), to.len()), (tasks * images * self.from_image, tasks * images * to_image));
        assert_eq!(w.len(), tasks * self.taps * self.inner * self.columns);
        if to.is_empty() {
            return;
        }
        let parts = threads::count().div_ceil(tasks).clamp(1, images);
        let part_images = images.div_ceil(parts);
        threads::for_each_chunk(to, images * to_image, |task, to| {
            let w = &w[task * w_task..][..w_task];
            threads::for_each_chunk(to, part_images * to_image, |part, to| {
                let first = task * images + part * part_images;
                let from = &from[first * self.from_image..][..to.len() / to_image * self.from_image];
                // SAFETY: `isa::arch` is an instruction set of this processor; the rest is guaranteed by the caller.
                unsafe { sum_images(self, from, w, to, add) };
            });
        });
    }
}

/// Computes the sums of some images of one task.
///
/// Some columns of the matrices at a time, so that they stay in the cache for all pixels; and some images at a time, so
/// that those stay in it for all columns.
#[with_simd(on(arch = super::isa::arch()))]
fn sum_images<'a, S: Simd, T: Number>(
    sums: PixelSums<'a>,
    from: &[T],
    w: &[T],
    to: UninitSlice<'a, T>,
    add: bool,
) {
    let PixelSums { from_image, inner, columns, .. } = sums;
    let to_image = sums.to_image();
    let images = to.len() / to_image;
    let lanes = T::lanes::<S>();
    let tiles = images_within::<T>(SOURCE_BYTES, from_image).div_ceil(MAX_ROWS);
    let mut start = 0;
    while start < images {
        // The same tiles as without blocks.
        let mut end = start;
        for _ in 0..tiles {
            if end < images {
                end += next_rows(images - end);
            }
        }
        let mut column = 0;
        while column < columns {
            let vectors = next_vectors::<S>((columns - column) / lanes);
            let weights = StridedRows { first: w[column..].as_ptr(), stride: columns };
            for (target, connections) in sums.connections.iter().enumerate() {
                let mut first = start;
                while first < end {
                    let rows = next_rows(images - first);
                    let source =
                        StridedRows { first: from[first * from_image..].as_ptr(), stride: from_image };
                    let at = first * to_image + target * columns + column;
                    let target = StridedRows { first: to[at..].as_mut_ptr().cast(), stride: to_image };
                    // SAFETY: the lengths were asserted in `compute`, and a tile ends within its images
                    // and columns.
                    macro_rules! tile {
                        ($rows:literal, $vectors:literal) => {
                            unsafe {
                                connected_products::<S, T, $rows, $vectors>(
                                    source,
                                    inner,
                                    weights,
                                    target,
                                    connections,
                                    add,
                                )
                            }
                        };
                    }
                    dispatch_tile!(tile, rows, vectors, {
                        let sum = |row: usize| {
                            let from = &from[(first + row) * from_image..];
                            let products = connections.iter().map(|connection| {
                                let from = &from[connection.pixel * inner..][..inner];
                                let w =
                                    w[connection.tap * inner * columns + column..].iter().step_by(columns);
                                from.iter().zip(w).map(|(a, b)| *a * *b).fold(T::zero(), |sum, x| sum + x)
                            });
                            products.fold(T::zero(), |sum, x| sum + x)
                        };
                        for row in 0..rows {
                            let index = at + row * to_image;
                            // SAFETY: if `add`, the caller guarantees that `to` is initialised.
                            let before = if add { unsafe { to[index].assume_init() } } else { T::zero() };
                            to[index].write(before + sum(row));
                        }
                    });
                    first += rows;
                }
            }
            column += (vectors * lanes).max(1);
        }
        start = end;
    }
}

/// Computes as many rows of a task's gradient as `w` holds, beginning with row `first`.
///
/// Some images at a time, so that the pixels of a tap stay in the cache for all its tiles.
#[with_simd(on(arch = super::isa::arch()))]
fn gradient_rows<'a, S: Simd, T: Number>(
    grid: &Grid,
    sizes: Sizes,
    x: &[T],
    g: &[T],
    first: usize,
    w: UninitSlice<'a, T>,
) {
    let Sizes { images, channels, filters, .. } = sizes;
    let (source_pixels, target_pixels) = (grid.source_pixels(), grid.target_pixels());
    let (lanes, last) = (T::lanes::<S>(), first + w.len() / filters);
    let block = images_within::<T>(PAIR_BYTES, target_pixels * (channels + max_vectors::<S>() * lanes));
    for start in (0..images).step_by(block) {
        let (block, add) = (start..images.min(start + block), start > 0);
        for tap in first / channels..last.div_ceil(channels) {
            let pairs = &grid.pairs()[tap];
            let (begin, end) = (first.max(tap * channels), last.min((tap + 1) * channels));
            let mut column = 0;
            while column < filters {
                let vectors = next_vectors::<S>((filters - column) / lanes);
                let mut row = begin;
                while row < end {
                    let rows = next_rows(end - row);
                    let (channel, at) = (row - tap * channels, (row - first) * filters + column);
                    let sources =
                        StridedRows { first: x[channel..].as_ptr(), stride: source_pixels * channels };
                    let targets =
                        StridedRows { first: g[column..].as_ptr(), stride: target_pixels * filters };
                    let to = StridedRows { first: w[at..].as_mut_ptr().cast(), stride: filters };
                    // SAFETY: the lengths were asserted in `weight_gradient`, and a tile ends within its
                    // channels and columns. If `add`, an earlier block has written `to`.
                    macro_rules! tile {
                        ($rows:literal, $vectors:literal) => {
                            unsafe {
                                outer_products::<S, T, $rows, $vectors>(
                                    (sources, channels),
                                    (targets, filters),
                                    to,
                                    block.clone(),
                                    pairs,
                                    add,
                                )
                            }
                        };
                    }
                    dispatch_tile!(tile, rows, vectors, {
                        for row in 0..rows {
                            let to = &mut w[at + row * filters];
                            // SAFETY: as above.
                            let mut sum = if add { unsafe { to.assume_init() } } else { T::zero() };
                            for image in block.clone() {
                                for (source, target) in pairs {
                                    let x = x[(image * source_pixels + source) * channels + channel + row];
                                    sum = sum + x * g[(image * target_pixels + target) * filters + column];
                                }
                            }
                            to.write(sum);
                        }
                    });
                    row += rows;
                }
                column += (vectors * lanes).max(1);
            }
        }
    }
}

/// Images whose pixels take no more than `bytes`, at `values` values an image; at least one.
fn images_within<T>(bytes: usize, values: usize) -> usize {
    (bytes / (values * size_of::<T>()).max(1)).max(1)
}

/// Rows of the next tile when `left` rows are left: at most [`MAX_ROWS`], divided evenly among the remaining tiles.
fn next_rows(left: usize) -> usize {
    left.div_ceil(left.div_ceil(MAX_ROWS))
}

/// Vectors of the next tile when `left` whole vectors are left; 0 if none is.
#[inline(always)]
fn next_vectors<S: Simd>(left: usize) -> usize {
    let max = max_vectors::<S>();
    if left >= max {
        max
    } else if left >= 2 {
        2
    } else {
        left
    }
}
