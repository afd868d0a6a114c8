//! `metaburn plot`: draws the curves of one run, or compares several.

use super::compare::{Against, warn};
use super::{Outcome, output};
use clap::Args;
use metaburn::report::{RunCurves, apart, compare, overview};
use std::path::PathBuf;
use std::process::ExitCode;

/// Draw the curves of one run, or of several runs in one figure
///
/// For one run, the figure shows loss, validation accuracy, the norm of the meta-gradient and the estimator's metrics.
/// For several runs, it is the figure of `metaburn compare`, which can also pool runs that differ only in their seed.
///
/// Example: metaburn plot checkpoints/glyphs-5way-1shot-exact-001 -o curves.svg
#[derive(Args)]
pub struct Plot {
    /// Run directories
    #[arg(required = true, value_name = "RUN_DIR")]
    runs: Vec<PathBuf>,
    /// Figure to write, as .svg, .png or .html
    #[arg(short, long, value_name = "FIGURE", default_value = "plot.svg")]
    out: PathBuf,
    /// Quantity on the horizontal axis
    #[arg(long, value_enum, default_value = "steps")]
    against: Against,
}

impl Plot {
    /// Runs the command.
    pub fn run(self) -> Outcome {
        let runs = self.runs.iter().map(|path| RunCurves::read(path)).collect::<Result<Vec<_>, _>>()?;
        let figure = match &runs[..] {
            [run] => overview(run, self.against.into()),
            _ => {
                let groups = apart(runs);
                warn(&groups);
                compare(&groups, self.against.into())
            }
        };
        figure.write(&self.out)?;
        output::print(self.out.display())?;
        Ok(ExitCode::SUCCESS)
    }
}
