//! Residual sum: y = body(x) + shortcut(x) (He et al., *Deep residual learning*, 2016).

use super::{Layer, Product, Shape, forward, leaves};
use crate::model::Leaf;
use bilevel::Dual;

/// The sum of two stacks of layers on the same input.
#[derive(Debug)]
pub struct Residual {
    body: Vec<Box<dyn Layer>>,
    shortcut: Vec<Box<dyn Layer>>,
    /// The body's, then the shortcut's.
    leaves: Vec<Leaf>,
    output: Shape,
}

impl Residual {
    /// The sum of `body` and `shortcut`, which both have outputs of shape `output`. A shortcut without layers is the
    /// identity.
    pub fn new(body: Vec<Box<dyn Layer>>, shortcut: Vec<Box<dyn Layer>>, output: Shape) -> Self {
        let leaves = leaves(&body).chain(leaves(&shortcut)).cloned().collect();
        Self { body, shortcut, leaves, output }
    }
}

impl Layer for Residual {
    fn leaves(&self) -> &[Leaf] {
        &self.leaves
    }

    fn products(&self) -> Vec<Product> {
        self.body.iter().chain(&self.shortcut).flat_map(|layer| layer.products()).collect()
    }

    fn output(&self) -> Shape {
        self.output
    }

    fn forward(&self, x: Dual<3>, weights: &[Dual<3>], statistics: usize) -> Dual<3> {
        let (body, shortcut) = weights.split_at(leaves(&self.body).count());
        forward(&self.body, x.clone(), body, statistics) + forward(&self.shortcut, x, shortcut, statistics)
    }
}
