//! `metaburn predict`: new images named, after a few of each class were shown.

use super::progress::Terminal;
use super::setup::Machine;
use super::{Outcome, output};
use clap::Args;
use metaburn::config::BatchNorm;
use metaburn::data::Request;
use metaburn::deploy::{Prediction, Predictor};
use metaburn::trainer::{RunDir, Watcher, Which};
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use std::process::ExitCode;

/// Show a trained learner a few images of each class, and let it name others
///
/// Where images lie in a folder called like one of the classes, the accuracy is printed too.
///
/// Example: metaburn predict checkpoints/glyphs-5way-1shot-exact-001 --support shots --query photos
#[derive(Args)]
pub struct Predict {
    /// Directory of the run
    run_dir: PathBuf,
    /// Folder of class folders with PNG or JPEG images, any number each: what to adapt to
    #[arg(long, value_name = "DIR")]
    support: PathBuf,
    /// The images to name: files, and folders of them
    #[arg(long, value_name = "PATH", num_args = 1.., required = true)]
    query: Vec<PathBuf>,
    /// Inner steps on the support images; without it, inner.eval_steps of the run
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    steps: Option<u32>,
    /// Which checkpoint: latest, best (by validation), or the one after so many outer steps
    #[arg(long, value_name = "latest|best|STEP", default_value = "latest")]
    checkpoint: Which,
    /// Which images give batch norm its statistics: support, so that each image is judged alone; or
    /// transductive, all images to be named together, as a transductive run was trained
    #[arg(long, value_name = "support|transductive", default_value = "support")]
    batch_norm: BatchNorm,
    /// Whether the images are dark on light; without it, as the run was told, or as the support images' borders
    /// look
    #[arg(long, value_name = "true|false")]
    invert: Option<bool>,
    #[command(flatten)]
    machine: Machine,
    /// Print the answers as one JSON object on standard output
    #[arg(long)]
    json: bool,
}

impl Predict {
    /// Runs the command.
    pub fn run(self) -> Outcome {
        let mut terminal = Terminal::new();
        let (run, config) = RunDir::open(&self.run_dir)?;
        let config = self.machine.over(&config)?;
        let saved = run.saved(self.checkpoint, &mut terminal)?;
        let steps = self.steps.map_or(config.inner.eval_steps, |steps| steps as usize);
        let predictor = Predictor::new(&config, &saved, self.batch_norm)?;
        let request = predictor.request(&self.support, &self.query, self.invert)?;
        let predictions = predictor.predict(&request, steps)?;
        if let Some(caution) = caution(config.model.batch_norm, self.batch_norm) {
            terminal.warning(caution);
        }
        let (classes, images) = (request.support.classes().len(), request.support_labels().len());
        let ink = if request.inverted { "dark" } else { "light" };
        terminal.note(&format!(
            "{steps} inner steps on {images} images of {classes} classes, from outer step {}; {ink} is ink, batch norm {}",
            saved.standing.step, self.batch_norm,
        ));
        let answers = Answers { request, predictions };
        if self.json {
            let mut value = answers.json();
            value["steps"] = json!(steps);
            value["outer_step"] = json!(saved.standing.step);
            value["batch_norm"] = json!(self.batch_norm);
            output::print(value)?;
        } else {
            output::print(answers.table())?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// What to know about answers whose batch norm is not that of training, or not each image's own.
fn caution(trained: BatchNorm, asked: BatchNorm) -> Option<&'static str> {
    match (trained, asked) {
        (BatchNorm::Support, BatchNorm::Support) => None,
        (BatchNorm::Transductive, BatchNorm::Support) => Some(
            "this run was trained with transductive batch norm, where the images to be named share statistics. Here \
             the support images give them, so that each answer stands alone; `eval` measures the other way. A run \
             with `--set model.batch_norm=support` is trained for this",
        ),
        (_, BatchNorm::Transductive) => Some(
            "with transductive batch norm each answer depends on the other images of --query; they should have about \
             as many of each class",
        ),
    }
}

/// Images and what they were taken for.
struct Answers {
    request: Request,
    predictions: Vec<Prediction>,
}

impl Answers {
    fn class(&self, class: usize) -> &str {
        &self.request.support.classes()[class].name
    }

    /// How many images lie in a folder called like a class, and how many of them were taken for it.
    fn right(&self) -> (usize, usize) {
        let pairs = self.request.queries.iter().zip(&self.predictions);
        let known = pairs.filter_map(|(query, prediction)| Some((query.class?, prediction.class)));
        known.fold((0, 0), |(right, of), (class, found)| (right + usize::from(class == found), of + 1))
    }

    fn accuracy(&self) -> Option<f64> {
        let (right, of) = self.right();
        (of > 0).then(|| 100.0 * right as f64 / of as f64)
    }

    fn json(&self) -> Value {
        let answers = self.request.queries.iter().zip(&self.predictions).map(|(query, prediction)| {
            let probabilities = prediction.probabilities.iter().enumerate();
            let probabilities: Map<String, Value> = probabilities
                .map(|(class, probability)| (self.class(class).into(), json!(probability)))
                .collect();
            json!({
                "file": query.file.to_string_lossy(),
                "class": self.class(prediction.class),
                "probability": prediction.probabilities[prediction.class],
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
            "inverted": self.request.inverted,
        })
    }

    /// A line for each image, and one for the accuracy where it is known.
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
            let (right, of) = self.right();
            lines.push(format!(
                "accuracy {accuracy:.2} % ({right} of the {of} images whose folder names their class)"
            ));
        }
        lines.join("\n")
    }
}
