//! `metaburn report`: a run on one page.

use super::progress::Terminal;
use super::resume::program;
use super::setup::{PartName, Place};
use super::trained::Trained;
use super::{Outcome, output};
use clap::Args;
use metaburn::data::Part;
use metaburn::page::{Judged, Page};
use metaburn::report::{self, RunCurves, RunError};
use metaburn::trainer::Which;
use metaburn::whole;
use std::path::PathBuf;
use std::process::ExitCode;

/// Episodes that are judged together.
const TOGETHER: u64 = 32;

/// Write a run on one page of HTML: accuracy, curves, mistakes, sample episodes, and how to make it again
///
/// Example: metaburn report checkpoints/glyphs-5way-1shot-exact-001
#[derive(Args)]
pub struct Report {
    /// Directory of the run
    run_dir: PathBuf,
    /// The page [default: RUN_DIR/report.html]
    #[arg(short, long, value_name = "FILE.html")]
    out: Option<PathBuf>,
    /// Whose classes the episodes are made of
    #[arg(long, value_enum, default_value = "test")]
    split: PartName,
    /// Episodes that are judged; without it, as many as the run's configuration says
    #[arg(long, value_parser = clap::value_parser!(u32).range(2..))]
    episodes: Option<u32>,
    /// How many of them are shown
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=50))]
    show: u32,
    /// Which checkpoint: latest, best (by validation), or the one after so many outer steps
    #[arg(long, value_name = "latest|best|STEP", default_value = "latest")]
    checkpoint: Which,
    #[command(flatten)]
    place: Place,
}

impl Report {
    /// Runs the command.
    pub fn run(self) -> Outcome {
        let mut terminal = Terminal::new();
        let part = Part::from(self.split);
        let trained = Trained::read(&self.run_dir, &self.place, self.checkpoint, part, &mut terminal)?;
        let curves = match RunCurves::read(&self.run_dir) {
            Ok(curves) => Some(curves),
            Err(RunError::Empty { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let count = self.episodes.map_or(trained.config.eval.test_episodes, |episodes| episodes as usize);
        let bar = terminal.counter(count, "episodes");
        let episodes = judge(&trained, part, count as u64, |done| bar.set_position(done));
        bar.finish_and_clear();
        let page = Page {
            run: &trained.run,
            config: &trained.config,
            standing: &trained.standing,
            checkpoint: self.checkpoint,
            curves: curves.as_ref(),
            set: trained.gallery.sampler().set(),
            part,
            episodes: &episodes,
            shown: self.show as usize,
            opened: &trained.learner.opened,
            program: &program(),
        };
        let path = self.out.unwrap_or_else(|| self.run_dir.join("report.html"));
        let html = page.html()?;
        whole::write(&path, &[html.as_bytes()])
            .map_err(|source| report::Error::Write { path: path.clone(), source })?;
        output::print(path.display())?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The first `count` episodes of `part`, judged.
fn judge(trained: &Trained, part: Part, count: u64, progress: impl Fn(u64)) -> Vec<Judged> {
    let Trained { config, shape, learner, gallery, theta, .. } = trained;
    let (mut judged, mut first) = (Vec::new(), 0);
    while first < count {
        let last = (first + TOGETHER).min(count);
        let images = gallery.images(part, first..last, shape);
        let said = learner.probabilities(theta, images, shape, config.inner.eval_steps);
        judged.extend((first..last).zip(said).map(|(number, probabilities)| Judged {
            selection: gallery.sampler().select(part, number, shape),
            probabilities,
            ways: shape.ways,
        }));
        first = last;
        progress(first);
    }
    judged
}
