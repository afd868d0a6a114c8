//! Max-pooling on pixel rows, vectorised over channels.
//!
//! Let a(p) be the pixel in the window of the target pixel p where x is largest, for each channel. Of equal values the
//! first one counts, row by row of the window; a NaN counts as larger than any number.
//!
//! ```text
//! y_p = x_a(p)        x̄_q = Σ_{p: a(p) = q} ȳ_p
//! ẏ_p = ẋ_a(p)        ẋ̄_q = Σ_{p: a(p) = q} ẏ̄_p      (x̄ of ẏ is 0)
//! ```
//!
//! So the value and the tangent both [`take`], and their gradients both [`spread`].

use super::columns::{load, store};
use super::tile::Number;
use super::uninit::{UninitBuffer, UninitSlice};
use crate::kernel::grid::{Connection, Grid};
use crate::kernel::threads;
use macerator::{Simd, Vector, with_simd};

/// Writes v_a(p) for every target pixel p of every image; `x` and `v` are `[images, sources, channels]`, `to` is `[images,
/// targets, channels]`.
pub fn take<T: Number>(grid: &Grid, channels: usize, x: &[T], v: &[T], to: UninitSlice<T>) {
    let image = grid.source_pixels() * channels;
    threads::for_each_chunk(to, grid.target_pixels() * channels, |index, to| {
        let [x, v] = [x, v].map(|all| &all[index * image..][..image]);
        // SAFETY: `isa::arch` is an instruction set of this processor.
        unsafe { take_image(grid, channels, x, v, to) };
    });
}

/// Writes Σ_{p: a(p) = q} g_p for every source pixel q of every image; `g` is `[images, targets, channels]`, `x` and `to`
/// are `[images, sources, channels]`.
pub fn spread<T: Number>(grid: &Grid, channels: usize, x: &[T], g: &[T], to: UninitSlice<T>) {
    let [source, target] = [grid.source_pixels(), grid.target_pixels()].map(|pixels| pixels * channels);
    threads::for_each_chunk(to, source, |index, to| {
        let mut taps = UninitBuffer::new(target);
        let x = &x[index * source..][..source];
        // SAFETY: `isa::arch` is an instruction set of this processor.
        unsafe { largest_taps(grid, channels, x, taps.as_mut_slice()) };
        // SAFETY: a tap is written for every target pixel and channel.
        let taps = unsafe { taps.assume_init() };
        let g = &g[index * target..][..target];
        // SAFETY: `isa::arch` is an instruction set of this processor.
        unsafe { spread_image(grid, channels, &taps, g, to) };
    });
}

#[with_simd(on(arch = super::isa::arch()))]
fn take_image<'a, S: Simd, T: Number>(
    grid: &Grid,
    channels: usize,
    x: &[T],
    v: &[T],
    to: UninitSlice<'a, T>,
) {
    for_each_vector::<S, T>(grid.forward(), channels, |target, connections, first, count| {
        let tap = largest_tap::<S, T>(connections, channels, x, first, count);
        let mut taken = T::default().splat();
        for connection in connections {
            let own = at(v, connection.pixel * channels + first, count);
            taken = tap.eq(number(connection.tap)).select(own, taken);
        }
        store([taken], &mut to[target * channels + first..], count);
    });
}

/// Writes the tap of a(p) for every target pixel p.
#[with_simd(on(arch = super::isa::arch()))]
fn largest_taps<'a, S: Simd, T: Number>(grid: &Grid, channels: usize, x: &[T], to: UninitSlice<'a, T>) {
    for_each_vector::<S, T>(grid.forward(), channels, |target, connections, first, count| {
        let tap = largest_tap::<S, T>(connections, channels, x, first, count);
        store([tap], &mut to[target * channels + first..], count);
    });
}

#[with_simd(on(arch = super::isa::arch()))]
fn spread_image<'a, S: Simd, T: Number>(
    grid: &Grid,
    channels: usize,
    taps: &[T],
    g: &[T],
    to: UninitSlice<'a, T>,
) {
    for_each_vector::<S, T>(grid.backward(), channels, |source, connections, first, count| {
        let zero = T::default().splat();
        let mut sum: Vector<S, T> = zero;
        for connection in connections {
            let start = connection.pixel * channels + first;
            let (tap, g) = (at::<S, T>(taps, start, count), at(g, start, count));
            sum += tap.eq(number(connection.tap)).select(g, zero);
        }
        store([sum], &mut to[source * channels + first..], count);
    });
}

/// Calls `work` with each pixel, its connections, and the first channel and the number of channels of each vector.
#[inline(always)]
fn for_each_vector<S: Simd, T: Number>(
    pixels: &[Vec<Connection>],
    channels: usize,
    mut work: impl FnMut(usize, &[Connection], usize, usize),
) {
    let lanes = T::lanes::<S>();
    for (pixel, connections) in pixels.iter().enumerate() {
        for first in (0..channels).step_by(lanes) {
            work(pixel, connections, first, lanes.min(channels - first));
        }
    }
}

/// The tap with the largest of the `connections`' values, for `count` channels beginning with `first`.
#[inline(always)]
fn largest_tap<S: Simd, T: Number>(
    connections: &[Connection],
    channels: usize,
    x: &[T],
    first: usize,
    count: usize,
) -> Vector<S, T> {
    let mut connections = connections.iter();
    let Some(start) = connections.next() else { return T::default().splat() };
    let mut largest: Vector<S, T> = at(x, start.pixel * channels + first, count);
    let mut tap = number(start.tap);
    for connection in connections {
        let value: Vector<S, T> = at(x, connection.pixel * channels + first, count);
        // The largest stays if the value is ≤ it, or if it is NaN already.
        let stays = || value.le(largest) | largest.ne(largest);
        tap = stays().select(tap, number(connection.tap));
        largest = stays().select(largest, value);
    }
    tap
}

/// `count` values beginning at `start`.
#[inline(always)]
fn at<S: Simd, T: Number>(values: &[T], start: usize, count: usize) -> Vector<S, T> {
    load::<S, T, 1, 1>([values], start, count)[0][0]
}

#[inline(always)]
fn number<S: Simd, T: Number>(tap: usize) -> Vector<S, T> {
    T::from(tap).unwrap_or_default().splat()
}
