//! Values that only estimators have: probabilities for one or each step, levels of a telescope.

use crate::config::choice::{Choice, choice};
use crate::config::kind::{Count, Kind, at_least, probability};
use serde::Serialize;
use toml::Value;

/// The most steps or levels that are listed one by one.
const LISTED: usize = 10_000;

/// One probability for every inner step, or one for each.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Probabilities {
    /// The same for all, in (0, 1].
    Same(f64),
    /// Inner step j's at place j − 1, each in (0, 1].
    Each(Vec<f64>),
}

/// What a key of probabilities accepts.
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
        if list.is_empty() || list.len() > LISTED {
            return None;
        }
        let each: Option<_> = list.iter().map(|value| probability().read(value)).collect();
        each.map(Probabilities::Each)
    }
}

/// At which depths a telescope may stop.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Levels {
    /// By a rule.
    Rule(LevelRule),
    /// At these depths, ascending, and at r.
    At(Vec<usize>),
}

choice! {
    /// At which depths a telescope may stop, by rule.
    pub enum LevelRule {
        /// After every inner step.
        Every = "every",
        /// After 1, 2, 4, 8, … steps.
        Powers = "powers",
    }
}

/// What a key of levels accepts.
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
        let list = value.as_array().filter(|list| (1..=LISTED).contains(&list.len()))?;
        let depths: Vec<usize> = list.iter().map(|value| DEPTH.read(value)).collect::<Option<_>>()?;
        depths.is_sorted_by(|a, b| a < b).then_some(Levels::At(depths))
    }
}
