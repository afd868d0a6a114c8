//! `metaburn eval`: a trained run's accuracy on a part of its data.

use super::progress::Terminal;
use super::trained::{Asked, Trained};
use super::{Outcome, output};
use clap::Args;
use metaburn::config::{BatchNorm, Config};
use metaburn::data::Part;
use metaburn::trainer::{Accuracy, Error, RunDir, Standing, Which};
use serde_json::{Value, json};
use std::process::ExitCode;

/// Measure a run's accuracy on episodes that it was not trained on
///
/// The result is printed, and kept in the run's results/.
///
/// Example: metaburn eval checkpoints/glyphs-5way-1shot-exact-001 --split test --episodes 2000
#[derive(Args)]
pub struct Eval {
    #[command(flatten)]
    asked: Asked,
    /// Print the result as one JSON object on standard output
    #[arg(long)]
    json: bool,
}

impl Eval {
    /// Runs the command.
    pub fn run(self) -> Outcome {
        let mut terminal = Terminal::new();
        let Trained { part, episodes, run, config, standing, shape, learner, gallery, theta } =
            self.asked.read(&mut terminal)?;
        let bar = terminal.counter(episodes, "episodes");
        let steps = config.inner.eval_steps;
        let accuracy = learner.evaluate(&theta, &gallery, part, &shape, (episodes, steps), |done| {
            bar.set_position(done as u64)
        });
        bar.finish_and_clear();
        let result = Result::new(&config, part, accuracy, &standing);
        result.print(self.json)?;
        match self.asked.checkpoint {
            Which::Latest => result.keep(&run, part.name())?,
            other => result.keep(&run, &format!("{}-{other}", part.name()))?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// An accuracy and all that it depends on.
pub struct Result {
    part: Part,
    accuracy: Accuracy,
    standing: Standing,
    ways: usize,
    shots: usize,
    batch_norm: BatchNorm,
}

impl Result {
    /// The `accuracy` of a run of `config` that stands at `standing`, on `part`.
    pub fn new(config: &Config, part: Part, accuracy: Accuracy, standing: &Standing) -> Self {
        let (ways, shots) = (config.task.ways, config.task.shots);
        Self { part, accuracy, standing: standing.clone(), ways, shots, batch_norm: config.model.batch_norm }
    }

    fn json(&self) -> Value {
        let mut value = json!({
            "ci95": self.accuracy.ci95,
            "loss": self.accuracy.loss,
            "episodes": self.accuracy.episodes,
            "ways": self.ways,
            "shots": self.shots,
            "batch_norm": self.batch_norm,
            "steps": self.standing.step,
            "gradient_evaluations": self.standing.evaluations.total(),
            "seconds": self.standing.seconds,
        });
        value[format!("{}_accuracy", self.part.name())] = json!(self.accuracy.mean);
        value
    }

    /// Keeps it in the run directory as `results/NAME.json`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn keep(&self, run: &RunDir, name: &str) -> std::result::Result<(), Error> {
        run.write_result(name, &self.json())
    }

    /// Prints it: for people, or as one JSON object.
    ///
    /// # Errors
    /// If standard output takes no more.
    pub fn print(&self, json: bool) -> std::io::Result<()> {
        if json {
            return output::print(self.json());
        }
        output::print(format!(
            "{} accuracy {:.2} % ± {:.2} ({} episodes, {}-way {}-shot, batch norm {}), after {} outer steps, {} \
             gradient evaluations, {:.0} s of training",
            self.part.name(),
            self.accuracy.mean,
            self.accuracy.ci95,
            self.accuracy.episodes,
            self.ways,
            self.shots,
            self.batch_norm,
            self.standing.step,
            self.standing.evaluations.total(),
            self.standing.seconds,
        ))
    }
}
