//! Tags and values of a record in TensorBoard.

use crate::run::{Record, StepRecord, ValidationRecord};
use serde_json::Value;

/// Tags and values of `record`, without values that are not finite.
pub fn scalars(record: &Record) -> Vec<(String, f64)> {
    let scalars = match record {
        Record::Step(record) => step_scalars(record),
        Record::Validation(record) => validation_scalars(record),
    };
    scalars.into_iter().filter(|(_, value)| value.is_finite()).collect()
}

fn step_scalars(record: &StepRecord) -> Vec<(String, f64)> {
    let StepRecord {
        step: _,
        loss,
        gradient_norm,
        clipped,
        rate,
        products,
        recomputed,
        iterate_bytes,
        gradient_evaluations,
        dropped_episodes,
        skipped_steps,
        rewinds,
        estimator,
    } = record;
    let mut scalars = Vec::new();
    let mut add = |tag: &str, value: f64| scalars.push((tag.to_string(), value));
    add("train/loss", *loss);
    add("train/gradient_norm", *gradient_norm);
    add("train/clipped", f64::from(*clipped));
    add("train/rate", *rate);
    add("cost/products", *products as f64);
    add("cost/recomputed", *recomputed as f64);
    add("cost/iterate_bytes", *iterate_bytes as f64);
    add("cost/gradient_evaluations", *gradient_evaluations as f64);
    for (tag, count) in [("divergence/skipped_steps", *skipped_steps), ("divergence/rewinds", *rewinds)] {
        if count > 0 {
            add(tag, count as f64);
        }
    }
    for (name, value) in estimator {
        add_value(&mut add, &format!("estimator/{name}"), value);
    }
    if !dropped_episodes.is_empty() {
        add("divergence/dropped_tasks", dropped_episodes.len() as f64);
    }
    scalars
}

fn validation_scalars(record: &ValidationRecord) -> Vec<(String, f64)> {
    // The number of episodes and batch norm's mode are the same at each validation.
    let ValidationRecord {
        step: _,
        validation_accuracy: accuracy,
        ci95,
        validation_loss: loss,
        episodes: _,
        diverged_episodes,
        batch_norm: _,
        gradient_evaluations,
    } = record;
    // The interval is that of the accuracy, or of the loss if there is no accuracy.
    let (name, value) = accuracy.map_or(("loss", *loss), |accuracy| ("accuracy", accuracy));
    let mut scalars: Vec<_> =
        accuracy.iter().map(|accuracy| ("validation/accuracy".into(), *accuracy)).collect();
    scalars.extend([
        ("validation/loss".into(), *loss),
        ("cost/gradient_evaluations".into(), *gradient_evaluations as f64),
        (format!("validation/{name}_low"), value - ci95),
        (format!("validation/{name}_high"), value + ci95),
    ]);
    if *diverged_episodes > 0 {
        scalars.push(("validation/diverged_episodes".into(), *diverged_episodes as f64));
    }
    scalars
}

/// Adds an estimator's metric. A list becomes a curve for each of its members, numbered from 1; a value that is
/// not a number has no curve.
fn add_value(add: &mut impl FnMut(&str, f64), tag: &str, value: &Value) {
    let number = |value: &Value| value.as_bool().map(f64::from).or_else(|| value.as_f64());
    match value {
        Value::Array(members) => {
            for (at, member) in members.iter().enumerate() {
                if let Some(member) = number(member) {
                    add(&format!("{tag}/{}", at + 1), member);
                }
            }
        }
        value => {
            if let Some(value) = number(value) {
                add(tag, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::scalars;
    use crate::run::Record;
    use serde_json::json;

    #[test]
    fn every_finite_number_has_a_tag() {
        let line = json!({"step": 3, "loss": null, "gradient_norm": 2.0, "clipped": true, "rate": 0.5, "products": 4,
                          "recomputed": 0, "iterate_bytes": 8, "gradient_evaluations": 60, "dropped_episodes": [7, 9],
                          "p": [0.5, 0.25], "q": 0.1});
        let expected = [
            ("train/gradient_norm", 2.0),
            ("train/clipped", 1.0),
            ("train/rate", 0.5),
            ("cost/products", 4.0),
            ("cost/recomputed", 0.0),
            ("cost/iterate_bytes", 8.0),
            ("cost/gradient_evaluations", 60.0),
            ("estimator/p/1", 0.5),
            ("estimator/p/2", 0.25),
            ("estimator/q", 0.1),
            ("divergence/dropped_tasks", 2.0),
        ];
        let step: Record = serde_json::from_value(line).unwrap();
        assert_eq!(scalars(&step), expected.map(|(tag, value)| (tag.to_string(), value)));
        let line = json!({"step": 3, "validation_accuracy": 90.0, "ci95": 2.0, "validation_loss": null, "episodes": 5,
                          "batch_norm": "support", "gradient_evaluations": 60});
        let validation: Record = serde_json::from_value(line).unwrap();
        let expected = [
            ("validation/accuracy", 90.0),
            ("cost/gradient_evaluations", 60.0),
            ("validation/accuracy_low", 88.0),
            ("validation/accuracy_high", 92.0),
        ];
        assert_eq!(scalars(&validation), expected.map(|(tag, value)| (tag.to_string(), value)));
        let line = json!({"step": 3, "ci95": 0.25, "validation_loss": 2.0, "episodes": 5, "batch_norm": "none",
                          "gradient_evaluations": 60});
        let expected = [
            ("validation/loss", 2.0),
            ("cost/gradient_evaluations", 60.0),
            ("validation/loss_low", 1.75),
            ("validation/loss_high", 2.25),
        ];
        let regression: Record = serde_json::from_value(line).unwrap();
        assert_eq!(scalars(&regression), expected.map(|(tag, value)| (tag.to_string(), value)));
    }
}
