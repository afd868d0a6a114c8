//! Estimators as the command line names them: `exact`, `ufom-0.1`, `step-coins`.

use std::fmt::{Display, Formatter};
use std::str::FromStr;

/// An estimator that can be compared.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Entry {
    /// Its name in the configuration.
    name: &'static str,
    /// Its name in figures and tables.
    label: &'static str,
    /// What its number is, if it can have one: a configuration key, or [`UNTIL`].
    number: Option<&'static str>,
    /// Whether it estimates its probabilities while running if no number is given.
    adapts: bool,
    unbiased: bool,
}

impl Entry {
    const fn biased(name: &'static str, label: &'static str, number: Option<&'static str>) -> Self {
        Self { name, label, number, adapts: false, unbiased: false }
    }

    const fn unbiased(name: &'static str, label: &'static str, number: Option<&'static str>) -> Self {
        Self { unbiased: true, ..Self::biased(name, label, number) }
    }

    const fn adaptive(name: &'static str, label: &'static str, number: Option<&'static str>) -> Self {
        Self { adapts: true, ..Self::unbiased(name, label, number) }
    }
}

/// First-order at first, then exact. Its number is the outer step of the change.
const ANNEALED: &str = "annealed";
const UNTIL: &str = "until";

const ESTIMATORS: [Entry; 10] = [
    Entry::biased("first-order", "first-order", None),
    Entry::biased("truncated", "truncated", Some("truncate")),
    Entry::unbiased("ufom", "UFOM", Some("q")),
    Entry::adaptive("adaptive", "adaptive", None),
    Entry::adaptive("step-coins", "step coins", Some("p")),
    Entry::adaptive("telescoping", "telescoping", Some("survival")),
    Entry::unbiased("exact", "exact", None),
    Entry::biased(ANNEALED, "annealed", Some(UNTIL)),
    Entry::biased("reptile", "Reptile", None),
    Entry::biased("implicit", "implicit", None),
];

/// An estimator, with its number if it has one: `ufom-0.1` has q = 0.1.
#[derive(Clone, Debug, PartialEq)]
pub struct EstimatorChoice {
    entry: Entry,
    number: Option<String>,
}

impl EstimatorChoice {
    /// Its name on the command line and in keys of records.
    pub fn key(&self) -> String {
        let name = self.entry.name;
        self.number.as_ref().map_or_else(|| name.into(), |number| format!("{name}-{number}"))
    }

    /// Whether its expectation is the exact meta-gradient.
    pub fn is_unbiased(&self) -> bool {
        self.entry.unbiased
    }

    /// The configuration keys that choose it, for the whole run. Adaptive estimators count costs in gradient evaluations, not in seconds,
    /// so that runs are reproducible.
    pub fn assignments(&self) -> Vec<String> {
        if let (ANNEALED, Some(until)) = (self.entry.name, &self.number) {
            let schedule = format!("estimator.schedule=[\"first-order until {until}\"]");
            return vec!["estimator.name=\"exact\"".into(), schedule];
        }
        let name = format!("estimator.name=\"{}\"", self.entry.name);
        let number = self.entry.number.zip(self.number.as_ref());
        let number = number.map(|(key, number)| format!("estimator.{key}={number}"));
        let costs = self.entry.adapts && self.number.is_none();
        let costs = costs.then(|| "estimator.costs=\"counted\"".to_string());
        [name, "estimator.schedule=[]".into()].into_iter().chain(number).chain(costs).collect()
    }
}

impl FromStr for EstimatorChoice {
    type Err = String;

    fn from_str(key: &str) -> Result<Self, String> {
        let is_number = |text: &str| text.parse::<f64>().is_ok() && !text.contains(char::is_alphabetic);
        let (name, number) = match key.rsplit_once('-').filter(|(_, number)| is_number(number)) {
            Some((name, number)) => (name, Some(number)),
            None => (key, None),
        };
        let Some(entry) = ESTIMATORS.into_iter().find(|entry| entry.name == name) else {
            let names = ESTIMATORS.map(|entry| match entry.number {
                Some(UNTIL) => format!("{}-STEP", entry.name),
                Some(number) => format!("{0} or {0}-{1}", entry.name, number.to_uppercase()),
                None => entry.name.into(),
            });
            return Err(format!("unknown estimator; choose from {}", names.join(", ")));
        };
        match number {
            Some(_) if entry.number.is_none() => Err(format!("{name} takes no number")),
            None if entry.name == ANNEALED => {
                Err("annealed needs the outer step until which it is first-order, as in annealed-400".into())
            }
            _ => Ok(Self { entry, number: number.map(String::from) }),
        }
    }
}

impl Display for EstimatorChoice {
    fn fmt(&self, f: &mut Formatter) -> std::fmt::Result {
        match &self.number {
            Some(until) if self.entry.name == ANNEALED => {
                write!(f, "first-order until step {until}, then exact")
            }
            Some(number) => write!(f, "{}({number})", self.entry.label),
            None => f.write_str(self.entry.label),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn names_are_parsed_with_their_numbers() {
        let read = |key: &str| key.parse::<EstimatorChoice>().unwrap();
        for (key, shown) in [
            ("first-order", "first-order"),
            ("ufom-0.1", "UFOM(0.1)"),
            ("step-coins-0.5", "step coins(0.5)"),
            ("annealed-400", "first-order until step 400, then exact"),
        ] {
            assert_eq!((read(key).key(), read(key).to_string()), (key.into(), shown.into()));
        }
        assert_eq!(read("telescoping").assignments().len(), 3);
        assert_eq!(read("step-coins-0.5").assignments()[2], "estimator.p=0.5");
        for (key, words) in [
            ("best", "first-order, "),
            ("exact-2", "no number"),
            ("annealed", "annealed-400"),
            ("ufom-nan", "ufom-Q"),
        ] {
            assert!(key.parse::<EstimatorChoice>().unwrap_err().contains(words), "{key}");
        }
    }

    #[test]
    fn every_estimator_has_a_valid_configuration() {
        for entry in ESTIMATORS {
            let number = ["truncated", ANNEALED].contains(&entry.name).then(|| "1".to_string());
            let estimator = EstimatorChoice { entry, number };
            // Implicit gradients need a proximal term.
            let more = (entry.name == "implicit").then(|| "inner.proximal=1".to_string());
            let assignments: Vec<String> = estimator.assignments().into_iter().chain(more).collect();
            let config = Config::load(None, &assignments).unwrap();
            let last = if entry.name == ANNEALED { "exact" } else { entry.name };
            assert_eq!(config.estimator.last().name().to_string(), last);
            assert_eq!(config.estimator.earlier().len(), usize::from(entry.name == ANNEALED));
        }
    }
}
