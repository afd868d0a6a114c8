//! Random changes of training episodes: turned classes, mirrored, shifted and warped images.
//!
//! Each kind has a random stream of its own, so that what one of them draws, and which classes and images are drawn,
//! does not depend on the others.

use std::fmt;

use rand::RngExt;
use serde::Serialize;

use super::{EpisodeShape, ImageRef, Selection};
use bilevel::rng::generator;

/// How training episodes are changed. The default leaves them as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Augmentation {
    /// Whether each class of an episode is turned by a random multiple of 90°, the same for all its images.
    pub turns: bool,
    /// Whether each image is mirrored, left to right, with probability ½.
    pub flips: bool,
    /// Each image is moved down and to the right by whole numbers of pixels, uniform from −`shift` to `shift`.
    pub shift: usize,
    /// Each image is then rotated, stretched and sheared by a [`Warp`](super::Warp) of four numbers, uniform from −`warp` to `warp`.
    pub warp: f64,
}

impl Augmentation {
    /// Changes training episode number `index`, which has this `shape`.
    pub(super) fn apply(self, seed: u64, index: u64, shape: &EpisodeShape, episode: &mut Selection) {
        if self.turns {
            let mut random = generator(seed, "episode/turns", index);
            let support = episode.support.chunks_mut(shape.shots);
            for (support, query) in support.zip(episode.query.chunks_mut(shape.queries)) {
                let turns = random.random_range(0..4);
                support.iter_mut().chain(query).for_each(|image| image.class.turn(turns));
            }
        }
        if self.flips {
            let mut random = generator(seed, "episode/flips", index);
            images(episode).for_each(|image| image.placement.mirrored = random.random());
        }
        if self.shift > 0 {
            let mut random = generator(seed, "episode/shifts", index);
            let most = self.shift as i32;
            for image in images(episode) {
                image.placement.down = random.random_range(-most..=most);
                image.placement.right = random.random_range(-most..=most);
            }
        }
        if self.warp > 0.0 {
            let mut random = generator(seed, "episode/warps", index);
            let most = self.warp as f32;
            for image in images(episode) {
                image.placement.warp = std::array::from_fn(|_| random.random_range(-most..=most));
            }
        }
    }
}

/// What is done, as in "half of the images mirrored, images shifted by up to 2 pixels"; "none" if nothing is.
impl fmt::Display for Augmentation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let turns = self.turns.then(|| "classes turned by a random multiple of 90°".to_string());
        let flips = self.flips.then(|| "half of the images mirrored".to_string());
        let shift = (self.shift > 0).then(|| format!("images shifted by up to {} pixels", self.shift));
        let warp = (self.warp > 0.0).then(|| format!("images warped by up to {}", self.warp));
        let done: Vec<String> = [turns, flips, shift, warp].into_iter().flatten().collect();
        if done.is_empty() { out.pad("none") } else { out.pad(&done.join(", ")) }
    }
}

/// The images of an episode, support images first.
fn images(episode: &mut Selection) -> impl Iterator<Item = &mut ImageRef> {
    episode.support.iter_mut().chain(&mut episode.query)
}
