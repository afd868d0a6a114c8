//! The fused operations on flex.

use super::Grid;
use super::flex::{self, Norm, Values};
use super::fused::{Derivatives, Fused};
use burn::backend::Flex;
use std::sync::Arc;

impl Fused for Flex {
    fn convolve(images: Values, weights: Values, grid: Arc<Grid>) -> Values {
        flex::convolve(&grid, &[(&images, &weights)])
    }

    fn convolve_two(a: Values, v: Values, b: Values, w: Values, grid: Arc<Grid>) -> Values {
        flex::convolve(&grid, &[(&a, &v), (&b, &w)])
    }

    fn max_pool(x: Values, grid: Arc<Grid>) -> Values {
        flex::max_pool(&grid, &x, &x)
    }

    fn max_pool_tangent(x: Values, x_tangent: Values, grid: Arc<Grid>) -> Values {
        flex::max_pool(&grid, &x, &x_tangent)
    }

    fn norm_relu(x: Values, gamma: Values, beta: Values, norm: Norm) -> Values {
        flex::norm_relu(norm, &x, [&gamma, &beta])
    }

    fn norm_relu_tangent(
        x: Values,
        gamma: Values,
        beta: Values,
        x_tangent: Values,
        gamma_tangent: Values,
        beta_tangent: Values,
        norm: Norm,
    ) -> Values {
        flex::norm_relu_tangent(norm, &x, [&gamma, &beta], &x_tangent, [&gamma_tangent, &beta_tangent])
    }
}

impl Derivatives for Flex {
    fn input_gradient(grid: &Arc<Grid>, gradient: &Values, weights: &Values) -> Values {
        flex::input_gradient(grid, gradient, weights)
    }

    fn weight_gradient(grid: &Arc<Grid>, images: &Values, gradient: &Values) -> Values {
        flex::weight_gradient(grid, images, gradient)
    }

    fn max_pool_gradient(grid: &Arc<Grid>, x: &Values, g: &Values) -> Values {
        flex::max_pool_gradient(grid, x, g)
    }

    fn norm_relu_gradient(norm: Norm, [x, gamma, beta]: [&Values; 3], g: &Values) -> [Values; 3] {
        flex::norm_relu_gradient(norm, x, [gamma, beta], g)
    }

    fn norm_relu_tangent_gradient(
        norm: Norm,
        [x, gamma, beta]: [&Values; 3],
        x_tangent: &Values,
        gamma_tangent: &Values,
        g: &Values,
    ) -> [Values; 5] {
        flex::norm_relu_tangent_gradient(norm, x, [gamma, beta], x_tangent, gamma_tangent, g)
    }
}
