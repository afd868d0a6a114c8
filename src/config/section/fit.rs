//! Checks that the estimators suit the inner loop. Refuses combinations for which part or all of θ would always have a
//! zero gradient, and so never be learned.

use super::estimator::NAME;
use super::inner::{ADAPTS, Inner, PROXIMAL, RATES, RateKind};
use crate::config::checker::Checker;
use crate::config::key::AnyKey;
use crate::task::Adapts;
use bilevel::estimator::{EstimatorSchedule, OuterPart};

/// Refuses a schedule without an estimator that can learn a part of θ that `inner` asks to learn.
pub fn check(checker: &mut Checker, inner: &Inner, schedule: &EstimatorSchedule) {
    let others = if schedule.earlier().is_empty() { "" } else { " and those in estimator.schedule" };
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
        if let Some(why) = schedule.cannot_learn(part).filter(|_| is_wanted) {
            let (name, key_name) = (schedule.last().name(), key.name());
            let reason = format!(
                "`{key_name}` = {value} cannot be combined with estimator.name = \"{name}\"{others}: {why}{advice}"
            );
            checker.contradicts(key, &NAME, reason);
        }
    }
}
