//! Geometry of a convolution or a pooling: which source pixels contribute to which target pixels, computed once per image
//! size.
//!
//! Images are channels-last, one row per pixel. A target pixel of a convolution is the sum over its taps of (source
//! pixel's row) × (the tap's matrix `[channels, filters]`). A [`Grid`] lists these connections: the (source, tap) pairs of
//! each target pixel, and the (target, tap) pairs of each source pixel. Taps that fall on the padding are left out, so
//! padding costs nothing.

use burn::tensor::{Device, Int, Tensor, TensorData};
use std::sync::Mutex;

/// Numbers of images whose gather indices are kept: those of support and query images, which recur from step to step. The
/// indices of large images take as much memory as their patches.
const KEPT: usize = 2;

/// A square window that moves over an image: the kernel of a convolution, or the window of a pooling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its height and width in pixels.
    pub size: usize,
    /// Pixels from one position to the next.
    pub stride: usize,
    /// Pixels that are added on every side of the image.
    pub padding: usize,
}

impl Window {
    /// The number of positions along `side` pixels: the side of the output. A position that would extend beyond the
    /// padded image is left out. 0 if there is none, or if the size or the stride is 0.
    pub fn positions(self, side: usize) -> usize {
        let spare = (side + 2 * self.padding).checked_sub(self.size);
        let moves = spare.and_then(|spare| spare.checked_div(self.stride));
        if self.size == 0 { 0 } else { moves.map_or(0, |moves| moves + 1) }
    }
}

/// A connection of one pixel to another by one tap of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The other pixel.
    pub pixel: usize,
    /// The tap, row by row of the window.
    pub tap: usize,
}

/// The geometry of a convolution or a pooling from images of `source` pixels to images of `target` pixels.
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
    /// Cached gather indices, by number of images, the latest last.
    gather_indices: Mutex<Vec<(usize, GatherIndices)>>,
    /// Cached tables, by device.
    #[cfg(feature = "cube")]
    pub(super) cube_tables: Mutex<Vec<super::cube::Tables>>,
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
    /// A `window` on images of `height` × `width` pixels.
    ///
    /// # Panics
    /// Panics if the window has no [position](Window::positions) in the image.
    pub fn new([height, width]: [usize; 2], window: Window) -> Self {
        let Window { size, stride, padding } = window;
        let [rows, columns] = [height, width].map(|side| window.positions(side));
        assert!(rows * columns > 0, "{window:?} does not fit in an image of {height} × {width} pixels");
        let inside = |at: usize, tap: usize, side| {
            (at * stride + tap).checked_sub(padding).filter(|at: &usize| *at < side)
        };
        let mut grid = Self::unconnected(height * width, rows * columns, size * size);
        for (y, x) in (0..rows).flat_map(|y| (0..columns).map(move |x| (y, x))) {
            for (dy, dx) in (0..size).flat_map(|dy| (0..size).map(move |dx| (dy, dx))) {
                if let (Some(from_y), Some(from_x)) = (inside(y, dy, height), inside(x, dx, width)) {
                    grid.connect(from_y * width + from_x, y * columns + x, dy * size + dx);
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

    /// Pixels of an input image.
    pub fn source_pixels(&self) -> usize {
        self.source
    }

    /// Pixels of an output image.
    pub fn target_pixels(&self) -> usize {
        self.target
    }

    /// Pixels of the window; for a convolution each is a matrix `[channels, filters]`.
    pub fn taps(&self) -> usize {
        self.taps
    }

    /// Whether every target pixel is the source pixel at the same place.
    pub(super) fn is_pointwise(&self) -> bool {
        let itself =
            |(target, own): (usize, &Vec<Connection>)| *own == [Connection { pixel: target, tap: 0 }];
        self.taps == 1 && self.source == self.target && self.forward.iter().enumerate().all(itself)
    }

    /// Whether every window lies inside the image.
    pub fn is_unpadded(&self) -> bool {
        self.pairs.iter().all(|pairs| pairs.len() == self.target)
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

    /// The gather indices for `images` images on `device`; those of the latest numbers of images are cached.
    pub(super) fn gather_indices(&self, images: usize, device: &Device) -> GatherIndices {
        let mut cached = self.gather_indices.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let is_here = |indices: &GatherIndices| indices.forward.device() == *device;
        if let Some(at) = cached.iter().position(|(count, indices)| *count == images && is_here(indices)) {
            let found = cached.remove(at);
            cached.push(found.clone());
            return found.1;
        }
        let here: Vec<usize> = (0..cached.len()).filter(|at| is_here(&cached[*at].1)).collect();
        if here.len() >= KEPT && !may_be_recorded(device) {
            // Before the new ones are made, so that less memory is needed at a time.
            cached.remove(here[0]);
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
            #[cfg(feature = "cube")]
            cube_tables: Mutex::default(),
        }
    }

    fn connect(&mut self, source: usize, target: usize, tap: usize) {
        self.forward[target].push(Connection { pixel: source, tap });
        self.backward[source].push(Connection { pixel: target, tap });
        self.pairs[tap].push((source, target));
    }
}

/// Whether launches on `device` may be recorded as a graph, which reads the same memory at every replay. So tensors that it
/// reads must not be dropped.
#[cfg(feature = "cube")]
fn may_be_recorded(device: &Device) -> bool {
    matches!(device.as_dispatch(), burn::backend::DispatchDevice::Cube(_))
}

#[cfg(not(feature = "cube"))]
fn may_be_recorded(_device: &Device) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_of_the_latest_numbers_of_images_are_kept() {
        let grid = Grid::new([4, 4], Window { size: 3, stride: 1, padding: 1 });
        for (images, kept) in [(1, &[1][..]), (2, &[1, 2]), (1, &[2, 1]), (3, &[1, 3])] {
            let indices = grid.gather_indices(images, &Device::flex());
            assert_eq!(indices.forward.dims(), [images * 16 * 9]);
            let counts: Vec<usize> =
                grid.gather_indices.lock().unwrap().iter().map(|(count, _)| *count).collect();
            assert_eq!(counts, kept);
        }
    }
}
