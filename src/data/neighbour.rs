//! The baseline that learns nothing: name a query after its nearest support image, pixel by pixel.
//!
//! It measures how hard a data set is. On Omniglot's evaluation alphabets at 28×28 it scores 43 %
//! at 5-way 1-shot and 23.5 % at 20-way 1-shot.

use rayon::prelude::*;

use super::{Episode, EpisodeShape, Error, Part, Sampler};
use crate::interval::mean_and_ci95;

/// Mean accuracy over the first `episodes` episodes of `part` and the half-width of its 95 %
/// confidence interval, both in percent.
///
/// # Errors
/// If the part cannot fill such episodes, see [`Sampler::check`].
pub fn nearest_neighbour(
    sampler: &Sampler,
    part: Part,
    shape: &EpisodeShape,
    episodes: u64,
) -> Result<(f64, f64), Error> {
    sampler.check(part, shape)?;
    let accuracies: Vec<f64> = (0..episodes)
        .into_par_iter()
        .map(|index| 100.0 * accuracy(&sampler.episode(part, index, shape)))
        .collect();
    Ok(mean_and_ci95(&accuracies))
}

/// The fraction of an episode's queries whose nearest support image has their label.
fn accuracy(episode: &Episode) -> f64 {
    let area = episode.size * episode.size;
    let right = episode.query.chunks_exact(area).zip(&episode.query_labels).filter(|(query, label)| {
        let nearest = episode
            .support
            .chunks_exact(area)
            .map(|support| distance(query, support))
            .zip(&episode.support_labels)
            .min_by(|(a, _), (b, _)| a.total_cmp(b));
        nearest.is_some_and(|(_, nearest)| nearest == *label)
    });
    right.count() as f64 / episode.query_labels.len() as f64
}

/// Squared Euclidean distance.
fn distance(a: &[f32], b: &[f32]) -> f32 {
    // Eight running sums, so that the compiler may add eight pixels at a time.
    let mut sums = [0.0; 8];
    for (a, b) in a.chunks(8).zip(b.chunks(8)) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += (a - b) * (a - b);
        }
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::data::{Class, ImageSet, Split, SplitRule, omniglot};

    const ONE_SHOT: EpisodeShape = EpisodeShape { ways: 5, shots: 1, queries: 1 };

    #[test]
    fn classes_of_one_image_each_are_told_apart_perfectly() -> Result<(), Error> {
        let classes = (0..20).map(|i| Class::new(format!("c{i}"), "g", None, 2)).collect();
        let pixels = (0..40_u8).flat_map(|i| [i / 2 * 10; 9]).collect();
        let set = ImageSet::new(3, classes, pixels)?;
        let split = Split::new(&set, SplitRule::Random { train: 5 }, 0, false, 0)?;
        let sampler = Sampler::new(Arc::new(set), split, 0);
        assert_eq!(nearest_neighbour(&sampler, Part::Test, &ONE_SHOT, 50)?, (100.0, 0.0));
        assert!(nearest_neighbour(&sampler, Part::Validation, &ONE_SHOT, 50).is_err());
        Ok(())
    }

    #[test]
    fn omniglot_scores_as_published_in_the_module_doc() -> Result<(), Error> {
        let dir = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/datasets/omniglot"));
        if !dir.exists() {
            // Past the harness, which hides what passing tests print.
            let _ = writeln!(std::io::stderr(), "SKIPPED: real Omniglot is not at {}", dir.display());
            return Ok(());
        }
        let set = omniglot::load(dir, 28)?;
        let split = Split::new(&set, SplitRule::Alphabets, 0, false, 0)?;
        let sampler = Sampler::new(Arc::new(set), split, 0);
        for (ways, expected, error) in [(5, 43.0, 1.3), (20, 23.5, 0.6)] {
            let shape = EpisodeShape { ways, ..ONE_SHOT };
            let (mean, ci95) = nearest_neighbour(&sampler, Part::Test, &shape, 2000)?;
            println!("{ways}-way 1-shot: {mean:.1} ± {ci95:.1} %");
            assert!((mean - expected).abs() < error, "{ways}-way: {mean:.2} ± {ci95:.2}");
        }
        Ok(())
    }
}
