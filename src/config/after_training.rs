//! Which settings may change after training has begun, and where. All others belong to the weights, to the data or to the
//! comparisons that the run has made: changing one would silently invalidate them, so the change is refused and the key is
//! named.

use super::checked::Config;
use crate::support::settings::{Difference, differences, flat};
use serde_json::Value;

/// Why settings are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To train further.
    Training,
    /// To measure an accuracy.
    Evaluation,
}

/// Keys that may change when training goes on: a key, or a section with a dot at its end.
const TRAINING: &[&str] = &[
    "outer.steps",
    "outer.evaluations",
    "outer.rate",
    "outer.schedule",
    "outer.final_rate",
    "outer.warmup",
    "outer.clip",
    "memory.",
    "divergence.",
    "checkpoint.every",
    "checkpoint.keep",
    "eval.test_episodes",
    "records.",
];

/// Keys that may differ from training in one evaluation.
const EVALUATION: &[&str] = &[
    "task.ways",
    "task.shots",
    "eval.ways",
    "eval.shots",
    "eval.queries",
    "eval.test_episodes",
    "inner.eval_steps",
    "model.batch_norm",
];

/// Keys that say which data an evaluation is on, if that is not what the run was trained on.
const OTHER_DATA: &[&str] =
    &["data.source", "data.split", "data.validation", "data.rotations", "data.invert", "data.skip_damaged"];

/// Keys that say on what a run is computed. They may always change and are no part of what is computed.
const MACHINE: &[&str] = &["backend", "threads", "graphs"];

/// Keys that say where the data are, for which the same holds.
pub const PLACE_OF_DATA: &[&str] = &["data.path", "data.list", "data.cache"];

/// Keys that say how it is computed, which may always change too.
const MANNER: &[&str] = &["deterministic", "estimator.costs"];

impl Purpose {
    /// The keys that may change, and sections of such keys (with a dot at the end).
    pub fn keys(self) -> Vec<&'static str> {
        match self {
            Self::Training => [TRAINING, MACHINE, PLACE_OF_DATA, MANNER].concat(),
            Self::Evaluation => [EVALUATION, OTHER_DATA, MACHINE, PLACE_OF_DATA, MANNER].concat(),
        }
    }

    /// Whether `key` may change.
    fn allows(self, key: &str) -> bool {
        self.keys()
            .iter()
            .any(|allowed| key == *allowed || (allowed.ends_with('.') && key.starts_with(allowed)))
    }
}

impl Config {
    /// The settings that describe what is computed, as JSON: without those of the machine, such as the backend, and without
    /// the place of the data.
    pub fn described(&self) -> Value {
        let mut settings = serde_json::json!(self);
        for setting in MACHINE.iter().chain(PLACE_OF_DATA) {
            let (section, key) = match setting.split_once('.') {
                Some((section, key)) => (settings.get_mut(section), key),
                None => (Some(&mut settings), *setting),
            };
            section.and_then(Value::as_object_mut).map(|section| section.remove(key));
        }
        settings
    }

    /// Those of `keys` that are set here and may not change for this purpose, each with its value as JSON.
    pub fn fixed<'a>(&self, keys: impl Iterator<Item = &'a str>, purpose: Purpose) -> Vec<(String, String)> {
        let settings = flat(&self.described());
        let fixed = keys.filter(|key| !purpose.allows(key));
        fixed.filter_map(|key| Some((key.into(), settings.get(key)?.to_string()))).collect()
    }

    /// The keys in which these settings differ from `before`, as [`Self::described`] gave it: those that may change for this
    /// purpose, and those that may not. Both are empty if `before` is null, as in checkpoints of earlier versions.
    pub fn changes(&self, before: &Value, purpose: Purpose) -> (Vec<Difference>, Vec<Difference>) {
        if before.is_null() {
            return (Vec::new(), Vec::new());
        }
        let changes = differences(before, &self.described()).into_iter();
        changes.filter(is_change).partition(|change| purpose.allows(&change.key))
    }
}

/// Whether a difference changes anything. Runs that began before there were colours do not say that images are grey, and only
/// images that may not be square have a way to make them so. Weights that were imported without their images leave the split and
/// the ink to the images that they are then trained on.
fn is_change(Difference { key, first, second }: &Difference) -> bool {
    let unset = first == "not set" || second == "not set";
    match key.as_str() {
        "data.channels" => !(unset && [first, second].iter().any(|value| *value == "1")),
        "data.fit" => !unset,
        "data.split" | "data.validation" | "data.invert" => first != "not set",
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys;

    #[test]
    fn every_key_in_the_lists_exists() {
        for key in [Purpose::Training, Purpose::Evaluation].into_iter().flat_map(Purpose::keys) {
            let exists =
                keys().iter().any(|doc| doc.key == key || doc.key.starts_with(key) && key.ends_with('.'));
            assert!(exists, "{key}");
        }
    }

    #[test]
    fn changes_are_divided_by_what_may_change() {
        let load = |more: &[&str]| {
            let more: Vec<String> = more.iter().map(ToString::to_string).collect();
            Config::load(None, &more).unwrap()
        };
        let before = load(&["outer.steps=4"]).described();
        let keys =
            |changes: Vec<Difference>| changes.into_iter().map(|change| change.key).collect::<Vec<_>>();
        let (may, may_not) =
            load(&["outer.steps=8", "task.shots=3", "backend=flex"]).changes(&before, Purpose::Training);
        assert_eq!((keys(may), keys(may_not)), (vec!["outer.steps".into()], vec!["task.shots".into()]));
        let (may, may_not) = load(&["outer.steps=4", "task.shots=3", "memory.plan=store", "seed=1"])
            .changes(&before, Purpose::Evaluation);
        assert_eq!(keys(may), ["task.shots"]);
        assert_eq!(keys(may_not), ["memory.budget", "memory.plan", "seed"]);
        assert_eq!(load(&["outer.steps=9"]).changes(&Value::Null, Purpose::Training), (vec![], vec![]));
        let folder = ["data.source=folder", "data.path=images", "data.validation=5"];
        let mut before = load(&[&folder[..], &["data.channels=1"]].concat()).described();
        for key in ["channels", "fit"] {
            before["data"].as_object_mut().unwrap().remove(key).unwrap();
        }
        let may_not = |more: &str| {
            let now = load(&[&folder[..], &["data.fit=stretch", more]].concat());
            keys(now.changes(&before, Purpose::Training).1)
        };
        assert_eq!(may_not("data.channels=1"), [""; 0]);
        assert_eq!(may_not("data.channels=3"), ["data.channels"]);
        // What was left to the images may be decided once; what was decided stays.
        let decided = ["data.split=listed", "data.validation=7", "data.invert=true", "data.channels=1"];
        let now = load(&[&folder[..2], &decided].concat());
        let (_, may_not) = now.changes(&load(&folder[..2]).described(), Purpose::Training);
        assert_eq!(keys(may_not), [""; 0]);
        let (_, may_not) =
            load(&[&folder[..2], &["data.channels=1"]].concat()).changes(&now.described(), Purpose::Training);
        assert_eq!(keys(may_not), ["data.invert", "data.split", "data.validation"]);
        before["data"]["fit"] = "crop".into();
        let now = load(&[&folder[..], &["data.fit=stretch", "data.channels=1"]].concat());
        assert_eq!(keys(now.changes(&before, Purpose::Training).1), ["data.fit"]);
    }
}
