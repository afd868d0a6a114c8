//! What an episode is made of, by name: drawn in microseconds, before a pixel is touched.

use super::{EpisodeShape, Turned};

/// One image of an episode.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Picture {
    /// Its class, and how that is turned.
    pub class: Turned,
    /// Which example of the class it is.
    pub example: usize,
}

/// The images of one episode, class after class: image `i` of `n` a class has label `i / n`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Selection {
    /// What the learner adapts to, `[ways·shots]`.
    pub support: Vec<Picture>,
    /// What it is tested on, `[ways·queries]`.
    pub query: Vec<Picture>,
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
