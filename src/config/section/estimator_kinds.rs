//! Types of values that only `[estimator]` has: probabilities of inner steps, levels of telescoping, and phases of a
//! schedule.

use crate::config::kind::{Count, Kind, at_least, long, probability};
use crate::config::shown;
use bilevel::Choice;
use bilevel::estimator::{EstimatorName, LevelRule, Levels, Phase, Probabilities};
use serde::{Serialize, Serializer};
use std::fmt;
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

/// A phase of a schedule as it is written: `first-order until 1000`.
pub struct NamedPhase {
    /// The estimator.
    pub name: EstimatorName,
    /// The last outer step of the phase, ≥ 1.
    pub until: u64,
}

impl NamedPhase {
    /// Reads a phase.
    ///
    /// # Errors
    /// Returns what is wrong, as a phrase that begins with the text.
    fn read(value: &Value) -> Result<Self, String> {
        let quoted = shown::value(value);
        let words: Vec<&str> = value.as_str().unwrap_or_default().split_whitespace().collect();
        let [name, "until", until] = words[..] else {
            return Err(format!("{quoted} is not of the form \"ESTIMATOR until STEP\""));
        };
        let name = name.parse().map_err(|reason| format!("{quoted} names no estimator: {reason}"))?;
        match long(1).read(&until.parse().map_or(Value::Boolean(false), Value::Integer)) {
            Some(until) => Ok(Self { name, until }),
            None => Err(format!("{quoted} does not end with a whole number ≥ 1")),
        }
    }
}

impl From<&Phase> for NamedPhase {
    fn from(phase: &Phase) -> Self {
        Self { name: phase.estimator.name(), until: phase.until }
    }
}

impl fmt::Display for NamedPhase {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} until {}", self.name, self.until)
    }
}

impl Serialize for NamedPhase {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

/// Phases of a schedule, in ascending order.
pub struct PhasesKind;

impl PhasesKind {
    fn phases(value: &Value) -> Result<Vec<NamedPhase>, String> {
        let list = value.as_array().ok_or_else(|| format!("{} is not a list", shown::value(value)))?;
        if list.len() > MAX_ENTRIES {
            return Err(format!("there are more than {MAX_ENTRIES}"));
        }
        let phases: Vec<NamedPhase> = list.iter().map(NamedPhase::read).collect::<Result<_, _>>()?;
        match phases.windows(2).find(|pair| pair[0].until >= pair[1].until) {
            Some(pair) => Err(format!("\"{}\" must end after \"{}\"", pair[1], pair[0])),
            None => Ok(phases),
        }
    }
}

impl Kind for PhasesKind {
    type Value = Vec<NamedPhase>;

    fn describe(&self) -> String {
        "a list of phases with ascending steps, such as [\"first-order until 1000\", \"step-coins until 5000\"]".into()
    }

    fn read(&self, value: &Value) -> Option<Vec<NamedPhase>> {
        Self::phases(value).ok()
    }

    fn explain(&self, refused: &Value) -> String {
        let fault = Self::phases(refused).err().map(|fault| format!(" ({fault})"));
        self.describe() + &fault.unwrap_or_default()
    }
}
