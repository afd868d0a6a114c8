//! Hyperparameters of a perceptron on MNIST: hypergradient descent against random search at equal cost.
//!
//! θ holds a log-rate and a log-penalty for each of five layers ([`crate::task::Hyperparameters`]): ten numbers,
//! because the advantage of descent over search grows with their number. With few, random search has a draw near the
//! optimum: with one hidden layer (four numbers) it wins. The ranges of the search are like those of Bergstra & Bengio,
//! *Random search for hyper-parameter optimization*, 2012; descents start in their middle. There are few training
//! digits, so that penalties matter.

mod experiment;
mod figures;

use super::estimators::StudyEstimator;
use super::mean_curve::minimum_up_to;
use super::{
    About, Claim, Completed, Conclusion, Digits, DigitsOptions, DigitsStudy, Error, Expected, Measured, Size,
    Study, Workspace,
};
use crate::report::{Table, short, significant};
use bilevel::stats::mean;
use experiment::{Best, Experiment, Record};
use serde_json::{Value, json};

/// Widths of the hidden layers; with the output layer, five layers have rates and penalties.
const HIDDEN: [usize; 4] = [32; 4];
/// Range of the learning rates of random search, log-uniform as in Bergstra & Bengio.
const RATES: [f64; 2] = [1e-3, 10.0];
/// Range of the penalties, log-uniform: from no effect to one that prevents learning.
const PENALTIES: [f64; 2] = [1e-5, 1e-1];
/// Adam on logarithms: a step is a factor of about 1.05. Near the rates at which training diverges hypergradients
/// explode; without clipping a single one would dominate Adam's averages from then on. Chosen on the digits of other
/// seeds at the quick size, where a linear schedule from 0.1, and plain gradient descent, did about as well.
const OUTER: &str = "outer.optimizer=adam outer.rate=0.05 outer.schedule=constant outer.clip=1";

/// The study at one size.
#[derive(Clone, Debug)]
pub struct Hyperparameters {
    /// The data.
    pub digits: Digits,
    /// The size.
    pub size: Size,
}

/// Options of the study.
pub type Options = DigitsOptions<Hyperparameters>;

/// A piece of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Seed of digits, initial weights and random draws.
    pub seed: u64,
    /// How hyperparameters are found.
    pub method: Method,
}

/// A way of finding hyperparameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Hypergradient descent by an estimator.
    Descent(StudyEstimator),
    /// Random search.
    RandomSearch,
}

/// Descent by the exact estimator.
const EXACT: Method = Method::Descent(StudyEstimator::Exact);

impl Method {
    /// All methods, in the order of tables.
    fn all() -> impl Iterator<Item = Self> {
        StudyEstimator::ALL.into_iter().map(Self::Descent).chain([Self::RandomSearch])
    }

    /// Its name in keys of records.
    fn key(self) -> &'static str {
        match self {
            Self::Descent(estimator) => estimator.key(),
            Self::RandomSearch => "random",
        }
    }

    /// Its name in figures and tables.
    fn name(self, inner_steps: usize) -> String {
        match self {
            Self::Descent(estimator) => estimator.name(inner_steps),
            Self::RandomSearch => "random search".into(),
        }
    }
}

impl DigitsStudy for Hyperparameters {
    /// 30 steps of exact descent, or 59 random draws.
    const FULL: Size =
        Size { seeds: 5, train: 500, validation: 2000, test: 10_000, inner_steps: 100, evaluations: 6030 };

    /// Half of the inner steps, and fewer seeds.
    const QUICK: Size =
        Size { seeds: 3, train: 250, validation: 1000, test: 2000, inner_steps: 50, evaluations: 2020 };

    fn new(digits: Digits, size: Size) -> Self {
        Self { digits, size }
    }
}

impl Study for Hyperparameters {
    type Piece = Piece;
    type Record = Record;

    const ABOUT: About = About {
        name: "hyperparameters",
        title: "Learning rates and penalties: hypergradient descent against random search",
        description: "Each layer of a perceptron on MNIST has its own learning rate and L2 penalty. Compares \
                      hypergradient descent on all of them, for every estimator, with random search at equal gradient \
                      evaluations. Needs MNIST: metaburn data fetch mnist.",
        usage: "",
        example: "metaburn study hyperparameters --quick",
        durations: ["10 minutes", "1 minute"],
    };

    fn settings(&self) -> Value {
        let estimators = StudyEstimator::ALL.map(|estimator| estimator.settings(self.size.inner_steps));
        let mut settings = json!(self.size);
        settings["hidden"] = json!(HIDDEN);
        settings["rates"] = json!(RATES);
        settings["penalties"] = json!(PENALTIES);
        settings["outer"] = json!(OUTER);
        settings["laws"] = json!(estimators);
        settings["data"] = json!(self.digits.digest());
        settings["backend"] = json!(self.digits.opened().backend);
        settings
    }

    fn pieces(&self) -> Vec<Piece> {
        let seeds = 0..self.size.seeds;
        Method::all().flat_map(|method| seeds.clone().map(move |seed| Piece { seed, method })).collect()
    }

    fn key(&self, Piece { seed, method }: &Piece) -> String {
        format!("{seed}-{}", method.key())
    }

    /// In gradient evaluations.
    fn weight(&self, piece: &Piece) -> f64 {
        match piece.method {
            // It stops after its first step, which does not move θ.
            Method::Descent(StudyEstimator::FirstOrder) => 1.0,
            Method::Descent(_) | Method::RandomSearch => self.size.evaluations as f64,
        }
    }

    fn run(&self, piece: &Piece, workspace: &mut Workspace) -> Result<Record, Error> {
        let experiment = Experiment::new(self, piece.seed)?;
        match piece.method {
            Method::Descent(estimator) => experiment.descend(estimator, self.size.evaluations, workspace),
            Method::RandomSearch => Ok(experiment.search(self.size.evaluations, workspace)),
        }
    }

    fn conclude(&self, results: Vec<Completed<Piece, Record>>) -> Conclusion {
        let results = Results { all: results, size: &self.size };
        Conclusion {
            claims: results.claims(),
            remarks: results.remarks(),
            figures: figures::all(&results),
            tables: vec![("trials", results.trials_table()), ("best", results.best_table())],
        }
    }
}

/// All pieces and their records.
struct Results<'a> {
    all: Vec<Completed<Piece, Record>>,
    size: &'a Size,
}

impl Results<'_> {
    /// The records of `method`, in the order of seeds.
    fn by(&self, method: Method) -> impl Iterator<Item = &Record> {
        self.all.iter().filter(move |result| result.piece.method == method).map(|result| &result.record)
    }

    /// The lowest validation losses of `method` within `evaluations`, in the order of seeds.
    fn losses(&self, method: Method, evaluations: u64) -> Vec<f64> {
        let lowest = |record: &Record| minimum_up_to(&record.trials, evaluations as f64);
        self.by(method).map(|record| lowest(record).unwrap_or(f64::NAN)).collect()
    }

    /// Percentage of the outer steps of `method` that increased the validation loss.
    fn increases(&self, method: Method) -> Measured {
        let share = |record: &Record| {
            let steps = record.trials.windows(2);
            let count = steps.len().max(1);
            100.0 * steps.filter(|pair| pair[1][1] > pair[0][1]).count() as f64 / count as f64
        };
        Measured::mean_of_few(&self.by(method).map(share).collect::<Vec<_>>())
    }

    fn claims(&self) -> Vec<Claim> {
        let ratio = |methods: [Method; 2], evaluations: u64| {
            let [ours, theirs] = methods.map(|method| self.losses(method, evaluations));
            let ratios = ours.iter().zip(&theirs).map(|(ours, theirs)| ours / theirs);
            Measured::mean_of_few(&ratios.collect::<Vec<_>>())
        };
        let all = self.size.evaluations;
        let first_order = self.by(Method::Descent(StudyEstimator::FirstOrder));
        let truncated = Method::Descent(StudyEstimator::TruncatedOne);
        vec![
            Claim::new(
                "exact: lowest validation loss relative to random search, at equal evaluations",
                Expected::below(1.0),
                ratio([EXACT, Method::RandomSearch], all),
            ),
            Claim::new(
                "the same after a quarter of the evaluations",
                Expected::below(1.0),
                ratio([EXACT, Method::RandomSearch], all / 4),
            ),
            Claim::new(
                "first-order does not change θ: distance of θ from its start",
                Expected::exactly(0.0),
                Measured::exactly(first_order.map(|record| record.distance).fold(0.0, f64::max)),
            ),
            Claim::new(
                "truncated(1) is short-sighted: lowest validation loss relative to exact",
                Expected::above(1.0),
                ratio([truncated, EXACT], all),
            ),
        ]
    }

    fn remarks(&self) -> Vec<String> {
        vec![
            format!(
                "Results within {} gradient evaluations: means over {} seeds, with 95 % intervals. A random draw costs \
                 r = {} evaluations for training and one for its validation loss; a step of descent costs what its \
                 estimator counts.",
                short(self.size.evaluations as f64, 6),
                self.size.seeds,
                self.size.inner_steps
            ),
            self.summary_table().markdown(),
            "First-order stays in the middle of the ranges. θ is neither the start of the inner loop nor an argument of \
             the validation loss, so its whole gradient comes from the backward pass through the inner loop, which \
             first-order omits."
                .into(),
            format!(
                "{} % of exact's outer steps increased the validation loss. Near the rates at which training diverges, \
                 the loss after r steps is rugged in θ, and even an exact gradient predicts little of the effect of a \
                 step (Metz et al., *Understanding and correcting pathologies in the training of learned optimizers*, \
                 2019).",
                self.increases(EXACT)
            ),
        ]
    }

    /// Means over seeds for every method.
    fn summary_table(&self) -> Table {
        let mut table = Table::new(["", "trials", "lowest validation loss", "its test accuracy (%)"]);
        let means = |values: Vec<f64>| Measured::mean_of_few(&values).to_string();
        for method in Method::all() {
            let trials: Vec<f64> = self.by(method).map(|record| record.trials.len() as f64).collect();
            let accuracies = self.by(method).map(|record| record.best.accuracy).collect();
            let losses = self.losses(method, self.size.evaluations);
            let name = method.name(self.size.inner_steps);
            table.row([name, significant(mean(&trials), 3), means(losses), means(accuracies)]);
        }
        table
    }

    /// Every trial.
    fn trials_table(&self) -> Table {
        let mut table = Table::new(["by", "seed", "evaluations", "validation_loss"]);
        for Completed { piece: Piece { seed, method }, record } in &self.all {
            for [evaluations, loss] in &record.trials {
                table.row([method.key().into(), seed.to_string(), evaluations.to_string(), loss.to_string()]);
            }
        }
        table
    }

    /// The best trial of every piece.
    fn best_table(&self) -> Table {
        let mut table = Table::new(["by", "seed", "test_accuracy", "layer", "rate", "penalty"]);
        for Completed { piece: Piece { seed, method }, record } in &self.all {
            let Best { rates, penalties, accuracy } = &record.best;
            for (layer, (rate, penalty)) in rates.iter().zip(penalties).enumerate() {
                let cells = [*accuracy, (layer + 1) as f64, *rate, *penalty].map(|cell| cell.to_string());
                table.row([method.key().into(), seed.to_string()].into_iter().chain(cells));
            }
        }
        table
    }
}
