//! Learning the rates and penalties of a perceptron by hypergradients, on MNIST.

use crate::common::optional::data_set;
use crate::common::problems::{labelled_images, normal, values};
use crate::common::relative_error;
use bilevel::hypergradient::{LossWeights, Workers, adapt, objective};
use bilevel::{Bilevel, Dual, Params};
use burn::tensor::{DType, Device};
use metaburn::config::Config;
use metaburn::data::{Labelled, mnist};
use metaburn::task::{Batch, Hyperparameters};
use metaburn::train::outer_loop;

fn batch(set: &Labelled, dtype: DType) -> Batch {
    Batch::of(set, (&Device::flex(), dtype))
}

#[test]
fn each_layer_has_its_own_rate_and_penalty() {
    let sets = [labelled_images(9, 6, 3, 1), labelled_images(6, 6, 3, 2)].map(|set| batch(&set, DType::F64));
    let [train, validation] = sets;
    let problem = Hyperparameters::new(train, validation, &[5], 0);
    assert_eq!(problem.layers(), 2);
    let one = problem.start(&problem.at(&[1.0; 2], &[1.0; 2]));
    let shapes: Vec<[usize; 3]> = one.leaves().iter().map(|leaf| leaf.dims()).collect();
    assert_eq!(shapes, [[1, 6, 5], [1, 1, 5], [1, 5, 3], [1, 1, 3]]);

    // One inner step moves each layer in proportion to its rate.
    let displacement = |rates: &[f64]| adapt(&problem, &problem.at(rates, &[0.1; 2]), 1).0 - one.clone();
    let (single, double) = (displacement(&[0.1, 0.1]), displacement(&[0.1, 0.2]));
    for (leaf, factor) in [1.0, 1.0, 2.0, 2.0].into_iter().enumerate() {
        let [single, double] = [&single, &double].map(|moved| values(&moved.part(leaf..leaf + 1)));
        assert!(relative_error(&double, &single.iter().map(|x| factor * x).collect::<Vec<_>>()) < 1e-9);
    }

    // A penalty is half the squared norm of its layer's weights, without biases.
    let fast = one.map(|leaf| leaf.clone() + normal(leaf.dims(), 5));
    let loss = |penalties: &[f64]| -> f64 {
        let theta = problem.at(&[1.0; 2], penalties);
        let loss: Dual<1> = problem.inner_loss(1, &theta.constant(), &fast.constant());
        loss.primal.into_scalar()
    };
    for (layer, penalties) in [(0, [3.0, 1.0]), (1, [1.0, 3.0])] {
        let squares: f64 = fast.part(2 * layer..2 * layer + 1).squared_norm().into_scalar();
        assert!((loss(&penalties) - loss(&[1.0, 1.0]) - squares).abs() < 1e-9);
    }
}

#[test]
fn on_mnist_hypergradients_improve_rates_and_penalties() {
    let Some(folder) = data_set("mnist") else { return };
    let digits = mnist::load(&folder).expect("sound files");
    let [train, validation, test] = digits.train.parts([500, 500, 1000], 0).expect("enough digits");
    let [train, validation, test] = [train, validation, test].map(|set| batch(&set, DType::F32));
    let problem = Hyperparameters::new(train, validation, &[32], 0);
    let steps = 30;
    let keys = ["inner.steps=30", "outer.steps=15", "outer.rate=0.2", "outer.schedule=constant"];
    let config = Config::load(None, &keys.map(String::from)).unwrap_or_else(|error| panic!("{error}"));
    // Rates much too low, and penalties too high.
    let theta = problem.at(&[0.01; 2], &[0.1; 2]);
    let mut descent = outer_loop(&config, theta.clone(), Workers::TOGETHER);
    while descent.progress() < 1.0 {
        descent.step(&problem).expect("finite");
    }
    let assess = |theta: &Params| {
        let (fast, _) = adapt(&problem, theta, steps);
        let accuracy: f64 = problem.assess(&fast, &test).accuracy.into_scalar();
        (objective(&problem, theta, &LossWeights::last(steps)), 100.0 * accuracy)
    };
    let (before, after) = (assess(&theta), assess(descent.theta()));
    // Measured: a validation loss of 2.10 → 0.70, a test accuracy of 31.6 → 79.8 %.
    assert!(after.0 < 0.5 * before.0 && after.1 > before.1 + 30.0, "{before:?} → {after:?}");
}
