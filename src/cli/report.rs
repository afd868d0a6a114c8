//! `metaburn report`: writes an HTML report of a run, or the figure of its fitted curves.

use super::progress::Terminal;
use super::resume::program;
use super::trained::{Overrides, Selection, Trained};
use super::{Outcome, output};
use bilevel::Params;
use clap::Args;
use metaburn::data::{EpisodeShape, INPUTS, Sinusoids};
use metaburn::report::page::{EvaluatedEpisode, Findings, FittedCurve, Page, fitted};
use metaburn::report::{self, RunCurves};
use metaburn::run;
use metaburn::support::atomic_file;
use metaburn::train::{EpisodeLoader, Episodes, Evaluation, together};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Points of a drawn curve.
const POINTS: usize = 201;

/// Write an HTML report of a run: accuracy, curves, mistakes, sample episodes and how to reproduce it
///
/// For a run on sinusoids: the error after each inner step, and curves before and after adaptation, which can also be written
/// as a figure by themselves (-o FILE.svg).
///
/// Example: metaburn report checkpoints/glyphs-5way-1shot-exact-001
#[derive(Args)]
pub struct Report {
    #[command(flatten)]
    selection: Selection,
    /// File to write; for a run on sinusoids also .svg or .png [default: RUN_DIR/report.html]
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
        let trained = self.selection.read(None, Overrides::default(), &mut terminal)?;
        let checkpoint = &trained.checkpoints[0];
        let curves = match RunCurves::read(trained.run.path()) {
            Ok(curves) => Some(curves),
            Err(run::Error::NoSteps { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let path = self.out.clone().unwrap_or_else(|| trained.run.report_file());
        if let Episodes::Sinusoids(source) = &trained.episodes
            && is_figure(&path)
        {
            fitted(&fit(&trained, source, &checkpoint.theta, self.show)).write(&path)?;
            output::print(path.display())?;
            return Ok(ExitCode::SUCCESS);
        }
        let program = program();
        let page = |findings| Page {
            run: &trained.run,
            config: &trained.config,
            training_state: &checkpoint.training_state,
            checkpoint: self.selection.checkpoint,
            curves: curves.as_ref(),
            part: trained.evaluation.part,
            episodes: trained.evaluation.episodes,
            findings,
            opened: &trained.learner.opened,
            program: &program,
        };
        let mut counter = terminal.counter(trained.evaluation.episodes, "episodes");
        let html = match &trained.episodes {
            Episodes::Images(loader) => {
                let episodes = evaluate(&trained, loader, &checkpoint.theta, |done| counter.set(done));
                counter.finish();
                let set = loader.sampler().set();
                page(Findings::Classified { set, episodes: &episodes, shown: self.show as usize }).html()?
            }
            Episodes::Sinusoids(source) => {
                let fits = fit(&trained, source, &checkpoint.theta, self.show);
                let members = std::slice::from_ref(&checkpoint.theta);
                let errors = trained
                    .learner
                    .squared_errors(members, source, &trained.evaluation, |done| counter.set(done));
                counter.finish();
                page(Findings::Fitted { errors: &errors, curves: &fits }).html()?
            }
        };
        atomic_file::write(&path, &[html.as_bytes()])
            .map_err(|source| report::Error::Write { path: path.clone(), source })?;
        output::print(path.display())?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Whether a file's name says that it is a figure.
fn is_figure(path: &Path) -> bool {
    path.extension().is_some_and(|extension| ["svg", "png"].iter().any(|known| extension == *known))
}

/// The first `count` curves of `trained`, as the learner draws them.
fn fit(trained: &Trained, source: &Sinusoids, theta: &Params, count: u32) -> Vec<FittedCurve> {
    let Evaluation { part, shape: EpisodeShape { shots, .. }, steps, .. } = trained.evaluation;
    let place = |at: usize| {
        let share = at as f64 / (POINTS - 1) as f64;
        INPUTS.start() + share * (INPUTS.end() - INPUTS.start())
    };
    let curve = |number| {
        let mut episode = source.episode(part, u64::from(number), shots, 0);
        episode.query = (0..POINTS).map(place).collect();
        let predicted = trained.learner.predicted_curves(theta, &episode, steps);
        FittedCurve { episode, predicted }
    };
    (0..count).map(curve).collect()
}

/// Evaluates the learner on the episodes of `loader`.
fn evaluate(
    trained: &Trained,
    loader: &EpisodeLoader,
    theta: &Params,
    mut progress: impl FnMut(usize),
) -> Vec<EvaluatedEpisode> {
    let Trained { learner, evaluation: Evaluation { part, shape, episodes, steps }, .. } = trained;
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
