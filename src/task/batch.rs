//! Labelled images, or points with values, of T tasks as input of a network.

use crate::data::Labelled;
use crate::model::Architecture;
use bilevel::{is_everything, task_indices};
use burn::tensor::{DType, Device, Tensor, TensorData};

/// Labelled images, or points with values, of T tasks as input of a network.
#[derive(Clone)]
pub struct Batch {
    /// Output of [`Architecture::prepare`] for the images: `[tasks, n·rows, columns]`.
    pub input: Tensor<3>,
    /// One-hot labels, `[tasks, n, ways]`, or values, `[tasks, n, outputs]`.
    pub targets: Tensor<3>,
}

impl Batch {
    /// A batch of `images [tasks, n, pixels]` (ink 1, paper 0) with `tasks·n` labels below `ways`. Without labels, only
    /// logits can be computed.
    pub fn new(architecture: &dyn Architecture, images: Tensor<3>, labels: &[usize], ways: usize) -> Self {
        let targets = one_hot(&images, labels, ways);
        Self { targets, input: architecture.prepare(images) }
    }

    /// A batch of points `inputs [tasks, n, values]` with the values `targets [tasks, n, outputs]`.
    pub fn of_values(architecture: &dyn Architecture, inputs: Tensor<3>, targets: Tensor<3>) -> Self {
        Self { targets, input: architecture.prepare(inputs) }
    }

    /// All of `set` as the batch of one task, for a network whose first layer is linear (ink 1, paper 0).
    pub fn of(set: &Labelled, options: (&Device, DType)) -> Self {
        let pixels: Vec<f32> = set.images().iter().map(|ink| f32::from(*ink) / 255.0).collect();
        let images = Tensor::from_data(TensorData::new(pixels, [1, set.len(), set.pixels()]), options);
        Self { targets: one_hot(&images, set.labels(), set.classes()), input: images }
    }

    /// Number n of images or points per task.
    pub(super) fn count(&self) -> usize {
        self.targets.dims()[1]
    }

    /// The batch with each tensor replaced by what `replace` returns for it.
    pub(super) fn with_data(&self, replace: &mut dyn FnMut(Tensor<3>) -> Tensor<3>) -> Self {
        Self { input: replace(self.input.clone()), targets: replace(self.targets.clone()) }
    }

    /// The tasks with indices `tasks`, in that order. Selecting all tasks in order copies nothing.
    pub(super) fn select(&self, tasks: &[usize]) -> Self {
        if is_everything(tasks, self.input.dims()[0]) {
            return self.clone();
        }
        let tasks = task_indices(tasks, &self.input.device());
        let pick = |x: &Tensor<3>| x.clone().select(0, tasks.clone());
        Self { input: pick(&self.input), targets: pick(&self.targets) }
    }
}

/// One-hot labels of `images [tasks, n, …]`: `[tasks, n, ways]`.
fn one_hot(images: &Tensor<3>, labels: &[usize], ways: usize) -> Tensor<3> {
    let [tasks, count, _] = images.dims();
    let mut values = vec![0f32; tasks * count * ways];
    labels.iter().enumerate().for_each(|(image, label)| values[image * ways + label] = 1.0);
    Tensor::from_data(TensorData::new(values, [tasks, count, ways]), (&images.device(), images.dtype()))
}
