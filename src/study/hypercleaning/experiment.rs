//! Descents on the digits of one seed, half of whose training labels are wrong.

use super::{Hypercleaning, OUTER, WRONG};
use crate::data::Mislabelled;
use crate::study::estimators::StudyEstimator;
use crate::study::{Error, Workspace};
use crate::support::json::number_or_nan;
use crate::task::{Batch, HyperCleaning, f1};
use crate::train::outer_loop;
use bilevel::hypergradient::{Workers, adapt};
use bilevel::readback::read;
use bilevel::{Bilevel, OuterLoop, Params};
use serde::{Deserialize, Serialize};

/// Samples along a descent, without the one before its first step.
const SAMPLES: f64 = 12.0;
/// Bins of the histogram of weights.
pub const BINS: usize = 20;

/// The problem, its validation and test digits, and which training labels are wrong.
pub struct Experiment {
    pub problem: HyperCleaning,
    pub wrong: Vec<bool>,
    validation: Batch,
    test: Batch,
    inner_steps: usize,
    workers: Workers,
    seed: u64,
}

/// Scores of a classifier.
pub struct Scores {
    /// Validation loss.
    pub loss: f64,
    /// Validation accuracy, in %.
    pub validation_accuracy: f64,
    /// Test accuracy, in %.
    pub accuracy: f64,
}

/// Scores of θ at one point of a descent.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Sample {
    /// Outer steps taken.
    pub steps: u64,
    /// Gradient evaluations spent.
    pub evaluations: u64,
    /// Validation loss of the classifier trained with θ; NaN if its training diverged.
    #[serde(deserialize_with = "number_or_nan")]
    pub loss: f64,
    /// Its test accuracy, in %.
    pub accuracy: f64,
    /// F1 score of the wrong labels, found by weights below ½.
    pub f1: f64,
}

/// A descent by one estimator.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Descent {
    /// Key of the estimator.
    #[serde(rename = "law")]
    pub estimator: String,
    /// The seed.
    pub seed: u64,
    /// Scores along the descent.
    #[serde(rename = "looks")]
    pub samples: Vec<Sample>,
    /// Euclidean distance of the final θ from its start.
    #[serde(rename = "moved")]
    pub distance: f64,
    /// Numbers of examples with right and with wrong labels whose final weights are in each of [`BINS`] bins of equal
    /// width from 0 to 1.
    pub histogram: [Vec<usize>; 2],
}

impl Experiment {
    /// The experiment on the digits of `seed`, with inner rate `rate` = n·α.
    ///
    /// # Errors
    /// Returns an error if there are not enough digits.
    pub fn new(study: &Hypercleaning, seed: u64, rate: f64) -> Result<Self, Error> {
        let size = &study.size;
        let [train, validation, test] = study.digits.parts([size.train, size.validation, size.test], seed)?;
        let Mislabelled { set, wrong } = train.mislabelled(WRONG, seed)?;
        let [validation, test] = [validation, test].map(|set| study.digits.batch(&set));
        let rate = rate / set.len() as f64;
        let problem = HyperCleaning::new(study.digits.batch(&set), validation.clone(), rate);
        let workers = study.digits.opened().workers;
        Ok(Self { problem, wrong, validation, test, inner_steps: size.inner_steps, workers, seed })
    }

    /// Scores of the classifier trained with the weights of `theta`.
    pub fn evaluate(&self, theta: &Params) -> Scores {
        let (fast, _) = adapt(&self.problem, theta, self.inner_steps);
        let percent = |images| 100.0 * read(self.problem.assess(&fast, images).accuracy)[0];
        let loss = read(self.problem.outer_loss(self.inner_steps, theta, &fast))[0];
        Scores { loss, validation_accuracy: percent(&self.validation), accuracy: percent(&self.test) }
    }

    /// Descends by `estimator` from weights ½, over `budget` gradient evaluations.
    ///
    /// # Errors
    /// Returns an error if the descent cannot be computed. Divergence ends the descent, and is no error.
    pub fn descend(
        &self,
        estimator: StudyEstimator,
        budget: u64,
        workspace: &mut Workspace,
    ) -> Result<Descent, Error> {
        let config = estimator.config(self.seed, self.inner_steps, budget, OUTER)?;
        let start = self.problem.undecided();
        let mut descent = outer_loop(&config, start.clone(), self.workers);
        let mut samples = vec![self.sample(&descent)];
        while descent.progress() < 1.0 {
            let step = match descent.step(&self.problem) {
                Ok(step) => step,
                // The samples up to here remain valid.
                Err(_diverged) => {
                    samples.push(self.sample(&descent));
                    break;
                }
            };
            if estimator == StudyEstimator::FirstOrder && step.gradient_norm == 0.0 {
                // Without random draws all further steps are equal to this one.
                samples.push(Sample {
                    evaluations: budget,
                    steps: budget / step.pending.spent.total(),
                    ..samples[0]
                });
                break;
            }
            if descent.progress() * SAMPLES >= samples.len() as f64 {
                samples.push(self.sample(&descent));
            }
            workspace.progress(descent.progress());
        }
        let distance = read((descent.theta().clone() - start).squared_norm())[0].sqrt();
        let histogram = self.histogram(descent.theta());
        Ok(Descent { estimator: estimator.key().into(), seed: self.seed, samples, distance, histogram })
    }

    fn sample(&self, descent: &OuterLoop) -> Sample {
        let Scores { loss, accuracy, .. } = self.evaluate(descent.theta());
        let weights = HyperCleaning::weights(descent.theta());
        let found: Vec<bool> = weights.iter().map(|weight| *weight < 0.5).collect();
        let (steps, evaluations) = (descent.steps(), descent.evaluations().total());
        Sample { steps, evaluations, loss, accuracy, f1: f1(&found, &self.wrong) }
    }

    /// [`Descent::histogram`] of `theta`.
    fn histogram(&self, theta: &Params) -> [Vec<usize>; 2] {
        let weights = HyperCleaning::weights(theta);
        [false, true].map(|wrong| {
            let mut counts = vec![0; BINS];
            for (weight, _) in weights.iter().zip(&self.wrong).filter(|(_, is_wrong)| **is_wrong == wrong) {
                counts[((weight * BINS as f64) as usize).min(BINS - 1)] += 1;
            }
            counts
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_whose_training_diverged_is_read_back_from_its_record() {
        let sample = Sample { steps: 3, evaluations: 600, loss: f64::NAN, accuracy: 10.0, f1: 0.5 };
        let read: Sample = serde_json::from_str(&serde_json::to_string(&sample).unwrap()).unwrap();
        assert!(read.loss.is_nan());
        assert_eq!((read.steps, read.accuracy), (3, 10.0));
    }
}
