//! Checks that the estimator suits the inner loop. Refuses combinations for which part or all of θ would always have a
//! zero gradient, and so never be learned.

use super::estimator::NAME;
use super::inner::{ADAPTS, Inner, PROXIMAL, RATES, RateKind};
use crate::config::checker::Checker;
use crate::config::key::AnyKey;
use crate::task::Adapts;
use bilevel::estimator::{EstimatorSettings, OuterPart};

/// Refuses an estimator that cannot learn a part of θ that `inner` asks to learn.
pub fn check(checker: &mut Checker, inner: &Inner, estimator: &EstimatorSettings) {
    let parts: [(OuterPart, bool, &dyn AnyKey, &str, &str); 3] = [
        (OuterPart::InnerRates, inner.rates == RateKind::Learned, &RATES, "\"learned\"", ""),
        (OuterPart::SharedWeights, inner.adapts == Adapts::Head, &ADAPTS, "\"head\"", ""),
        (
            OuterPart::StartOnly,
            inner.adapts == Adapts::All && inner.proximal == 0.0,
            &PROXIMAL,
            "0",
            "; set it to a number > 0, or set inner.adapts = \"head\"",
        ),
    ];
    for (part, is_wanted, key, value, advice) in parts {
        if let Some(why) = estimator.cannot_learn(part).filter(|_| is_wanted) {
            let (name, key_name) = (estimator.name(), key.name());
            let reason = format!(
                "`{key_name}` = {value} cannot be combined with estimator.name = \"{name}\": {why}{advice}"
            );
            checker.contradicts(key, &NAME, reason);
        }
    }
}
