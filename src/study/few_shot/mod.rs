//! Few-shot learning by every estimator, held equal in what they spend.
//!
//! One run for each estimator and seed, all with the same budget of gradient evaluations (a Hessian-vector
//! product counts as one), is looked at whenever another even share of it is spent. Runs are compared once
//! all have spent the same evaluations, and once all have spent the same seconds, of which the slowest
//! estimators have most left by then; and by what each had spent when it first reached an accuracy. Between
//! looks accuracy is a straight line. Bands are over seeds, by Student's t: METHOD, "Few-shot protocol".

mod claims;
mod curve;
mod follow;
mod method;
mod pictures;
mod race;
mod words;

pub use curve::Look;
pub use method::Method;

use super::{About, Conclusion, Desk, Error, Piece, Study};
use crate::config::{Budget, Config};
use race::Race;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What a person reads before it is run.
pub const ABOUT: About = About {
    name: "few-shot",
    title: "Few-shot learning at equal cost",
    shows: "First-order, unbiased and exact gradients and Reptile train the same learner from the same seeds \
            on equally many gradient evaluations: how accurate each is then, and after equally many seconds, \
            and which one reaches an accuracy first.",
    takes: ["30 minutes", "4 minutes"],
};

/// Who is compared unless others are asked for.
pub const USUAL: [&str; 8] =
    ["first-order", "ufom-0.1", "ufom-0.2", "adaptive", "step-coins", "telescoping", "exact", "reptile"];

/// Looks at a run, beside that before its first step.
const LOOKS: u64 = 10;

/// Outer steps between a run's own validations, which the study makes instead: more than any run takes. (At
/// 0 no classes would be set aside for validation.)
const NEVER: u64 = 1_000_000_000_000;

/// The study at one size.
#[derive(Clone, Debug, PartialEq)]
pub struct FewShot {
    methods: Vec<Method>,
    /// One for each method; they differ in nothing but the estimator.
    configs: Vec<Config>,
    seeds: u64,
    target: Option<f64>,
}

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The outer step at which it diverged, if it did.
    pub diverged: Option<u64>,
    /// Its validations, from before the first step to the end.
    pub looks: Vec<Look>,
}

impl FewShot {
    /// A comparison of `contestants`, whose configurations differ in nothing but the estimator, each with
    /// `seeds` ≥ 2 seeds from the configurations' own on. A run's budget is that of the configuration; one in
    /// outer steps is as many evaluations as these cost first-order. `target` is the accuracy, percent, whose
    /// price is told; without it, the best that every run of an unbiased estimator reaches.
    pub fn new(contestants: Vec<(Method, Config)>, seeds: u64, target: Option<f64>) -> Self {
        let (methods, mut configs): (Vec<_>, Vec<_>) = contestants.into_iter().unzip();
        for config in &mut configs {
            config.outer.budget = Budget::Evaluations(budget(config));
            config.eval.every = NEVER;
        }
        Self { methods, configs, seeds, target }
    }

    fn first_seed(&self) -> u64 {
        self.configs.first().map_or(0, |config| config.seed)
    }

    /// A run of each method for one seed before the next seed: a machine that drifts drifts for all.
    fn runs(&self) -> impl Iterator<Item = (String, Config)> {
        let seeds = self.first_seed()..self.first_seed() + self.seeds;
        seeds.flat_map(|seed| {
            let run = move |(method, config): (&Method, &Config)| {
                (format!("{}-seed-{seed}", method.key()), Config { seed, ..config.clone() })
            };
            self.methods.iter().zip(&self.configs).map(run)
        })
    }
}

/// A run's gradient evaluations.
fn budget(config: &Config) -> u64 {
    match config.outer.budget {
        Budget::Evaluations(all) => all,
        Budget::Steps(steps) => {
            let step = config.outer.meta_batch * (config.inner.steps + 1);
            steps.saturating_mul(step as u64)
        }
    }
}

impl Study for FewShot {
    type Record = Record;

    fn about(&self) -> About {
        ABOUT
    }

    /// Neither how many seeds nor the target: records do not depend on them, so that a study can be given
    /// more seeds.
    fn settings(&self) -> Value {
        let mut config = json!(self.configs.first());
        if let Value::Object(config) = &mut config {
            config.remove("estimator");
        }
        let estimators = self.methods.iter().zip(&self.configs);
        let estimators: serde_json::Map<_, _> =
            estimators.map(|(method, config)| (method.key(), json!(config.estimator))).collect();
        json!({ "looks": LOOKS, "estimators": estimators, "config": config })
    }

    fn pieces(&self) -> Vec<Piece> {
        self.runs().map(|(key, _)| Piece { key, weight: 1.0 }).collect()
    }

    fn work(&self, key: &str, desk: &mut Desk) -> Result<Record, Error> {
        let run = self.runs().find(|(name, _)| name == key);
        let (name, config) =
            run.ok_or_else(|| Error::Unfit(format!("the few-shot study has no piece called {key}")))?;
        follow::follow(&config, &name, LOOKS, desk)
    }

    fn conclude(&self, records: &[Record]) -> Conclusion {
        let race = Race::new(&self.methods, records, self.first_seed(), self.target);
        Conclusion {
            claims: claims::claims(&race),
            remarks: words::remarks(&race),
            figures: pictures::all(&race),
            tables: words::tables(&race),
        }
    }
}
