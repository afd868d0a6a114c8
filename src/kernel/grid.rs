//! Which pixels meet in a 3×3 convolution, worked out once per size of image.
//!
//! Images are kept channels-last, a pixel a row. Target pixel p of the convolved image is the sum over
//! the taps of its patch of (source pixel's row) × (the tap's matrix `[channels, filters]`). A [`Grid`]
//! lists these meetings: for each target its (source, tap) pairs, and the same turned round. Taps
//! that fall on the border are not listed, so nothing is spent on padding.

use burn::tensor::{Device, Int, Tensor, TensorData};
use std::sync::Mutex;

const KERNEL: usize = 3;

/// A pixel that meets another one under one tap of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meeting {
    /// The other pixel.
    pub pixel: usize,
    /// The tap, 0 to 8, row by row.
    pub tap: usize,
}

/// A convolution's geometry: from images of `source` pixels to images of `target` pixels.
#[derive(Debug)]
pub struct Grid {
    source: usize,
    target: usize,
    taps: usize,
    /// For each target pixel, the source pixels of its patch.
    forward: Vec<Vec<Meeting>>,
    /// For each source pixel, the target pixels whose patches it is in.
    backward: Vec<Vec<Meeting>>,
    /// For each tap, the (source, target) pairs that meet under it.
    pairs: Vec<Vec<(usize, usize)>>,
    rows: Mutex<Vec<(usize, Rows)>>,
}

/// A [`Grid`] for a number of images at once, as rows to gather; row 0 is a zero row before all others.
#[derive(Clone, Debug)]
pub struct Rows {
    /// For each target pixel and tap, the source row: `[images·targets·taps]`.
    pub forward: Tensor<1, Int>,
    /// For each source pixel, the rows of (target, tap) that it went to, zero rows behind them:
    /// `[images·sources·most]`.
    pub backward: Tensor<1, Int>,
}

impl Grid {
    /// A 3×3 kernel moved by `stride` over images of `height` × `width` pixels with a border of
    /// `padding` zeros.
    ///
    /// # Panics
    /// If the padded image is smaller than the kernel, or the stride is 0.
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

    /// Every row by itself: the convolution is then the plain matrix product.
    pub fn pointwise() -> Self {
        let mut grid = Self::unconnected(1, 1, 1);
        grid.connect(0, 0, 0);
        grid
    }

    /// Side of the image that a 3×3 kernel makes of one of `side` pixels.
    ///
    /// # Panics
    /// As [`Self::new`].
    pub fn output_side(side: usize, stride: usize, padding: usize) -> usize {
        (side + 2 * padding - KERNEL) / stride + 1
    }

    /// Pixels of an image before the convolution.
    pub fn source_pixels(&self) -> usize {
        self.source
    }

    /// Pixels of an image behind it.
    pub fn target_pixels(&self) -> usize {
        self.target
    }

    /// Matrices in the kernel.
    pub fn taps(&self) -> usize {
        self.taps
    }

    pub(super) fn forward(&self) -> &[Vec<Meeting>] {
        &self.forward
    }

    pub(super) fn backward(&self) -> &[Vec<Meeting>] {
        &self.backward
    }

    pub(super) fn pairs(&self) -> &[Vec<(usize, usize)>] {
        &self.pairs
    }

    /// Most patches that one source pixel is in.
    pub(super) fn most(&self) -> usize {
        self.backward.iter().map(Vec::len).max().unwrap_or(0)
    }

    /// The rows to gather for `images` images on `device`, remembered.
    pub(super) fn rows(&self, images: usize, device: &Device) -> Rows {
        let mut known = self.rows.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let same = |(count, rows): &&(usize, Rows)| *count == images && rows.forward.device() == *device;
        if let Some((_, rows)) = known.iter().find(same) {
            return rows.clone();
        }
        let tensor = |rows: Vec<i32>| {
            let shape = [rows.len()];
            Tensor::from_data(TensorData::new(rows, shape), device)
        };
        let rows =
            Rows { forward: tensor(self.forward_rows(images)), backward: tensor(self.backward_rows(images)) };
        known.push((images, rows.clone()));
        rows
    }

    fn forward_rows(&self, images: usize) -> Vec<i32> {
        let mut rows = vec![0; images * self.target * self.taps];
        for (image, patches) in rows.chunks_mut(self.target * self.taps).enumerate() {
            for (patch, meetings) in patches.chunks_mut(self.taps).zip(&self.forward) {
                for meeting in meetings {
                    patch[meeting.tap] = (1 + image * self.source + meeting.pixel) as i32;
                }
            }
        }
        rows
    }

    fn backward_rows(&self, images: usize) -> Vec<i32> {
        let most = self.most();
        let mut rows = vec![0; images * self.source * most];
        for (image, pixels) in rows.chunks_mut(self.source * most).enumerate() {
            for (places, meetings) in pixels.chunks_mut(most).zip(&self.backward) {
                for (place, meeting) in places.iter_mut().zip(meetings) {
                    let target = image * self.target + meeting.pixel;
                    *place = (1 + target * self.taps + meeting.tap) as i32;
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
            rows: Mutex::default(),
        }
    }

    fn connect(&mut self, source: usize, target: usize, tap: usize) {
        self.forward[target].push(Meeting { pixel: source, tap });
        self.backward[source].push(Meeting { pixel: target, tap });
        self.pairs[tap].push((source, target));
    }
}
