//! Pooling: the largest value or the mean of each window, or the mean of the whole image.

use super::{Layer, Shape};
use bilevel::Dual;
use bilevel::kernel::{Grid, Window};
use std::sync::Arc;

/// The largest value of each window and channel.
#[derive(Debug)]
pub struct MaxPool {
    output: Shape,
    grid: Arc<Grid>,
}

/// The mean of each window and channel.
#[derive(Debug)]
pub struct MeanPool {
    output: Shape,
    grid: Arc<Grid>,
}

/// The mean of each channel over all pixels.
#[derive(Debug)]
pub struct GlobalMeanPool {
    input: Shape,
}

impl Shape {
    /// The shape of an output of `channels` channels with one pixel for each position of `window`; `None` if there is no
    /// position.
    pub(super) fn windows(self, window: Window, channels: usize) -> Option<Self> {
        let [height, width] = [self.height, self.width].map(|side| window.positions(side));
        (height * width > 0).then_some(Self { height, width, channels })
    }
}

/// A window of `size`² pixels that moves by its own size.
fn tile(size: usize) -> Window {
    Window { size, stride: size, padding: 0 }
}

impl MaxPool {
    /// Windows of `size`² pixels, side by side; pixels left over at the end are dropped. `None` if no window fits.
    pub fn new(input: Shape, size: usize) -> Option<Self> {
        let output = input.windows(tile(size), input.channels)?;
        Some(Self { output, grid: Arc::new(Grid::new([input.height, input.width], tile(size))) })
    }
}

impl MeanPool {
    /// Windows as of [`MaxPool::new`].
    pub fn new(input: Shape, size: usize) -> Option<Self> {
        let MaxPool { output, grid } = MaxPool::new(input, size)?;
        Some(Self { output, grid })
    }
}

impl GlobalMeanPool {
    /// The mean of inputs of this shape.
    pub fn new(input: Shape) -> Self {
        Self { input }
    }
}

impl Layer for MaxPool {
    fn output(&self) -> Shape {
        self.output
    }

    fn forward(&self, x: Dual<3>, _weights: &[Dual<3>], _statistics: usize) -> Dual<3> {
        x.max_pool(&self.grid)
    }
}

impl Layer for MeanPool {
    fn output(&self) -> Shape {
        self.output
    }

    fn forward(&self, x: Dual<3>, _weights: &[Dual<3>], _statistics: usize) -> Dual<3> {
        x.mean_pool(&self.grid)
    }
}

impl Layer for GlobalMeanPool {
    fn output(&self) -> Shape {
        Shape { height: 1, width: 1, ..self.input }
    }

    fn forward(&self, x: Dual<3>, _weights: &[Dual<3>], _statistics: usize) -> Dual<3> {
        let ([tasks, rows, channels], pixels) = (x.dims(), self.input.pixels());
        let images = x.reshape([tasks * rows / pixels, pixels, channels]);
        images.linear(|x| x.mean_dim(1)).reshape([tasks, rows / pixels, channels])
    }
}
