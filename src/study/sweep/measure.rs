//! What the tests of a sweep's runs measure.

use crate::config::TaskKind;

/// What the tests of a sweep's runs measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// The accuracy of classifiers, in percent.
    Accuracy,
    /// The mean squared error of regressions.
    Error,
}

impl Measure {
    /// What runs of this kind of task are measured by.
    pub fn of(task: TaskKind) -> Self {
        match task {
            TaskKind::Classification => Self::Accuracy,
            TaskKind::Sinusoid => Self::Error,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accuracy => "accuracy",
            Self::Error => "error",
        }
    }

    /// The name of several.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Accuracy => "accuracies",
            Self::Error => "errors",
        }
    }

    /// Heading of a column of a table.
    pub(super) fn heading(self) -> &'static str {
        match self {
            Self::Accuracy => "test accuracy (%)",
            Self::Error => "test error",
        }
    }

    /// Decimal places of a value in a table.
    pub(super) fn places(self) -> usize {
        match self {
            Self::Accuracy => 2,
            Self::Error => 4,
        }
    }

    /// `value` with its unit.
    pub fn shown(self, value: f64) -> String {
        let places = self.places();
        match self {
            Self::Accuracy => format!("{value:.places$} %"),
            Self::Error => format!("{value:.places$}"),
        }
    }

    /// What becomes of the episodes of a test that diverged, if others did not.
    pub(super) fn of_diverged(self) -> &'static str {
        match self {
            Self::Accuracy => "they count as wrong",
            Self::Error => "the runs that they belong to have no error",
        }
    }
}
