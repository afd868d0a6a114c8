//! One parameter: its name, its shape in the outside world, and how it becomes a matrix.
//!
//! Outside (files, Burn modules, PyTorch) parameters have PyTorch's layouts; inside they are
//! matrices that multiply channels-last rows from the right. [`Layout`] turns one into the other,
//! exactly, for any number of tasks at once.

use burn::tensor::Tensor;

/// A parameter of a network.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// Its name in files, as in PyTorch: `conv1.weight`.
    pub name: String,
    /// How it is laid out, outside and inside.
    pub layout: Layout,
    /// Mean of its initial values.
    pub mean: f32,
    /// Standard deviation of its initial values.
    pub deviation: f32,
}

/// Shapes outside and inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// `[filters, channels, 3, 3]` outside, `[9·channels, filters]` inside, patch pixels first.
    Kernel {
        /// Output channels.
        filters: usize,
        /// Input channels.
        channels: usize,
    },
    /// `[width]` outside, `[1, width]` inside.
    Vector {
        /// Its length.
        width: usize,
    },
    /// `[outputs, channels·pixels]` outside, `[pixels·channels, outputs]` inside: features come
    /// channel by channel outside, pixel by pixel inside.
    Linear {
        /// Features that it makes.
        outputs: usize,
        /// Channels of the image that it reads; 1 if it reads no image.
        channels: usize,
        /// Pixels of that image.
        pixels: usize,
    },
}

impl Layout {
    /// Shape outside.
    pub fn shape(&self) -> Vec<usize> {
        match *self {
            Self::Kernel { filters, channels } => vec![filters, channels, 3, 3],
            Self::Vector { width } => vec![width],
            Self::Linear { outputs, channels, pixels } => vec![outputs, channels * pixels],
        }
    }

    /// Number of values.
    pub fn count(&self) -> usize {
        self.shape().iter().product()
    }

    /// `flat [tasks, count]` in the outside order → `[tasks, rows, columns]`.
    pub fn pack(&self, flat: Tensor<2>) -> Tensor<3> {
        let tasks = flat.dims()[0];
        match *self {
            Self::Kernel { filters, channels } => flat
                .reshape([tasks, filters, channels, 9])
                .permute([0, 3, 2, 1])
                .reshape([tasks, 9 * channels, filters]),
            Self::Vector { width } => flat.reshape([tasks, 1, width]),
            Self::Linear { outputs, channels, pixels } => flat
                .reshape([tasks, outputs, channels, pixels])
                .permute([0, 3, 2, 1])
                .reshape([tasks, pixels * channels, outputs]),
        }
    }

    /// The inverse of [`Self::pack`].
    pub fn unpack(&self, matrix: Tensor<3>) -> Tensor<2> {
        let tasks = matrix.dims()[0];
        let unfolded = match *self {
            Self::Kernel { filters, channels } => matrix.reshape([tasks, 9, channels, filters]),
            Self::Vector { width } => matrix.reshape([tasks, 1, 1, width]),
            Self::Linear { outputs, channels, pixels } => matrix.reshape([tasks, pixels, channels, outputs]),
        };
        unfolded.permute([0, 3, 2, 1]).reshape([tasks, self.count()])
    }
}

/// A convolution's 3×3 kernel, initialised as for ReLU (He et al. 2015).
pub(super) fn kernel(name: String, filters: usize, channels: usize) -> Leaf {
    let deviation = (2.0 / (9 * channels) as f32).sqrt();
    Leaf { name, layout: Layout::Kernel { filters, channels }, mean: 0.0, deviation }
}

/// A vector that starts at one value.
pub(super) fn vector(name: String, width: usize, value: f32) -> Leaf {
    Leaf { name, layout: Layout::Vector { width }, mean: value, deviation: 0.0 }
}

/// A linear map on an image of `channels` channels and `pixels` pixels.
pub(super) fn linear(name: String, outputs: usize, channels: usize, pixels: usize, gain: f32) -> Leaf {
    let deviation = (gain / (channels * pixels) as f32).sqrt();
    Leaf { name, layout: Layout::Linear { outputs, channels, pixels }, mean: 0.0, deviation }
}
