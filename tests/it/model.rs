//! Networks: the stacked forward pass agrees with the Burn modules, and layouts convert in both directions.

use crate::common::problems::normal;
use crate::common::relative_error;
use bilevel::Params;
use burn::tensor::{DType, Device, Tensor, TensorData};
use metaburn::model::{Architecture, Conv4, Conv4Config, Layout, Mlp, MlpConfig, initialise};

fn assert_same<const D: usize>(a: Tensor<D>, b: Tensor<D>) {
    let list = |x: Tensor<D>| x.into_data().iter::<f64>().collect::<Vec<_>>();
    assert!(relative_error(&list(a), &list(b)) < 1e-10);
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

#[test]
fn a_stack_of_three_conv4s_equals_three_modules() {
    for (side, blocks) in [(28, 4), (15, 3)] {
        let config = Conv4Config::new(side, blocks, 5, 4);
        let (stack, images) = (weights(&config), normal([3, 6, side * side], 9));
        let logits = config.logits(&stack.constant(), &config.prepare(images.clone()), 6).primal;
        for task in 0..3 {
            let module = Conv4::from_stack(&config, &stack.select(&[task]));
            let alone = module.forward(images.clone().narrow(0, task, 1).reshape([6, 1, side, side]));
            assert_same(alone, logits.clone().narrow(0, task, 1).squeeze_dim(0));
            for (back, leaf) in module.to_stack(&config).leaves().iter().zip(stack.select(&[task]).leaves()) {
                assert_same(back.clone(), leaf.clone());
            }
        }
    }
}

#[test]
fn a_stack_of_three_mlps_equals_three_modules() {
    let config = MlpConfig::new(12, &[7, 5], 4);
    let (stack, images) = (weights(&config), normal([3, 6, 12], 9));
    let logits = config.logits(&stack.constant(), &config.prepare(images.clone()), 6).primal;
    for task in 0..3 {
        let module = Mlp::from_stack(&config, &stack.select(&[task]));
        let alone = module.forward(images.clone().narrow(0, task, 1).squeeze_dim(0));
        assert_same(alone, logits.clone().narrow(0, task, 1).squeeze_dim(0));
        for (back, leaf) in module.to_stack().leaves().iter().zip(stack.select(&[task]).leaves()) {
            assert_same(back.clone(), leaf.clone());
        }
    }
}

#[test]
fn with_support_statistics_query_images_are_independent() {
    // Its logits may depend on the support images in front, not on the other query images.
    let config = Conv4Config::new(14, 2, 4, 3);
    let (stack, images) = (weights(&config), normal([3, 8, 196], 9));
    let logits = |images: Tensor<3>| config.logits(&stack.constant(), &config.prepare(images), 6).primal;
    let both = logits(images.clone());
    let first = logits(images.narrow(1, 0, 7));
    assert_same(both.narrow(1, 0, 7), first);
}

#[test]
fn layouts_pack_and_unpack() {
    let kernel = Layout::Kernel { filters: 2, channels: 3 };
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
