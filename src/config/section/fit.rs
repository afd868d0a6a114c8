//! Checks that the estimator suits the inner loop and the outer losses. Refuses combinations for which part or all of θ would always have a
//! zero gradient, and so never be learned.

use super::estimator::NAME;
use super::inner::{ADAPTS, Inner, PROXIMAL, RATES, RateKind, STEPS};
use super::outer::LOSSES;
use crate::config::checker::Checker;
use crate::config::key::AnyKey;
use crate::task::Adapts;
use bilevel::estimator::{EstimatorName, EstimatorSettings, OuterPart};
use bilevel::{Choice, OuterLosses};

/// Refuses an estimator that cannot learn a part of θ that `inner` asks to learn, or has no use for the outer losses.
pub fn check(checker: &mut Checker, inner: &Inner, losses: OuterLosses, estimator: &EstimatorSettings) {
    let name = estimator.name();
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
        if let Some(why) = estimator.cannot_learn(part).filter(|_| is_wanted) {
            let reason = format!(
                "`{}` = {value} cannot be combined with estimator.name = \"{name}\": {why}{advice}",
                key.name()
            );
            checker.contradicts(key, &NAME, reason);
        }
    }
    if let Some(why) = estimator.ignores_losses().filter(|_| losses != OuterLosses::Last) {
        let reason =
            format!("`outer.losses` = \"all\" cannot be combined with estimator.name = \"{name}\": {why}");
        checker.contradicts(&LOSSES, &NAME, reason);
    }
    if inner.steps == 0 && name != EstimatorName::Exact {
        let reason = format!(
            "`inner.steps` = 0 cannot be combined with estimator.name = \"{name}\": there is no inner step to \
             differentiate or to skip; use \"exact\""
        );
        checker.contradicts(&STEPS, &NAME, reason);
    }
}
