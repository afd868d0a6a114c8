//! `metaburn plot`: one training run on a figure, or several.

use super::compare::Against;
use super::{Outcome, output};
use clap::Args;
use metaburn::report::{RunCurves, apart, compare, portrait};
use std::path::PathBuf;
use std::process::ExitCode;

/// Draw a run's curves, or several runs on one figure
///
/// Of one run: loss, validation accuracy, the meta-gradient's norm, and how its estimator behaved. Of several: what
/// `metaburn compare` draws, which can also pool repetitions.
///
/// Example: metaburn plot checkpoints/glyphs-5way-1shot-exact-001 -o curves.svg
#[derive(Args)]
pub struct Plot {
    /// Directories of the runs
    #[arg(required = true, value_name = "RUN_DIR")]
    runs: Vec<PathBuf>,
    /// The figure; its extension says whether it is SVG, PNG or a page of HTML
    #[arg(short, long, value_name = "FIGURE", default_value = "plot.svg")]
    out: PathBuf,
    /// What to draw the curves against
    #[arg(long, value_enum, default_value = "steps")]
    against: Against,
}

impl Plot {
    /// Runs the command.
    pub fn run(self) -> Outcome {
        let runs = self.runs.iter().map(|path| RunCurves::read(path)).collect::<Result<Vec<_>, _>>()?;
        let figure = match &runs[..] {
            [run] => portrait(run, self.against.into()),
            _ => compare(&apart(runs), self.against.into()),
        };
        figure.write(&self.out)?;
        output::print(self.out.display())?;
        Ok(ExitCode::SUCCESS)
    }
}
