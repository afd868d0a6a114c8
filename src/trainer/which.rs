//! Which of a run's checkpoints is meant.

use super::checkpoint::Saved;
use super::{Error, RunDir, Watcher};
use std::fmt::{Display, Formatter};
use std::str::FromStr;

/// One of a run's checkpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The latest sound one.
    Latest,
    /// That with the best validation.
    Best,
    /// That after an outer step.
    After(u64),
}

impl RunDir {
    /// The checkpoint that is meant.
    ///
    /// # Errors
    /// If there is no such checkpoint, or it is not sound.
    pub fn saved(&self, which: Which, watcher: &mut dyn Watcher) -> Result<Saved, Error> {
        match which {
            Which::Latest => {
                let none = || Error::NoCheckpoint { path: self.path().into() };
                let (saved, faults) = self.latest()?.ok_or_else(none)?;
                faults.iter().for_each(|fault| watcher.warning(&format!("{fault}; using the one before")));
                Ok(saved)
            }
            Which::Best if !self.best_file().exists() => Err(Error::NoBest { path: self.best_file() }),
            Which::Best => Saved::read(&self.best_file()),
            Which::After(step) => {
                let mut kept = self.checkpoint_steps()?;
                kept.reverse();
                if !kept.contains(&step) {
                    return Err(Error::NoStep { path: self.path().into(), step, kept });
                }
                Saved::read(&self.checkpoint_file(step))
            }
        }
    }
}

impl FromStr for Which {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "latest" => Ok(Self::Latest),
            "best" => Ok(Self::Best),
            step => step
                .parse()
                .map(Self::After)
                .map_err(|_| "it is none of latest, best, or a number of outer steps".into()),
        }
    }
}

impl Display for Which {
    fn fmt(&self, out: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Latest => out.write_str("latest"),
            Self::Best => out.write_str("best"),
            Self::After(step) => write!(out, "{step}"),
        }
    }
}
