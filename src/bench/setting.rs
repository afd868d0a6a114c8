//! What is timed: the configurations that other frameworks are timed on too, and the estimators by
//! name. Each is a list of configuration keys, so that everything else is checked as for a run.

/// A size of meta-batch and episode.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Its letter.
    pub name: &'static str,
    /// T, tasks of an outer step.
    pub tasks: usize,
    /// N, classes of an episode.
    pub ways: usize,
    /// K, support images of each class.
    pub shots: usize,
    /// Q, query images of each class.
    pub queries: usize,
    /// r, where nobody says otherwise.
    pub steps: usize,
    /// The inner learning rate.
    pub rate: f64,
}

/// All of them: A and B for a CPU, C for long inner loops, L for a GPU.
pub const SETTINGS: [Setting; 4] = [
    Setting { name: "A", tasks: 16, ways: 5, shots: 1, queries: 5, steps: 5, rate: 0.4 },
    Setting { name: "B", tasks: 4, ways: 20, shots: 1, queries: 1, steps: 10, rate: 0.1 },
    Setting { name: "C", tasks: 1, ways: 20, shots: 1, queries: 1, steps: 10, rate: 0.1 },
    Setting { name: "L", tasks: 256, ways: 5, shots: 5, queries: 5, steps: 5, rate: 0.4 },
];

/// Every estimator's name, with what it needs to be told. The last two are other programs' short
/// names: `fo`, and `remat` for the exact gradient with its iterates computed again.
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
    /// As assignments of configuration keys, with `steps` inner steps or its own.
    pub fn assignments(&self, steps: Option<usize>) -> Vec<String> {
        let Self { tasks, ways, shots, queries, rate, .. } = self;
        let steps = steps.unwrap_or(self.steps);
        vec![
            format!("outer.meta_batch={tasks}"),
            format!("task.ways={ways}"),
            format!("task.shots={shots}"),
            format!("task.queries={queries}"),
            format!("inner.steps={steps}"),
            format!("inner.rate={rate}"),
            "outer.optimizer=adam".into(),
            "outer.rate=0.001".into(),
            "eval.every=0".into(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Error, Estimator, MemoryPlan};

    fn config(setting: &Setting, estimator: &[&str]) -> Result<Config, Error> {
        let mut assignments = setting.assignments(None);
        assignments.extend(estimator.iter().map(ToString::to_string));
        Config::load(None, &assignments)
    }

    #[test]
    fn every_pair_is_a_possible_configuration_of_its_name() -> Result<(), Error> {
        for setting in &SETTINGS {
            for (name, assignments) in ESTIMATORS {
                let config = config(setting, assignments)?;
                assert_eq!((config.outer.meta_batch, config.task.ways), (setting.tasks, setting.ways));
                match name {
                    "fo" => assert_eq!(config.estimator, Estimator::FirstOrder),
                    "remat" => assert_eq!(config.memory, MemoryPlan::Recompute),
                    name => assert_eq!(config.estimator.name(), name),
                }
            }
        }
        Ok(())
    }
}
