//! Checks that the estimators suit the inner loop and the outer losses, and the inner loop the network. Refuses combinations
//! for which part or all of θ would always have a zero gradient, and so never be learned.

use super::estimator::NAME;
use super::inner::{ADAPTS, HEAD, HEAD_ONLY_UNTIL, Inner, NORM_PER_STEP, PROXIMAL, RATES, RateKind, STEPS};
use super::model::BATCH_NORM;
use super::outer::LOSSES;
use super::task::{self, TaskKind};
use crate::config::checker::Checker;
use crate::config::key::AnyKey;
use crate::task::{Adapts, BatchNorm, Head};
use bilevel::estimator::{EstimatorName, EstimatorSchedule, OuterPart};
use bilevel::{Choice, OuterLosses};

/// Refuses a schedule without an estimator that can learn a part of θ that `inner` asks to learn, or with one that has no
/// use for the outer losses.
pub fn check(checker: &mut Checker, inner: &Inner, losses: OuterLosses, schedule: &EstimatorSchedule) {
    let others = if schedule.earlier().is_empty() { "" } else { " and those in estimator.schedule" };
    let quoted = |name: &str| format!("{name:?}");
    let until = inner.head_only_until;
    let parts: [(OuterPart, bool, &dyn AnyKey, String, &str); 4] = [
        (OuterPart::InnerRates, inner.rates != RateKind::Fixed, &RATES, quoted(inner.rates.name()), ""),
        (OuterPart::SharedWeights, inner.adapts != Adapts::All, &ADAPTS, quoted(inner.adapts.name()), ""),
        (
            OuterPart::SharedWeights,
            until.is_some(),
            &HEAD_ONLY_UNTIL,
            until.unwrap_or_default().to_string(),
            "",
        ),
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

/// Refuses an inner loop that asks for what the learner of `task` does not have: classes, or batch norm.
pub fn check_inner(checker: &mut Checker, task: TaskKind, batch_norm: BatchNorm, inner: &Inner) {
    if task == TaskKind::Sinusoid && inner.head != Head::Learned {
        let reason = format!(
            "`inner.head` = \"{}\" cannot be combined with task.kind = \"{task}\": it is made of classes, which a curve does \
             not have; use \"learned\"",
            inner.head
        );
        checker.contradicts(&HEAD, &task::KIND, reason);
    }
    let without = |what: &str| {
        format!("{what} cannot be combined with model.batch_norm = \"none\": this network has no batch norm")
    };
    if batch_norm == BatchNorm::Absent && inner.adapts == Adapts::AllButNorm {
        checker.contradicts(
            &ADAPTS,
            &BATCH_NORM,
            without("`inner.adapts` = \"all-but-norm\"") + "; use \"all\"",
        );
    }
    if batch_norm == BatchNorm::Absent && inner.norm_per_step {
        checker.contradicts(&NORM_PER_STEP, &BATCH_NORM, without("`inner.norm_per_step` = true"));
    }
}
