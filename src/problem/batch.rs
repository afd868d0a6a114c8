//! Labelled images of T tasks, ready for the network.

use crate::data::Labelled;
use crate::model::Architecture;
use crate::stack;
use burn::tensor::{DType, Device, Tensor, TensorData};

/// Labelled images of T tasks, ready for the network.
#[derive(Clone)]
pub struct Batch {
    /// What [`Architecture::prepare`] made of the images: `[tasks, n·rows, columns]`.
    pub input: Tensor<3>,
    /// `[tasks, n, ways]`, 1 at each image's class.
    pub one_hot: Tensor<3>,
}

impl Batch {
    /// From `images [tasks, n, pixels]` (ink 1, paper 0) and `tasks·n` labels below `ways`; of images
    /// without labels, only the logits mean something.
    pub fn new(architecture: &dyn Architecture, images: Tensor<3>, labels: &[usize], ways: usize) -> Self {
        let one_hot = one_hot(&images, labels, ways);
        Self { one_hot, input: architecture.prepare(images) }
    }

    /// All of `set` as one task's, the pixels as they are (ink 1, paper 0): what a linear first layer needs.
    pub fn of(set: &Labelled, options: (&Device, DType)) -> Self {
        let pixels: Vec<f32> = set.images().iter().map(|ink| f32::from(*ink) / 255.0).collect();
        let images = Tensor::from_data(TensorData::new(pixels, [1, set.len(), set.pixels()]), options);
        Self { one_hot: one_hot(&images, set.labels(), set.classes()), input: images }
    }

    /// Images of each task, n.
    pub(super) fn count(&self) -> usize {
        self.one_hot.dims()[1]
    }

    /// Only the tasks at `tasks`, in that order. All of them, in order, costs nothing.
    pub(super) fn select(&self, tasks: &[usize]) -> Self {
        if stack::is_everything(tasks, self.input.dims()[0]) {
            return self.clone();
        }
        let tasks = stack::task_indices(tasks, &self.input.device());
        let pick = |x: &Tensor<3>| x.clone().select(0, tasks.clone());
        Self { input: pick(&self.input), one_hot: pick(&self.one_hot) }
    }
}

/// 1 at the label of each of `images [tasks, n, …]`: `[tasks, n, ways]`.
fn one_hot(images: &Tensor<3>, labels: &[usize], ways: usize) -> Tensor<3> {
    let [tasks, count, _] = images.dims();
    let mut values = vec![0f32; tasks * count * ways];
    labels.iter().enumerate().for_each(|(image, label)| values[image * ways + label] = 1.0);
    Tensor::from_data(TensorData::new(values, [tasks, count, ways]), (&images.device(), images.dtype()))
}
