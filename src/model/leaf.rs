//! Parameters of a network: name, initial distribution, and layouts in files and in computation.
//!
//! In files, Burn modules and PyTorch (external), parameters have PyTorch's layouts. In computation (internal) they
//! are matrices by which channels-last rows are multiplied from the right. [`Layout`] converts between the two without
//! rounding, for any number of tasks at once.

use bilevel::choice;
use burn::tensor::Tensor;

/// A parameter of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Leaf {
    /// Its name in files, as in PyTorch: `conv1.weight`.
    pub name: String,
    /// Its external and internal layout.
    pub layout: Layout,
    /// Mean of its initial values.
    pub mean: f32,
    /// Standard deviation of its initial values.
    pub deviation: f32,
    /// Distribution of its initial values.
    pub distribution: Distribution,
    /// Its role in the network.
    pub role: Role,
}

/// Distribution of initial values with a given mean and standard deviation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distribution {
    /// Normal.
    Normal,
    /// Uniform, within √3 standard deviations of the mean.
    Uniform,
}

choice! {
    /// Initial values of weights; biases begin at 0.
    pub enum Initialisation {
        /// Normal with variance 2/inputs, for layers before a ReLU; 1/inputs for the head (He et al. 2015).
        He = "he",
        /// Uniform with variance 2/(inputs + outputs): PyTorch's `xavier_uniform_` (Glorot & Bengio 2010).
        Xavier = "xavier",
    }
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
    /// External `[filters, channels, size, size]`, internal `[size²·channels, filters]`, with pixels of the patch before
    /// channels.
    Kernel {
        /// Height and width.
        size: usize,
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
            Self::Kernel { size, filters, channels } => vec![filters, channels, size, size],
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
            Self::Kernel { size, filters, channels } => flat
                .reshape([tasks, filters, channels, size * size])
                .permute([0, 3, 2, 1])
                .reshape([tasks, size * size * channels, filters]),
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
            Self::Kernel { size, filters, channels } => {
                matrix.reshape([tasks, size * size, channels, filters])
            }
            Self::Vector { width } => matrix.reshape([tasks, 1, 1, width]),
            Self::Rows { .. } => return matrix.reshape([tasks, self.count()]),
            Self::Linear { outputs, channels, pixels } => matrix.reshape([tasks, pixels, channels, outputs]),
        };
        unfolded.permute([0, 3, 2, 1]).reshape([tasks, self.count()])
    }
}

/// The weight of a convolution or a linear layer of `inputs` and `outputs`: values that each output is computed from, and
/// values that each input takes part in. `gain` is inputs × variance under [`Initialisation::He`].
pub(super) fn weight(
    name: String,
    layout: Layout,
    [inputs, outputs]: [usize; 2],
    initialisation: Initialisation,
    gain: f32,
) -> Leaf {
    let (variance, distribution) = match initialisation {
        Initialisation::He => (gain / inputs as f32, Distribution::Normal),
        Initialisation::Xavier => (2.0 / (inputs + outputs) as f32, Distribution::Uniform),
    };
    Leaf { name, layout, mean: 0.0, deviation: variance.sqrt(), distribution, role: Role::Weight }
}

/// A vector with all initial values equal to `value`.
pub(super) fn vector(name: String, width: usize, value: f32, role: Role) -> Leaf {
    let layout = Layout::Vector { width };
    Leaf { name, layout, mean: value, deviation: 0.0, distribution: Distribution::Normal, role }
}
