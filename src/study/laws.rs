//! The laws that a problem of one task is walked down by, to be held against each other.
//!
//! Those with a base have g_1, one step back: where θ is in neither V nor L_out, as in hyper-cleaning and among
//! hyperparameters, first-order's g_0 is 0, and UFOM on top of it a coin that pays rarely and much.

use crate::config::{Config, Error};
use std::fmt::{Display, Formatter};

/// Its θ stays where it is on such problems.
pub const FIRST_ORDER: &str = "first-order";
/// What the others are held against.
pub const EXACT: &str = "exact";

/// An estimator as a study has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Law {
    /// In the names of records.
    pub key: &'static str,
    /// In figures and tables.
    pub name: String,
    /// As keys of a configuration, with spaces between.
    settings: String,
}

/// Everything that differentiates an inner loop of `inner_steps` steps.
pub fn laws(inner_steps: usize) -> Vec<Law> {
    let root = (inner_steps as f64).sqrt().round() as usize;
    let law = |key, name: &str, settings: &str| Law { key, name: name.into(), settings: settings.into() };
    vec![
        law(EXACT, "exact", "exact"),
        law(FIRST_ORDER, "first-order", "first-order"),
        law("truncated-1", "truncated(1)", "truncated estimator.truncate=1"),
        law("truncated-root", &format!("truncated({root})"), &format!("truncated estimator.truncate={root}")),
        law("ufom", "UFOM(0.1)", "ufom estimator.q=0.1 estimator.truncate=1"),
        law("adaptive", "adaptive UFOM", "adaptive estimator.truncate=1 estimator.costs=counted"),
        law(
            "tracking",
            "UFOM(0.1), bias tracked",
            "ufom estimator.q=0.1 estimator.truncate=1 estimator.tracking=fitted",
        ),
        law("step-coins", "step coins", "step-coins estimator.costs=counted"),
        law("telescoping", "telescoping", "telescoping estimator.truncate=1 estimator.costs=counted"),
    ]
}

/// Keys of exact and the biased ones, and of exact and the unbiased ones.
pub fn families() -> [Vec<&'static str>; 2] {
    let biased = [FIRST_ORDER, "truncated-1", "truncated-root"];
    let keys = || laws(1).into_iter().map(|law| law.key);
    [
        keys().filter(|key| *key == EXACT || biased.contains(key)).collect(),
        keys().filter(|key| !biased.contains(key)).collect(),
    ]
}

/// The law called `key`; `None` if there is none.
pub fn law(key: &str, inner_steps: usize) -> Option<Law> {
    laws(inner_steps).into_iter().find(|law| law.key == key)
}

impl Display for Law {
    fn fmt(&self, f: &mut Formatter) -> std::fmt::Result {
        write!(f, "estimator.name={}", self.settings)
    }
}

impl Law {
    /// A descent by it with `seed`'s coins, over `evaluations` gradient evaluations; `outer` are more keys, with
    /// spaces between.
    ///
    /// # Errors
    /// If one of these numbers is impossible.
    pub fn config(
        &self,
        seed: u64,
        inner_steps: usize,
        evaluations: u64,
        outer: &str,
    ) -> Result<Config, Error> {
        let keys =
            format!("seed={seed} inner.steps={inner_steps} outer.evaluations={evaluations} {outer} {self}");
        Config::load(None, &keys.split(' ').map(String::from).collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_law_is_one() {
        for inner_steps in [1, 2, 100] {
            for law in laws(inner_steps) {
                let config = law.config(3, inner_steps, 1000, "outer.rate=0.2").unwrap_or_else(|error| {
                    panic!("{}: {error}", law.key);
                });
                assert_eq!((config.seed, config.outer.rate), (3, 0.2));
            }
        }
        assert_eq!(law("truncated-root", 100).unwrap().name, "truncated(10)");
    }
}
