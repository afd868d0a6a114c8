//! Sinusoids: a family of regression tasks without data (Finn, Abbeel & Levine, *Model-agnostic meta-learning*, 2017,
//! section 5.1).
//!
//! A task is a curve y = A·sin(x − φ) with its own amplitude A, uniform in [0.1, 5], and phase φ, uniform in [0, π]. Its
//! points have x uniform in [−5, 5] and no noise.

use super::Part;
use crate::support::hex::hex;
use bilevel::rng::generator;
use rand::RngExt;
use sha2::{Digest, Sha256};
use std::f64::consts::PI;
use std::ops::RangeInclusive;

/// Range of the amplitude A.
pub const AMPLITUDES: RangeInclusive<f64> = 0.1..=5.0;
/// Range of the phase φ.
pub const PHASES: RangeInclusive<f64> = 0.0..=PI;
/// Range of x.
pub const INPUTS: RangeInclusive<f64> = -5.0..=5.0;

/// The curve y = A·sin(x − φ).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sinusoid {
    /// A.
    pub amplitude: f64,
    /// φ.
    pub phase: f64,
}

impl Sinusoid {
    /// y at `x`.
    pub fn at(&self, x: f64) -> f64 {
        self.amplitude * (x - self.phase).sin()
    }

    /// y at each of `inputs`.
    pub fn at_all(&self, inputs: &[f64]) -> Vec<f64> {
        inputs.iter().map(|x| self.at(*x)).collect()
    }
}

/// An episode: a sinusoid and the x of its points.
#[derive(Clone, Debug, PartialEq)]
pub struct SinusoidEpisode {
    /// The curve.
    pub sinusoid: Sinusoid,
    /// The points that the learner adapts to, `[shots]`.
    pub support: Vec<f64>,
    /// The points that its error is measured on, `[queries]`.
    pub query: Vec<f64>,
}

/// Draws sinusoids. The parts differ in their random draws only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sinusoids {
    seed: u64,
}

impl Sinusoids {
    /// The sinusoids of `seed`.
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// Episode number `index` of `part`, a function of the seed, the part and the index. Its curve and support points do not
    /// depend on `queries`.
    pub fn episode(&self, part: Part, index: u64, shots: usize, queries: usize) -> SinusoidEpisode {
        let mut random = generator(self.seed, purpose(part), index);
        let (amplitude, phase) = (random.random_range(AMPLITUDES), random.random_range(PHASES));
        let mut inputs = |count| (0..count).map(|_| random.random_range(INPUTS)).collect();
        let (support, query) = (inputs(shots), inputs(queries));
        SinusoidEpisode { sinusoid: Sinusoid { amplitude, phase }, support, query }
    }

    /// Digest of what is drawn from, for checkpoints.
    pub fn digest(&self) -> String {
        hex(&Sha256::digest(format!("sinusoids {AMPLITUDES:?} {PHASES:?} {INPUTS:?}")))
    }
}

/// The name of a part's random stream.
fn purpose(part: Part) -> &'static str {
    match part {
        Part::Train => "sinusoid/train",
        Part::Validation => "sinusoid/val",
        Part::Test => "sinusoid/test",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARTS: [Part; 3] = [Part::Train, Part::Validation, Part::Test];

    #[test]
    fn an_episode_depends_on_seed_part_and_index_alone() {
        let forwards: Vec<_> =
            (0..60).map(|i| Sinusoids::new(3).episode(PARTS[i as usize % 3], i / 3, 5, 7)).collect();
        let backwards: Vec<_> =
            (0..60).rev().map(|i| Sinusoids::new(3).episode(PARTS[i as usize % 3], i / 3, 5, 7)).collect();
        assert!(forwards.iter().eq(backwards.iter().rev()));
        for (at, episode) in forwards.iter().enumerate() {
            assert!(forwards[..at].iter().all(|other| other.sinusoid != episode.sinusoid));
        }
        assert_ne!(Sinusoids::new(4).episode(Part::Train, 0, 5, 7), forwards[0]);
    }

    #[test]
    fn more_query_points_change_neither_the_curve_nor_the_support() {
        let [few, many] = [2, 100].map(|queries| Sinusoids::new(1).episode(Part::Test, 4, 10, queries));
        assert_eq!((few.sinusoid, &few.support), (many.sinusoid, &many.support));
        assert_eq!(few.query[..], many.query[..2]);
    }

    #[test]
    fn draws_are_the_same_in_every_version() {
        // A run may be resumed by a later version, which must continue with the same episodes.
        let SinusoidEpisode { sinusoid, support, .. } = Sinusoids::new(3).episode(Part::Train, 7, 2, 1);
        let drawn = [sinusoid.amplitude, sinusoid.phase, support[0], support[1]];
        assert_eq!(drawn, [0.3845613019289492, 0.25207476618002683, -0.02740664054997133, 0.707504399217056]);
    }

    #[test]
    fn curves_and_points_fill_their_ranges() {
        let episodes: Vec<_> =
            (0..2000).map(|index| Sinusoids::new(0).episode(Part::Train, index, 3, 2)).collect();
        let spans = |range: RangeInclusive<f64>, values: &mut dyn Iterator<Item = f64>| {
            let values: Vec<f64> = values.collect();
            let (low, high) = (range.start(), range.end());
            assert!(values.iter().all(|value| range.contains(value)));
            // A mean of 2000 uniform draws is within 0.03 widths of the middle with five standard errors.
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            assert!((mean - (low + high) / 2.0).abs() < 0.033 * (high - low), "{mean} in {range:?}");
        };
        spans(AMPLITUDES, &mut episodes.iter().map(|episode| episode.sinusoid.amplitude));
        spans(PHASES, &mut episodes.iter().map(|episode| episode.sinusoid.phase));
        spans(INPUTS, &mut episodes.iter().map(|episode| episode.support[0]));
        spans(INPUTS, &mut episodes.iter().map(|episode| episode.query[1]));
        let Sinusoid { amplitude, phase } = episodes[0].sinusoid;
        let y = episodes[0].sinusoid.at(phase + PI / 2.0);
        assert!((y - amplitude).abs() < 1e-12, "the crest is a quarter of a period after the phase");
    }
}
