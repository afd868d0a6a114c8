//! Which estimator fits which inner loop: those pairs are refused in which part of θ, or all of it, would
//! have a gradient of zero and never learn.

use super::estimator::{Estimator, NAME};
use super::inner::{ADAPTS, Adapts, Inner, PROXIMAL, RATES, RateKind};
use crate::config::checker::Checker;
use crate::config::key::AnyKey;

/// Refuses an estimator that cannot learn all that `inner` wants learned.
pub fn check(checker: &mut Checker, inner: &Inner, estimator: &Estimator) {
    let name = estimator.name();
    let mut refuse = |key: &dyn AnyKey, value: &str, why: &str| {
        let reason = format!("`{}` = {value} does not go with estimator.name = {name:?}: {why}", key.name());
        checker.contradicts(key, &NAME, reason);
    };
    if inner.rates == RateKind::Learned {
        let why = match estimator {
            Estimator::FirstOrder | Estimator::Truncated { truncate: 0 } => {
                Some("without a step differentiated the rates have no gradient")
            }
            Estimator::Reptile => {
                Some("it moves θ to where the inner loop ends, and rates do not move there")
            }
            Estimator::Implicit { .. } => Some("where the inner loss is least does not depend on the rates"),
            _ => None,
        };
        why.into_iter().for_each(|why| refuse(&RATES, "\"learned\"", why));
    }
    match estimator {
        Estimator::Reptile if inner.adapts == Adapts::Head => {
            refuse(&ADAPTS, "\"head\"", "it moves no weight that the inner loop leaves where it is");
        }
        Estimator::Implicit { .. } if inner.adapts == Adapts::All && inner.proximal == 0.0 => {
            let why = "where the inner loss is least does not depend on where the inner loop starts; give it a \
                       strength > 0, or let inner.adapts be \"head\"";
            refuse(&PROXIMAL, "0", why);
        }
        _ => {}
    }
}
