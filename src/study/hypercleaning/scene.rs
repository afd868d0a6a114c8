//! One seed's digits, some of them mislabelled, and descents on them.

use super::{Hypercleaning, OUTER, WRONG};
use crate::data::Mislabelled;
use crate::host::host;
use crate::hypergradient::{Workers, adapt};
use crate::problem::{Batch, Bilevel, HyperCleaning, f1};
use crate::stack::Stack;
use crate::study::laws::{FIRST_ORDER, Law};
use crate::study::{Desk, Error};
use crate::trainer::{self, Descent};
use serde::{Deserialize, Serialize};

/// Looks at a descent, beside the one before its first step.
const LOOKS: f64 = 12.0;
/// Of a histogram of weights.
pub const BINS: usize = 20;

/// The problem, what it is judged on, and which labels are wrong.
pub struct Scene {
    pub problem: HyperCleaning,
    pub wrong: Vec<bool>,
    validation: Batch,
    test: Batch,
    inner_steps: usize,
    workers: Workers,
    seed: u64,
}

/// How a classifier does.
pub struct Judged {
    /// Validation loss.
    pub loss: f64,
    /// Validation accuracy, in %.
    pub validated: f64,
    /// Test accuracy, in %.
    pub accuracy: f64,
}

/// θ as it stands in a descent.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Look {
    /// Outer steps taken.
    pub steps: u64,
    /// What they cost.
    pub evaluations: u64,
    /// Validation loss of the classifier trained by θ.
    pub loss: f64,
    /// Its test accuracy, in %.
    pub accuracy: f64,
    /// F1 score of the wrong labels, found by weights below ½.
    pub f1: f64,
}

/// A descent, as it went.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Cleaned {
    /// Its law's key.
    pub law: String,
    /// Its seed.
    pub seed: u64,
    /// On the way.
    pub looks: Vec<Look>,
    /// How far θ is from where it began, at the end.
    pub moved: f64,
    /// How many of the examples with right and with wrong labels have weights in each of [`BINS`] bins of
    /// equal width from 0 to 1, at the end.
    pub histogram: [Vec<usize>; 2],
}

impl Scene {
    /// The digits that `seed` draws, to be learned at `rate` = n·α.
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

    /// How the classifier trained by θ = `theta` does.
    pub fn judge(&self, theta: &Stack) -> Judged {
        let (fast, _) = adapt(&self.problem, theta, self.inner_steps);
        let percent = |images| 100.0 * host(self.problem.assess(&fast, images).accuracy)[0];
        let loss = host(self.problem.outer_loss(theta, &fast))[0];
        Judged { loss, validated: percent(&self.validation), accuracy: percent(&self.test) }
    }

    /// The descent by `law` from weights ½, over `budget` gradient evaluations.
    pub fn descend(&self, law: &Law, budget: u64, desk: &mut Desk) -> Result<Cleaned, Error> {
        let config = law.config(self.seed, self.inner_steps, budget, OUTER)?;
        let start = self.problem.undecided();
        let mut descent = Descent::new(&config, start.clone(), self.workers);
        let mut looks = vec![self.look(&descent)];
        while descent.progress() < 1.0 {
            let step = match descent.step(&self.problem) {
                Ok(step) => step,
                // What lies behind it stays worth a look.
                Err(trainer::Error::Diverged { .. }) => {
                    looks.push(self.look(&descent));
                    break;
                }
                Err(error) => return Err(error.into()),
            };
            if law.key == FIRST_ORDER && step.gradient_norm == 0.0 {
                // Without coins every later step is this one again.
                looks.push(Look {
                    evaluations: budget,
                    steps: budget / step.evaluations.total(),
                    ..looks[0]
                });
                break;
            }
            if descent.progress() * LOOKS >= looks.len() as f64 {
                looks.push(self.look(&descent));
            }
            desk.progress(descent.progress());
        }
        let weights = HyperCleaning::weights(descent.theta());
        let histogram = [false, true].map(|wrong| {
            let mut counts = vec![0; BINS];
            for (weight, _) in weights.iter().zip(&self.wrong).filter(|(_, is)| **is == wrong) {
                counts[((weight * BINS as f64) as usize).min(BINS - 1)] += 1;
            }
            counts
        });
        let moved = host((descent.theta().clone() - start).squared_norm())[0].sqrt();
        Ok(Cleaned { law: law.key.into(), seed: self.seed, looks, moved, histogram })
    }

    fn look(&self, descent: &Descent) -> Look {
        let Judged { loss, accuracy, .. } = self.judge(descent.theta());
        let weights = HyperCleaning::weights(descent.theta());
        let found: Vec<bool> = weights.iter().map(|weight| *weight < 0.5).collect();
        let (steps, evaluations) = (descent.steps(), descent.evaluations().total());
        Look { steps, evaluations, loss, accuracy, f1: f1(&found, &self.wrong) }
    }
}
