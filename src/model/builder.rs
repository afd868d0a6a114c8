//! Builds a [`Sequential`] layer by layer, and keeps track of shapes and names.

use super::layer::{
    BatchNorm, Bias, Convolution, GlobalMeanPool, Layer, LeakyRelu, Linear, MaxPool, MeanPool, Residual,
    Shape,
};
use super::leaf::vector;
use super::{Initialisation, Leaf, Role, Sequential};
use bilevel::kernel::Window;
use std::collections::{BTreeSet, HashMap};

/// A layer that does not fit.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{layer} does not fit: {reason}")]
pub struct BuildError {
    layer: String,
    reason: String,
}

/// A network to which layers are added; [`Self::head`] finishes it.
///
/// Layers with parameters are numbered by kind, `conv1`, `bn1`, `conv2`, …, unless they are given a name. The first layer
/// that does not fit makes [`Self::head`] return an error.
#[derive(Debug)]
pub struct NetworkBuilder {
    input: Shape,
    shape: Shape,
    layers: Vec<Box<dyn Layer>>,
    initialisation: Initialisation,
    /// Whether the next layer's input is the images.
    on_images: bool,
    /// Prefix of names; empty outside residual blocks.
    prefix: String,
    /// Name of the next layer with parameters.
    name: Option<String>,
    numbers: HashMap<&'static str, usize>,
    /// The last layer, if it can have a bias.
    without_bias: Option<String>,
    error: Option<BuildError>,
}

impl NetworkBuilder {
    pub(super) fn new(input: Shape, initialisation: Initialisation) -> Self {
        Self {
            input,
            shape: input,
            layers: Vec::new(),
            initialisation,
            on_images: true,
            prefix: String::new(),
            name: None,
            numbers: HashMap::new(),
            without_bias: None,
            error: None,
        }
    }

    /// Names the next layer with parameters.
    pub fn name(self, name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    /// Adds a convolution without bias.
    pub fn convolution(mut self, filters: usize, window: Window) -> Self {
        let name = self.next_name("conv");
        match Convolution::new(&name, self.shape, filters, window, self.initialisation) {
            None => {
                let reason = format!("{window:?} has no position in {}", self.shape);
                self.refuse(name, reason)
            }
            Some(_) if filters == 0 => self.refuse(name, "it has no filters".into()),
            Some(layer) if self.on_images && self.prefix.is_empty() => {
                self.add_weight(name, layer.on_patches())
            }
            Some(layer) if self.on_images => self.add_weight(name, layer.on_images()),
            Some(layer) => self.add_weight(name, layer),
        }
    }

    /// Adds a linear layer without bias on all values of its input.
    pub fn linear(mut self, outputs: usize) -> Self {
        let name = self.next_name("linear");
        if outputs == 0 {
            return self.refuse(name, "it has no outputs".into());
        }
        let layer = Linear::new(&name, self.shape, outputs, self.initialisation, 2.0);
        let layer = if self.on_images { layer.on_images() } else { layer };
        self.add_weight(name, layer)
    }

    /// Adds a bias to the convolution or linear layer just added.
    pub fn bias(mut self) -> Self {
        match self.without_bias.take() {
            Some(name) => {
                let bias = Bias::new(&name, self.shape);
                self.add(bias)
            }
            None => {
                let reason = "only a convolution or a linear layer can have one, once, right after it";
                self.refuse("a bias".into(), reason.into())
            }
        }
    }

    /// Adds batch normalisation. A [`Self::relu`] or [`Self::leaky_relu`] right after it costs nothing.
    pub fn batch_norm(mut self) -> Self {
        let name = self.next_name("bn");
        let layer = BatchNorm::new(&name, self.shape);
        self.add(layer)
    }

    /// Adds a ReLU.
    pub fn relu(self) -> Self {
        self.leaky_relu(0.0)
    }

    /// Adds a leaky ReLU, x where x > 0 and `negative_slope`·x elsewhere; the slope must be ≥ 0.
    pub fn leaky_relu(mut self, negative_slope: f64) -> Self {
        if !(negative_slope >= 0.0 && negative_slope.is_finite()) {
            let reason = format!("its slope is {negative_slope}, but must be a finite number ≥ 0");
            return self.refuse("a leaky ReLU".into(), reason);
        }
        if self.layers.last_mut().is_some_and(|layer| layer.absorb_leaky_relu(negative_slope)) {
            return self;
        }
        let layer = LeakyRelu::new(self.shape, negative_slope);
        self.add(layer)
    }

    /// Adds a max-pooling of windows of `size`² pixels side by side; pixels left over at the end are dropped.
    pub fn max_pool(self, size: usize) -> Self {
        match MaxPool::new(self.shape, size) {
            Some(layer) => self.add(layer),
            None => self.refuse_pool("max-pooling", size),
        }
    }

    /// Adds a mean-pooling of windows as of [`Self::max_pool`].
    pub fn mean_pool(self, size: usize) -> Self {
        match MeanPool::new(self.shape, size) {
            Some(layer) => self.add(layer),
            None => self.refuse_pool("mean-pooling", size),
        }
    }

    /// Adds the mean of each channel over all pixels.
    pub fn global_mean_pool(self) -> Self {
        let layer = GlobalMeanPool::new(self.shape);
        self.add(layer)
    }

    /// Adds a residual block, `body`(x) + `shortcut`(x). A shortcut without layers is the identity. The names of the
    /// block's parameters begin with the block's own, `block1.conv1.weight`; the shortcut's numbers follow the body's.
    pub fn residual(mut self, body: impl FnOnce(Self) -> Self, shortcut: impl FnOnce(Self) -> Self) -> Self {
        let name = self.next_name("block");
        let part = |numbers| Self {
            prefix: format!("{name}."),
            on_images: self.on_images,
            numbers,
            ..Self::new(self.shape, self.initialisation)
        };
        let body = body(part(HashMap::new()));
        let shortcut = shortcut(part(body.numbers.clone()));
        if let Some(error) = body.error.or(shortcut.error) {
            return Self { error: self.error.or(Some(error)), ..self };
        }
        if body.shape != shortcut.shape {
            let reason = format!("its body's output has {}, its shortcut's {}", body.shape, shortcut.shape);
            return self.refuse(name, reason);
        }
        self.add(Residual::new(body.layers, shortcut.layers, body.shape))
    }

    /// Adds the linear layer of `ways` logits and its bias, which finishes the network.
    ///
    /// # Errors
    /// Returns an error that names the first layer that does not fit, or two parameters of the same name.
    pub fn head(self, ways: usize) -> Result<Sequential, BuildError> {
        let Self { input, shape, layers, initialisation, error, .. } = self;
        let refused = |layer: &str, reason: String| BuildError { layer: layer.into(), reason };
        if let Some(error) = error {
            return Err(error);
        }
        if input.values() == 0 || ways == 0 {
            return Err(refused("the head", format!("the network has inputs of {input} and {ways} logits")));
        }
        let weight = Linear::new("linear", shape, ways, initialisation, 1.0).leaves()[0].clone();
        let bias = vector("linear.bias".into(), ways, 0.0, Role::Head);
        let network =
            Sequential { input, layers, features: shape, head: [Leaf { role: Role::Head, ..weight }, bias] };
        let mut names = BTreeSet::new();
        match super::Architecture::leaves(&network).iter().find(|leaf| !names.insert(leaf.name.clone())) {
            Some(leaf) => Err(refused(&leaf.name, "another parameter has the same name".into())),
            None => Ok(network),
        }
    }

    /// The name of the next layer: the one it was given, or its kind and number.
    fn next_name(&mut self, kind: &'static str) -> String {
        let number = self.numbers.entry(kind).or_default();
        *number += 1;
        let name = self.name.take().unwrap_or_else(|| format!("{kind}{number}"));
        format!("{}{name}", self.prefix)
    }

    fn add(mut self, layer: impl Layer + 'static) -> Self {
        let shape = layer.output();
        self.layers.push(Box::new(layer));
        Self { shape, on_images: false, without_bias: None, ..self }
    }

    /// Adds the layer `name`, which can have a bias.
    fn add_weight(self, name: String, layer: impl Layer + 'static) -> Self {
        Self { without_bias: Some(name), ..self.add(layer) }
    }

    fn refuse(self, layer: String, reason: String) -> Self {
        Self { error: self.error.or(Some(BuildError { layer, reason })), ..self }
    }

    fn refuse_pool(self, layer: &str, size: usize) -> Self {
        let reason = format!("its windows have {size} × {size} pixels, and its input {}", self.shape);
        self.refuse(format!("a {layer}"), reason)
    }
}
