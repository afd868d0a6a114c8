//! Hyperparameters of a perceptron on MNIST: hypergradient descent against random search at equal cost.
//!
//! θ is a log-rate and a log-penalty for each of five layers ([`crate::problem::Hyperparameters`]): ten numbers, since
//! what descent has over search grows with their number. With few, some draw of a search is always near
//! the best: with one hidden layer, which is four, search wins (Bergstra & Bengio, *Random search for
//! hyper-parameter optimization*, 2012, draw from ranges like ours). Descents start in the middle of the ranges
//! that search draws from. Training digits are few, so that penalties matter.

mod pictures;
mod scene;

use super::laws::{EXACT, FIRST_ORDER, Law, law, laws};
use super::pool::least;
use super::{About, Claim, Conclusion, Desk, Digits, Error, Expected, Measured, Piece, Size, Study};
use crate::interval::mean;
use crate::report::{Table, short, significant};
use scene::{Best, Scene, Searched};
use serde_json::{Value, json};

/// What a person reads before it is run.
pub const ABOUT: About = About {
    name: "hyperparameters",
    title: "Rates and penalties: hypergradient descent against random search",
    shows: "Each of a perceptron's layers has its own learning rate and L2 penalty. Descending on all of them by \
            hypergradients, by every estimator, against drawing them at random, at equal gradient evaluations. \
            Needs MNIST: metaburn data fetch mnist.",
    takes: ["10 minutes", "1 minute"],
};

/// Widths of the hidden layers: five layers have rates and penalties.
const HIDDEN: [usize; 4] = [32; 4];
/// The rates that search draws from, evenly in their logarithm, as Bergstra & Bengio do.
const RATES: [f64; 2] = [1e-3, 10.0];
/// Penalties likewise: from none that shows to one that leaves nothing to learn.
const PENALTIES: [f64; 2] = [1e-5, 1e-1];
/// Adam on logarithms: a step is a factor of 1.05, about. Near the rates at which training breaks down
/// hypergradients explode, and one of those would rule Adam's averages from then on. Chosen on the quick size's
/// digits of other seeds, where 0.1 falling linearly and plain descent did about as well.
const OUTER: &str = "outer.optimizer=adam outer.rate=0.05 outer.schedule=constant outer.clip=1";
/// [`Searched::by`] of random search.
const RANDOM: &str = "random";

/// The study at one size.
#[derive(Clone, Debug)]
pub struct Hyperparameters {
    /// What is learned.
    pub digits: Digits,
    /// How much of it.
    pub size: Size,
}

/// 30 steps of exact descent, and 59 random draws.
pub fn full() -> Size {
    let (train, validation, test) = (500, 2000, 10_000);
    Size { seeds: 5, train, validation, test, inner_steps: 100, evaluations: 6030 }
}

/// Half the inner steps, and fewer seeds.
pub fn quick() -> Size {
    let (train, validation, test) = (250, 1000, 2000);
    Size { seeds: 3, train, validation, test, inner_steps: 50, evaluations: 2020 }
}

impl Study for Hyperparameters {
    type Record = Searched;

    fn about(&self) -> About {
        ABOUT
    }

    fn settings(&self) -> Value {
        let mut settings = json!(self.size);
        settings["hidden"] = json!(HIDDEN);
        settings["rates"] = json!(RATES);
        settings["penalties"] = json!(PENALTIES);
        settings["outer"] = json!(OUTER);
        settings["laws"] = json!(laws(self.size.inner_steps).iter().map(Law::to_string).collect::<Vec<_>>());
        settings["data"] = json!(self.digits.digest());
        settings["backend"] = json!(self.digits.opened().backend);
        settings
    }

    fn pieces(&self) -> Vec<Piece> {
        let keys = laws(self.size.inner_steps).into_iter().map(|law| law.key).chain([RANDOM]);
        let of = |key: &'static str| {
            // First-order's ends when it is seen to stand still.
            let cost = if key == FIRST_ORDER { 1 } else { self.size.evaluations };
            (0..self.size.seeds).map(move |seed| Piece { key: format!("{seed}-{key}"), weight: cost as f64 })
        };
        keys.flat_map(of).collect()
    }

    fn work(&self, key: &str, desk: &mut Desk) -> Result<Searched, Error> {
        let unknown = || Error::Unfit(format!("the study of hyperparameters has no piece called {key}"));
        let (seed, by) = key.split_once('-').ok_or_else(unknown)?;
        let scene = Scene::new(self, seed.parse().map_err(|_| unknown())?)?;
        if by == RANDOM {
            return Ok(scene.search(self.size.evaluations, desk));
        }
        let law = law(by, self.size.inner_steps).ok_or_else(unknown)?;
        scene.descend(&law, self.size.evaluations, desk)
    }

    fn conclude(&self, records: &[Searched]) -> Conclusion {
        let results = Results { searched: records, size: &self.size };
        Conclusion {
            claims: results.claims(),
            remarks: results.remarks(),
            figures: pictures::all(&results),
            tables: vec![("trials", results.trials()), ("best", results.best())],
        }
    }
}

/// All records.
struct Results<'a> {
    searched: &'a [Searched],
    size: &'a Size,
}

impl Results<'_> {
    /// What the law called `key`, or random search, found, in the order of seeds.
    fn by<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a Searched> {
        self.searched.iter().filter(move |searched| searched.by == key)
    }

    /// The least validation losses that it found, within `evaluations`.
    fn losses(&self, key: &str, evaluations: u64) -> Vec<f64> {
        let within = |searched: &Searched| least(&searched.trials, evaluations as f64);
        self.by(key).map(|searched| within(searched).unwrap_or(f64::NAN)).collect()
    }

    /// The share of the law's outer steps after which the validation loss was higher, in %.
    fn worse(&self, key: &str) -> Measured {
        let share = |searched: &Searched| {
            let steps = searched.trials.windows(2);
            let count = steps.len().max(1);
            100.0 * steps.filter(|pair| pair[1][1] > pair[0][1]).count() as f64 / count as f64
        };
        Measured::mean_of_few(&self.by(key).map(share).collect::<Vec<_>>())
    }

    /// Keys and names of all that searched.
    fn names(&self) -> Vec<(&'static str, String)> {
        let laws = laws(self.size.inner_steps).into_iter().map(|law| (law.key, law.name));
        laws.chain([(RANDOM, "random search".into())]).collect()
    }

    fn claims(&self) -> Vec<Claim> {
        let ratio = |keys: [&str; 2], evaluations: u64| {
            let [ours, theirs] = keys.map(|key| self.losses(key, evaluations));
            let ratios = ours.iter().zip(&theirs).map(|(ours, theirs)| ours / theirs);
            Measured::mean_of_few(&ratios.collect::<Vec<_>>())
        };
        let all = self.size.evaluations;
        let moved = self.by(FIRST_ORDER).map(|searched| searched.moved).fold(0.0, f64::max);
        vec![
            Claim::new(
                "exact descent's least validation loss over random search's, at equal evaluations",
                Expected::below(1.0),
                ratio([EXACT, RANDOM], all),
            ),
            Claim::new(
                "the same after a quarter of the evaluations",
                Expected::below(1.0),
                ratio([EXACT, RANDOM], all / 4),
            ),
            Claim::new(
                "first-order moves nothing: how far θ is from its start",
                Expected::exactly(0.0),
                Measured::exactly(moved),
            ),
            Claim::new(
                "truncated(1) is short-sighted: its least validation loss over exact's",
                Expected::above(1.0),
                ratio(["truncated-1", EXACT], all),
            ),
        ]
    }

    fn remarks(&self) -> Vec<String> {
        let mut table = Table::new(["", "trials", "least validation loss", "its test accuracy (%)"]);
        let means = |values: Vec<f64>| Measured::mean_of_few(&values).to_string();
        for (key, name) in self.names() {
            let trials: Vec<f64> = self.by(key).map(|searched| searched.trials.len() as f64).collect();
            let accuracies = self.by(key).map(|searched| searched.best.accuracy).collect();
            let losses = self.losses(key, self.size.evaluations);
            table.row([name, significant(mean(&trials), 3), means(losses), means(accuracies)]);
        }
        vec![
            format!(
                "What each found within {} gradient evaluations; means over {} seeds, 95 %. A random draw costs \
                 r = {} for training and one for its validation loss; a step of descent what its estimator \
                 counts.",
                short(self.size.evaluations as f64, 6),
                self.size.seeds,
                self.size.inner_steps
            ),
            table.markdown(),
            "First-order stays in the middle of the ranges: θ is neither where the inner loop starts nor in the \
             validation loss, so that all of its gradient comes by the walk back, of which first-order takes \
             nothing."
                .into(),
            format!(
                "Of exact's outer steps {} % made the validation loss worse. Near the rates at which training breaks \
                 down the loss after r steps is rugged in θ, and a gradient, however exact, says little of what a \
                 step does (Metz et al., *Understanding and correcting pathologies in the training of learned \
                 optimizers*, 2019).",
                self.worse(EXACT)
            ),
        ]
    }

    /// Every trial.
    fn trials(&self) -> Table {
        let mut table = Table::new(["by", "seed", "evaluations", "validation_loss"]);
        for Searched { by, seed, trials, .. } in self.searched {
            for [evaluations, loss] in trials {
                table.row([by.clone(), seed.to_string(), evaluations.to_string(), loss.to_string()]);
            }
        }
        table
    }

    /// The best trial of each.
    fn best(&self) -> Table {
        let mut table = Table::new(["by", "seed", "test_accuracy", "layer", "rate", "penalty"]);
        for Searched { by, seed, best: Best { rates, penalties, accuracy }, .. } in self.searched {
            for (layer, (rate, penalty)) in rates.iter().zip(penalties).enumerate() {
                let cells = [*accuracy, (layer + 1) as f64, *rate, *penalty].map(|cell| cell.to_string());
                table.row([by.clone(), seed.to_string()].into_iter().chain(cells));
            }
        }
        table
    }
}
