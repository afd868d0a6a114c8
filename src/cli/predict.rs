//! `metaburn predict`: classifies new images, given a few labelled ones of each class.

use super::output::LARGEST_PICTURE;
use super::progress::Terminal;
use super::setup::Machine;
use super::{Outcome, output};
use clap::Args;
use metaburn::config::Purpose;
use metaburn::data::{Channels, Request};
use metaburn::inference::{Prediction, Predictor, picture, picture_pixels, support_among_queries};
use metaburn::run::{CheckpointSelector, RunDir};
use metaburn::task::BatchNorm;
use metaburn::train::Watcher;
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use std::process::ExitCode;

/// Classify images, given a few labelled examples of each class
///
/// If query images are in folders named after the classes, the accuracy is printed too.
///
/// Example: metaburn predict checkpoints/glyphs-5way-1shot-exact-001 --support shots --query photos
#[derive(Args)]
pub struct Predict {
    /// Run directory
    run_dir: PathBuf,
    /// Folder with the support images, one subfolder per class
    #[arg(long, value_name = "DIR")]
    support: PathBuf,
    /// Images to classify: files or folders
    #[arg(long, value_name = "PATH", num_args = 1.., required = true)]
    query: Vec<PathBuf>,
    /// Number of inner steps on the support images [default: the run's inner.eval_steps]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    steps: Option<u32>,
    /// Checkpoint: latest, best (highest validation accuracy) or the number of an outer step
    #[arg(long, value_name = "latest|best|STEP", default_value = "latest")]
    checkpoint: CheckpointSelector,
    /// Images from which batch norm computes its statistics: `support`, the support images, so that each query is
    /// classified independently; or `transductive`, all queries together, as in the training of a transductive run
    #[arg(long, value_name = "support|transductive", default_value = "support", value_parser = batch_norm)]
    batch_norm: BatchNorm,
    /// Whether the images are dark on light [default: as in training, or, for a run on built-in characters or Omniglot,
    /// detected from the borders of the support images]
    #[arg(long, value_name = "true|false")]
    invert: Option<bool>,
    /// Also draw the predictions: one row per class, with its support images and the images assigned to it; mistakes have
    /// an orange frame
    #[arg(long, value_name = "FILE.png")]
    picture: Option<PathBuf>,
    #[command(flatten)]
    machine: Machine,
    /// Print the predictions as a JSON object
    #[arg(long)]
    json: bool,
}

impl Predict {
    /// Runs the command.
    pub fn run(self) -> Outcome {
        let mut terminal = Terminal::new();
        let (run, config) = RunDir::open(&self.run_dir)?;
        let config = self.machine.over_for_prediction(&config)?;
        let saved = run.saved(self.checkpoint, |warning| terminal.warning(warning))?;
        saved.check_settings(&config, Purpose::Evaluation, run.path())?;
        let steps = self.steps.map_or(config.inner.eval_steps, |steps| steps as usize);
        let own = config.model.batch_norm;
        let batch_norm = if own == BatchNorm::Absent { own } else { self.batch_norm };
        let predictor = Predictor::new(&config, &saved, batch_norm)?;
        let images = config.images()?;
        if self.invert == Some(true) && images.channels == Some(Channels::Colour) {
            let reason = "--invert true: this run's images are in colour, which are never inverted; leave --invert out";
            return Err(reason.to_string().into());
        }
        let request = predictor.request(&self.support, &self.query, self.invert)?;
        for warning in ink_warning(&request, self.invert.or(images.invert).is_some(), self.invert.is_some())
            .into_iter()
            .chain(request.findings.warnings())
        {
            terminal.warning(&warning);
        }
        if self.picture.is_some() && picture_pixels(&request) > LARGEST_PICTURE {
            let count = request.queries.len();
            return Err(format!(
                "--picture: a picture of {count} images would be too large; name fewer in --query"
            )
            .into());
        }
        let predictions = predictor.predict(&request, steps)?;
        if let Some(warning) = batch_norm_warning(own, batch_norm) {
            terminal.warning(warning);
        }
        let (classes, count) = (request.support.classes().len(), request.support_labels().len());
        let by = match (self.invert, images.invert) {
            (Some(_), _) => "as given by --invert",
            (None, Some(_)) => "as in training",
            (None, None) => "detected from the borders of the support images",
        };
        let pixels = match request.ink {
            Some(ink) => format!("strokes are {}, {by}", if ink.inverted { "dark" } else { "light" }),
            None => "images in colour".into(),
        };
        terminal.note(&format!(
            "{steps} inner steps on {count} images of {classes} classes, from outer step {}; {pixels}; batch norm {}",
            saved.training_state.step, batch_norm,
        ));
        let coloured = request.findings.coloured;
        if coloured > 0 && request.ink.is_some() {
            terminal.note(&format!(
                "{coloured} of the images are in colour; only their brightness is used, since the run's images are grey"
            ));
        }
        let answers = Predictions { is_support: support_among_queries(&request), request, predictions };
        if let Some(warning) = answers.support_warning() {
            terminal.warning(&warning);
        }
        // The picture is drawn even if nobody reads standard output any more.
        let printed = if self.json {
            let mut value = answers.json();
            value["steps"] = json!(steps);
            value["outer_step"] = json!(saved.training_state.step);
            value["batch_norm"] = json!(batch_norm);
            output::print(value)
        } else {
            output::print(answers.table())
        };
        if let Some(file) = &self.picture {
            let drawn = picture(&answers.request, &answers.predictions);
            drawn
                .save(file)
                .map_err(|error| format!("--picture: cannot write {}: {error}", file.display()))?;
        }
        printed?;
        Ok(ExitCode::SUCCESS)
    }
}

/// A mode of batch norm.
fn batch_norm(name: &str) -> Result<BatchNorm, String> {
    let known = name.parse().ok().filter(|mode| *mode != BatchNorm::Absent);
    known.ok_or_else(|| "it must be support or transductive".into())
}

/// The warning if it is in doubt whether dark is ink: if the borders of the support images decide and only just, or if they do
/// not agree with the run's decision.
fn ink_warning(request: &Request, is_given: bool, is_flag: bool) -> Option<String> {
    let ink = request.ink?;
    match (is_given, is_flag) {
        (false, _) => {
            ink.doubt().map(|doubt| format!("{doubt}; give --invert true (dark is ink) or --invert false"))
        }
        (true, false) => ink.contradiction("--invert "),
        (true, true) => None,
    }
}

/// The warning for transductive batch norm, in training or in prediction.
fn batch_norm_warning(trained: BatchNorm, requested: BatchNorm) -> Option<&'static str> {
    match (trained, requested) {
        (BatchNorm::Absent, _) | (_, BatchNorm::Absent) | (BatchNorm::Support, BatchNorm::Support) => None,
        (BatchNorm::Transductive, BatchNorm::Support) => Some(
            "this run was trained with transductive batch norm, where all queries share statistics. Here the statistics \
             come from the support images, so that each query is classified independently; `eval` uses transductive \
             statistics. Train with `--set model.batch_norm=support` for best results here",
        ),
        (_, BatchNorm::Transductive) => Some(
            "with transductive batch norm each prediction depends on the other images of --query; they should \
             contain about the same number of images of each class",
        ),
    }
}

/// Query images and their predictions.
struct Predictions {
    request: Request,
    predictions: Vec<Prediction>,
    /// Which queries are support images too.
    is_support: Vec<bool>,
}

impl Predictions {
    fn class(&self, class: usize) -> &str {
        &self.request.support.classes()[class].name
    }

    /// The warning that queries are support images too, if some are.
    fn support_warning(&self) -> Option<String> {
        let mut repeated = self.request.queries.iter().zip(&self.is_support).filter(|(_, is)| **is);
        let (first, _) = repeated.next()?;
        let (count, of) = (repeated.count() + 1, self.is_support.len());
        Some(format!(
            "{count} of the {of} images to classify {} also among the support images, to which the network has adapted, and {} \
             not counted in the accuracy; for example {}",
            if count == 1 { "is" } else { "are" },
            if count == 1 { "is" } else { "are" },
            first.file.display()
        ))
    }

    /// The number of correct predictions, and of images whose folder names their class. Support images are not counted.
    fn correct(&self) -> (usize, usize) {
        let pairs = self.request.queries.iter().zip(&self.predictions).zip(&self.is_support);
        let new = pairs.filter(|(_, is_support)| !**is_support).map(|(pair, _)| pair);
        let known = new.filter_map(|(query, prediction)| Some((query.class?, prediction.class)));
        known.fold((0, 0), |(right, of), (class, found)| (right + usize::from(class == found), of + 1))
    }

    fn accuracy(&self) -> Option<f64> {
        let (right, of) = self.correct();
        (of > 0).then(|| 100.0 * right as f64 / of as f64)
    }

    fn json(&self) -> Value {
        let pairs = self.request.queries.iter().zip(&self.predictions).zip(&self.is_support);
        let answers = pairs.map(|((query, prediction), is_support)| {
            let probabilities = prediction.probabilities.iter().enumerate();
            let probabilities: Map<String, Value> = probabilities
                .map(|(class, probability)| (self.class(class).into(), json!(probability)))
                .collect();
            json!({
                "file": query.file.to_string_lossy(),
                "class": self.class(prediction.class),
                "probability": prediction.probabilities[prediction.class],
                "is_support": is_support,
                "folder_class": query.class.map(|class| self.class(class)),
                "probabilities": probabilities,
                "logits": prediction.logits,
            })
        });
        let classes: Vec<&str> =
            self.request.support.classes().iter().map(|class| class.name.as_str()).collect();
        json!({
            "classes": classes,
            "predictions": answers.collect::<Vec<_>>(),
            "accuracy": self.accuracy(),
            "counted": self.correct().1,
            "inverted": self.request.ink.is_some_and(|ink| ink.inverted),
        })
    }

    /// One line per image, and one for the accuracy if it is known.
    fn table(&self) -> String {
        let heading = ["image", "class", "probability", "runner-up"].map(String::from);
        let rows = self.request.queries.iter().zip(&self.predictions).map(|(query, prediction)| {
            let percent = |class: usize| format!("{:.1} %", 100.0 * prediction.probabilities[class]);
            let second = prediction.runner_up();
            let wrong = query.class.filter(|class| *class != prediction.class);
            let wrong = wrong.map_or(String::new(), |class| format!("   not {}", self.class(class)));
            [
                query.file.display().to_string(),
                self.class(prediction.class).into(),
                percent(prediction.class),
                format!("{} {}{wrong}", self.class(second), percent(second)),
            ]
        });
        let rows: Vec<[String; 4]> = std::iter::once(heading).chain(rows).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths = [width(0), width(1), width(2)];
        let line = |[image, class, probability, second]: &[String; 4]| {
            let [a, b, c] = widths;
            format!("{image:a$}  {class:b$}  {probability:>c$}  {second}")
        };
        let mut lines: Vec<String> = rows.iter().map(line).collect();
        if let Some(accuracy) = self.accuracy() {
            let (right, of) = self.correct();
            lines.push(format!(
                "accuracy {accuracy:.2} % ({right} of the {of} images whose folder names their class)"
            ));
        }
        lines.join("\n")
    }
}
