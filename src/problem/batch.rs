//! Labelled images of T tasks, ready for the network.

use crate::model::Architecture;
use burn::tensor::{Int, Tensor, TensorData};

/// Labelled images of T tasks, ready for the network.
#[derive(Clone)]
pub struct Batch {
    /// What [`Architecture::prepare`] made of the images: `[tasks, n·rows, columns]`.
    pub input: Tensor<3>,
    /// `[tasks, n, ways]`, 1 at each image's class.
    pub one_hot: Tensor<3>,
}

impl Batch {
    /// From `images [tasks, n, pixels]` (ink 1, paper 0) and `tasks·n` labels below `ways`.
    pub fn new(architecture: &dyn Architecture, images: Tensor<3>, labels: &[usize], ways: usize) -> Self {
        let [tasks, count, _] = images.dims();
        let mut one_hot = vec![0f32; tasks * count * ways];
        labels.iter().enumerate().for_each(|(image, label)| one_hot[image * ways + label] = 1.0);
        let one_hot = TensorData::new(one_hot, [tasks, count, ways]);
        Self {
            one_hot: Tensor::from_data(one_hot, (&images.device(), images.dtype())),
            input: architecture.prepare(images),
        }
    }

    /// Images of each task, n.
    pub(super) fn count(&self) -> usize {
        self.one_hot.dims()[1]
    }

    /// Only the tasks at `tasks`, in that order.
    pub(super) fn select(&self, tasks: &Tensor<1, Int>) -> Self {
        let pick = |x: &Tensor<3>| x.clone().select(0, tasks.clone());
        Self { input: pick(&self.input), one_hot: pick(&self.one_hot) }
    }
}
