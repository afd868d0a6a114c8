//! What a run measures on held-out episodes: the accuracy of a classifier, or the squared error of a regression.

use super::Accuracy;
use crate::run::{Score, StepError};

/// What held-out episodes measured.
#[derive(Clone, Debug, PartialEq)]
pub enum Measured {
    /// Of a classifier.
    Accuracy(Accuracy),
    /// Of a regression, before adaptation and after each inner step; at least one.
    Errors(Vec<StepError>),
}

impl Measured {
    /// The accuracy; `None` for a regression.
    pub fn accuracy(&self) -> Option<Accuracy> {
        match self {
            Self::Accuracy(accuracy) => Some(*accuracy),
            Self::Errors(_) => None,
        }
    }

    /// The squared error after the last inner step; `None` for a classifier.
    fn error(&self) -> Option<StepError> {
        match self {
            Self::Accuracy(_) => None,
            Self::Errors(errors) => errors.last().copied(),
        }
    }

    /// How many episodes diverged: their loss after adaptation is not finite.
    pub fn diverged(&self) -> usize {
        match self {
            Self::Accuracy(accuracy) => accuracy.diverged,
            Self::Errors(_) => self.error().map_or(0, |error| error.diverged_episodes),
        }
    }

    /// Checks that there is a score. There is no accuracy if all episodes diverged, and no mean squared error if any did.
    ///
    /// # Errors
    /// Returns what there is not, in words.
    pub fn known(&self) -> Result<(), &'static str> {
        match self {
            Self::Accuracy(accuracy) if !accuracy.is_known() => Err("there is no accuracy"),
            Self::Errors(_) if !self.loss().is_finite() => Err("there is no mean squared error"),
            _ => Ok(()),
        }
    }

    /// By what validations are ranked: the accuracy, or the error after the last inner step.
    pub fn score(&self) -> Score {
        match self {
            Self::Accuracy(accuracy) => Score::Accuracy(accuracy.mean),
            Self::Errors(_) => Score::Error(self.loss()),
        }
    }

    /// Half-width of the score's 95 % confidence interval.
    pub fn ci95(&self) -> f64 {
        match self {
            Self::Accuracy(accuracy) => accuracy.ci95,
            Self::Errors(_) => self.error().and_then(|error| error.ci95).unwrap_or(f64::NAN),
        }
    }

    /// Mean query loss after adaptation; it may be not finite.
    pub fn loss(&self) -> f64 {
        match self {
            Self::Accuracy(accuracy) => accuracy.loss,
            Self::Errors(_) => self.error().and_then(|error| error.error).unwrap_or(f64::NAN),
        }
    }
}
