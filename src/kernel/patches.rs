//! The patches that a 3×3 convolution of stride 2 and padding 1 sees, as a gather of pixel rows.
//!
//! Images are kept channels-last, a pixel a row: `[tasks, n·h·w, channels]`. A patch is then nine
//! rows laid side by side, so collecting patches copies whole rows, and the convolution of T tasks,
//! each with its own weights, is one batched product
//! `[tasks, n·h'·w', 9·channels] × [tasks, 9·channels, filters]`.

use burn::tensor::{Device, Int, Tensor, TensorData};
use std::sync::Mutex;

const KERNEL: usize = 3;
const STRIDE: usize = 2;
const PADDING: usize = 1;
/// Pixels in one patch.
pub const PATCH: usize = KERNEL * KERNEL;

/// Where the patches of square images of one size lie, remembered per number of images.
#[derive(Debug)]
pub struct PatchGrid {
    side: usize,
    known: Mutex<Vec<(usize, Tensor<1, Int>)>>,
}

impl PatchGrid {
    /// For images of `side` × `side` pixels.
    pub fn new(side: usize) -> Self {
        Self { side, known: Mutex::default() }
    }

    /// Side of the image that the convolution makes of one of `side`² pixels.
    pub fn output_side(side: usize) -> usize {
        (side + 2 * PADDING - KERNEL) / STRIDE + 1
    }

    /// Pixels of that image.
    pub fn output_pixels(&self) -> usize {
        Self::output_side(self.side).pow(2)
    }

    /// `[tasks, n·h·w, channels]` → `[tasks, n·h'·w', 9·channels]`, zeros where a patch reaches over
    /// the border; within a patch pixels run row by row, each with its channels.
    pub fn gather(&self, images: Tensor<3>) -> Tensor<3> {
        let [tasks, pixels, channels] = images.dims();
        let count = tasks * pixels / (self.side * self.side);
        let rows = self.rows(count, &images.device().inner());
        let border = Tensor::zeros([1, channels], (&images.device(), images.dtype()));
        let padded = Tensor::cat(vec![border, images.reshape([tasks * pixels, channels])], 0);
        let side = Self::output_side(self.side);
        padded.select(0, rows).reshape([tasks, count / tasks * side * side, PATCH * channels])
    }

    /// For `count` images: which row of (a zero row, then all pixels) each patch pixel is.
    fn rows(&self, count: usize, device: &Device) -> Tensor<1, Int> {
        let mut known = self.known.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let same = |(images, rows): &&(usize, Tensor<1, Int>)| *images == count && rows.device() == *device;
        if let Some((_, rows)) = known.iter().find(same) {
            return rows.clone();
        }
        let rows = patch_rows(self.side, count);
        let shape = [rows.len()];
        let rows = Tensor::from_data(TensorData::new(rows, shape), device);
        known.push((count, rows.clone()));
        rows
    }
}

/// Row 0 is the zero border; image `i`'s pixel `(y, x)` is row `1 + (i·side + y)·side + x`.
fn patch_rows(side: usize, count: usize) -> Vec<i32> {
    let output = PatchGrid::output_side(side);
    let inside =
        |at: usize, offset: usize| (at * STRIDE + offset).checked_sub(PADDING).filter(|at| *at < side);
    let mut rows = Vec::with_capacity(count * output * output * PATCH);
    for image in 0..count {
        for (y, x) in (0..output).flat_map(|y| (0..output).map(move |x| (y, x))) {
            for (dy, dx) in (0..KERNEL).flat_map(|dy| (0..KERNEL).map(move |dx| (dy, dx))) {
                rows.push(match (inside(y, dy), inside(x, dx)) {
                    (Some(y), Some(x)) => (1 + (image * side + y) * side + x) as i32,
                    _ => 0,
                });
            }
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_are_what_a_convolution_sees() {
        // Against Burn's own conv2d: gather, then multiply by the kernel as a matrix.
        use burn::tensor::{Distribution, module::conv2d, ops::ConvOptions};
        let device = Device::flex();
        for side in [3, 4, 7, 28] {
            let (images, channels, filters) = (5, 3, 2);
            let x = Tensor::<4>::random([images, channels, side, side], Distribution::Default, &device);
            let w = Tensor::<4>::random([filters, channels, 3, 3], Distribution::Default, &device);
            let options = ConvOptions::new([STRIDE; 2], [PADDING; 2], [1, 1], 1);
            let expected = conv2d(x.clone(), w.clone(), None, options).permute([0, 2, 3, 1]);

            let output = PatchGrid::output_side(side);
            let rows = x.permute([0, 2, 3, 1]).reshape([1, images * side * side, channels]);
            let matrix = w.permute([2, 3, 1, 0]).reshape([1, PATCH * channels, filters]);
            let got = PatchGrid::new(side).gather(rows).matmul(matrix);
            let got = got.reshape([images, output, output, filters]);
            got.into_data().assert_approx_eq::<f32>(&expected.into_data(), Default::default());
        }
    }
}
