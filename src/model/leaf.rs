//! Parameters of a network: name, initial distribution, and layouts in files and in computation.
//!
//! In files, Burn modules and PyTorch (external), parameters have PyTorch's layouts. In computation (internal) they
//! are matrices by which channels-last rows are multiplied from the right. [`Layout`] converts between the two without
//! rounding, for any number of tasks at once.

use burn::tensor::Tensor;

/// A parameter of a network.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// Its name in files, as in PyTorch: `conv1.weight`.
    pub name: String,
    /// Its external and internal layout.
    pub layout: Layout,
    /// Mean of its initial values.
    pub mean: f32,
    /// Standard deviation of its initial values.
    pub deviation: f32,
    /// Its role in the network.
    pub role: Role,
}

/// Role of a parameter in a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Weight or bias of a layer below the head.
    Weight,
    /// γ or β of a batch norm.
    Norm,
    /// Weight or bias of the last linear layer, whose outputs are the logits: always the last two leaves.
    Head,
}

/// External and internal layout of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// External `[filters, channels, 3, 3]`, internal `[9·channels, filters]`, with pixels of the patch before channels.
    Kernel {
        /// Output channels.
        filters: usize,
        /// Input channels.
        channels: usize,
    },
    /// External `[width]`, internal `[1, width]`.
    Vector {
        /// Its length.
        width: usize,
    },
    /// External and internal `[rows, width]`: a vector for each inner step.
    Rows {
        /// Their number.
        rows: usize,
        /// Their length.
        width: usize,
    },
    /// External `[outputs, channels·pixels]`, internal `[pixels·channels, outputs]`: features are ordered by channel
    /// externally and by pixel internally.
    Linear {
        /// Output features.
        outputs: usize,
        /// Channels of the input image; 1 for other inputs.
        channels: usize,
        /// Pixels of the input image.
        pixels: usize,
    },
}

impl Layout {
    /// External shape.
    pub fn shape(&self) -> Vec<usize> {
        match *self {
            Self::Kernel { filters, channels } => vec![filters, channels, 3, 3],
            Self::Vector { width } => vec![width],
            Self::Rows { rows, width } => vec![rows, width],
            Self::Linear { outputs, channels, pixels } => vec![outputs, channels * pixels],
        }
    }

    /// Number of values.
    pub fn count(&self) -> usize {
        self.shape().iter().product()
    }

    /// The layout of the same parameter for one output instead of several.
    pub fn of_one_output(&self) -> Self {
        match *self {
            Self::Linear { channels, pixels, .. } => Self::Linear { outputs: 1, channels, pixels },
            Self::Vector { .. } => Self::Vector { width: 1 },
            other => other,
        }
    }

    /// The layout of a vector like this one for each of `rows` inner steps.
    pub fn in_rows(&self, rows: usize) -> Self {
        match *self {
            Self::Vector { width } => Self::Rows { rows, width },
            other => other,
        }
    }

    /// Converts `flat [tasks, count]` in external order to the internal `[tasks, rows, columns]`.
    pub fn pack(&self, flat: Tensor<2>) -> Tensor<3> {
        let tasks = flat.dims()[0];
        match *self {
            Self::Kernel { filters, channels } => flat
                .reshape([tasks, filters, channels, 9])
                .permute([0, 3, 2, 1])
                .reshape([tasks, 9 * channels, filters]),
            Self::Vector { width } => flat.reshape([tasks, 1, width]),
            Self::Rows { rows, width } => flat.reshape([tasks, rows, width]),
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
            Self::Rows { .. } => return matrix.reshape([tasks, self.count()]),
            Self::Linear { outputs, channels, pixels } => matrix.reshape([tasks, pixels, channels, outputs]),
        };
        unfolded.permute([0, 3, 2, 1]).reshape([tasks, self.count()])
    }
}

/// A convolution's 3×3 kernel, initialised as for ReLU (He et al. 2015).
pub(super) fn kernel(name: String, filters: usize, channels: usize) -> Leaf {
    let deviation = (2.0 / (9 * channels) as f32).sqrt();
    Leaf { name, layout: Layout::Kernel { filters, channels }, mean: 0.0, deviation, role: Role::Weight }
}

/// A vector with all initial values equal to `value`.
fn vector(name: String, width: usize, value: f32, role: Role) -> Leaf {
    Leaf { name, layout: Layout::Vector { width }, mean: value, deviation: 0.0, role }
}

/// γ, 1 at the start, and β, 0 at the start, of a batch norm of `width` channels.
pub(super) fn norm(name: &str, width: usize) -> [Leaf; 2] {
    [("weight", 1.0), ("bias", 0.0)]
        .map(|(part, value)| vector(format!("{name}.{part}"), width, value, Role::Norm))
}

/// The last linear layer: weight and bias from an image of `channels` channels and `pixels` pixels to `ways` logits.
pub(super) fn head(ways: usize, channels: usize, pixels: usize) -> [Leaf; 2] {
    let weight = linear("linear.weight".into(), ways, channels, pixels, 1.0);
    let bias = vector("linear.bias".into(), ways, 0.0, Role::Head);
    [Leaf { role: Role::Head, ..weight }, bias]
}

/// A linear map on an image of `channels` channels and `pixels` pixels. Initial values have variance `gain`/inputs.
pub(super) fn linear(name: String, outputs: usize, channels: usize, pixels: usize, gain: f32) -> Leaf {
    let deviation = (gain / (channels * pixels) as f32).sqrt();
    let layout = Layout::Linear { outputs, channels, pixels };
    Leaf { name, layout, mean: 0.0, deviation, role: Role::Weight }
}
