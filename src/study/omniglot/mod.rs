//! The Omniglot benchmark: test accuracy on 5 and 20 ways with 1 and 5 shots, beside published ones.
//!
//! Each run is one of the configurations in `configs/`, trained with several seeds. It is tested at its best checkpoint by validation and
//! as an ensemble of the five best, with batch norm's statistics from the query set ("transductive", as in published accuracies) and
//! from the support set.

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
pub use benchmark::{Method, PUBLISHED, Setting};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use trained::ENSEMBLE;
pub use trained::{Record, Test, Validation};

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
const QUICK_SETTINGS: [Setting; 2] = [Setting::FiveWayOneShot, Setting::TwentyWayOneShot];

/// The study at one size.
#[derive(Clone, Debug, PartialEq)]
pub struct Omniglot {
    /// The configurations of all settings and methods, chosen or not, before the seed.
    configs: Vec<(Setting, Method, Config)>,
    settings: Vec<Setting>,
    methods: Vec<Method>,
    seeds: u64,
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
    /// Number of classes and shots.
    pub setting: Setting,
    /// How it is trained.
    pub method: Method,
    /// The configuration, which names the seed.
    pub config: Config,
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
                    "Which of 5w1s,5w5s,20w1s,20w5s (ways and shots); default all, with --quick 5w1s,20w1s",
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
                    "Which of recipe,prototypes,maml,first-order; default all",
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
                "Seeds of each method; more can be added later [default: 3, with --quick 1]",
            ),
            set: |options, seeds| {
                options.seeds = Some(whole(seeds, 1, u16::MAX.into())?);
                Ok(())
            },
        },
    ];

    fn build(self, scale: Scale, source: &dyn ConfigSource) -> Result<Omniglot, Error> {
        let (defaults, default_seeds): (&[Setting], u64) = match scale {
            Scale::Full => (&Setting::ALL, 3),
            Scale::Quick => (&QUICK_SETTINGS, 1),
        };
        let mut configs = Vec::new();
        for setting in Setting::ALL {
            for method in Method::ALL {
                configs.push((setting, method, config(setting, method, scale, source)?));
            }
        }
        let chosen = |given: Vec<Setting>| if given.is_empty() { defaults.to_vec() } else { given };
        let methods = if self.methods.is_empty() { Method::ALL.to_vec() } else { self.methods };
        let seeds = self.seeds.unwrap_or(default_seeds);
        Ok(Omniglot { configs, settings: chosen(self.settings), methods, seeds })
    }
}

/// The configuration of `method` on `setting`, with the user's overrides.
fn config(
    setting: Setting,
    method: Method,
    scale: Scale,
    source: &dyn ConfigSource,
) -> Result<Config, Error> {
    let mut base = method.config(setting)?;
    let quick: &[&str] = if scale == Scale::Quick { &QUICK } else { &[] };
    let own: &[&str] = match (scale, method) {
        (Scale::Quick, Method::Recipe) => &QUICK_RECIPE,
        (Scale::Quick, Method::Prototypes) => &QUICK_PROTOTYPES,
        _ => &[],
    };
    let ensemble = format!("checkpoint.keep_best={ENSEMBLE}");
    for assignment in [ensemble.as_str()].iter().chain(quick).chain(own) {
        base.set(assignment)?;
    }
    let config = source.config_over(base, &[])?;
    if config.model.batch_norm == BatchNorm::Absent {
        return Err(Error::Invalid(
            "model.batch_norm = \"none\": the study tests both modes of batch norm, so the network must have it; leave it out"
                .into(),
        ));
    }
    if config.eval.every == 0 {
        return Err(Error::Invalid(
            "eval.every = 0: the study tests the best checkpoints by validation; give a number of outer steps".into(),
        ));
    }
    Ok(config)
}

impl Study for Omniglot {
    type Piece = Run;
    type Record = Record;

    const ABOUT: About = About {
        name: "omniglot",
        title: "Few-shot classification of Omniglot",
        description: "Trains the configurations in configs/ on 5 and 20 ways with 1 and 5 shots: MAML++'s recipe, MAML, \
                      first-order MAML, and a prototypical network that is trained once for all of them. Tests each run at \
                      its best checkpoint and as an ensemble of the five best, with batch norm's statistics from the query \
                      set and from the support set, beside published accuracies.",
        usage: "--set changes a key in the configurations of all methods: --set outer.steps=20000. Runs can be divided among \
                machines with --list and --only.",
        example: "metaburn study omniglot --data datasets/omniglot --settings 5w1s --methods recipe",
        durations: ["days", "10 minutes"],
    };

    /// Of all settings and methods, so that those left out now can be added later. Those of the first configuration, then of each
    /// other one what differs from it.
    fn settings(&self) -> Value {
        let mut first: Option<BTreeMap<String, Value>> = None;
        let named = self.configs.iter().map(|(setting, method, config)| {
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
            (format!("{} {}", setting.key(), method.key()), Value::Object(own))
        });
        Value::Object(named.collect())
    }

    /// All methods and settings with one seed before the next seed.
    fn pieces(&self) -> Vec<Run> {
        let run = |seed: u64| {
            self.settings.iter().flat_map(move |setting| {
                self.methods.iter().filter_map(move |method| {
                    let (.., config) =
                        self.configs.iter().find(|(own, how, _)| (own, how) == (setting, method))?;
                    let config = Config { seed: config.seed + seed, ..config.clone() };
                    Some(Run { setting: *setting, method: *method, config })
                })
            })
        };
        (0..self.seeds).flat_map(run).collect()
    }

    fn key(&self, run: &Run) -> String {
        format!("{}-{}-seed-{}", run.setting.key(), run.method.key(), run.config.seed)
    }

    /// Images that are computed in an outer step, forwards and backwards, times steps. A run for all settings is trained by the piece of
    /// the first setting; those of the others only test it, and their weight is the images of one test.
    fn weight(&self, run: &Run) -> f64 {
        let Config { task, inner, outer, eval, .. } = &run.config;
        if run.method.is_for_all_settings() && self.settings.first() != Some(&run.setting) {
            let (ways, shots) = run.setting.ways_and_shots();
            return (eval.test_episodes * ways * (shots + eval.queries)) as f64;
        }
        let products = if run.method == Method::FirstOrder { 1 } else { 4 };
        let passes = if inner.adapts == Adapts::Head { 1 } else { inner.steps * products };
        let images = task.ways * (task.shots * passes + task.queries);
        let steps = match outer.budget {
            bilevel::Budget::Steps(steps) => steps as f64,
            bilevel::Budget::Evaluations(all) => {
                all as f64 / (outer.meta_batch * (1 + products * inner.steps)) as f64
            }
        };
        steps * (images * outer.meta_batch) as f64
    }

    fn run(&self, run: &Run, workspace: &mut Workspace) -> Result<Record, Error> {
        let folder = match run.method.is_for_all_settings() {
            true => format!("{}-seed-{}", run.method.key(), run.config.seed),
            false => self.key(run),
        };
        trained::train_and_test(run, &folder, workspace)
    }

    fn conclude(&self, results: Vec<Completed<Run, Record>>) -> Conclusion {
        report::conclude(&results)
    }
}
