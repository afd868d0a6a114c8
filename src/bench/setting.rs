//! What is measured: the settings that other frameworks are measured at too, and the estimators by name. Both are lists
//! of configuration keys, so they are checked like the configuration of a run.

/// What is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measures {
    /// An outer step on a meta-batch.
    OuterStep,
    /// An evaluation of a learner on as many episodes.
    Evaluation,
}

/// What is timed, the network, and the sizes of the meta-batch and the episodes.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Letter of the setting.
    pub name: &'static str,
    /// What is timed.
    pub measures: Measures,
    /// T, tasks per outer step, or episodes of an evaluation.
    pub tasks: usize,
    /// N, classes per episode.
    pub ways: usize,
    /// K, support images per class.
    pub shots: usize,
    /// Q, query images per class.
    pub queries: usize,
    /// r, the default number of inner steps.
    pub steps: usize,
    /// The inner learning rate.
    pub rate: f64,
    /// What differs from Conv4-64 with strides, as assignments of configuration keys.
    pub recipe: &'static [&'static str],
}

/// A: Conv4-64 on 16 tasks of 5 classes with one image each.
const A: Setting = Setting {
    name: "A",
    measures: Measures::OuterStep,
    tasks: 16,
    ways: 5,
    shots: 1,
    queries: 5,
    steps: 5,
    rate: 0.4,
    recipe: &[],
};
/// B: more classes and longer inner loops.
const B: Setting = Setting { name: "B", tasks: 4, ways: 20, queries: 1, steps: 10, rate: 0.1, ..A };
/// The network of MAML++ (`configs/*-mamlpp.toml`), without the parts of its recipe that some estimators cannot take: learned
/// rates, losses along the inner loop, and batch norm outside of it.
const MAMLPP: &[&str] = &[
    "model.pool=max",
    "model.bias=true",
    "model.negative_slope=0.01",
    "model.init=xavier",
    "inner.head=shared",
];

/// All settings: A and B for a CPU, C for long inner loops, L for a GPU; M is the network of MAML++ on 20 ways, E an
/// evaluation of 600 episodes, P the work of a prediction.
pub const SETTINGS: [Setting; 7] = [
    A,
    B,
    Setting { name: "C", tasks: 1, ..B },
    Setting { name: "L", tasks: 256, shots: 5, ..A },
    Setting { name: "M", tasks: 8, steps: 5, recipe: MAMLPP, ..B },
    Setting { name: "E", measures: Measures::Evaluation, tasks: 600, ..A },
    Setting { name: "P", measures: Measures::Evaluation, tasks: 1, ..A },
];

/// Every estimator's name and configuration keys. The last two are the short names of the programs for other frameworks:
/// `fo` is first-order, `remat` the exact gradient with recomputed iterates.
pub const ESTIMATORS: [(&str, &[&str]); 11] = [
    ("first-order", &["estimator.name=first-order"]),
    ("truncated", &["estimator.name=truncated", "estimator.truncate=1"]),
    ("exact", &["estimator.name=exact"]),
    ("ufom", &["estimator.name=ufom"]),
    ("adaptive", &["estimator.name=adaptive"]),
    ("step-coins", &["estimator.name=step-coins"]),
    ("telescoping", &["estimator.name=telescoping"]),
    ("reptile", &["estimator.name=reptile"]),
    ("implicit", &["estimator.name=implicit", "inner.proximal=1"]),
    ("fo", &["estimator.name=first-order"]),
    ("remat", &["estimator.name=exact", "memory.plan=recompute"]),
];

impl Setting {
    /// The setting as assignments of configuration keys, with `steps` inner steps instead of the default if given.
    pub fn assignments(&self, steps: Option<usize>) -> Vec<String> {
        let Self { tasks, ways, shots, queries, rate, recipe, .. } = self;
        let steps = steps.unwrap_or(self.steps);
        let common = [
            format!("outer.meta_batch={tasks}"),
            format!("task.ways={ways}"),
            format!("task.shots={shots}"),
            format!("task.queries={queries}"),
            format!("inner.steps={steps}"),
            format!("inner.rate={rate}"),
            "outer.optimizer=adam".into(),
            "outer.rate=0.001".into(),
            "eval.every=0".into(),
        ];
        common.into_iter().chain(recipe.iter().map(ToString::to_string)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Error};
    use bilevel::estimator::{EstimatorSettings, FirstOrder};
    use bilevel::hypergradient::MemoryPlan;

    fn config(setting: &Setting, estimator: &[&str]) -> Result<Config, Error> {
        let mut assignments = setting.assignments(None);
        assignments.extend(estimator.iter().map(ToString::to_string));
        Config::load(None, &assignments)
    }

    #[test]
    fn every_setting_and_estimator_makes_a_valid_configuration() -> Result<(), Error> {
        for setting in &SETTINGS {
            for (name, assignments) in ESTIMATORS {
                let config = config(setting, assignments)?;
                assert_eq!((config.outer.meta_batch, config.task.ways), (setting.tasks, setting.ways));
                match name {
                    "fo" => {
                        assert_eq!(*config.estimator.last(), EstimatorSettings::FirstOrder(FirstOrder {}))
                    }
                    "remat" => assert_eq!(config.memory, MemoryPlan::Recompute),
                    name => assert_eq!(config.estimator.last().name().to_string(), name),
                }
            }
        }
        Ok(())
    }
}
