//! Episodes: few-shot classification tasks.

use super::{Placement, RotatedClass};

/// The size of an episode.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct EpisodeShape {
    /// Number of classes.
    pub ways: usize,
    /// Support images per class, to which the learner adapts.
    pub shots: usize,
    /// Query images per class, on which it is tested.
    pub queries: usize,
}

/// The pixels of an episode, in order of its classes. Labels number the episode's own classes from 0.
#[derive(Clone, Debug, PartialEq)]
pub struct Episode {
    /// The classes as they are turned in this episode, in the order of their labels, `[ways]`.
    pub classes: Vec<RotatedClass>,
    /// Number of values of an image: its pixels times their channels.
    pub values: usize,
    /// Support images, `[ways·shots, values]`, normalised; see [`Sampler::values`](super::Sampler::values).
    pub support: Vec<f32>,
    /// The label of each support image, `[ways·shots]`.
    pub support_labels: Vec<usize>,
    /// The index within its class of each support image, `[ways·shots]`.
    pub support_examples: Vec<usize>,
    /// Query images, `[ways·queries, values]`.
    pub query: Vec<f32>,
    /// The label of each query image, `[ways·queries]`.
    pub query_labels: Vec<usize>,
    /// The index within its class of each query image, `[ways·queries]`.
    pub query_examples: Vec<usize>,
}

/// A reference to one image of an [`ImageSet`](super::ImageSet).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ImageRef {
    /// Its class, perhaps rotated.
    pub class: RotatedClass,
    /// Its index within the class.
    pub example: usize,
    /// How it is mirrored, shifted and warped, after the rotation of its class.
    pub placement: Placement,
}

impl ImageRef {
    /// Image number `example` of `class`, as it is stored but for the rotation of its class.
    pub fn new(class: RotatedClass, example: usize) -> Self {
        Self { class, example, placement: Placement::default() }
    }
}

/// References to the images of an episode, in order of its classes; with n images per class, image i has label i / n.
#[derive(Clone, Debug, PartialEq)]
pub struct Selection {
    /// Support images, `[ways·shots]`.
    pub support: Vec<ImageRef>,
    /// Query images, `[ways·queries]`.
    pub query: Vec<ImageRef>,
}

impl EpisodeShape {
    /// The label of each support image of an episode, `[ways·shots]`.
    pub fn support_labels(&self) -> Vec<usize> {
        labels(self.ways, self.shots)
    }

    /// The label of each query image of an episode, `[ways·queries]`.
    pub fn query_labels(&self) -> Vec<usize> {
        labels(self.ways, self.queries)
    }
}

fn labels(ways: usize, each: usize) -> Vec<usize> {
    (0..ways).flat_map(|label| std::iter::repeat_n(label, each)).collect()
}
