//! Accuracy of one θ, or of an ensemble of several, on held-out episodes.
//!
//! The members of an ensemble adapt to an episode each on its own. The prediction is the class with the largest mean logit,
//! and the loss is the cross-entropy of the mean logits: z = (1/k) Σ_i z_i.
//!
//! An inner loop that diverges gives logits that are not numbers, and then there is no answer. Such an episode is counted
//! ([`Accuracy::diverged`]) and its images as not classified correctly: excluding it would raise the accuracy of a learner with
//! each episode on which it fails. If no episode has an answer, there is no accuracy.
//!
//! The mode of batch norm concerns predictions, not the inner loss, so accuracies in several modes share one adaptation.

use super::{EpisodeLoader, Learner, evaluation_shape};
use crate::config::Config;
use crate::data::{EpisodeShape, Part};
use crate::task::{BatchNorm, FewShot};
use bilevel::hypergradient::adapt;
use bilevel::ranks::Share;
use bilevel::readback::read_all;
use bilevel::stats::{mean, mean_and_ci95};
use bilevel::{Bilevel, Params, Proximal};
use burn::tensor::Tensor;
use serde::Serialize;
use std::array;
use std::ops::Range;

/// The most episodes that are evaluated together. On a GPU they share kernel launches.
pub(super) const MOST_TOGETHER: usize = 32;
/// The most bytes of input patches (see [`Architecture::prepare`](crate::model::Architecture::prepare)) of episodes evaluated
/// together on a CPU. There, each episode is computed on its own, so a smaller number costs nothing and gives the same bits. The
/// indices by which patches are gathered take up to twice as much again.
const MOST_PATCH_BYTES: usize = 256 << 20;

/// Splits `episodes` into batches of `most` ≥ 1 that are evaluated together.
fn batches(episodes: Range<u64>, most: usize) -> impl Iterator<Item = Range<u64>> {
    let end = episodes.end;
    episodes.step_by(most).map(move |first| first..end.min(first.saturating_add(most as u64)))
}

/// The batches, of at most `most` episodes, of this rank's `share` of an evaluation's episodes, each with the number of episodes that
/// all ranks have evaluated after it, as if they were equally far.
pub(super) fn shared_batches(share: &Share, most: usize) -> impl Iterator<Item = (Range<u64>, usize)> {
    let (Range { start, end }, all) = (share.own(), share.tasks());
    batches(start as u64..end as u64, most).map(move |batch| {
        let done = (batch.end as usize - start) * all / (end - start);
        (batch, done)
    })
}

/// The episodes of an evaluation, and the adaptation to each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evaluation {
    /// The part of the data whose classes the episodes are drawn from.
    pub part: Part,
    /// The size of an episode.
    pub shape: EpisodeShape,
    /// Number of episodes: those with the numbers 0 … `episodes` − 1.
    pub episodes: usize,
    /// Number of inner steps.
    pub steps: usize,
}

/// Accuracy over several episodes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Accuracy {
    /// Mean over episodes, percent; NaN if all diverged.
    pub mean: f64,
    /// Half-width of the 95 % confidence interval (1.96 standard errors), percent; NaN if all diverged.
    pub ci95: f64,
    /// Mean query cross-entropy; not finite if any episode diverged.
    pub loss: f64,
    /// Number of episodes.
    pub episodes: usize,
    /// How many of them diverged: their loss after adaptation is not finite. Their accuracy counts as 0.
    pub diverged: usize,
}

impl Accuracy {
    /// Whether there is an accuracy: whether not all episodes diverged.
    pub fn is_known(&self) -> bool {
        self.diverged < self.episodes
    }
}

impl Evaluation {
    /// The evaluation that `config` describes, on `episodes` episodes of `part`.
    pub fn new(config: &Config, part: Part, episodes: usize) -> Self {
        Self { part, shape: evaluation_shape(config), episodes, steps: config.inner.eval_steps }
    }
}

impl Learner {
    /// Splits `episodes`, of this `shape`, into batches that are evaluated together.
    pub fn batches(&self, episodes: Range<u64>, shape: &EpisodeShape) -> impl Iterator<Item = Range<u64>> {
        batches(episodes, self.together(shape))
    }

    /// How many episodes of `shape` are evaluated together: on a CPU fewer than usual if their images are large, but one for each
    /// thread. Each thread holds the activations of its episode, which take more memory than the patches.
    fn together(&self, shape: &EpisodeShape) -> usize {
        let fit = MOST_PATCH_BYTES / self.patch_bytes(shape).max(1);
        if !self.opened.is_cpu() || fit >= MOST_TOGETHER {
            return MOST_TOGETHER;
        }
        let threads = self.opened.workers.threads.clamp(1, MOST_TOGETHER);
        // A multiple of the threads, so that none of them waits for the last episodes of a batch.
        (fit / threads).max(1) * threads
    }

    /// Upper bound of the bytes of input patches of an episode of `shape`.
    fn patch_bytes(&self, shape: &EpisodeShape) -> usize {
        let products = self.architecture.products();
        let on_images = products.iter().filter(|product| product.on_images);
        let values = on_images.map(|product| product.positions * product.inputs).max().unwrap_or(0);
        let images = shape.shots.saturating_add(shape.queries).saturating_mul(shape.ways);
        images.saturating_mul(values).saturating_mul(size_of::<f32>())
    }

    /// Accuracy of an ensemble in each of these modes of batch norm. `members` are the θ of its members, at least one, each a
    /// stack of one task.
    ///
    /// # Panics
    /// Panics if there is no member.
    pub fn evaluate<const N: usize>(
        &self,
        members: &[Params],
        loader: &EpisodeLoader,
        evaluation: &Evaluation,
        modes: [BatchNorm; N],
        mut progress: impl FnMut(usize),
    ) -> [Accuracy; N] {
        let Evaluation { part, shape, episodes, steps } = *evaluation;
        let mut seen = modes.map(|_| Scores::default());
        let share = Share::new(self.ranks.clone(), episodes);
        for (batch, done) in shared_batches(&share, self.together(&shape)) {
            let problem = self.classify(loader.images(part, batch, &shape), &shape);
            let parts = self.opened.workers.map(problem.tasks(), |chunk| {
                let problem = problem.select(chunk);
                mean_logits(&problem, members, steps, modes).map(|logits| {
                    let adapted = problem.problem.assess_logits(logits);
                    [adapted.accuracy, adapted.loss]
                })
            });
            let mut values = read_all(parts.into_iter().flatten().flatten().collect()).into_iter();
            for mode in (0..N).cycle() {
                let (Some(accuracies), Some(losses)) = (values.next(), values.next()) else { break };
                seen[mode].accuracies.extend(accuracies);
                seen[mode].losses.extend(losses);
            }
            progress(done);
        }
        seen.map(|scores| scores.of_all(&share).mean())
    }
}

/// Mean over `members` of the query logits after `steps` inner steps, in each mode: `[tasks, n, ways]`. Besides the sums, only
/// the logits of one member are in memory.
fn mean_logits<const N: usize>(
    problem: &Proximal<FewShot>,
    members: &[Params],
    steps: usize,
    modes: [BatchNorm; N],
) -> [Tensor<3>; N] {
    let logits = |theta: &Params| {
        let outer = theta.repeat(problem.tasks());
        let (fast, _) = adapt(problem, &outer, steps);
        modes.map(|mode| problem.problem.query_logits_in(mode, steps, &outer, &fast))
    };
    let add = |sums: [Tensor<3>; N], more: [Tensor<3>; N]| {
        array::from_fn(|mode| sums[mode].clone() + more[mode].clone())
    };
    let sums = members.iter().map(logits).reduce(add).expect("an ensemble has at least one member");
    if members.len() == 1 { sums } else { sums.map(|sum| sum / members.len() as f64) }
}

/// Scores of episodes.
#[derive(Default)]
struct Scores {
    /// From 0 to 1.
    accuracies: Vec<f64>,
    losses: Vec<f64>,
}

impl Scores {
    /// Those of the episodes of all ranks.
    fn of_all(self, share: &Share) -> Self {
        let [accuracies, losses] = share.collect([self.accuracies, self.losses]);
        Self { accuracies, losses }
    }

    fn mean(self) -> Accuracy {
        let answered: Vec<bool> = self.losses.iter().map(|loss| loss.is_finite()).collect();
        let accuracies = self.accuracies.iter().zip(&answered);
        let accuracies: Vec<f64> =
            accuracies.map(|(accuracy, is)| if *is { *accuracy } else { 0.0 }).collect();
        let (episodes, diverged) = (accuracies.len(), answered.iter().filter(|is| !**is).count());
        let (accuracy, ci95) =
            if diverged < episodes { mean_and_ci95(&accuracies) } else { (f64::NAN, f64::NAN) };
        Accuracy { mean: 100.0 * accuracy, ci95: 100.0 * ci95, loss: mean(&self.losses), episodes, diverged }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bilevel::device::{Backend, Opened, open};
    use bilevel::hypergradient::Workers;

    #[test]
    fn batches_are_of_one_size_but_for_the_last() {
        let all = |most| batches(3..10, most).collect::<Vec<_>>();
        assert_eq!(all(3), [3..6, 6..9, 9..10]);
        assert_eq!(all(7).len(), 1);
        assert_eq!(batches(3..3, 1).count(), 0);
    }

    #[test]
    fn fewer_episodes_of_large_images_are_evaluated_together() {
        let together = |threads: usize, keys: &[&str]| {
            let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
            let config = Config::load(None, &keys).unwrap();
            let (opened, workers) = (open(Backend::Flex).unwrap(), Workers::on_cpu(threads));
            let learner = Learner::new(&config, Opened { workers, ..opened });
            learner.together(&evaluation_shape(&config))
        };
        assert_eq!(together(2, &[]), 32);
        // An episode of 80 images has patches of 80 · 84² · 27 numbers, 61 MB.
        let large = ["data.channels=3", "data.image_size=84", "model.pool=max", "task.queries=15"];
        for (threads, expected) in [(1, 4), (2, 4), (3, 3), (4, 4), (6, 6), (100, 32)] {
            assert_eq!(together(threads, &large), expected, "{threads} threads");
        }
    }

    #[test]
    fn an_episode_without_answers_counts_as_wrong_and_is_counted() {
        let scores = |accuracies: &[f64], losses: &[f64]| {
            Scores { accuracies: accuracies.to_vec(), losses: losses.to_vec() }.mean()
        };
        let some = scores(&[1.0, 0.2, 0.5], &[0.1, f64::NAN, 0.7]);
        assert_eq!((some.mean, some.episodes, some.diverged, some.is_known()), (50.0, 3, 1, true));
        assert!((some.ci95 - 196.0 * 0.5 / 3f64.sqrt()).abs() < 0.1 && some.loss.is_nan(), "{some:?}");
        let none = scores(&[0.2, 0.2], &[f64::INFINITY, f64::NAN]);
        assert!(none.mean.is_nan() && none.ci95.is_nan() && !none.is_known() && none.diverged == 2);
        assert_eq!(scores(&[0.2, 0.4], &[1.0, 1.0]).diverged, 0);
    }
}
