//! What an estimator did along a run: how many products it took, with which probabilities, and how much variance its coins
//! added at most, by its own running estimates.

use super::accuracy_curve::Validation;
use crate::run::StepRecord;
use bilevel::stats::mean;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Means over the outer steps between two validations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Gradient evaluations of the run at its end.
    pub evaluations: u64,
    /// Hessian-vector products, as a share of those of exact gradients.
    pub products: f64,
    /// The probabilities that an adaptive estimator chose: q, or one for each inner step or level. Empty for others.
    pub probabilities: Vec<f64>,
    /// Upper bound of the variance that coins add to an estimate, relative to the second moment of the exact gradient, for
    /// adaptive UFOM and step coins; `None` for others.
    pub variance: Option<f64>,
}

/// The intervals between `validations` of a run with these `records`, whose exact gradient takes `exact` products in an outer
/// step.
pub fn intervals(records: &[StepRecord], validations: &[Validation], exact: u64) -> Vec<Interval> {
    let between = |pair: &[Validation]| {
        let (after, until) = (pair[0].steps, pair[1].steps);
        let steps: Vec<&StepRecord> =
            records.iter().filter(|record| record.step > after && record.step <= until).collect();
        let share = |record: &&StepRecord| record.products as f64 / exact.max(1) as f64;
        let variances: Vec<f64> = steps.iter().filter_map(|record| variance(&record.estimator)).collect();
        Interval {
            evaluations: pair[1].evaluations,
            products: average(steps.iter().map(share)).unwrap_or_default(),
            probabilities: columns(steps.iter().map(|record| probabilities(&record.estimator)).collect()),
            variance: average(variances.into_iter()),
        }
    };
    validations.windows(2).map(between).collect()
}

/// Mean of `values`; `None` if there are none.
pub fn average(values: impl Iterator<Item = f64>) -> Option<f64> {
    let values: Vec<f64> = values.collect();
    (!values.is_empty()).then(|| mean(&values))
}

/// Means of the columns of `rows`, of which only those as long as the last count.
fn columns(rows: Vec<Vec<f64>>) -> Vec<f64> {
    let length = rows.last().map_or(0, Vec::len);
    let rows: Vec<Vec<f64>> = rows.into_iter().filter(|row| row.len() == length).collect();
    (0..length).filter_map(|at| average(rows.iter().map(|row| row[at]))).collect()
}

/// The probabilities among an estimator's metrics.
fn probabilities(metrics: &Map<String, Value>) -> Vec<f64> {
    let value = ["p", "q", "survival"].into_iter().find_map(|key| metrics.get(key));
    value.map(numbers).unwrap_or_default()
}

/// A bound of the variance that coins add: Σ_j (1/p_j − 1) D_j for step coins, (1/q − 1) 𝔻² for UFOM, each relative to 𝕍²
/// (`docs/mathematics.md`).
fn variance(metrics: &Map<String, Value>) -> Option<f64> {
    let moments = ["step_second_moments", "error_second_moment"].into_iter().find_map(|key| metrics.get(key));
    let (moments, exact) = (numbers(moments?), metrics.get("exact_second_moment")?.as_f64()?);
    let added =
        probabilities(metrics).iter().zip(&moments).map(|(p, moment)| (1.0 / p - 1.0) * moment).sum::<f64>();
    Some(added / exact).filter(|variance| !moments.is_empty() && variance.is_finite())
}

/// A number, or the numbers of a list.
fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(list) => list.iter().filter_map(Value::as_f64).collect(),
        single => single.as_f64().into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::accuracy_curve::tests::validations;
    use super::*;
    use serde_json::json;

    fn record(step: u64, products: u64, estimator: Value) -> StepRecord {
        let Value::Object(estimator) = estimator else { panic!("an object") };
        StepRecord { step, products, estimator, ..StepRecord::default() }
    }

    #[test]
    fn intervals_average_the_steps_between_validations() {
        let metrics = |p: f64, exact: Value| json!({ "p": [p, 1.0], "step_second_moments": [3.0, 5.0], "exact_second_moment": exact });
        let records = [
            record(5, 40, metrics(1.0, Value::Null)),
            record(10, 20, metrics(0.5, json!(6.0))),
            record(20, 10, metrics(0.25, json!(9.0))),
        ];
        // A validation after each ten steps.
        let found = intervals(&records, &validations(1.0, [(0, 0.0), (100, 1.0), (200, 2.0)]), 40);
        let expected = |evaluations, products, p, variance| Interval {
            evaluations,
            products,
            probabilities: vec![p, 1.0],
            variance: Some(variance),
        };
        assert_eq!(found, [expected(100, 0.75, 0.75, 0.5), expected(200, 0.25, 0.25, 1.0)]);
    }

    #[test]
    fn variance_of_ufom_is_that_of_one_coin() {
        let metrics = json!({ "q": 0.2, "error_second_moment": 3.0, "exact_second_moment": 6.0 });
        let found = intervals(&[record(1, 8, metrics)], &validations(1.0, [(0, 0.0), (100, 1.0)]), 40);
        assert!((found[0].variance.unwrap() - 2.0).abs() < 1e-12 && found[0].probabilities == [0.2]);
        // Other estimators have no such metrics.
        let plain = intervals(&[record(1, 40, json!({}))], &validations(1.0, [(0, 0.0), (100, 1.0)]), 40);
        assert_eq!((plain[0].products, plain[0].variance, plain[0].probabilities.len()), (1.0, None, 0));
    }
}
