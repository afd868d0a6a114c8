//! Types of values that only `[estimator]` has: probabilities of inner steps, and levels of telescoping.

use crate::config::kind::{Count, Kind, at_least, probability};
use bilevel::Choice;
use bilevel::estimator::{LevelRule, Levels, Probabilities};
use toml::Value;

/// The most entries of a list.
const MAX_ENTRIES: usize = 10_000;

/// One probability, or a list with one for each inner step.
pub struct ProbabilitiesKind;

impl Kind for ProbabilitiesKind {
    type Value = Probabilities;

    fn describe(&self) -> String {
        format!("{}, or a list of them, one for each inner step", probability().describe())
    }

    fn read(&self, value: &Value) -> Option<Probabilities> {
        let Some(list) = value.as_array() else {
            return probability().read(value).map(Probabilities::Same);
        };
        if list.is_empty() || list.len() > MAX_ENTRIES {
            return None;
        }
        let each: Option<_> = list.iter().map(|value| probability().read(value)).collect();
        each.map(Probabilities::Each)
    }
}

/// A rule for levels, or a list of them.
pub struct LevelsKind;

const DEPTH: Count = at_least(1);

impl Kind for LevelsKind {
    type Value = Levels;

    fn describe(&self) -> String {
        "\"every\", \"powers\", or an ascending list of numbers of inner steps".into()
    }

    fn read(&self, value: &Value) -> Option<Levels> {
        if let Some(name) = value.as_str() {
            let rule = LevelRule::ALL.iter().copied().find(|rule| rule.name() == name);
            return rule.map(Levels::Rule);
        }
        let list = value.as_array().filter(|list| (1..=MAX_ENTRIES).contains(&list.len()))?;
        let depths: Vec<usize> = list.iter().map(|value| DEPTH.read(value)).collect::<Option<_>>()?;
        depths.is_sorted_by(|a, b| a < b).then_some(Levels::At(depths))
    }
}
