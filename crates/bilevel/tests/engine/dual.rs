//! Tangents of all operations against central differences, in float64; gradients of tangents, the Hessian-vector products.

use super::problems::{normal, relative_error};
use bilevel::Dual;
use bilevel::kernel::{Grid, Window};
use burn::tensor::Tensor;
use std::sync::Arc;

/// Asserts that the tangent of `function` along random directions is its central difference.
fn check(name: &str, shapes: &[[usize; 3]], function: impl Fn(Vec<Dual<3>>) -> Dual<3>) {
    let draw = |seed| {
        shapes.iter().zip(seed..).map(|(shape, seed)| normal(*shape, seed)).collect::<Vec<Tensor<3>>>()
    };
    let (inputs, directions) = (draw(1), draw(100));
    let at = |h: f64| {
        let moved = inputs.iter().zip(&directions).map(|(x, d)| Dual::constant(x.clone() + d.clone() * h));
        let out = function(moved.collect());
        assert!(out.tangent.is_none(), "{name}: constants carry no tangent");
        out.primal.into_data().iter::<f64>().collect::<Vec<_>>()
    };
    let h = 1e-6;
    let difference: Vec<f64> = at(h).iter().zip(at(-h)).map(|(up, down)| (up - down) / (2.0 * h)).collect();
    let moving = inputs.iter().zip(&directions).map(|(x, d)| Dual::moving(x.clone(), d.clone()));
    let out = function(moving.collect());
    let tangent = out.tangent.unwrap();
    assert_eq!(tangent.dims(), out.primal.dims(), "{name}");
    let tangent: Vec<f64> = tangent.into_data().iter::<f64>().collect();
    let error = relative_error(&tangent, &difference);
    assert!(error < 1e-7, "{name}: tangent off by {error:e}");

    // Linearity: the tangents of each input moving alone add up.
    let mut sum = vec![0.0; tangent.len()];
    for moving in 0..inputs.len() {
        let duals = (0..inputs.len()).map(|at| match at == moving {
            true => Dual::moving(inputs[at].clone(), directions[at].clone()),
            false => Dual::constant(inputs[at].clone()),
        });
        let part = function(duals.collect()).tangent.unwrap();
        sum.iter_mut().zip(part.into_data().iter::<f64>()).for_each(|(sum, part)| *sum += part);
    }
    assert!(relative_error(&sum, &tangent) < 1e-12, "{name}: the parts do not add up");
}

#[test]
fn every_tangent_matches_central_differences() {
    check("matmul", &[[2, 3, 4], [2, 4, 5]], |x| x[0].clone().matmul(x[1].clone()));
    check("mul, broadcast", &[[2, 3, 4], [2, 1, 4]], |x| x[0].clone() * x[1].clone());
    check("add, broadcast", &[[2, 3, 4], [2, 1, 4]], |x| x[0].clone() + x[1].clone());
    check("sub, broadcast", &[[2, 1, 4], [2, 3, 4]], |x| x[0].clone() - x[1].clone());
    check("scale, sum", &[[2, 3, 4]], |x| x[0].clone().scale(3.0).sum_dim(1));
    check("squared norm", &[[2, 3, 4]], |x| x[0].clone().squared_norm().reshape([2, 1, 1]));
    check("reshape, narrow", &[[2, 3, 4]], |x| x[0].clone().reshape([2, 4, 3]).narrow(1, 1, 2));
    check("relu", &[[2, 30, 4]], |x| x[0].clone().relu());
    check("leaky relu", &[[2, 30, 4]], |x| x[0].clone().leaky_relu(0.2));
    for (size, stride) in [(2, 2), (3, 1), (2, 3)] {
        let grid = Arc::new(Grid::new([5, 6], Window { size, stride, padding: 0 }));
        check("max-pool", &[[2, 60, 4]], |x| x[0].clone().max_pool(&grid));
        check("mean-pool", &[[2, 60, 4]], |x| x[0].clone().mean_pool(&grid));
    }
    check("sigmoid", &[[2, 3, 4]], |x| x[0].clone().sigmoid());
    check("log_softmax", &[[2, 3, 4]], |x| x[0].clone().log_softmax(2));
    for rows in [3, 6] {
        check("batch norm", &[[2, 6, 4], [2, 1, 4], [2, 1, 4]], |x| {
            x[0].clone().batch_norm(x[1].clone(), x[2].clone(), rows, 1e-5)
        });
    }
}

#[test]
fn the_gradient_of_a_tangent_is_a_hessian_vector_product() {
    // f(x) = Σ log_softmax(batch_norm(relu(xA)))₀, its Hessian times v by differences of gradients.
    let (x, v, a) = (normal([1, 6, 4], 1), normal([1, 6, 4], 2), normal([1, 4, 5], 3));
    let (gamma, beta) = (normal([1, 1, 5], 4), normal([1, 1, 5], 5));
    let function = |x: Dual<3>| {
        let [a, gamma, beta] = [&a, &gamma, &beta].map(|constant| Dual::constant(constant.clone()));
        x.matmul(a).relu().batch_norm(gamma, beta, 6, 1e-5).log_softmax(2).narrow(2, 0, 1).sum_dim(1)
    };
    let gradient = |at: Tensor<3>| {
        let leaf = at.autodiff().require_grad();
        let gradients = function(Dual::constant(leaf.clone())).primal.sum().backward();
        leaf.grad(&gradients).unwrap()
    };
    let h = 1e-5;
    let difference = (gradient(x.clone() + v.clone() * h) - gradient(x.clone() - v.clone() * h)) / (2.0 * h);
    let leaf = x.autodiff().require_grad();
    let slope = function(Dual::moving(leaf.clone(), v)).tangent.unwrap();
    let product = leaf.grad(&slope.sum().backward()).unwrap();
    let list = |x: Tensor<3>| x.into_data().iter::<f64>().collect::<Vec<_>>();
    assert!(relative_error(&list(product), &list(difference)) < 1e-8);
}
