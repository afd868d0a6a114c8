//! Few-shot learning by every estimator at equal cost.
//!
//! There is one run per estimator and seed, all with the same budget of gradient evaluations (a Hessian-vector product
//! counts as one). A run is validated whenever another even share of its budget is spent. Accuracies are compared at
//! equal evaluations, which is the whole budget; at equal seconds, which is when the fastest estimators end; and by what
//! each run had spent when it first reached a target accuracy. Between validations accuracy is interpolated linearly.
//! Intervals are over seeds, by Student's t (`docs/mathematics.md`, "Few-shot protocol").

mod accuracy_curve;
mod behaviour;
mod claims;
mod comparison;
mod estimator;
mod figures;
mod report_text;
mod training_run;

pub use accuracy_curve::Validation;
pub use behaviour::Interval;
pub use estimator::EstimatorChoice;

use super::registry::{add, default_config, parsed, whole};
use super::{
    About, Completed, Conclusion, ConfigSource, Error, OptionInfo, Scale, Study, StudyOption, StudyOptions,
    Workspace,
};
use crate::config::Config;
use crate::task::{Adapts, Head};
use bilevel::{Budget, OuterLosses};
use comparison::Comparison;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Estimators compared by default.
const ESTIMATORS: [&str; 8] =
    ["first-order", "ufom-0.1", "ufom-0.2", "adaptive", "step-coins", "telescoping", "exact", "reptile"];
/// Default configuration at every size: the reference setting of the unbiased first-order method, with Adam as outer
/// optimiser in place of SGD.
const REFERENCE: [&str; 7] = [
    "task.shots=1",
    "inner.steps=10",
    "inner.rate=0.005",
    "outer.optimizer=\"adam\"",
    "outer.schedule=\"linear\"",
    "outer.meta_batch=4",
    "eval.queries=5",
];
/// Further defaults of the full size.
const FULL: [&str; 5] =
    ["task.ways=20", "task.queries=1", "outer.rate=0.001", "outer.evaluations=40000", "eval.episodes=40"];
/// Further defaults of the quick size.
const QUICK: [&str; 6] = [
    "task.ways=5",
    "task.queries=3",
    "model.filters=32",
    "outer.rate=0.01",
    "outer.evaluations=24000",
    "eval.episodes=60",
];
/// Validations of a run by default, without the one before its first step.
const VALIDATIONS: u64 = 10;
/// `eval.every` of the runs, more than any run takes: the study validates instead. (With 0 no classes would be set aside
/// for validation.)
const NEVER: u64 = 1_000_000_000_000;

/// The study at one size.
#[derive(Clone, Debug, PartialEq)]
pub struct FewShot {
    /// Estimators with their configurations, which differ in nothing else.
    estimators: Vec<(EstimatorChoice, Config)>,
    seeds: u64,
    validations: u64,
    target: Option<f64>,
}

/// Options of the study.
pub struct Options {
    estimators: Vec<EstimatorChoice>,
    seeds: u64,
    evaluations: Option<u64>,
    validations: u64,
    target: Option<f64>,
}

/// A piece of work: the run of an estimator with a seed.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// The estimator.
    pub estimator: EstimatorChoice,
    /// The configuration, which names the seed.
    pub config: Config,
}

/// Result of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Outer step at which it diverged, if it did.
    pub diverged: Option<u64>,
    /// Its validations, from before the first step to the end.
    pub validations: Vec<Validation>,
    /// What its estimator did between them; empty if it diverged.
    pub intervals: Vec<Interval>,
}

impl FewShot {
    /// A comparison of `estimators`, whose configurations differ in nothing else, each with `seeds` ≥ 2 consecutive seeds
    /// from the configurations' own seed on. The budget of a run is that of the configuration; a budget in outer steps is
    /// converted to the evaluations that first-order would need for them. Runs are validated before the first step and
    /// `validations` ≥ 1 times on the way. `target` is the accuracy, in percent, whose cost is compared; by default the best
    /// accuracy that every run of an unbiased estimator reaches.
    pub fn new(
        mut estimators: Vec<(EstimatorChoice, Config)>,
        seeds: u64,
        validations: u64,
        target: Option<f64>,
    ) -> Self {
        for (_, config) in &mut estimators {
            config.outer.budget = Budget::Evaluations(budget(config));
            config.eval.every = NEVER;
        }
        Self { estimators, seeds, validations, target }
    }
}

/// Gradient evaluations of a run.
fn budget(config: &Config) -> u64 {
    match config.outer.budget {
        Budget::Evaluations(all) => all,
        Budget::Steps(steps) => {
            let FirstOrderCosts { until, early, late } = FirstOrderCosts::of(config);
            let first = steps.min(until);
            first.saturating_mul(early).saturating_add((steps - first).saturating_mul(late))
        }
    }
}

/// Gradient evaluations of an outer step of first-order: those of the inner loop, of each outer loss, and of V. There are
/// more outer losses until the step `losses_until`.
struct FirstOrderCosts {
    /// The steps with more losses.
    until: u64,
    /// The cost of each of them.
    early: u64,
    /// The cost of each later one.
    late: u64,
}

impl FirstOrderCosts {
    fn of(config: &Config) -> Self {
        let Config { inner, outer, .. } = config;
        // If only the head adapts, prototypes are made of features that the losses need anyway.
        let starts = usize::from(inner.head == Head::Prototype && inner.adapts != Adapts::Head);
        let cost = |done| {
            let losses = outer.losses.weights(inner.steps, done).count();
            (outer.meta_batch * (inner.steps + losses + starts)) as u64
        };
        let until = match outer.losses {
            OuterLosses::All { until: Some(until) } => until,
            _ => 0,
        };
        Self { until, early: cost(0), late: cost(u64::MAX) }
    }
}

/// Checks that the run of `estimator` outlasts the estimators that come before its last one.
fn check_schedule(estimator: &EstimatorChoice, config: &Config) -> Result<(), Error> {
    let Some(phase) = config.estimator.earlier().last() else { return Ok(()) };
    let steps = first_order_steps(config);
    if phase.until < steps {
        return Ok(());
    }
    Err(Error::Invalid(format!(
        "{}: a run of {} gradient evaluations ends at outer step {steps}, while it is still first-order; give an earlier step, as \
         in annealed-{}, or more --evaluations",
        estimator.key(),
        budget(config),
        (steps / 2).max(1),
    )))
}

/// Outer steps of first-order within the budget of `config`.
fn first_order_steps(config: &Config) -> u64 {
    let FirstOrderCosts { until, early, late } = FirstOrderCosts::of(config);
    let budget = budget(config);
    let steps = budget / early;
    if steps < until { steps } else { until + (budget - until * early) / late }
}

impl Default for Options {
    fn default() -> Self {
        Self { estimators: Vec::new(), seeds: 3, evaluations: None, validations: VALIDATIONS, target: None }
    }
}

impl StudyOptions for Options {
    type Study = FewShot;

    const TAKES_CONFIGURATION: bool = true;

    const OPTIONS: &'static [StudyOption<Self>] = &[
        StudyOption {
            info: OptionInfo {
                is_list: true,
                ..OptionInfo::new(
                    "estimators",
                    "NAMES",
                    "Estimators to compare, as in first-order,ufom-0.2,exact [default: eight of them]",
                )
            },
            set: |options, name| {
                add(&mut options.estimators, parsed(name)?);
                Ok(())
            },
        },
        StudyOption {
            info: OptionInfo {
                default: Some("3"),
                ..OptionInfo::new("seeds", "N", "Seeds per estimator, at least 2; more can be added later")
            },
            set: |options, seeds| {
                options.seeds = whole(seeds, 2, u16::MAX.into())?;
                Ok(())
            },
        },
        StudyOption {
            info: OptionInfo::new(
                "evaluations",
                "N",
                "Gradient evaluations of each run, in place of the configuration's budget",
            ),
            set: |options, evaluations| {
                options.evaluations = Some(whole(evaluations, 1, u64::MAX)?);
                Ok(())
            },
        },
        StudyOption {
            info: OptionInfo {
                default: Some("10"),
                ..OptionInfo::new(
                    "validations",
                    "N",
                    "Validations along each run; the cost of the target is interpolated between two of them",
                )
            },
            set: |options, validations| {
                options.validations = whole(validations, 1, u16::MAX.into())?;
                Ok(())
            },
        },
        StudyOption {
            info: OptionInfo::new(
                "target",
                "PERCENT",
                "Accuracy whose cost is compared [default: the best that every run of an unbiased estimator reaches]",
            ),
            set: |options, percent| {
                let target = parsed(percent).ok().filter(|percent| (0.0..=100.0).contains(percent));
                options.target = Some(target.ok_or("it must be a number from 0 to 100")?);
                Ok(())
            },
        },
    ];

    fn build(self, scale: Scale, source: &dyn ConfigSource) -> Result<FewShot, Error> {
        let size = match scale {
            Scale::Full => &FULL[..],
            Scale::Quick => &QUICK[..],
        };
        let defaults = default_config(source, &[&REFERENCE[..], size].concat());
        let mut estimators = self.estimators;
        if estimators.is_empty() {
            let parsed = ESTIMATORS.iter().map(|name| name.parse());
            estimators = parsed.collect::<Result<_, _>>().map_err(Error::Invalid)?;
        }
        let budget = self.evaluations.map(|evaluations| format!("outer.evaluations={evaluations}"));
        let with_config = |estimator: EstimatorChoice| {
            // `eval.every=1` makes the check of the configuration require classes for validation.
            let more = budget.iter().cloned().chain(["eval.every=1".to_string()]);
            let more: Vec<String> = estimator.assignments().into_iter().chain(more).collect();
            let config = source.config(&defaults, &more)?;
            check_schedule(&estimator, &config)?;
            Ok((estimator, config))
        };
        let estimators = estimators.into_iter().map(with_config).collect::<Result<_, Error>>()?;
        Ok(FewShot::new(estimators, self.seeds, self.validations, self.target))
    }
}

impl Study for FewShot {
    type Piece = Run;
    type Record = Record;

    const ABOUT: About = About {
        name: "few-shot",
        title: "Few-shot learning at equal cost",
        description: "Trains the same learner with first-order, unbiased and exact gradients and with Reptile, with the \
                      same seeds and the same number of gradient evaluations. Compares their accuracies at equal \
                      evaluations and at equal seconds, and the cost at which each first reaches a target accuracy.",
        usage: "Without a configuration, it trains on the built-in characters (with --data, on Omniglot): 20-way 1-shot, \
                or 5-way with --quick, in 10 inner steps at rate 0.005. Every run has the configuration's budget of \
                gradient evaluations. Estimators are named as in estimator.name, some with a number: ufom-0.2 has q = \
                0.2, step-coins-0.5 has p = 0.5, telescoping-0.5 has survival = 0.5, truncated-3 has truncate = 3, and \
                annealed-400 is first-order until outer step 400 and then exact. Seeds and estimators can be added later in \
                the same folder.",
        example: "metaburn study few-shot configs/omniglot-5way-1shot.toml --estimators first-order,exact --seeds 5",
        durations: ["30 minutes", "4 minutes"],
    };

    const GROWING: Option<&'static str> = Some("estimators");
    const TIMED: bool = true;

    /// Neither the number of seeds nor the target, because records do not depend on them: seeds can be added later.
    fn settings(&self) -> Value {
        let mut config = json!(self.estimators.first().map(|(_, config)| config));
        if let Value::Object(config) = &mut config {
            config.remove("estimator");
        }
        let settings =
            self.estimators.iter().map(|(name, config)| (name.key(), json!(config.estimator.last())));
        let settings: serde_json::Map<_, _> = settings.collect();
        json!({ "validations": self.validations, "estimators": settings, "config": config })
    }

    /// All estimators with one seed before the next seed, so that a slow drift of the machine affects all equally.
    fn pieces(&self) -> Vec<Run> {
        let first = self.estimators.first().map_or(0, |(_, config)| config.seed);
        let run = |seed: u64| {
            self.estimators.iter().map(move |(estimator, config)| Run {
                estimator: estimator.clone(),
                config: Config { seed, ..config.clone() },
            })
        };
        (first..first + self.seeds).flat_map(run).collect()
    }

    fn key(&self, run: &Run) -> String {
        format!("{}-seed-{}", run.estimator.key(), run.config.seed)
    }

    fn weight(&self, _run: &Run) -> f64 {
        1.0
    }

    fn run(&self, run: &Run, workspace: &mut Workspace) -> Result<Record, Error> {
        training_run::train(&run.config, &self.key(run), self.validations, workspace)
    }

    fn conclude(&self, results: Vec<Completed<Run, Record>>) -> Conclusion {
        let comparison = Comparison::new(&results, self.target);
        Conclusion {
            claims: claims::claims(&comparison),
            remarks: report_text::remarks(&comparison),
            figures: figures::all(&comparison),
            tables: report_text::tables(&comparison),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_order_steps_are_those_whose_cost_is_within_the_budget() {
        let mut config = Config::load(None, &[]).unwrap();
        (config.outer.meta_batch, config.inner.steps) = (4, 5);
        let mut steps = |losses, budget| {
            config.outer.losses = losses;
            config.outer.budget = Budget::Evaluations(budget);
            first_order_steps(&config)
        };
        let (last, all) = (OuterLosses::Last, OuterLosses::All { until: None });
        // 4 · (5 + 1) evaluations for a step with the last loss, 4 · (5 + 5) with all of them.
        assert_eq!([23, 24, 47, 48].map(|budget| steps(last, budget)), [0, 1, 1, 2]);
        assert_eq!([39, 40, 79, 80].map(|budget| steps(all, budget)), [0, 1, 1, 2]);
        let early = OuterLosses::All { until: Some(2) };
        assert_eq!([39, 40, 80, 103, 104, 128].map(|budget| steps(early, budget)), [0, 1, 2, 2, 3, 4]);
        // An immense budget takes no longer.
        assert_eq!(steps(last, i64::MAX as u64), i64::MAX as u64 / 24);
    }

    #[test]
    fn a_budget_in_steps_lasts_first_order_that_many() {
        let mut config = Config::load(None, &[]).unwrap();
        (config.outer.meta_batch, config.inner.steps) = (4, 5);
        for (losses, head, evaluations) in [
            (OuterLosses::Last, Head::Learned, 7 * 24),
            (OuterLosses::All { until: None }, Head::Learned, 7 * 40),
            (OuterLosses::All { until: Some(2) }, Head::Learned, 2 * 40 + 5 * 24),
            (OuterLosses::All { until: Some(9) }, Head::Learned, 7 * 40),
            (OuterLosses::Last, Head::Prototype, 7 * 28),
        ] {
            (config.outer.losses, config.inner.head) = (losses, head);
            config.outer.budget = Budget::Steps(7);
            assert_eq!(
                (budget(&config), first_order_steps(&config)),
                (evaluations, 7),
                "{losses:?}, {head:?}"
            );
        }
    }
}
