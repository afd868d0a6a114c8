//! `metaburn compare`: draws several runs in one figure.

use super::{Outcome, output};
use clap::{Args, ValueEnum};
use metaburn::report::{self, RunCurves, apart, compare, incomparable, pooled};
use std::path::PathBuf;
use std::process::ExitCode;

/// Compare runs in one figure: loss and accuracy against steps, gradient evaluations or time
///
/// The loss is averaged over consecutive outer steps; validation accuracy is plotted as measured. Both have 95 % confidence
/// bands. Runs that differ in ways, shots, queries, batch norm or data cannot be compared; the legend and a warning name
/// the differences.
///
/// Example: metaburn compare checkpoints/glyphs-5way-1shot-exact-00* --pool --out exact.svg
#[derive(Args)]
pub struct Compare {
    /// Run directories
    #[arg(required = true, value_name = "RUN_DIR")]
    runs: Vec<PathBuf>,
    /// Figure to write, as .svg, .png or .html
    #[arg(long, value_name = "FIGURE", default_value = "comparison.png")]
    out: PathBuf,
    /// Quantity on the horizontal axis
    #[arg(long, value_enum, default_value = "evaluations")]
    against: Against,
    /// Draw runs that differ only in their seed as one curve: the mean, with its 95 % band
    #[arg(long)]
    pool: bool,
}

/// The quantity on the horizontal axis.
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

/// Says in what curves differ that makes them incomparable, if in anything.
pub fn warn(groups: &[Vec<RunCurves>]) {
    if let Some(difference) = incomparable(groups) {
        output::say(format_args!("warning: these curves cannot be compared: {difference}"));
    }
}

impl Compare {
    /// Runs the command.
    pub fn run(self) -> Outcome {
        let runs = self.runs.iter().map(|path| RunCurves::read(path)).collect::<Result<Vec<_>, _>>()?;
        let groups = if self.pool { pooled(runs) } else { apart(runs) };
        warn(&groups);
        compare(&groups, self.against.into()).write(&self.out)?;
        output::print(self.out.display())?;
        Ok(ExitCode::SUCCESS)
    }
}
