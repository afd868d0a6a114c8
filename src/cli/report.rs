//! `metaburn report`: writes an HTML report of a run, or the figure of its fitted curves.

use super::progress::Terminal;
use super::resume::program;
use super::trained::{Selection, Trained};
use super::{Outcome, output};
use bilevel::Params;
use clap::Args;
use metaburn::data::{EpisodeShape, INPUTS, Sinusoids};
use metaburn::report::page::{EvaluatedEpisode, Findings, FittedCurve, Page, fitted};
use metaburn::report::{self, RunCurves};
use metaburn::run::{self, RunDir};
use metaburn::support::atomic_file;
use metaburn::train::{self, EpisodeLoader, Episodes, Evaluation};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Points of a drawn curve.
const POINTS: usize = 201;

/// Write an HTML report of a run: accuracy, curves, mistakes, sample episodes and how to reproduce it
///
/// For a run on sinusoids, the report shows the error after each inner step, and curves before and after adaptation;
/// these curves can also be written as a separate figure (-o FILE.svg).
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
        let trained = self.selection.read(None, &mut terminal)?;
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
            fitted(&fit(&trained, source, &checkpoint.theta, self.show)?).write(&path)?;
            output::print(path.display())?;
            return Ok(ExitCode::SUCCESS);
        }
        if is_figure(&path) {
            let text = "the report of a classifier is an HTML page; give -o a file name that ends in .html";
            return Err(format!("{}: {text}", path.display()).into());
        }
        let (_, own) = RunDir::open(trained.run.path())?;
        let (program, options) =
            (program(), self.selection.flags(&trained.evaluation, self.selection.checkpoint));
        let page = |findings| Page {
            run: &trained.run,
            config: &trained.config,
            own: &own,
            training_state: &checkpoint.training_state,
            checkpoint: self.selection.checkpoint,
            curves: curves.as_ref(),
            evaluation: &trained.evaluation,
            data: trained.data.as_ref(),
            options: &options,
            findings,
            opened: &trained.learner.opened,
            program: &program,
        };
        let mut counter = terminal.counter(trained.evaluation.episodes, "episodes");
        let html = match &trained.episodes {
            Episodes::Images(loader) => {
                let episodes = evaluate(&trained, loader, &checkpoint.theta, |done| counter.set(done));
                counter.finish();
                if !episodes.iter().any(EvaluatedEpisode::has_answers) {
                    return Err(train::Error::NoAccuracy {
                        episodes: episodes.len(),
                        steps: trained.evaluation.steps,
                        path: trained.run.path().into(),
                    }
                    .into());
                }
                let set = loader.sampler().set();
                page(Findings::Classified { set, episodes: &episodes, shown: self.show as usize }).html()?
            }
            Episodes::Sinusoids(source) => {
                let members = std::slice::from_ref(&checkpoint.theta);
                let errors = trained
                    .learner
                    .squared_errors(members, source, &trained.evaluation, |done| counter.set(done));
                counter.finish();
                if let Some(last) = errors.last().filter(|last| last.error.is_none()) {
                    return Err(
                        no_error(&trained, last.diverged_episodes, trained.evaluation.episodes).into()
                    );
                }
                let fits = fit(&trained, source, &checkpoint.theta, self.show)?;
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

/// The error that `diverged` of `episodes` episodes of `trained` diverged.
fn no_error(trained: &Trained, diverged: usize, episodes: usize) -> train::Error {
    let (steps, path) = (trained.evaluation.steps, trained.run.path().into());
    train::Error::NoError { diverged, episodes, steps, path }
}

/// The first `count` curves of `trained`, as the learner draws them.
///
/// # Errors
/// Returns an error if the adaptation to one of them diverges.
fn fit(
    trained: &Trained,
    source: &Sinusoids,
    theta: &Params,
    count: u32,
) -> Result<Vec<FittedCurve>, train::Error> {
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
    let curves: Vec<FittedCurve> = (0..count).map(curve).collect();
    let diverged = |curve: &&FittedCurve| curve.predicted.iter().flatten().any(|y| !y.is_finite());
    match curves.iter().filter(diverged).count() {
        0 => Ok(curves),
        some => Err(no_error(trained, some, count as usize)),
    }
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
    for batch in learner.batches(0..*episodes as u64, shape) {
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
