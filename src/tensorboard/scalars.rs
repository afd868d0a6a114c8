//! Which curves a line of `metrics.jsonl` is a point of.

use serde_json::Value;

/// Where known values go. What is not here, an estimator says of itself.
const TAGS: [(&str, &str); 15] = [
    ("loss", "train/loss"),
    ("gradient_norm", "train/gradient_norm"),
    ("clipped", "train/clipped"),
    ("rate", "train/rate"),
    ("products", "cost/products"),
    ("recomputed", "cost/recomputed"),
    ("iterate_bytes", "cost/iterate_bytes"),
    ("gradient_evaluations", "cost/gradient_evaluations"),
    ("skipped_steps", "divergence/skipped_steps"),
    ("rewinds", "divergence/rewinds"),
    ("validation_accuracy", "validation/accuracy"),
    ("validation_loss", "validation/loss"),
    ("dropped_episodes", ""),
    ("step", ""),
    ("ci95", ""),
];

/// Tags and values of `line`. A list becomes a curve for each of its members, numbered from 1; what is no
/// number has none.
pub fn scalars(line: &Value) -> Vec<(String, f64)> {
    let mut scalars = Vec::new();
    let is_validation = line.get("validation_accuracy").is_some();
    for (name, value) in line.as_object().into_iter().flatten() {
        let tag = match TAGS.iter().find(|(known, _)| known == name) {
            Some((_, "")) => continue,
            Some((_, tag)) => (*tag).to_string(),
            // How many episodes it was, each time the same.
            None if is_validation => continue,
            None => format!("estimator/{name}"),
        };
        match value {
            Value::Array(members) => {
                let each = members.iter().enumerate();
                scalars.extend(
                    each.filter_map(|(at, value)| Some((format!("{tag}/{}", at + 1), number(value)?))),
                );
            }
            value => scalars.extend(number(value).map(|value| (tag, value))),
        }
    }
    if let Some(dropped) = line["dropped_episodes"].as_array() {
        scalars.push(("divergence/dropped_tasks".into(), dropped.len() as f64));
    }
    if let Some((accuracy, ci95)) = line["validation_accuracy"].as_f64().zip(line["ci95"].as_f64()) {
        scalars.push(("validation/accuracy_low".into(), accuracy - ci95));
        scalars.push(("validation/accuracy_high".into(), accuracy + ci95));
    }
    scalars
}

fn number(value: &Value) -> Option<f64> {
    value.as_bool().map(f64::from).or_else(|| value.as_f64())
}

#[cfg(test)]
mod tests {
    use super::scalars;
    use serde_json::json;

    #[test]
    fn every_number_has_a_curve() {
        let line = json!({"step": 3, "loss": null, "clipped": true, "dropped_episodes": [7, 9], "p": [0.5, 0.25],
                          "q": 0.1});
        let expected = [
            ("train/clipped", 1.0),
            ("estimator/p/1", 0.5),
            ("estimator/p/2", 0.25),
            ("estimator/q", 0.1),
            ("divergence/dropped_tasks", 2.0),
        ];
        assert_eq!(scalars(&line), expected.map(|(tag, value)| (tag.to_string(), value)));
        let line = json!({"step": 3, "validation_accuracy": 90.0, "ci95": 2.0, "episodes": 5, "batch_norm": "support"});
        let tags: Vec<String> = scalars(&line).into_iter().map(|(tag, _)| tag).collect();
        assert_eq!(tags, ["validation/accuracy", "validation/accuracy_low", "validation/accuracy_high"]);
        assert!(scalars(&json!([1])).is_empty());
    }
}
