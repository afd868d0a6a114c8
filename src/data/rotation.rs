//! Rotations by quarter turns, which enlarge the training set in one of two ways. A rotated class counts as another class
//! (Santoro et al., *Meta-learning with memory-augmented neural networks*, 2016), or each class of an episode is turned
//! at random (Antoniou et al., *How to train your MAML*, 2019).

use serde::{Deserialize, Serialize};

bilevel::choice! {
    /// How training classes are rotated.
    pub enum Rotations {
        /// They are not.
        None = "none",
        /// Each class rotated by 90°, 180° and 270° counts as three further classes.
        Classes = "classes",
        /// In each episode all images of a class are turned by the same random multiple of 90°.
        Episode = "episode",
    }
}

/// A class, perhaps rotated.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct RotatedClass {
    /// Index of the class in its [`ImageSet`](super::ImageSet).
    pub class: usize,
    /// Counter-clockwise quarter turns, 0 to 3.
    pub quarter_turns: u8,
}

impl RotatedClass {
    /// The class without rotation.
    pub fn upright(class: usize) -> Self {
        Self { class, quarter_turns: 0 }
    }

    /// Turns the class by `quarter_turns` more.
    pub(super) fn turn(&mut self, quarter_turns: u8) {
        self.quarter_turns = (self.quarter_turns + quarter_turns) % 4;
    }
}
