//! Choosing one of a run's checkpoints.

use super::{Error, RunDir, Saved};
use std::fmt::{Display, Formatter};
use std::str::FromStr;

/// One of a run's checkpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckpointSelector {
    /// The latest that is intact.
    Latest,
    /// The one with the best validation accuracy.
    Best,
    /// The one after this many outer steps: one of the latest, or one of the best of a run that keeps several.
    After(u64),
}

impl RunDir {
    /// The checkpoint that `selector` names. `warn` is called for each later checkpoint that is damaged.
    ///
    /// # Errors
    /// Returns an error if there is no such checkpoint or it is damaged.
    pub fn saved(&self, selector: CheckpointSelector, mut warn: impl FnMut(&str)) -> Result<Saved, Error> {
        match selector {
            CheckpointSelector::Latest => {
                let none = || Error::NoCheckpoint { path: self.path().into() };
                let (saved, faults) = self.latest()?.ok_or_else(none)?;
                faults.iter().for_each(|fault| warn(&format!("{fault}; using the previous one")));
                Ok(saved)
            }
            CheckpointSelector::Best if !self.best_file().exists() => {
                Err(Error::NoBest { path: self.best_file() })
            }
            CheckpointSelector::Best => Saved::read(&self.best_file()),
            CheckpointSelector::After(step) => {
                let (latest, best) = (self.checkpoint_steps()?, self.best_steps()?);
                if latest.contains(&step) {
                    return Saved::read(&self.checkpoint_file(step));
                }
                if best.contains(&step) {
                    return Saved::read(&self.best_step_file(step));
                }
                let mut kept = [latest, best].concat();
                kept.sort_unstable();
                kept.dedup();
                Err(Error::NoStep { path: self.path().into(), step, kept })
            }
        }
    }
}

impl FromStr for CheckpointSelector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "latest" => Ok(Self::Latest),
            "best" => Ok(Self::Best),
            step => step
                .parse()
                .map(Self::After)
                .map_err(|_| "it must be latest, best, or a number of outer steps".into()),
        }
    }
}

impl Display for CheckpointSelector {
    fn fmt(&self, out: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Latest => out.write_str("latest"),
            Self::Best => out.write_str("best"),
            Self::After(step) => write!(out, "{step}"),
        }
    }
}
