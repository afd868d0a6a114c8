//! `metaburn report`: writes an HTML report of a run.

use super::progress::Terminal;
use super::resume::program;
use super::trained::{Selection, Trained};
use super::{Outcome, output};
use bilevel::Params;
use clap::Args;
use metaburn::report::page::{EvaluatedEpisode, Page};
use metaburn::report::{self, RunCurves};
use metaburn::run;
use metaburn::support::atomic_file;
use metaburn::train::{self, Evaluation, together};
use std::path::PathBuf;
use std::process::ExitCode;

/// Write an HTML report of a run: accuracy, curves, mistakes, sample episodes and how to reproduce it
///
/// Example: metaburn report checkpoints/glyphs-5way-1shot-exact-001
#[derive(Args)]
pub struct Report {
    #[command(flatten)]
    selection: Selection,
    /// File to write [default: RUN_DIR/report.html]
    #[arg(short, long, value_name = "FILE.html")]
    out: Option<PathBuf>,
    /// Number of sample episodes shown
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=50))]
    show: u32,
}

impl Report {
    /// Runs the command.
    pub fn run(self) -> Outcome {
        let mut terminal = Terminal::new();
        let trained = self.selection.read(None, &mut terminal)?;
        let checkpoint = &trained.checkpoints[0];
        let curves = match RunCurves::read(trained.run.path()) {
            Ok(curves) => Some(curves),
            Err(run::Error::NoSteps { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let mut counter = terminal.counter(trained.evaluation.episodes, "episodes");
        let episodes = evaluate(&trained, &checkpoint.theta, |done| counter.set(done));
        counter.finish();
        let page = Page {
            run: &trained.run,
            config: &trained.config,
            training_state: &checkpoint.training_state,
            checkpoint: self.selection.checkpoint,
            curves: curves.as_ref(),
            set: trained.loader.sampler().set(),
            evaluation: &trained.evaluation,
            data: trained.data.as_ref(),
            options: &self.selection.flags(&trained.evaluation, self.selection.checkpoint),
            episodes: &episodes,
            shown: self.show as usize,
            opened: &trained.learner.opened,
            program: &program(),
        };
        if !page.has_accuracy() {
            return Err(train::Error::NoAccuracy {
                episodes: episodes.len(),
                steps: trained.evaluation.steps,
                path: trained.run.path().into(),
            }
            .into());
        }
        let path = self.out.unwrap_or_else(|| trained.run.report_file());
        let html = page.html()?;
        atomic_file::write(&path, &[html.as_bytes()])
            .map_err(|source| report::Error::Write { path: path.clone(), source })?;
        output::print(path.display())?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Evaluates the learner on its episodes.
fn evaluate(trained: &Trained, theta: &Params, mut progress: impl FnMut(usize)) -> Vec<EvaluatedEpisode> {
    let Trained { learner, loader, evaluation: Evaluation { part, shape, episodes, steps }, .. } = trained;
    let mut evaluated = Vec::new();
    for batch in together(*episodes as u64) {
        let images = loader.images(*part, batch.clone(), shape);
        let predicted = learner.probabilities(theta, images, shape, *steps);
        evaluated.extend(batch.clone().zip(predicted).map(|(number, probabilities)| EvaluatedEpisode {
            selection: loader.sampler().select(*part, number, shape),
            probabilities,
            ways: shape.ways,
        }));
        progress(batch.end as usize);
    }
    evaluated
}
