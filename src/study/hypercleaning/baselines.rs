//! Baselines: classifiers trained on everything and on the clean half, each at the inner rate with the best validation
//! accuracy. At too high a rate full-batch steps oscillate, and training on everything would look worse than it is.

use super::experiment::{Experiment, Scores};
use super::{Error, Hypercleaning};
use crate::report::Table;
use crate::support::json::number_or_nan;
use serde::{Deserialize, Serialize};

/// Inner rates n·α that are tried.
const RATES: [f64; 7] = [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2];

/// The examples that a baseline is trained on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Baseline {
    /// Every example, including those with wrong labels.
    Everything,
    /// The examples with right labels.
    Clean,
}

/// A classifier trained at one inner rate, with its scores.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Trial {
    /// Its training examples.
    #[serde(rename = "kept")]
    pub baseline: Baseline,
    /// Inner rate n·α.
    pub rate: f64,
    /// Validation loss; NaN if its training diverged.
    #[serde(deserialize_with = "number_or_nan")]
    pub loss: f64,
    /// Validation accuracy, in %.
    #[serde(rename = "validated")]
    pub validation_accuracy: f64,
    /// Test accuracy, in %.
    pub accuracy: f64,
}

/// The baselines of one seed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Baselines {
    /// The seed.
    pub seed: u64,
    /// Both baselines at every rate.
    #[serde(rename = "tried")]
    pub trials: Vec<Trial>,
}

/// Gradient evaluations of [`Baselines::train`].
pub fn evaluations(inner_steps: usize) -> u64 {
    (2 * RATES.len() * inner_steps) as u64
}

impl Baseline {
    /// Both, in the order of tables.
    pub const ALL: [Self; 2] = [Self::Everything, Self::Clean];

    /// Its name in figures.
    pub fn name(self) -> &'static str {
        match self {
            Self::Everything => "everything",
            Self::Clean => "oracle: the clean half",
        }
    }
}

impl Baselines {
    /// Trains both baselines at all rates on the digits of `seed`.
    ///
    /// # Errors
    /// Returns an error if there are not enough digits.
    pub fn train(study: &Hypercleaning, seed: u64) -> Result<Self, Error> {
        let mut trials = Vec::new();
        for rate in RATES {
            let experiment = Experiment::new(study, seed, rate)?;
            for baseline in Baseline::ALL {
                let included =
                    |example: usize| baseline == Baseline::Everything || !experiment.wrong[example];
                let Scores { loss, validation_accuracy, accuracy } =
                    experiment.evaluate(&experiment.problem.keeping(included));
                trials.push(Trial { baseline, rate, loss, validation_accuracy, accuracy });
            }
        }
        Ok(Self { seed, trials })
    }

    /// The trial of `baseline` with the best validation accuracy.
    pub fn best(&self, baseline: Baseline) -> &Trial {
        let trials = self.trials.iter().filter(|trial| trial.baseline == baseline);
        trials
            .max_by(|a, b| a.validation_accuracy.total_cmp(&b.validation_accuracy))
            .unwrap_or_else(|| unreachable!("every rate is tried"))
    }
}

/// All trials.
pub fn table(baselines: &[Baselines]) -> Table {
    let mut table = Table::new([
        "kept",
        "seed",
        "rate_times_examples",
        "validation_loss",
        "validation_accuracy",
        "test_accuracy",
    ]);
    for Baselines { seed, trials } in baselines {
        for Trial { baseline, rate, loss, validation_accuracy, accuracy } in trials {
            let numbers = [*rate, *loss, *validation_accuracy, *accuracy].map(|number| number.to_string());
            table.row([baseline.name().to_string(), seed.to_string()].into_iter().chain(numbers));
        }
    }
    table
}
