//! The Omniglot benchmark: test accuracy on 5 and 20 ways with 1 and 5 shots, beside published ones.
//!
//! Each run is one of the configurations in `configs/`, trained with several seeds. It is tested at its best checkpoint by validation and,
//! on a fifth as many episodes, as an ensemble of up to five best checkpoints, with batch norm's statistics from the query set
//! ("transductive", as in published accuracies) and from the support set.

mod benchmark;
mod report;
mod trained;

use super::registry::{add, parsed, whole};
use super::{
    About, Completed, Conclusion, ConfigSource, Error, OptionInfo, Scale, Study, StudyOption, StudyOptions,
    Workspace,
};
use crate::config::Config;
use crate::support::settings::flat;
use crate::task::{Adapts, BatchNorm};
pub use benchmark::{Method, PUBLISHED, Setting, Training};
use bilevel::estimator::EstimatorName;
use bilevel::{Budget, Choice};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use trained::ENSEMBLE;
pub use trained::{Record, Test, Validation};

/// Number of test episodes, in place of the configurations' own.
const FULL: [&str; 1] = ["eval.test_episodes=10000"];
/// Defaults of the quick size, in place of the configurations' own values.
const QUICK: [&str; 8] = [
    "model.filters=32",
    "task.queries=1",
    "eval.queries=1",
    "outer.meta_batch=4",
    "outer.steps=200",
    "eval.every=40",
    "eval.episodes=60",
    "eval.test_episodes=200",
];
/// The same of the recipe.
const QUICK_RECIPE: [&str; 1] = ["outer.losses_until=20"];
/// The same of prototypes, whose episodes have many classes.
const QUICK_PROTOTYPES: [&str; 1] = ["outer.meta_batch=1"];
/// Settings of the quick size.
const QUICK_SETTINGS: &[Setting] = &[Setting::FiveWayOneShot, Setting::TwentyWayOneShot];

/// The study at one size.
#[derive(Clone, Debug, PartialEq)]
pub struct Omniglot {
    /// All trainings, chosen or not, with their configurations before the seed.
    trainings: Vec<(Training, Config)>,
    settings: Vec<Setting>,
    methods: Vec<Method>,
    seeds: u64,
    scale: Scale,
}

/// Options of the study.
#[derive(Default)]
pub struct Options {
    settings: Vec<Setting>,
    methods: Vec<Method>,
    seeds: Option<u64>,
}

/// A piece of work: one run.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// How it is trained, and what it is tested on.
    pub training: Training,
    /// The configuration, which names the seed.
    pub config: Config,
}

impl Run {
    /// The name of its record and of its folder.
    fn key(&self) -> String {
        format!("{}-seed-{}", self.training, self.config.seed)
    }

    /// The images that training takes forwards through the network and backwards, which counts as two more.
    fn work_of_training(&self) -> f64 {
        let Config { task, inner, outer, .. } = &self.config;
        let products = if self.training.method == Method::FirstOrder { 1 } else { 4 };
        let passes = if inner.adapts == Adapts::Head { 1 } else { inner.steps * products };
        let images = 3 * task.ways * (task.shots * passes + task.queries);
        let steps = match outer.budget {
            Budget::Steps(steps) => steps as f64,
            Budget::Evaluations(all) => all as f64 / (outer.meta_batch * (1 + products * inner.steps)) as f64,
        };
        steps * (images * outer.meta_batch) as f64
    }

    /// The same of the tests: of one checkpoint and of the ensemble, which costs as much, in both modes of batch norm.
    fn work_of_tests(&self) -> f64 {
        let Config { inner, eval, .. } = &self.config;
        let passes = if inner.adapts == Adapts::Head { 1 } else { 3 * inner.eval_steps };
        let images = self.training.settings.iter().map(|setting| {
            let (ways, shots) = setting.ways_and_shots();
            ways * (shots * passes + 2 * eval.queries)
        });
        (2 * eval.test_episodes * images.sum::<usize>()) as f64
    }
}

impl Omniglot {
    /// The trainings of the chosen methods and settings.
    fn chosen(&self) -> impl Iterator<Item = &(Training, Config)> {
        self.trainings.iter().filter(|(training, _)| {
            let settings = &mut training.settings.iter();
            self.methods.contains(&training.method) && settings.any(|it| self.settings.contains(it))
        })
    }
}

impl StudyOptions for Options {
    type Study = Omniglot;

    const TAKES_CONFIGURATION: bool = true;

    const OPTIONS: &'static [StudyOption<Self>] = &[
        StudyOption {
            info: OptionInfo {
                is_list: true,
                ..OptionInfo::new(
                    "settings",
                    "NAMES",
                    "Settings to run, of 5w1s,5w5s,20w1s,20w5s (ways and shots); prototypes are tested in all \
                     [default: all; with --quick, 5w1s,20w1s]",
                )
            },
            set: |options, name| {
                add(&mut options.settings, parsed(name)?);
                Ok(())
            },
        },
        StudyOption {
            info: OptionInfo {
                is_list: true,
                ..OptionInfo::new(
                    "methods",
                    "NAMES",
                    "Methods to run, of recipe,prototypes,maml,first-order [default: all]",
                )
            },
            set: |options, name| {
                add(&mut options.methods, parsed(name)?);
                Ok(())
            },
        },
        StudyOption {
            info: OptionInfo::new(
                "seeds",
                "N",
                "Seeds of each method; more can be added later [default: 3; with --quick, 1]",
            ),
            set: |options, seeds| {
                options.seeds = Some(whole(seeds, 1, u16::MAX.into())?);
                Ok(())
            },
        },
    ];

    fn build(self, scale: Scale, source: &dyn ConfigSource) -> Result<Omniglot, Error> {
        let (default_settings, default_seeds): (&[Setting], u64) = match scale {
            Scale::Full => (Setting::ALL, 3),
            Scale::Quick => (QUICK_SETTINGS, 1),
        };
        if source.names_file() {
            return Err(Error::Invalid(
                "this study trains its own configurations, one for each setting and method; instead of naming a file, change keys \
                 of all of them with --set, or compare configurations of your own with `metaburn sweep`"
                    .into(),
            ));
        }
        let configured = |training| Ok((training, config(training, scale, source)?));
        let trainings: Vec<(Training, Config)> =
            Training::all().map(configured).collect::<Result<_, Error>>()?;
        let settings = if self.settings.is_empty() { default_settings.to_vec() } else { self.settings };
        let methods = if self.methods.is_empty() { Method::ALL.to_vec() } else { self.methods };
        let study =
            Omniglot { trainings, settings, methods, seeds: self.seeds.unwrap_or(default_seeds), scale };
        study.chosen().try_for_each(|(training, config)| check_is(*training, config))?;
        Ok(study)
    }
}

/// The configuration of `training`, with the user's overrides.
fn config(training: Training, scale: Scale, source: &dyn ConfigSource) -> Result<Config, Error> {
    let mut base = training.config()?;
    let sizes: &[&str] = if scale == Scale::Quick { &QUICK } else { &FULL };
    let own: &[&str] = match (scale, training.method) {
        (Scale::Quick, Method::Recipe) => &QUICK_RECIPE,
        (Scale::Quick, Method::Prototypes) => &QUICK_PROTOTYPES,
        _ => &[],
    };
    let ensemble = format!("checkpoint.keep_best={ENSEMBLE}");
    for assignment in [ensemble.as_str()].iter().chain(sizes).chain(own) {
        base.set(assignment)?;
    }
    let config = source.config_over(base, &[])?;
    if config.model.batch_norm == BatchNorm::Absent {
        return Err(Error::Invalid(
            "model.batch_norm = \"none\": the study tests both modes of batch norm, so the network must have it; leave it out"
                .into(),
        ));
    }
    check_validations(&config)?;
    Ok(config)
}

/// Checks that `config` is what the name of `training` says, whatever keys the user has changed.
fn check_is(training: Training, config: &Config) -> Result<(), Error> {
    let refused = |key: &str, reason: String| {
        Err(Error::Invalid(format!(
            "{key}: {reason}, and `{training}` would no longer be what its name says; leave it out"
        )))
    };
    if let [setting] = training.settings
        && (config.task.ways, config.task.shots) != setting.ways_and_shots()
    {
        return refused(
            "task.ways, task.shots",
            format!("this study trains on {} episodes", setting.title()),
        );
    }
    let estimator = match training.method {
        Method::Maml => EstimatorName::Exact,
        Method::FirstOrder => EstimatorName::FirstOrder,
        Method::Recipe | Method::Prototypes => return Ok(()),
    };
    match config.estimator.last().name() == estimator && config.estimator.earlier().is_empty() {
        true => Ok(()),
        false => refused("estimator", format!("the estimator of {} is {estimator}", training.method.title())),
    }
}

/// Checks that a run of `config` is validated. How many steps a budget of gradient evaluations allows is known only afterwards.
fn check_validations(config: &Config) -> Result<(), Error> {
    let every = config.eval.every;
    let advice = match config.outer.budget {
        _ if every == 0 => String::from("give a number of outer steps"),
        Budget::Steps(steps) if every > steps => {
            format!("runs of {steps} outer steps would have none; set eval.every to at most {steps}")
        }
        _ => return Ok(()),
    };
    Err(Error::Invalid(format!(
        "eval.every = {every}: the study tests the best checkpoints by validation; {advice}"
    )))
}

impl Study for Omniglot {
    type Piece = Run;
    type Record = Record;

    const ABOUT: About = About {
        name: "omniglot",
        title: "Few-shot classification of Omniglot",
        description: "Trains the configurations in configs/ on 5 and 20 ways with 1 and 5 shots: MAML++'s recipe, MAML, \
                      first-order MAML, and a prototypical network that is trained once for all of them. Tests each run at \
                      its best checkpoint and, on a fifth as many episodes, as an ensemble of up to five best checkpoints, \
                      with batch norm statistics from the query set and from the support set, beside published \
                      accuracies.",
        usage: "--set changes a key in the configurations of all methods, for example --set outer.steps=20000; a \
                configuration file is refused. Runs can be \
                divided among machines with --list and --only.",
        example: "metaburn study omniglot --data datasets/omniglot --settings 5w1s --methods recipe",
        durations: ["days", "2 to 5 minutes"],
    };

    /// Of all trainings, so that those left out now can be added later. The first configuration in full, and for each other one
    /// only the keys in which it differs.
    fn settings(&self) -> Value {
        let mut first: Option<BTreeMap<String, Value>> = None;
        let named = self.trainings.iter().map(|(training, config)| {
            let config = flat(&json!(Config { seed: 0, ..config.clone() }));
            let differs = |key: &String, value: &Value| {
                first.as_ref().is_none_or(|first| first.get(key) != Some(value))
            };
            let own: Map<_, _> = config
                .iter()
                .filter(|(key, value)| differs(key, value))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect();
            first.get_or_insert(config);
            (training.to_string(), Value::Object(own))
        });
        Value::Object(named.collect())
    }

    /// All trainings with one seed before the next seed.
    fn pieces(&self) -> Vec<Run> {
        let run = |seed: u64| {
            self.chosen().map(move |(training, config)| Run {
                training: *training,
                config: Config { seed: config.seed + seed, ..config.clone() },
            })
        };
        (0..self.seeds).flat_map(run).collect()
    }

    fn key(&self, run: &Run) -> String {
        run.key()
    }

    fn weight(&self, run: &Run) -> f64 {
        run.work_of_training() + run.work_of_tests()
    }

    fn run(&self, run: &Run, workspace: &mut Workspace) -> Result<Record, Error> {
        trained::train_and_test(run, workspace)
    }

    fn conclude(&self, results: Vec<Completed<Run, Record>>) -> Conclusion {
        report::conclude(&results, self.scale)
    }
}
