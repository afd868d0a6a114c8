//! Geometry of a 3×3 convolution: which source pixels contribute to which target pixels, computed once per image size.
//!
//! Images are channels-last, one row per pixel. A target pixel is the sum over its taps of (source pixel's row) ×
//! (the tap's matrix `[channels, filters]`). A [`Grid`] lists these connections: the (source, tap) pairs of each
//! target pixel, and the (target, tap) pairs of each source pixel. Taps that fall on the padding are left out, so
//! padding costs nothing.

use burn::tensor::{Device, Int, Tensor, TensorData};
use std::sync::Mutex;

const KERNEL: usize = 3;

/// A connection of one pixel to another by one tap of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The other pixel.
    pub pixel: usize,
    /// The tap, 0 to 8, row by row.
    pub tap: usize,
}

/// The geometry of a convolution from images of `source` pixels to images of `target` pixels.
#[derive(Debug)]
pub struct Grid {
    source: usize,
    target: usize,
    taps: usize,
    /// For each target pixel, the source pixels in its patch.
    forward: Vec<Vec<Connection>>,
    /// For each source pixel, the target pixels whose patches contain it.
    backward: Vec<Vec<Connection>>,
    /// For each tap, the (source, target) pairs that it connects.
    pairs: Vec<Vec<(usize, usize)>>,
    /// Cached gather indices, by number of images.
    gather_indices: Mutex<Vec<(usize, GatherIndices)>>,
}

/// A [`Grid`] for a number of images, as indices of rows to gather; index 0 is a zero row before all others.
#[derive(Clone, Debug)]
pub struct GatherIndices {
    /// For each target pixel and tap, the source row: `[images·targets·taps]`.
    pub forward: Tensor<1, Int>,
    /// For each source pixel, the (target, tap) rows that are copies of it, padded with 0:
    /// `[images·sources·max_patches]`.
    pub backward: Tensor<1, Int>,
}

impl Grid {
    /// A 3×3 kernel with the given `stride` on images of `height` × `width` pixels, zero-padded by `padding` pixels on
    /// every side.
    ///
    /// # Panics
    /// Panics if the padded image is smaller than the kernel, or if the stride is 0.
    pub fn new(height: usize, width: usize, stride: usize, padding: usize) -> Self {
        let [rows, columns] = [height, width].map(|side| Self::output_side(side, stride, padding));
        let inside = |at: usize, tap: usize, side| {
            (at * stride + tap).checked_sub(padding).filter(|at: &usize| *at < side)
        };
        let mut grid = Self::unconnected(height * width, rows * columns, KERNEL * KERNEL);
        for (y, x) in (0..rows).flat_map(|y| (0..columns).map(move |x| (y, x))) {
            for (dy, dx) in (0..KERNEL).flat_map(|dy| (0..KERNEL).map(move |dx| (dy, dx))) {
                if let (Some(from_y), Some(from_x)) = (inside(y, dy, height), inside(x, dx, width)) {
                    grid.connect(from_y * width + from_x, y * columns + x, dy * KERNEL + dx);
                }
            }
        }
        grid
    }

    /// A 1×1 kernel: every row is transformed on its own, so the convolution is a plain matrix product.
    pub fn pointwise() -> Self {
        let mut grid = Self::unconnected(1, 1, 1);
        grid.connect(0, 0, 0);
        grid
    }

    /// The side, in pixels, of the output image for an input of `side` pixels.
    ///
    /// # Panics
    /// Panics in the cases of [`Self::new`].
    pub fn output_side(side: usize, stride: usize, padding: usize) -> usize {
        (side + 2 * padding - KERNEL) / stride + 1
    }

    /// Pixels of an input image.
    pub fn source_pixels(&self) -> usize {
        self.source
    }

    /// Pixels of an output image.
    pub fn target_pixels(&self) -> usize {
        self.target
    }

    /// Taps of the kernel, each a matrix `[channels, filters]`.
    pub fn taps(&self) -> usize {
        self.taps
    }

    pub(super) fn forward(&self) -> &[Vec<Connection>] {
        &self.forward
    }

    pub(super) fn backward(&self) -> &[Vec<Connection>] {
        &self.backward
    }

    pub(super) fn pairs(&self) -> &[Vec<(usize, usize)>] {
        &self.pairs
    }

    /// The largest number of patches that contain one source pixel.
    fn max_patches(&self) -> usize {
        self.backward.iter().map(Vec::len).max().unwrap_or(0)
    }

    /// The gather indices for `images` images on `device`; cached.
    pub(super) fn gather_indices(&self, images: usize, device: &Device) -> GatherIndices {
        let mut cached = self.gather_indices.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let matches = |(count, indices): &&(usize, GatherIndices)| {
            *count == images && indices.forward.device() == *device
        };
        if let Some((_, indices)) = cached.iter().find(matches) {
            return indices.clone();
        }
        let tensor = |rows: Vec<i32>| {
            let shape = [rows.len()];
            Tensor::from_data(TensorData::new(rows, shape), device)
        };
        let indices = GatherIndices {
            forward: tensor(self.forward_indices(images)),
            backward: tensor(self.backward_indices(images)),
        };
        cached.push((images, indices.clone()));
        indices
    }

    fn forward_indices(&self, images: usize) -> Vec<i32> {
        let mut rows = vec![0; images * self.target * self.taps];
        for (image, patches) in rows.chunks_mut(self.target * self.taps).enumerate() {
            for (patch, connections) in patches.chunks_mut(self.taps).zip(&self.forward) {
                for connection in connections {
                    patch[connection.tap] = (1 + image * self.source + connection.pixel) as i32;
                }
            }
        }
        rows
    }

    fn backward_indices(&self, images: usize) -> Vec<i32> {
        let max_patches = self.max_patches();
        let mut rows = vec![0; images * self.source * max_patches];
        for (image, pixels) in rows.chunks_mut(self.source * max_patches).enumerate() {
            for (pixel, connections) in pixels.chunks_mut(max_patches).zip(&self.backward) {
                for (index, connection) in pixel.iter_mut().zip(connections) {
                    let target = image * self.target + connection.pixel;
                    *index = (1 + target * self.taps + connection.tap) as i32;
                }
            }
        }
        rows
    }

    fn unconnected(source: usize, target: usize, taps: usize) -> Self {
        Self {
            source,
            target,
            taps,
            forward: vec![Vec::new(); target],
            backward: vec![Vec::new(); source],
            pairs: vec![Vec::new(); taps],
            gather_indices: Mutex::default(),
        }
    }

    fn connect(&mut self, source: usize, target: usize, tap: usize) {
        self.forward[target].push(Connection { pixel: source, tap });
        self.backward[source].push(Connection { pixel: target, tap });
        self.pairs[tap].push((source, target));
    }
}
