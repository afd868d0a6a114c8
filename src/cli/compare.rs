//! `metaburn compare`: several training runs on one figure.

use super::{Outcome, output};
use clap::{Args, ValueEnum};
use metaburn::report::{self, RunCurves, apart, compare, pooled};
use std::path::PathBuf;
use std::process::ExitCode;

/// Hold runs against each other: loss and accuracy by steps, cost or seconds, repetitions pooled
///
/// Loss is shown as means over consecutive outer steps, validation accuracy as it was measured, both with 95
/// % bands.
///
/// Example: metaburn compare checkpoints/glyphs-5way-1shot-exact-00* --pool --out exact.svg
#[derive(Args)]
pub struct Compare {
    /// Directories of the runs
    #[arg(required = true, value_name = "RUN_DIR")]
    runs: Vec<PathBuf>,
    /// The figure; its extension says whether it is SVG, PNG or a page of HTML
    #[arg(long, value_name = "FIGURE", default_value = "comparison.png")]
    out: PathBuf,
    /// What to hold the runs against each other by
    #[arg(long, value_enum, default_value = "evaluations")]
    against: Against,
    /// Draw runs that differ in nothing but their seed as one: their mean, with its 95 % band
    #[arg(long)]
    pool: bool,
}

/// What runs are drawn against.
#[derive(Clone, Copy, ValueEnum)]
pub enum Against {
    Steps,
    Evaluations,
    Seconds,
}

impl From<Against> for report::Against {
    fn from(against: Against) -> Self {
        match against {
            Against::Steps => Self::Steps,
            Against::Evaluations => Self::Evaluations,
            Against::Seconds => Self::Seconds,
        }
    }
}

impl Compare {
    /// Runs the command.
    pub fn run(self) -> Outcome {
        let runs = self.runs.iter().map(|path| RunCurves::read(path)).collect::<Result<Vec<_>, _>>()?;
        let groups = if self.pool { pooled(runs) } else { apart(runs) };
        compare(&groups, self.against.into()).write(&self.out)?;
        output::print(self.out.display())?;
        Ok(ExitCode::SUCCESS)
    }
}
