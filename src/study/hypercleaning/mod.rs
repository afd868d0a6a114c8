//! Data hyper-cleaning on MNIST: finding the wrong labels among 5000 digits, and what that costs by every estimator.
//!
//! `docs/mathematics.md`, "Hyper-cleaning" (Franceschi et al. 2017; Shaban et al. 2019): half of the training labels
//! are wrong. θ weighs each example such that a classifier trained with the weights does well on clean validation
//! digits ([`crate::task::HyperCleaning`]). Every estimator has the same number of gradient evaluations. The
//! baselines are classifiers trained on everything, and on the clean half (the oracle), each with the inner rate that
//! has the best validation accuracy.

mod baselines;
mod experiment;
mod figures;

use super::estimators::StudyEstimator;
use super::{
    About, Claim, Completed, Conclusion, Digits, DigitsOptions, DigitsStudy, Error, Expected, Measured, Size,
    Study, Workspace,
};
use crate::report::{Table, short, significant};
use baselines::{Baseline, Baselines, Trial};
use bilevel::stats::mean;
use experiment::{Descent, Experiment, Sample};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Fraction of the training labels that are wrong.
const WRONG: f64 = 0.5;
/// n·α, the inner rate of a mean over n examples: twice the rate at which training on everything has the lowest
/// validation loss (figure `rates`), because weights start at ½.
const RATE: f64 = 0.8;
/// Adam on the logits θ, because each has its own scale.
const OUTER: &str = "outer.optimizer=adam outer.rate=0.2 outer.schedule=constant";

/// The study at one size.
#[derive(Clone, Debug)]
pub struct Hypercleaning {
    /// The data.
    pub digits: Digits,
    /// The size.
    pub size: Size,
}

/// Options of the study.
pub type Options = DigitsOptions<Hypercleaning>;

/// A piece of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Seed of digits and random draws.
    pub seed: u64,
    /// What is trained.
    pub task: Task,
}

/// What a piece of work trains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// The baselines.
    Baselines,
    /// A descent by this estimator.
    Descent(StudyEstimator),
}

/// Result of a piece.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Record {
    /// Of [`Task::Baselines`].
    #[serde(rename = "Levels")]
    Baselines(Baselines),
    /// Of [`Task::Descent`].
    #[serde(rename = "Cleaned")]
    Descent(Descent),
}

impl DigitsStudy for Hypercleaning {
    /// 5000 training, 5000 validation and 10 000 test digits.
    const FULL: Size =
        Size { seeds: 3, train: 5000, validation: 5000, test: 10_000, inner_steps: 100, evaluations: 6030 };

    /// A fifth of the digits, and half of the inner steps.
    const QUICK: Size =
        Size { seeds: 3, train: 1000, validation: 1000, test: 2000, inner_steps: 50, evaluations: 2020 };

    fn new(digits: Digits, size: Size) -> Self {
        Self { digits, size }
    }
}

impl Study for Hypercleaning {
    type Piece = Piece;
    type Record = Record;

    const ABOUT: About = About {
        name: "hypercleaning",
        title: "Data hyper-cleaning: finding wrong labels by hypergradients",
        description: "Half of the labels of the MNIST training digits are wrong. Learns a weight for each example such \
                      that a classifier trained with these weights does well on clean digits. Compares the accuracy, \
                      the wrong labels found and the cost of every estimator with training on all examples. Needs \
                      MNIST: metaburn data fetch mnist.",
        usage: "",
        example: "metaburn study hypercleaning --quick",
        durations: ["20 minutes", "1 minute"],
    };

    fn settings(&self) -> Value {
        let estimators = StudyEstimator::ALL.map(|estimator| estimator.settings(self.size.inner_steps));
        let mut settings = json!(self.size);
        settings["wrong"] = json!(WRONG);
        settings["inner_rate_times_examples"] = json!(RATE);
        settings["outer"] = json!(OUTER);
        settings["laws"] = json!(estimators);
        settings["data"] = json!(self.digits.digest());
        settings["backend"] = json!(self.digits.opened().backend);
        settings
    }

    fn pieces(&self) -> Vec<Piece> {
        let descents = StudyEstimator::ALL.map(Task::Descent);
        let tasks = std::iter::once(Task::Baselines).chain(descents);
        tasks.flat_map(|task| (0..self.size.seeds).map(move |seed| Piece { seed, task })).collect()
    }

    fn key(&self, Piece { seed, task }: &Piece) -> String {
        match task {
            Task::Baselines => format!("{seed}-levels"),
            Task::Descent(estimator) => format!("{seed}-{}", estimator.key()),
        }
    }

    /// In gradient evaluations.
    fn weight(&self, piece: &Piece) -> f64 {
        let evaluations = match piece.task {
            Task::Baselines => baselines::evaluations(self.size.inner_steps),
            // It stops after its first step, which does not move θ.
            Task::Descent(StudyEstimator::FirstOrder) => 1,
            Task::Descent(_) => self.size.evaluations,
        };
        evaluations as f64
    }

    fn run(&self, piece: &Piece, workspace: &mut Workspace) -> Result<Record, Error> {
        let seed = piece.seed;
        match piece.task {
            Task::Baselines => Baselines::train(self, seed).map(Record::Baselines),
            Task::Descent(estimator) => Experiment::new(self, seed, RATE)?
                .descend(estimator, self.size.evaluations, workspace)
                .map(Record::Descent),
        }
    }

    fn conclude(&self, results: Vec<Completed<Piece, Record>>) -> Conclusion {
        let results = Results::new(results, &self.size);
        Conclusion {
            claims: results.claims(),
            remarks: results.remarks(),
            figures: figures::all(&results),
            tables: vec![
                ("descents", results.descents_table()),
                ("rates", baselines::table(&results.baselines)),
                ("weights", figures::weights_table(&results)),
            ],
        }
    }
}

/// All records, by kind.
struct Results<'a> {
    baselines: Vec<Baselines>,
    /// With their estimators.
    descents: Vec<(StudyEstimator, Descent)>,
    size: &'a Size,
}

impl<'a> Results<'a> {
    fn new(results: Vec<Completed<Piece, Record>>, size: &'a Size) -> Self {
        let (mut baselines, mut descents) = (Vec::new(), Vec::new());
        for Completed { piece, record } in results {
            match (piece.task, record) {
                (Task::Baselines, Record::Baselines(trained)) => baselines.push(trained),
                (Task::Descent(estimator), Record::Descent(descent)) => descents.push((estimator, descent)),
                // A record of the wrong kind can only come from a manual change.
                _ => {}
            }
        }
        Self { baselines, descents, size }
    }

    /// The descents by `estimator`, in the order of their seeds.
    fn by(&self, estimator: StudyEstimator) -> impl Iterator<Item = &Descent> {
        self.descents.iter().filter(move |(name, _)| *name == estimator).map(|(_, descent)| descent)
    }

    /// `value` at the end of each descent by `estimator`.
    fn ends(&self, estimator: StudyEstimator, value: impl Fn(&Sample) -> f64) -> Vec<f64> {
        self.by(estimator).filter_map(|descent| descent.samples.last()).map(value).collect()
    }

    /// Final test accuracy of `estimator` minus that of a baseline with the same seed, in points.
    fn accuracy_minus(&self, estimator: StudyEstimator, baseline: Baseline) -> Measured {
        let difference = |descent: &Descent| {
            let same_seed = self.baselines.iter().find(|baselines| baselines.seed == descent.seed)?;
            Some(descent.samples.last()?.accuracy - same_seed.best(baseline).accuracy)
        };
        Measured::mean_of_few(&self.by(estimator).filter_map(difference).collect::<Vec<_>>())
    }

    fn claims(&self) -> Vec<Claim> {
        let moved = self.by(StudyEstimator::FirstOrder).map(|descent| descent.distance).fold(0.0, f64::max);
        vec![
            Claim::new(
                "first-order does not change the weights: distance of θ from its start",
                Expected::exactly(0.0),
                Measured::exactly(moved),
            ),
            Claim::new(
                "exact: test accuracy minus the oracle's (points)",
                Expected::above(-1.0),
                self.accuracy_minus(StudyEstimator::Exact, Baseline::Clean),
            ),
            Claim::new(
                "exact: test accuracy minus that of training on everything (points)",
                Expected::above(2.0),
                self.accuracy_minus(StudyEstimator::Exact, Baseline::Everything),
            ),
            Claim::new(
                "exact: F1 score of the wrong labels, found by weights below ½",
                Expected::above(0.9),
                Measured::mean_of_few(&self.ends(StudyEstimator::Exact, |sample| sample.f1)),
            ),
            Claim::new(
                "truncated(1) learns: test accuracy minus that of training on everything (points)",
                Expected::above(1.0),
                self.accuracy_minus(StudyEstimator::TruncatedOne, Baseline::Everything),
            ),
        ]
    }

    fn remarks(&self) -> Vec<String> {
        let mut remarks = vec![
            format!(
                "Results at the end of each descent, after {} gradient evaluations: means over {} seeds, with 95 % \
                 intervals.",
                short(self.size.evaluations as f64, 6),
                self.size.seeds
            ),
            self.summary_table().markdown(),
            "First-order cannot learn here. θ is neither the start of the inner loop nor an argument of the validation \
             loss, so ∂L_out/∂θ = 0, and the whole gradient comes from the mixed second-derivative products of the \
             backward pass, which first-order omits. Its curve is that of constant weights ½. The base that UFOM, \
             adaptive UFOM and telescoping debias here is therefore truncated(1), which includes the last product."
                .into(),
        ];
        let stopped_early = |descent: &Descent| {
            descent.samples.last().is_some_and(|last| last.evaluations < self.size.evaluations)
        };
        let stopped = self.descents.iter().filter(|(_, descent)| stopped_early(descent));
        remarks.extend(stopped.map(|(estimator, Descent { seed, samples, .. })| {
            // The step that diverged was undone, and is not counted.
            let (name, step) = (estimator.key(), samples.last().map_or(0, |last| last.steps) + 1);
            format!("{name}, seed {seed}: the descent diverged at outer step {step}; the curve ends there.")
        }));
        remarks
    }

    /// Means over seeds for every estimator and baseline.
    fn summary_table(&self) -> Table {
        let mut table =
            Table::new(["", "outer steps", "validation loss", "test accuracy (%)", "F1 of wrong labels"]);
        let means = |values: Vec<f64>| Measured::mean_of_few(&values).to_string();
        for estimator in StudyEstimator::ALL {
            let end = |value: fn(&Sample) -> f64| self.ends(estimator, value);
            let steps = significant(mean(&end(|sample| sample.steps as f64)), 3);
            let cells = [end(|sample| sample.loss), end(|sample| sample.accuracy), end(|sample| sample.f1)];
            let name = estimator.name(self.size.inner_steps);
            table.row([name, steps].into_iter().chain(cells.map(means)));
        }
        for baseline in Baseline::ALL {
            let each = |value: &dyn Fn(&Trial) -> f64| {
                means(self.baselines.iter().map(|baselines| value(baselines.best(baseline))).collect())
            };
            let name = format!("{}, best inner rate", baseline.name());
            table.row([name, String::new(), each(&|trial| trial.loss), each(&|trial| trial.accuracy)]);
        }
        table
    }

    /// Every sample of every descent.
    fn descents_table(&self) -> Table {
        let columns = ["law", "seed", "steps", "evaluations", "validation_loss", "test_accuracy", "f1"];
        let mut table = Table::new(columns);
        for (estimator, Descent { seed, samples, .. }) in &self.descents {
            for Sample { steps, evaluations, loss, accuracy, f1 } in samples {
                let counts = [*seed, *steps, *evaluations].map(|count| count.to_string());
                let values = [*loss, *accuracy, *f1].map(|value| value.to_string());
                table.row(std::iter::once(estimator.key().to_string()).chain(counts).chain(values));
            }
        }
        table
    }
}
