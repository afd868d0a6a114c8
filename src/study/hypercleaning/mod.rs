//! Data hyper-cleaning on MNIST: which of 5000 labels are wrong, and what does finding out cost?
//!
//! METHOD, "Data hyper-cleaning" (Franceschi et al. 2017; Shaban et al. 2019): half of the training labels are
//! wrong; θ weighs each example so that a classifier trained by the weights does well on clean validation digits
//! ([`crate::problem::HyperCleaning`]). Every law has the same number of gradient evaluations. What they are held
//! against has its own inner rate, the best of several by validation accuracy: the classifier trained on
//! everything, and the oracle's, trained on the clean half.

mod levels;
mod pictures;
mod scene;

use super::laws::{EXACT, FIRST_ORDER, Law, law, laws};
use super::{About, Claim, Conclusion, Desk, Digits, Error, Expected, Measured, Piece, Size, Study};
use crate::interval::mean;
use crate::report::{Table, short, significant};
use levels::Levels;
use scene::{Cleaned, Look, Scene};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What a person reads before it is run.
pub const ABOUT: About = About {
    name: "hypercleaning",
    title: "Data hyper-cleaning: finding wrong labels by hypergradients",
    shows: "Of MNIST digits half of whose labels are wrong, a weight for each example is learned, so that a \
            classifier trained by the weights does well on clean digits: how well, how many of the wrong labels \
            are found, and what that costs by every estimator. Needs MNIST: metaburn data fetch mnist.",
    takes: ["20 minutes", "1 minute"],
};

/// Share of the training labels that is wrong.
const WRONG: f64 = 0.5;
/// n·α, the inner rate as it is for the mean over n examples: twice the one at which training on everything has the
/// least validation loss (figure `rates`), since weights begin at ½.
const RATE: f64 = 0.8;
/// Adam on logits, of which each has its own scale.
const OUTER: &str = "outer.optimizer=adam outer.rate=0.2 outer.schedule=constant";

/// The study at one size.
#[derive(Clone, Debug)]
pub struct Hypercleaning {
    /// What is cleaned.
    pub digits: Digits,
    /// How much of it.
    pub size: Size,
}

/// What a piece yields.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Record {
    /// What descents are held against.
    Levels(Levels),
    /// A descent.
    Cleaned(Cleaned),
}

/// METHOD's: 5000, 5000 and 10 000 digits.
pub fn full() -> Size {
    let (train, validation, test) = (5000, 5000, 10_000);
    Size { seeds: 3, train, validation, test, inner_steps: 100, evaluations: 6030 }
}

/// A fifth of the digits, and half the inner steps.
pub fn quick() -> Size {
    let (train, validation, test) = (1000, 1000, 2000);
    Size { seeds: 3, train, validation, test, inner_steps: 50, evaluations: 2020 }
}

impl Study for Hypercleaning {
    type Record = Record;

    fn about(&self) -> About {
        ABOUT
    }

    fn settings(&self) -> Value {
        let mut settings = json!(self.size);
        settings["wrong"] = json!(WRONG);
        settings["inner_rate_times_examples"] = json!(RATE);
        settings["outer"] = json!(OUTER);
        settings["laws"] = json!(laws(self.size.inner_steps).iter().map(Law::to_string).collect::<Vec<_>>());
        settings["data"] = json!(self.digits.digest());
        settings["backend"] = json!(self.digits.opened().backend);
        settings
    }

    fn pieces(&self) -> Vec<Piece> {
        let levels = ("levels", levels::evaluations(self.size.inner_steps));
        // First-order's ends when it is seen to stand still.
        let cost = |law: &Law| if law.key == FIRST_ORDER { 1 } else { self.size.evaluations };
        let descents = laws(self.size.inner_steps).into_iter().map(|law| (law.key, cost(&law)));
        let of = |(key, cost): (&str, u64)| {
            let piece = move |seed| Piece { key: format!("{seed}-{key}"), weight: cost as f64 };
            (0..self.size.seeds).map(piece).collect::<Vec<_>>()
        };
        std::iter::once(levels).chain(descents).flat_map(of).collect()
    }

    fn work(&self, key: &str, desk: &mut Desk) -> Result<Record, Error> {
        let unknown = || Error::Unfit(format!("the study of hyper-cleaning has no piece called {key}"));
        let (seed, what) = key.split_once('-').ok_or_else(unknown)?;
        let seed = seed.parse().map_err(|_| unknown())?;
        if what == "levels" {
            return Levels::find(self, seed).map(Record::Levels);
        }
        let law = law(what, self.size.inner_steps).ok_or_else(unknown)?;
        Scene::new(self, seed, RATE)?.descend(&law, self.size.evaluations, desk).map(Record::Cleaned)
    }

    fn conclude(&self, records: &[Record]) -> Conclusion {
        let (mut levels, mut cleaned) = (Vec::new(), Vec::new());
        for record in records {
            match record {
                Record::Levels(found) => levels.push(found.clone()),
                Record::Cleaned(found) => cleaned.push(found.clone()),
            }
        }
        let results = Results { levels, cleaned, size: &self.size };
        Conclusion {
            claims: results.claims(),
            remarks: results.remarks(),
            figures: pictures::all(&results),
            tables: vec![
                ("descents", results.descents()),
                ("rates", levels::table(&results.levels)),
                ("weights", pictures::weights_table(&results)),
            ],
        }
    }
}

/// All records, sorted.
struct Results<'a> {
    levels: Vec<Levels>,
    cleaned: Vec<Cleaned>,
    size: &'a Size,
}

impl Results<'_> {
    /// The descents by the law called `key`, in the order of their seeds.
    fn by<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a Cleaned> {
        self.cleaned.iter().filter(move |cleaned| cleaned.law == key)
    }

    /// `value` of the law's descents where they end.
    fn ends(&self, key: &str, value: impl Fn(&Look) -> f64) -> Vec<f64> {
        self.by(key).filter_map(|cleaned| cleaned.looks.last()).map(value).collect()
    }

    /// The law's test accuracy where it ends, less that of a level of the same seed, in points.
    fn ahead(&self, key: &str, level: impl Fn(&Levels) -> f64) -> Measured {
        let ends = self.ends(key, |look| look.accuracy);
        let ahead = ends.iter().zip(&self.levels).map(|(end, levels)| end - level(levels));
        Measured::mean_of_few(&ahead.collect::<Vec<_>>())
    }

    fn claims(&self) -> Vec<Claim> {
        let moved = self.by(FIRST_ORDER).map(|cleaned| cleaned.moved).fold(0.0, f64::max);
        vec![
            Claim::new(
                "first-order moves no weight: how far θ is from its start",
                Expected::exactly(0.0),
                Measured::exactly(moved),
            ),
            Claim::new(
                "exact's test accuracy less the oracle's, in points",
                Expected::above(-1.0),
                self.ahead(EXACT, |levels| levels.oracle().accuracy),
            ),
            Claim::new(
                "exact's test accuracy less that of training on everything, in points",
                Expected::above(2.0),
                self.ahead(EXACT, |levels| levels.everything().accuracy),
            ),
            Claim::new(
                "exact's F1 score of the wrong labels, found by weights below ½",
                Expected::above(0.9),
                Measured::mean_of_few(&self.ends(EXACT, |look| look.f1)),
            ),
            Claim::new(
                "truncated(1) is a base to learn from: its test accuracy less that of training on everything",
                Expected::above(1.0),
                self.ahead("truncated-1", |levels| levels.everything().accuracy),
            ),
        ]
    }

    fn remarks(&self) -> Vec<String> {
        let mut table =
            Table::new(["", "outer steps", "validation loss", "test accuracy (%)", "F1 of wrong labels"]);
        let means = |values: Vec<f64>| Measured::mean_of_few(&values).to_string();
        for law in laws(self.size.inner_steps) {
            let end = |value: fn(&Look) -> f64| self.ends(law.key, value);
            let steps = significant(mean(&end(|look| look.steps as f64)), 3);
            let cells = [end(|look| look.loss), end(|look| look.accuracy), end(|look| look.f1)].map(means);
            table.row([law.name.clone(), steps].into_iter().chain(cells));
        }
        for (name, level) in levels::NAMES {
            let each = |value: &dyn Fn(&levels::Tried) -> f64| {
                means(self.levels.iter().map(|levels| value(levels.best(level))).collect())
            };
            let name = format!("{name}, best inner rate");
            table.row([name, String::new(), each(&|tried| tried.loss), each(&|tried| tried.accuracy)]);
        }
        let mut remarks = vec![
            format!(
                "Where each descent ends, after {} gradient evaluations; means over {} seeds, 95 %.",
                short(self.size.evaluations as f64, 6),
                self.size.seeds
            ),
            table.markdown(),
            "First-order learns nothing, and cannot: θ is neither where the inner loop starts nor in the \
             validation loss, so that ∂L_out/∂θ = 0 and every bit of the gradient comes by the mixed products of \
             the walk back, of which first-order takes none. Its curve is that of weights ½. So the base that \
             UFOM, adaptive UFOM and telescoping debias here is truncated(1), which takes the last one."
                .into(),
        ];
        let ended = |cleaned: &&Cleaned| {
            cleaned.looks.last().is_some_and(|at| at.evaluations < self.size.evaluations)
        };
        remarks.extend(self.cleaned.iter().filter(ended).map(|Cleaned { law, seed, looks, .. }| {
            let steps = looks.last().map_or(0, |at| at.steps);
            format!(
                "By {law}, seed {seed}, θ left the numbers after {steps} outer steps; its curve ends there."
            )
        }));
        remarks
    }

    /// Every look at every descent.
    fn descents(&self) -> Table {
        let columns = ["law", "seed", "steps", "evaluations", "validation_loss", "test_accuracy", "f1"];
        let mut table = Table::new(columns);
        for Cleaned { law, seed, looks, .. } in &self.cleaned {
            for Look { steps, evaluations, loss, accuracy, f1 } in looks {
                let counts = [*seed, *steps, *evaluations].map(|count| count.to_string());
                let values = [*loss, *accuracy, *f1].map(|value| value.to_string());
                table.row(std::iter::once(law.clone()).chain(counts).chain(values));
            }
        }
        table
    }
}
