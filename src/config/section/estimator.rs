//! `[estimator]`: how much of each inner loop is differentiated, and by which estimators in turn.
//!
//! This file declares the keys with their descriptions and ranges. The engine's `estimator/registry.rs` declares which
//! estimator uses which key, and the defaults.

use super::estimator_kinds::{LevelsKind, NamedPhase, PhasesKind, ProbabilitiesKind};
use super::{inner, root};
use crate::config::checker::Checker;
use crate::config::key::{AnyKey, Fixed, Is, Open, Otherwise, keys};
use crate::config::kind::{
    Count, Number, OneOf, at_least, decay, non_negative, one_of, positive, probability,
};
use bilevel::Choice;
use bilevel::estimator::{
    Coin, Compat, CostUnit, EstimatorName, EstimatorSchedule, EstimatorSettings, Levels, Phase,
    Probabilities, Tracking, Tuning,
};
use serde::{Deserialize, Serialize, Serializer};
use toml::{Table, Value};

keys! {
    /// Estimator of the meta-gradient; if estimator.schedule lists others, the one that follows them.
    NAME: Fixed<OneOf<EstimatorName>> = "estimator.name", one_of(), Is(|| EstimatorName::Exact);
    /// Estimators to use before estimator.name, in order, each with its last outer step. The other keys of this section
    /// apply to every estimator that uses them. ["first-order until 1000"] followed by "exact" is derivative-order
    /// annealing.
    SCHEDULE: Fixed<PhasesKind> = "estimator.schedule", PhasesKind, Is(Vec::new);
    /// Probability with which "ufom" computes the exact gradient.
    Q: Fixed<Number> = "estimator.q", probability(), Is(|| 0.1);
    /// Probability with which "step-coins" computes the Hessian-vector product of an inner step: one number
    /// for all inner steps, or a list with one for each, in order.
    P: Open<ProbabilitiesKind> = "estimator.p", ProbabilitiesKind, Otherwise("adapted during training");
    /// Probability with which "telescoping" continues from each level to the next.
    SURVIVAL: Open<Number> = "estimator.survival", probability(), Otherwise("adapted during training");
    /// Depths at which "telescoping" may stop: every inner step, the powers of two, or a list.
    LEVELS: Open<LevelsKind> = "estimator.levels", LevelsKind, Otherwise("\"powers\"");
    /// Number of final inner steps that are always differentiated; at most inner.steps.
    TRUNCATE: Open<Count> = "estimator.truncate", at_least(0),
        Otherwise("0 for ufom, adaptive and telescoping; required for truncated");
    /// How random decisions (coins) are drawn: independently for each task, once per outer step for the whole
    /// meta-batch, or stratified over tasks, so that the number of tasks that draw "yes" varies by at most one.
    COIN: Fixed<OneOf<Coin>> = "estimator.coin", one_of(), Is(|| Coin::Task);
    /// Whether "ufom" and "adaptive" use a control variate: a running average of the base's past errors, times
    /// a coefficient that is either "fitted" to past exact gradients or "fixed".
    TRACKING: Fixed<OneOf<Tracking>> = "estimator.tracking", one_of(), Is(|| Tracking::Off);
    /// Coefficient of the control variate with tracking "fixed".
    COEFFICIENT: Open<Number> = "estimator.coefficient", positive(), Otherwise("1 for tracking \"fixed\"");
    /// Exponent of the second moment in an adaptive estimator's model of the time to a given accuracy: 2 for
    /// step sizes that decrease like 1/√k, 1 for step sizes that decrease like 1/k, where time is proportional to
    /// cost × second moment.
    EXPONENT: Fixed<Number> = "estimator.exponent", positive(), Is(|| 2.0);
    /// Decay of an estimator's running averages: the weight of past values.
    BETA: Fixed<Number> = "estimator.beta", decay(), Is(|| 0.99);
    /// Lower bound of the probabilities of an adaptive estimator.
    FLOOR: Fixed<Number> = "estimator.floor", probability(), Is(|| 0.05);
    /// Unit in which an adaptive estimator measures costs. A resumed run gives the same bits as an uninterrupted one only
    /// with "counted" and "reference".
    COSTS: Open<OneOf<CostUnit>> = "estimator.costs", one_of(),
        Otherwise("\"measured\", or \"counted\" if deterministic");
    /// κ: adaptive "step-coins" keeps each probability at or above κ × inner rate × largest measured curvature.
    CURVATURE_FLOOR: Fixed<Number> = "estimator.curvature_floor", non_negative(), Is(|| 0.75);
    /// Whether "adaptive" behaves like the reference code of the method's authors, which is biased if it clips.
    COMPAT: Fixed<OneOf<Compat>> = "estimator.compat", one_of(), Is(|| Compat::None);
    /// Bound on the absolute value of every element of the vector in the backward pass; only with compat "reference".
    CLIP_PRODUCTS: Open<Number> = "estimator.clip_products", positive(), Otherwise("no bound");
    /// Number of conjugate-gradient iterations of "implicit", each with one Hessian-vector product.
    ITERATIONS: Fixed<Count> = "estimator.iterations", at_least(1), Is(|| 5);
    /// Damping that "implicit" adds to the Hessian of the inner loss.
    DAMPING: Fixed<Number> = "estimator.damping", non_negative(), Is(|| 0.0);
}

/// Checks the section, for `steps` inner steps. `deterministic` runs do not measure times.
pub fn check(checker: &mut Checker, steps: usize, deterministic: bool) -> EstimatorSchedule {
    let (earlier, last) = (checker.get(&SCHEDULE), checker.get(&NAME));
    let names: Vec<_> = earlier.iter().map(|phase| phase.name).chain([last]).collect();
    for key in KEYS.iter().filter(|key| ![NAME.name, SCHEDULE.name].contains(&key.name())) {
        refuse_unused(checker, &names, *key);
    }
    require(checker, &NAME, last, steps);
    earlier.iter().for_each(|phase| require(checker, &SCHEDULE, phase.name, steps));
    check_depths(checker, steps);

    let used = |key: &&dyn AnyKey| names.iter().any(|name| is_used(checker, *name, *key));
    let used: Vec<_> = KEYS.iter().copied().filter(used).collect();
    // Each value is read once, so that a refused one is one fault.
    let mut values: Vec<_> = used.into_iter().filter_map(|key| Some((key, key.value(checker)?))).collect();
    if names.iter().any(|name| is_used(checker, *name, &COSTS)) {
        values.retain(|(key, _)| key.name() != COSTS.name);
        values.push((&COSTS, costs(checker, deterministic).name().into()));
    }
    let last = settings(checker, last, &values);
    let earlier = earlier.iter().map(|NamedPhase { name, until }| Phase {
        estimator: settings(checker, *name, &values),
        until: *until,
    });
    EstimatorSchedule::new(earlier.collect(), last)
}

/// Writes the section: the keys of all estimators in one table, with the schedule if there is one.
///
/// # Errors
/// Returns an error if `out` does.
pub fn serialize<S: Serializer>(schedule: &EstimatorSchedule, out: S) -> Result<S::Ok, S::Error> {
    if schedule.earlier().is_empty() {
        return schedule.last().serialize(out);
    }
    // Estimators that share a key agree on its value, except for the name, which remains that of the last.
    let mut table = Table::new();
    for estimator in schedule.estimators() {
        table.extend(Table::try_from(estimator).map_err(serde::ser::Error::custom)?);
    }
    let phases = schedule.earlier().iter().map(|phase| NamedPhase::from(phase).to_string().into());
    table.insert("schedule".into(), Value::Array(phases.collect()));
    table.serialize(out)
}

/// The settings of `name`, with those of the `values` that it uses.
fn settings(
    checker: &mut Checker,
    name: EstimatorName,
    values: &[(&'static dyn AnyKey, Value)],
) -> EstimatorSettings {
    let mut table = defaults(name, checker);
    table.insert("name".into(), name.name().into());
    let used = values.iter().filter(|(key, _)| is_used(checker, name, *key));
    table.extend(used.map(|(key, value)| (field(*key).to_string(), value.clone())));
    EstimatorSettings::deserialize(Value::Table(table)).unwrap_or_else(|error| {
        // A refused value is missing from the table, which may be the only cause of this error.
        if checker.is_clean() {
            checker.refuse(&NAME, format!("`estimator` cannot be read: {error}"));
        }
        name.default_settings()
    })
}

/// The default settings of `name` that have an effect together with the given keys.
fn defaults(name: EstimatorName, checker: &Checker) -> Table {
    let mut defaults = Table::try_from(name.default_settings()).unwrap_or_default();
    defaults.insert("coefficient".into(), Value::Float(1.0));
    defaults
        .into_iter()
        .filter(|(field, _)| key(field).is_some_and(|key| is_used(checker, name, key)))
        .collect()
}

/// The name of a key within the section.
fn field(key: &dyn AnyKey) -> &'static str {
    key.name().rsplit_once('.').map_or("", |(_, field)| field)
}

/// The key called `field` within the section.
fn key(field: &str) -> Option<&'static dyn AnyKey> {
    KEYS.iter().copied().find(|key| self::field(*key) == field)
}

/// Whether only adaptive estimators use `key`.
fn is_adaptive_only(key: &dyn AnyKey) -> bool {
    Tuning::KEYS.contains(&field(key)) || key.name() == CURVATURE_FLOOR.name
}

/// The given key that keeps `name` from adapting, if there is one.
fn fixed_by(checker: &Checker, name: EstimatorName) -> Option<&'static dyn AnyKey> {
    name.adapts_without().and_then(key).filter(|key| checker.is_set(*key))
}

/// Whether `name` uses `key`, given the other keys.
fn is_used(checker: &Checker, name: EstimatorName, key: &dyn AnyKey) -> bool {
    let known = name.keys().contains(&field(key));
    let adapts = fixed_by(checker, name).is_none();
    known && (adapts || !is_adaptive_only(key)) && condition(checker, name, key).is_none()
}

/// The other key and its value that keep `name` from using `key`, and the reason; `None` if nothing does.
fn condition(
    checker: &Checker,
    name: EstimatorName,
    key: &dyn AnyKey,
) -> Option<(&'static dyn AnyKey, &'static str, &'static str)> {
    let tracking = checker.peek(&TRACKING).unwrap_or(Tracking::Off);
    let compat = checker.peek(&COMPAT).unwrap_or(Compat::None);
    let is = |other: &dyn AnyKey| key.name() == other.name();
    if is(&COEFFICIENT) && tracking != Tracking::Fixed {
        return Some((&TRACKING, tracking.name(), "only tracking \"fixed\" has a coefficient"));
    }
    if is(&BETA) && name == EstimatorName::Ufom && tracking == Tracking::Off {
        return Some((&TRACKING, tracking.name(), "\"ufom\" averages only the error that it tracks"));
    }
    if is(&CLIP_PRODUCTS) && compat == Compat::None {
        return Some((&COMPAT, compat.name(), "clipping in the backward pass biases the estimate"));
    }
    None
}

/// Refuses `key` if it is given but none of the estimators `names` uses it.
fn refuse_unused(checker: &mut Checker, names: &[EstimatorName], key: &'static dyn AnyKey) {
    if !checker.is_set(key) || names.iter().any(|name| is_used(checker, *name, key)) {
        return;
    }
    let [.., last] = *names else { return };
    let knows = |name: &EstimatorName| name.keys().contains(&field(key));
    let name = names.iter().copied().rfind(knows).unwrap_or(last);
    let scheduled = if names.len() > 1 { ", which estimator.schedule does not list" } else { "" };
    let users = format!("it applies only to {}{scheduled}", users(key));
    match (fixed_by(checker, name), condition(checker, name, key)) {
        (Some(fixed), _) if is_adaptive_only(key) => {
            let reason = format!("`{}` has no effect if `{}` is given: {users}", key.name(), fixed.name());
            checker.unfit(key, fixed, reason);
        }
        (_, Some((selector, choice, why))) if name.keys().contains(&field(key)) => {
            checker.unused(key, selector, choice, why);
        }
        // A schedule from an override replaces that of the file, with its keys.
        _ if checker.overrides(&SCHEDULE, key) => checker.unfit(key, &SCHEDULE, users),
        _ => checker.unused(key, &NAME, name.name(), &users),
    }
}

/// The estimators that use `key`: `"ufom" and "step-coins" without p`.
fn users(key: &dyn AnyKey) -> String {
    let user = |name: &&EstimatorName| name.keys().contains(&field(key));
    let named = EstimatorName::ALL.iter().filter(user).map(|name| match name.adapts_without() {
        Some(fixed) if is_adaptive_only(key) => format!("\"{name}\" without {fixed}"),
        _ => format!("\"{name}\""),
    });
    let named: Vec<String> = named.collect();
    match named.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => named.concat(),
    }
}

/// Refuses a configuration without a key that `name`, which `selector` chooses, requires.
fn require(checker: &mut Checker, selector: &dyn AnyKey, name: EstimatorName, steps: usize) {
    for key in name.required().iter().filter_map(|field| key(field)) {
        if !checker.is_set(key) {
            let is_last = selector.name() == NAME.name;
            let chosen = if is_last { "estimator.name = " } else { "in estimator.schedule, " };
            let reason = format!(
                "`{}` is missing: {chosen}\"{name}\" needs a whole number from 0 to {steps} (inner.steps)",
                key.name()
            );
            checker.contradicts(key, selector, reason);
        }
    }
}

/// Refuses depths and probabilities that do not fit `steps` inner steps.
fn check_depths(checker: &mut Checker, steps: usize) {
    if let Some(truncate) = checker.peek(&TRUNCATE).filter(|truncate| *truncate > steps) {
        let reason = format!(
            "`estimator.truncate` must be a whole number from 0 to {steps} (inner.steps), got {truncate}"
        );
        checker.contradicts(&TRUNCATE, &inner::STEPS, reason);
    }
    if let Some(Probabilities::Each(each)) = checker.peek(&P)
        && each.len() != steps
    {
        let reason = format!(
            "`estimator.p` must be one probability or a list of {steps} (inner.steps), got {}",
            each.len()
        );
        checker.contradicts(&P, &inner::STEPS, reason);
    }
    if let Some(Levels::At(depths)) = checker.peek(&LEVELS)
        && let Some(deep) = depths.iter().find(|depth| **depth > steps)
    {
        let reason = format!("`estimator.levels` must be depths from 1 to {steps} (inner.steps), got {deep}");
        checker.contradicts(&LEVELS, &inner::STEPS, reason);
    }
}

/// The unit of costs: measured by default, counted in deterministic runs.
fn costs(checker: &mut Checker, deterministic: bool) -> CostUnit {
    match checker.peek(&COSTS) {
        Some(CostUnit::Measured) if deterministic => {
            let reason = "`estimator.costs` = \"measured\" cannot be combined with deterministic = true: times \
                          differ between runs; use \"counted\"";
            checker.contradicts(&COSTS, &root::DETERMINISTIC, reason.into());
            CostUnit::Counted
        }
        Some(costs) => costs,
        None if deterministic => CostUnit::Counted,
        None => CostUnit::Measured,
    }
}
