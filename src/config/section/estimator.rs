//! `[estimator]`: how much of each inner loop is differentiated.

use super::inner;
use crate::config::checker::Checker;
use crate::config::choice::choice;
use crate::config::key::{Fixed, Is, Open, Otherwise, keys};
use crate::config::kind::{Count, Number, OneOf, at_least, one_of, probability};
use serde::Serialize;

keys! {
    /// How the meta-gradient is estimated.
    NAME: Fixed<OneOf<Name>> = "estimator.name", one_of(), Is(|| Name::Exact);
    /// Probability with which "ufom" takes the exact gradient.
    Q: Fixed<Number> = "estimator.q", probability(), Is(|| 0.1);
    /// Last inner steps that are always differentiated, up to inner.steps.
    TRUNCATE: Open<Count> = "estimator.truncate", at_least(0), Otherwise("0 for ufom; truncated needs one");
    /// Whether "ufom" tosses its coin for each task or once for an outer step's whole meta-batch.
    COIN: Fixed<OneOf<Coin>> = "estimator.coin", one_of(), Is(|| Coin::Task);
}

choice! {
    /// The names of [`Estimator`]'s variants.
    pub enum Name {
        /// No inner step.
        FirstOrder = "first-order",
        /// The last inner steps.
        Truncated = "truncated",
        /// All inner steps.
        Exact = "exact",
        /// All, now and then.
        Ufom = "ufom",
    }
}

choice! {
    /// What shares a coin.
    pub enum Coin {
        /// Every task has its own: less variance.
        Task = "task",
        /// All tasks of an outer step share one: whole outer steps stay cheap.
        Step = "step",
    }
}

/// How the meta-gradient is estimated from r inner steps.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "name", rename_all = "kebab-case")]
pub enum Estimator {
    /// Differentiates no inner step (FOMAML, Finn et al. 2017): cheap and biased.
    FirstOrder,
    /// Differentiates the last inner steps only: biased unless these are all.
    Truncated {
        /// How many, 0 to `inner.steps`.
        truncate: usize,
    },
    /// Differentiates every inner step.
    Exact,
    /// Differentiates every inner step with probability q, reweighted by 1/q so that the average is
    /// exact (Likhosherstov et al. 2021).
    Ufom {
        /// Probability of the exact gradient, in (0, 1].
        q: f64,
        /// Last inner steps differentiated in any case, 0 to `inner.steps`.
        truncate: usize,
        /// What shares a coin.
        coin: Coin,
    },
}

/// The section, checked, for `steps` inner steps.
pub fn check(checker: &mut Checker, steps: usize) -> Estimator {
    let name = checker.get(&NAME);
    if name != Name::Ufom {
        checker.unused(&Q, &NAME, name, "only \"ufom\" tosses a coin");
        checker.unused(&COIN, &NAME, name, "only \"ufom\" tosses a coin");
    }
    match name {
        Name::FirstOrder => {
            checker.unused(&TRUNCATE, &NAME, name, "it differentiates no inner step");
            Estimator::FirstOrder
        }
        Name::Exact => {
            checker.unused(&TRUNCATE, &NAME, name, "it differentiates every inner step");
            Estimator::Exact
        }
        Name::Truncated => {
            if !checker.is_set(&TRUNCATE) {
                let reason = format!(
                    "`estimator.truncate` is missing: estimator.name = \"truncated\" needs a whole \
                     number from 0 to {steps} (inner.steps)"
                );
                checker.contradicts(&TRUNCATE, &NAME, reason);
            }
            Estimator::Truncated { truncate: truncate(checker, steps) }
        }
        Name::Ufom => Estimator::Ufom {
            q: checker.get(&Q),
            truncate: truncate(checker, steps),
            coin: checker.get(&COIN),
        },
    }
}

fn truncate(checker: &mut Checker, steps: usize) -> usize {
    let truncate = checker.find(&TRUNCATE).unwrap_or(0);
    if truncate > steps {
        let reason = format!(
            "`estimator.truncate` must be a whole number from 0 to {steps} (inner.steps), got {truncate}"
        );
        checker.contradicts(&TRUNCATE, &inner::STEPS, reason);
    }
    truncate
}
