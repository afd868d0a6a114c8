//! What descents are held against: classifiers trained on everything and on the clean half, each at the inner
//! rate at which it gets most validation digits right. At too high a rate full-batch steps oscillate, and training
//! on everything would look worse than it is.

use super::scene::{Judged, Scene};
use super::{Error, Hypercleaning};
use crate::report::Table;
use serde::{Deserialize, Serialize};

/// n·α that are tried.
const RATES: [f64; 7] = [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2];

/// What training is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kept {
    /// Every example, wrong labels among them.
    Everything,
    /// Those whose labels are right.
    Clean,
}

/// Levels with their names in figures.
pub const NAMES: [(&str, Kept); 2] =
    [("everything", Kept::Everything), ("oracle: the clean half", Kept::Clean)];

/// A classifier's inner rate, and how it does.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Tried {
    /// On what.
    pub kept: Kept,
    /// n·α.
    pub rate: f64,
    /// Validation loss.
    pub loss: f64,
    /// Share of the validation digits that it gets right, in %.
    pub validated: f64,
    /// Test accuracy, in %.
    pub accuracy: f64,
}

/// One seed's.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Levels {
    /// Which.
    pub seed: u64,
    /// All that were tried.
    pub tried: Vec<Tried>,
}

/// Gradient evaluations behind [`Levels::find`].
pub fn evaluations(inner_steps: usize) -> u64 {
    (2 * RATES.len() * inner_steps) as u64
}

impl Levels {
    /// Tries all rates on the digits that `seed` draws.
    pub fn find(study: &Hypercleaning, seed: u64) -> Result<Self, Error> {
        let mut tried = Vec::new();
        for rate in RATES {
            let scene = Scene::new(study, seed, rate)?;
            for (_, kept) in NAMES {
                let keeps = |example: usize| kept == Kept::Everything || !scene.wrong[example];
                let Judged { loss, validated, accuracy } = scene.judge(&scene.problem.keeping(keeps));
                tried.push(Tried { kept, rate, loss, validated, accuracy });
            }
        }
        Ok(Self { seed, tried })
    }

    /// The one of `kept` that gets most validation digits right.
    pub fn best(&self, kept: Kept) -> &Tried {
        let of = self.tried.iter().filter(|tried| tried.kept == kept);
        of.max_by(|a, b| a.validated.total_cmp(&b.validated))
            .unwrap_or_else(|| unreachable!("every rate is tried"))
    }

    /// The classifier trained on everything.
    pub fn everything(&self) -> &Tried {
        self.best(Kept::Everything)
    }

    /// The oracle's.
    pub fn oracle(&self) -> &Tried {
        self.best(Kept::Clean)
    }
}

/// All that was tried.
pub fn table(levels: &[Levels]) -> Table {
    let mut table = Table::new([
        "kept",
        "seed",
        "rate_times_examples",
        "validation_loss",
        "validation_accuracy",
        "test_accuracy",
    ]);
    for Levels { seed, tried } in levels {
        for Tried { kept, rate, loss, validated, accuracy } in tried {
            let name = NAMES.iter().find(|(_, named)| named == kept).map_or("", |(name, _)| name);
            let numbers = [*rate, *loss, *validated, *accuracy].map(|number| number.to_string());
            table.row([name.to_string(), seed.to_string()].into_iter().chain(numbers));
        }
    }
    table
}
