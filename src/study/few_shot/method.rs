//! Estimators as a command line names them: `exact`, `ufom-0.1`, `step-coins`.

use std::fmt::{Display, Formatter};
use std::str::FromStr;

/// An estimator that can be compared.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Kind {
    /// What the configuration calls it.
    name: &'static str,
    /// What people do.
    called: &'static str,
    /// The configuration key of its number, if it can have one.
    number: Option<&'static str>,
    /// Whether it chooses its probabilities while running, where no number is given.
    adapts: bool,
    unbiased: bool,
}

impl Kind {
    const fn biased(name: &'static str, called: &'static str, number: Option<&'static str>) -> Self {
        Self { name, called, number, adapts: false, unbiased: false }
    }

    const fn unbiased(name: &'static str, called: &'static str, number: Option<&'static str>) -> Self {
        Self { unbiased: true, ..Self::biased(name, called, number) }
    }

    const fn adapting(name: &'static str, called: &'static str, number: Option<&'static str>) -> Self {
        Self { adapts: true, ..Self::unbiased(name, called, number) }
    }
}

const KINDS: [Kind; 9] = [
    Kind::biased("first-order", "first-order", None),
    Kind::biased("truncated", "truncated", Some("truncate")),
    Kind::unbiased("ufom", "UFOM", Some("q")),
    Kind::adapting("adaptive", "adaptive", None),
    Kind::adapting("step-coins", "step coins", Some("p")),
    Kind::adapting("telescoping", "telescoping", Some("survival")),
    Kind::unbiased("exact", "exact", None),
    Kind::biased("reptile", "Reptile", None),
    Kind::biased("implicit", "implicit", None),
];

/// An estimator, and the number it is used with: `ufom-0.1`, q = 0.1.
#[derive(Clone, Debug, PartialEq)]
pub struct Method {
    kind: Kind,
    number: Option<String>,
}

impl Method {
    /// Its records' name, and the command line's.
    pub fn key(&self) -> String {
        let name = self.kind.name;
        self.number.as_ref().map_or_else(|| name.into(), |number| format!("{name}-{number}"))
    }

    /// Whether its average over draws is the exact meta-gradient.
    pub fn is_unbiased(&self) -> bool {
        self.kind.unbiased
    }

    /// The configuration keys that choose it. One that adapts counts gradient evaluations, not seconds, so
    /// that its runs repeat.
    pub fn assignments(&self) -> Vec<String> {
        let name = format!("estimator.name=\"{}\"", self.kind.name);
        let number = self.kind.number.zip(self.number.as_ref());
        let number = number.map(|(key, number)| format!("estimator.{key}={number}"));
        let costs = self.kind.adapts && self.number.is_none();
        let costs = costs.then(|| "estimator.costs=\"counted\"".to_string());
        std::iter::once(name).chain(number).chain(costs).collect()
    }
}

impl FromStr for Method {
    type Err = String;

    fn from_str(key: &str) -> Result<Self, String> {
        let is_number = |text: &str| text.parse::<f64>().is_ok() && !text.contains(char::is_alphabetic);
        let (name, number) = match key.rsplit_once('-').filter(|(_, number)| is_number(number)) {
            Some((name, number)) => (name, Some(number)),
            None => (key, None),
        };
        let Some(kind) = KINDS.into_iter().find(|kind| kind.name == name) else {
            let names = KINDS.map(|kind| match kind.number {
                Some(number) => format!("{0} or {0}-{1}", kind.name, number.to_uppercase()),
                None => kind.name.into(),
            });
            return Err(format!("no estimator is called so; there are {}", names.join(", ")));
        };
        match number {
            Some(_) if kind.number.is_none() => Err(format!("{name} has no number")),
            _ => Ok(Self { kind, number: number.map(String::from) }),
        }
    }
}

impl Display for Method {
    fn fmt(&self, f: &mut Formatter) -> std::fmt::Result {
        match &self.number {
            Some(number) => write!(f, "{}({number})", self.kind.called),
            None => f.write_str(self.kind.called),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn names_are_estimators_and_their_numbers() {
        let read = |key: &str| key.parse::<Method>().unwrap();
        for (key, shown) in
            [("first-order", "first-order"), ("ufom-0.1", "UFOM(0.1)"), ("step-coins-0.5", "step coins(0.5)")]
        {
            assert_eq!((read(key).key(), read(key).to_string()), (key.into(), shown.into()));
        }
        assert_eq!(read("telescoping").assignments().len(), 2);
        assert_eq!(read("step-coins-0.5").assignments()[1], "estimator.p=0.5");
        for (key, words) in [("best", "first-order, "), ("exact-2", "no number"), ("ufom-nan", "ufom-Q")] {
            assert!(key.parse::<Method>().unwrap_err().contains(words), "{key}");
        }
    }

    #[test]
    fn every_name_is_a_configuration() {
        for kind in KINDS {
            let number = (kind.name == "truncated").then(|| "1".to_string());
            let method = Method { kind, number };
            // Without a pull to θ implicit gradients have no meaning.
            let more = (kind.name == "implicit").then(|| "inner.proximal=1".to_string());
            let assignments: Vec<String> = method.assignments().into_iter().chain(more).collect();
            let config = Config::load(None, &assignments).unwrap();
            assert_eq!(config.estimator.name(), kind.name);
        }
    }
}
