//! Networks: the stacked forward pass agrees with Burn's own operations on images, layouts convert in both directions,
//! and initial weights have the distribution that their initialisation names.

use crate::common::problems::normal;
use crate::common::relative_error;
use bilevel::Params;
use bilevel::kernel::Window;
use burn::tensor::ops::{AvgPoolOptions, ConvOptions, MaxPoolOptions};
use burn::tensor::{DType, Device, Tensor, TensorData, module};
use metaburn::model::{
    Architecture, BuildError, Conv4, EPSILON, Initialisation, Layout, Mlp, Pool, ResNet, Role, Sequential,
    Shape, initialise,
};
use std::collections::HashMap;

fn values<const D: usize>(x: Tensor<D>) -> Vec<f64> {
    x.into_data().iter::<f64>().collect()
}

fn assert_same<const D: usize>(a: Tensor<D>, b: Tensor<D>) {
    assert!(relative_error(&values(a), &values(b)) < 1e-10);
}

/// Random parameters of three tasks.
fn weights(architecture: &dyn Architecture) -> Params {
    let start = initialise(architecture, 0, &Device::flex()).repeat(3);
    let mut seed = 0;
    start.map(|leaf| {
        seed += 1;
        let noise = normal(leaf.dims(), seed) * 0.3;
        leaf.cast(DType::F64) + noise
    })
}

/// One task's parameters by name, in PyTorch's layouts, applied to images `[n, channels, height, width]` by Burn's own
/// operations.
struct Burn(HashMap<String, (Vec<usize>, Tensor<1>)>);

impl Burn {
    fn new(architecture: &dyn Architecture, weights: &Params, task: usize) -> Self {
        let leaves = architecture.leaves().into_iter().zip(weights.select(&[task]).into_leaves());
        let named = |(leaf, matrix): (metaburn::model::Leaf, Tensor<3>)| {
            (leaf.name, (leaf.layout.shape(), leaf.layout.unpack(matrix).flatten(0, 1)))
        };
        Self(leaves.map(named).collect())
    }

    fn get<const D: usize>(&self, name: &str) -> Option<Tensor<D>> {
        let (shape, flat) = self.0.get(name)?;
        let shape: [usize; D] = shape.clone().try_into().unwrap();
        Some(flat.clone().reshape(shape))
    }

    fn convolution(&self, name: &str, x: Tensor<4>, stride: usize) -> Tensor<4> {
        let weight = self.get::<4>(&format!("{name}.weight")).unwrap();
        let padding = weight.dims()[2] / 2;
        let options = ConvOptions::new([stride; 2], [padding; 2], [1, 1], 1);
        module::conv2d(x, weight, self.get(&format!("{name}.bias")), options)
    }

    fn batch_norm(&self, name: &str, x: Tensor<4>) -> Tensor<4> {
        let [_, channels, ..] = x.dims();
        let mean = x.clone().mean_dims(&[0, 2, 3]);
        let variance = (x.clone() - mean.clone()).square().mean_dims(&[0, 2, 3]);
        let of = |part| self.get::<1>(&format!("{name}.{part}")).unwrap().reshape([1, channels, 1, 1]);
        (x - mean) / (variance + EPSILON).sqrt() * of("weight") + of("bias")
    }

    fn linear(&self, name: &str, x: Tensor<2>) -> Tensor<2> {
        let y = x.matmul(self.get::<2>(&format!("{name}.weight")).unwrap().transpose());
        match self.get::<1>(&format!("{name}.bias")) {
            Some(bias) => y + bias.unsqueeze(),
            None => y,
        }
    }

    fn conv4(&self, settings: &Conv4, images: Tensor<4>) -> Tensor<2> {
        let features = (1..=settings.blocks).fold(images, |x, block| {
            let max = settings.pool == Pool::Max;
            let x = self.convolution(&format!("conv{block}"), x, if max { 1 } else { 2 });
            let x = leaky_relu(self.batch_norm(&format!("bn{block}"), x), settings.negative_slope);
            if max { module::max_pool2d(x, MaxPoolOptions::new([2; 2]).with_stride([2; 2])) } else { x }
        });
        self.linear("linear", features.flatten(1, 3))
    }

    fn resnet(&self, settings: &ResNet, images: Tensor<4>) -> Tensor<2> {
        let each = settings.layers / 4;
        let features = (0..settings.layers).fold(images, |x, place| {
            let name = |part: &str| format!("layer{}.{}.{part}", place / each + 1, place % each);
            let first = place % each == 0;
            let body = self.convolution(&name("conv1"), x.clone(), if first { 2 } else { 1 });
            let body = leaky_relu(self.batch_norm(&name("bn1"), body), settings.negative_slope);
            let body = self.batch_norm(&name("bn2"), self.convolution(&name("conv2"), body, 1));
            let shortcut = match first {
                true => {
                    let x = self.convolution(&name("downsample.0"), x, 2);
                    self.batch_norm(&name("downsample.1"), x)
                }
                false => x,
            };
            leaky_relu(body + shortcut, settings.negative_slope)
        });
        self.linear("linear", features.mean_dims(&[2, 3]).flatten(1, 3))
    }

    fn mlp(&self, settings: &Mlp, images: Tensor<2>) -> Tensor<2> {
        let features = (1..=settings.hidden.len()).fold(images, |x, layer| {
            let [count, width] = [x.dims()[0], settings.hidden[layer - 1]];
            let x = self.linear(&format!("linear{layer}"), x).reshape([count, width, 1, 1]);
            let x = leaky_relu(self.batch_norm(&format!("bn{layer}"), x), settings.negative_slope);
            x.flatten(1, 3)
        });
        self.linear("linear", features)
    }
}

fn leaky_relu(x: Tensor<4>, negative_slope: f64) -> Tensor<4> {
    x.clone().max_pair(x.zeros_like()) + x.clone().min_pair(x.zeros_like()) * negative_slope
}

/// Asserts that the logits of three tasks are those of `alone`, the network of one task by Burn's operations.
fn assert_same_as_burn<const D: usize>(
    network: &Sequential,
    shape: [usize; D],
    alone: impl Fn(&Burn, Tensor<D>) -> Tensor<2>,
) {
    let pixels = shape[1..].iter().product();
    let (stack, images) = (weights(network), normal([3, shape[0], pixels], 9));
    let logits = network.logits(&stack.constant(), &network.prepare(images.clone()), shape[0]).primal;
    for task in 0..3 {
        let burn = Burn::new(network, &stack, task);
        let own = images.clone().narrow(0, task, 1).reshape(shape);
        assert_same(alone(&burn, own), logits.clone().narrow(0, task, 1).squeeze_dim(0));
    }
}

#[test]
fn a_stack_of_three_conv4s_equals_three_of_burn() {
    for (side, blocks) in [(28, 4), (15, 3)] {
        for pool in [Pool::Stride, Pool::Max] {
            for (bias, negative_slope) in [(false, 0.0), (true, 0.0), (false, 0.1), (true, 0.01)] {
                let settings = Conv4 { pool, bias, negative_slope, ..Conv4::new(5, blocks) };
                let network = settings.build(side, 4).unwrap();
                assert_same_as_burn(&network, [6, 1, side, side], |burn, x| burn.conv4(&settings, x));
            }
        }
    }
}

#[test]
fn a_stack_of_three_resnets_equals_three_of_burn() {
    for (layers, negative_slope) in [(4, 0.0), (8, 0.1)] {
        let settings = ResNet { filters: 2, layers, negative_slope, init: Initialisation::He };
        let network = settings.build(17, 4).unwrap();
        assert_same_as_burn(&network, [6, 1, 17, 17], |burn, x| burn.resnet(&settings, x));
    }
}

#[test]
fn a_stack_of_three_mlps_equals_three_of_burn() {
    for negative_slope in [0.0, 0.2] {
        let settings = Mlp { negative_slope, ..Mlp::new(&[7, 5]) };
        let network = settings.build(12, 4).unwrap();
        assert_same_as_burn(&network, [6, 12], |burn, x| burn.mlp(&settings, x));
    }
}

#[test]
fn networks_of_images_in_colour_equal_burns() {
    let colour = Shape::square(9, 3);
    // Images have channels last; Burn has them first.
    let first = |x: Tensor<4>| x.permute([0, 3, 1, 2]);
    for pool in [Pool::Stride, Pool::Max] {
        let settings = Conv4 { pool, ..Conv4::new(5, 2) };
        let network = settings.build_on(colour, 4).unwrap();
        assert_eq!(network.leaves()[0].layout.shape(), [5, 3, 3, 3]);
        assert_same_as_burn(&network, [6, 9, 9, 3], |burn, x| burn.conv4(&settings, first(x)));
    }
    let settings = ResNet { filters: 2, layers: 4, negative_slope: 0.1, init: Initialisation::He };
    let network = settings.build_on(colour, 4).unwrap();
    assert_same_as_burn(&network, [6, 9, 9, 3], |burn, x| burn.resnet(&settings, first(x)));
    let settings = Mlp::new(&[7]);
    let network = settings.build_on(colour, 4).unwrap();
    assert_same_as_burn(&network, [6, 9, 9, 3], |burn, x| burn.mlp(&settings, first(x).flatten(1, 3)));
}

#[test]
fn a_network_of_any_layers_equals_burns() {
    let window = Window { size: 5, stride: 2, padding: 2 };
    let network = Sequential::on_images(13)
        .convolution(4, window)
        .bias()
        .leaky_relu(0.3)
        .max_pool(2)
        .name("middle")
        .convolution(6, Window { size: 2, stride: 1, padding: 1 })
        .mean_pool(2)
        .linear(7)
        .bias()
        .head(3)
        .unwrap();
    let names: Vec<String> = network.leaves().into_iter().map(|leaf| leaf.name).collect();
    let expected = [
        "conv1.weight",
        "conv1.bias",
        "middle.weight",
        "linear1.weight",
        "linear1.bias",
        "linear.weight",
        "linear.bias",
    ];
    assert_eq!(names, expected);
    assert_same_as_burn(&network, [6, 1, 13, 13], |burn, x| {
        let x = leaky_relu(burn.convolution("conv1", x, 2), 0.3);
        let x = module::max_pool2d(x, MaxPoolOptions::new([2; 2]).with_stride([2; 2]));
        let x = burn.convolution("middle", x, 1);
        let x = module::avg_pool2d(x, AvgPoolOptions::new([2; 2]).with_stride([2; 2]));
        burn.linear("linear", burn.linear("linear1", x.flatten(1, 3)))
    });
}

#[test]
fn a_layer_that_does_not_fit_is_named() {
    let window = Window { size: 3, stride: 1, padding: 0 };
    let image = || Sequential::on_images(4);
    let refused = |network: Result<Sequential, BuildError>| network.unwrap_err().to_string();
    let cases = [
        (
            image().convolution(2, window).convolution(2, window).head(2),
            ["conv2", "2 × 2 pixels of 2 channels"],
        ),
        (image().max_pool(5).head(2), ["max-pooling", "5 × 5"]),
        (image().max_pool(0).head(2), ["max-pooling", "0 × 0"]),
        (image().batch_norm().bias().head(2), ["bias", "right after it"]),
        (image().leaky_relu(-0.1).head(2), ["leaky ReLU", "-0.1"]),
        (image().residual(|x| x.max_pool(2), |x| x).head(2), ["block1", "2 × 2 pixels of 1 channels"]),
        (image().residual(|x| x.convolution(0, window), |x| x).head(2), ["block1.conv1", "no filters"]),
        (image().name("linear").linear(3).head(2), ["linear.weight", "same name"]),
        (image().head(0), ["head", "0 logits"]),
    ];
    for (network, words) in cases {
        let error = refused(network);
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    }
}

#[test]
fn a_head_may_have_another_number_of_classes() {
    let network = Conv4::new(3, 2).build(7, 3).unwrap();
    let input = network.prepare(normal([2, 4, 49], 1));
    let stack = initialise(&network, 0, &Device::flex()).map(|leaf| leaf.cast(DType::F64)).repeat(2);
    let body = stack.part(0..6).constant();
    let features = network.features(&body, &input, 4).primal;
    assert_eq!(features.dims(), [2, 4, 12]);
    let [weight, bias] = [normal([2, 12, 7], 2), normal([2, 1, 7], 3)];
    let head = Params::new(vec![weight.clone(), bias.clone()]).constant();
    let logits = network.logits(&[body, head].concat(), &input, 4).primal;
    assert_same(logits, features.matmul(weight) + bias);
}

#[test]
fn every_parameter_has_its_role() {
    let resnet = ResNet { filters: 2, layers: 4, negative_slope: 0.0, init: Initialisation::He };
    let networks = [
        Conv4 { bias: true, ..Conv4::new(3, 2) }.build(7, 3).unwrap(),
        Mlp::new(&[5]).build(7, 3).unwrap(),
        resnet.build(7, 3).unwrap(),
    ];
    for network in networks {
        let leaves = network.leaves();
        for (index, leaf) in leaves.iter().enumerate() {
            let is_norm = ["bn", "downsample.1"].iter().any(|name| leaf.name.contains(name));
            let expected = match leaves.len() - index {
                1 | 2 => Role::Head,
                _ if is_norm => Role::Norm,
                _ => Role::Weight,
            };
            assert_eq!(leaf.role, expected, "{}", leaf.name);
        }
    }
}

#[test]
fn initial_weights_have_the_mean_and_variance_of_their_initialisation() {
    for (init, conv, linear, bounded) in [
        // Inputs and outputs of the second convolution and of the head are 9 · 40 and 9 · 40, 40 · 49 and 300.
        (Initialisation::He, 2.0 / 360.0, 1.0 / 1960.0, false),
        (Initialisation::Xavier, 2.0 / 720.0, 2.0 / 2260.0, true),
    ] {
        let network = Conv4 { init, bias: true, ..Conv4::new(40, 2) }.build(28, 300).unwrap();
        let theta = initialise(&network, 5, &Device::flex());
        for (leaf, drawn) in network.leaves().iter().zip(theta.leaves()) {
            let drawn = values(drawn.clone());
            let variance: f64 = match leaf.name.as_str() {
                "conv2.weight" => conv,
                "linear.weight" => linear,
                name if name.ends_with(".bias") => 0.0,
                _ => continue,
            };
            let count = drawn.len() as f64;
            let mean = drawn.iter().sum::<f64>() / count;
            let square = drawn.iter().map(|value| value * value).sum::<f64>() / count;
            // Four standard errors; the fourth moment is 3 σ⁴ of a normal and 9/5 σ⁴ of a uniform distribution.
            assert!(mean.abs() <= 4.0 * (variance / count).sqrt(), "{}: mean {mean}", leaf.name);
            let spread = if bounded { 0.8 } else { 2.0 };
            let off = (square - variance).abs();
            assert!(off <= 4.0 * variance * f64::sqrt(spread / count), "{}: variance {square}", leaf.name);
            let largest = drawn.iter().fold(0.0, |most: f64, value| most.max(value.abs()));
            let bound = (3.0 * variance).sqrt();
            assert_eq!(largest <= bound * 1.000_001, bounded || variance == 0.0, "{}", leaf.name);
            assert!(largest >= bound * 0.999, "{}", leaf.name);
        }
    }
}

#[test]
fn with_support_statistics_query_images_are_independent() {
    // Its logits may depend on the support images in front, not on the other query images.
    for pool in [Pool::Stride, Pool::Max] {
        let network = Conv4 { pool, ..Conv4::new(4, 2) }.build(14, 3).unwrap();
        let (stack, images) = (weights(&network), normal([3, 8, 196], 9));
        let logits =
            |images: Tensor<3>| network.logits(&stack.constant(), &network.prepare(images), 6).primal;
        let both = logits(images.clone());
        let first = logits(images.narrow(1, 0, 7));
        assert_same(both.narrow(1, 0, 7), first);
    }
}

#[test]
fn layouts_pack_and_unpack() {
    let kernel = Layout::Kernel { size: 5, filters: 2, channels: 3 };
    let linear = Layout::Linear { outputs: 2, channels: 3, pixels: 4 };
    for layout in [kernel, linear, Layout::Vector { width: 5 }] {
        let flat: Tensor<2> = normal([2, layout.count()], 0);
        assert_same(layout.unpack(layout.pack(flat.clone())), flat);
    }
    // Outside [output, channel, pixel]; inside row = pixel·channels + channel, column = output.
    let count = linear.count();
    let numbers: Vec<f64> = (0..count).map(|number| number as f64).collect();
    let flat = Tensor::from_data(TensorData::new(numbers, [1, count]), (&Device::flex(), DType::F64));
    let inside: Vec<f64> = linear.pack(flat).into_data().iter::<f64>().collect();
    let (pixel, channel, output) = (2, 1, 1);
    assert_eq!(inside[(pixel * 3 + channel) * 2 + output], ((output * 3 + channel) * 4 + pixel) as f64);
}
