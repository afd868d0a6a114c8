//! Checks that the estimators suit the inner loop and the outer losses. Refuses combinations for which part or all of θ
//! would always have a zero gradient, and so never be learned.

use super::estimator::NAME;
use super::inner::{ADAPTS, Inner, PROXIMAL, RATES, RateKind, STEPS};
use super::outer::LOSSES;
use crate::config::checker::Checker;
use crate::config::key::AnyKey;
use crate::task::Adapts;
use bilevel::estimator::{EstimatorName, EstimatorSchedule, OuterPart};
use bilevel::{Choice, OuterLosses};

/// Refuses a schedule without an estimator that can learn a part of θ that `inner` asks to learn, or with one that has no
/// use for the outer losses.
pub fn check(checker: &mut Checker, inner: &Inner, losses: OuterLosses, schedule: &EstimatorSchedule) {
    let others = if schedule.earlier().is_empty() { "" } else { " and those in estimator.schedule" };
    let quoted = |name: &str| format!("{name:?}");
    let parts: [(OuterPart, bool, &dyn AnyKey, String, &str); 3] = [
        (OuterPart::InnerRates, inner.rates != RateKind::Fixed, &RATES, quoted(inner.rates.name()), ""),
        (OuterPart::SharedWeights, inner.adapts != Adapts::All, &ADAPTS, quoted(inner.adapts.name()), ""),
        (
            OuterPart::StartOnly,
            inner.adapts != Adapts::Head && inner.proximal == 0.0,
            &PROXIMAL,
            "0".into(),
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
    for estimator in schedule.estimators() {
        let name = estimator.name();
        if let Some(why) = estimator.ignores_losses().filter(|_| losses != OuterLosses::Last) {
            let reason =
                format!("`outer.losses` = \"all\" cannot be combined with estimator \"{name}\": {why}");
            checker.contradicts(&LOSSES, &NAME, reason);
        }
        if inner.steps == 0 && name != EstimatorName::Exact {
            let reason = format!(
                "`inner.steps` = 0 cannot be combined with estimator \"{name}\": there is no inner step to \
                 differentiate or to skip; use \"exact\""
            );
            checker.contradicts(&STEPS, &NAME, reason);
        }
    }
}
