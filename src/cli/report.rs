//! `metaburn report`: a run on one page.

use super::progress::Terminal;
use super::resume::program;
use super::trained::{Asked, Trained};
use super::{Outcome, output};
use clap::Args;
use metaburn::page::{Judged, Page};
use metaburn::report::{self, RunCurves, RunError};
use metaburn::trainer::together;
use metaburn::whole;
use std::path::PathBuf;
use std::process::ExitCode;

/// Write a run on one page of HTML: accuracy, curves, mistakes, sample episodes, and how to make it again
///
/// Example: metaburn report checkpoints/glyphs-5way-1shot-exact-001
#[derive(Args)]
pub struct Report {
    #[command(flatten)]
    asked: Asked,
    /// The page [default: RUN_DIR/report.html]
    #[arg(short, long, value_name = "FILE.html")]
    out: Option<PathBuf>,
    /// How many of the episodes are shown
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=50))]
    show: u32,
}

impl Report {
    /// Runs the command.
    pub fn run(self) -> Outcome {
        let mut terminal = Terminal::new();
        let trained = self.asked.read(&mut terminal)?;
        let curves = match RunCurves::read(trained.run.path()) {
            Ok(curves) => Some(curves),
            Err(RunError::Empty { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let bar = terminal.counter(trained.episodes, "episodes");
        let episodes = judge(&trained, |done| bar.set_position(done));
        bar.finish_and_clear();
        let page = Page {
            run: &trained.run,
            config: &trained.config,
            standing: &trained.standing,
            checkpoint: self.asked.checkpoint,
            curves: curves.as_ref(),
            set: trained.gallery.sampler().set(),
            part: trained.part,
            episodes: &episodes,
            shown: self.show as usize,
            opened: &trained.learner.opened,
            program: &program(),
        };
        let path = self.out.unwrap_or_else(|| trained.run.path().join("report.html"));
        let html = page.html()?;
        whole::write(&path, &[html.as_bytes()])
            .map_err(|source| report::Error::Write { path: path.clone(), source })?;
        output::print(path.display())?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The episodes, judged.
fn judge(trained: &Trained, progress: impl Fn(u64)) -> Vec<Judged> {
    let Trained { part, episodes, config, shape, learner, gallery, theta, .. } = trained;
    let mut judged = Vec::new();
    for batch in together(*episodes as u64) {
        let images = gallery.images(*part, batch.clone(), shape);
        let said = learner.probabilities(theta, images, shape, config.inner.eval_steps);
        judged.extend(batch.clone().zip(said).map(|(number, probabilities)| Judged {
            selection: gallery.sampler().select(*part, number, shape),
            probabilities,
            ways: shape.ways,
        }));
        progress(batch.end);
    }
    judged
}
