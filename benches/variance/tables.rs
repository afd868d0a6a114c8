//! The Markdown tables.

use crate::adapted::AdaptedStepCoins;
use crate::setting::Setting;
use crate::{EXPONENT, FIXED_P};
use bilevel::variance::{ErrorAnalysis, Mean, Price, TrialResult, TunedEstimator};

/// Earlier 20-way measurements, from docs/mathematics.md, "Step coins": inner rate, whether trained, 𝔻²/𝕍², and
/// variance/𝕍² of step coins at p = 0.1, 0.2, 0.5.
const EARLIER: [(f64, bool, f64, [f64; 3]); 6] = [
    (0.005, false, 0.023, [0.023, 0.009, 0.002]),
    (0.005, true, 0.007, [0.005, 0.002, 0.001]),
    (0.03, false, 0.17, [2.0, 0.11, 0.022]),
    (0.03, true, 0.21, [2.0, 0.37, 0.020]),
    (0.1, false, 0.27, [860.0, 9.6, 0.078]),
    (0.1, true, 0.40, [6e6, 2800.0, 3.2]),
];

/// A row of the summary: the measurements at one setting.
pub struct Row {
    pub rate: f64,
    pub after: u64,
    pub analysis: ErrorAnalysis,
    pub coins: Vec<TrialResult>,
}

/// Step coins with fixed p, and their measured error.
pub struct MeasuredStepCoins {
    /// κ.
    pub floor: f64,
    /// p_1 … p_r.
    pub p: Vec<f64>,
    /// The adaptive step coins that chose p; `None` if p is from the formula.
    pub adapted: Option<AdaptedStepCoins>,
    pub result: TrialResult,
}

/// `value` with two significant digits.
fn figure(value: f64) -> String {
    let size = value.abs();
    match size {
        _ if value == 0.0 => "0".into(),
        _ if !(1e-4..1e4).contains(&size) => format!("{value:.1e}"),
        _ => {
            let decimals = (1 - size.log10().floor() as i32).max(0) as usize;
            format!("{value:.decimals$}")
        }
    }
}

/// A mean and its standard error.
fn with_error(mean: Mean) -> String {
    format!("{} ± {}", figure(mean.value), figure(mean.standard_error))
}

fn row(cells: impl IntoIterator<Item = String>) {
    println!("| {} |", cells.into_iter().collect::<Vec<_>>().join(" | "));
}

fn header(cells: &[&str]) {
    row(cells.iter().map(|cell| cell.to_string()));
    row(cells.iter().map(|_| "---".to_string()));
}

fn list(values: &[f64]) -> String {
    values.iter().map(|value| format!("{value:.2}")).collect::<Vec<_>>().join(" ")
}

/// The error analysis of a setting.
pub fn analysis(setting: &Setting, analysis: &ErrorAnalysis) {
    let unit = analysis.exact.value;
    println!("\n## Inner rate {}, after {} outer steps\n", setting.rate, setting.after);
    println!("{} tasks; 𝕍² = {}.", analysis.tasks, with_error(analysis.exact));
    if let Some(systematic) = analysis.systematic {
        println!(
            "Systematic part of the first-order error: {} of 𝔻².",
            with_error(systematic.over(analysis.error()))
        );
    }
    println!();
    header(&["K", "𝔻²_K/𝕍²", "‖g_r − g_K‖/‖g_r‖", "cosine of g_K and g_r"]);
    for (depth, truncation) in analysis.truncations.iter().enumerate().take(analysis.inner_steps()) {
        let means = [truncation.error.over(unit), truncation.relative, truncation.cosine];
        row([depth.to_string()].into_iter().chain(means.map(with_error)));
    }
    println!();
    header(&["inner step j", "‖Δ_j‖²/𝕍²", "a_j, mean", "a_j, largest", "β_k/𝕍², k = r − j + 1"]);
    for (at, step) in analysis.steps.iter().enumerate() {
        row([
            (at + 1).to_string(),
            with_error(step.increment.over(unit)),
            with_error(step.curvature),
            figure(step.largest_curvature),
            with_error(step.level.over(unit)),
        ]);
    }
}

/// Estimators at their best settings, with costs in `unit`.
pub fn tuned_estimators(unit: &str, estimators: &[TunedEstimator]) {
    println!("\nCosts in {unit}; variances by formula.\n");
    header(&["estimator", "setting", "products", "cost ÷ first-order's", "variance ÷ 𝕍²", "time ÷ exact's"]);
    for estimator in estimators {
        let TunedEstimator { name, setting, products, cost, variance, time } = estimator;
        let or_biased = |value: Option<f64>| value.map_or("biased".into(), figure);
        row([
            name.clone(),
            list(setting),
            figure(*products),
            figure(*cost),
            or_biased(*variance),
            or_biased(*time),
        ]);
    }
}

/// Step coins for each curvature floor, with p from adaptation and from the formula.
pub fn step_coins(analysis: &ErrorAnalysis, price: Price, measured: &[MeasuredStepCoins]) {
    let steps = analysis.inner_steps();
    let unit = analysis.exact.value;
    let increments: f64 = analysis.steps.iter().map(|step| step.increment.value).sum();
    println!("\nStep coins for costs in seconds, with p then fixed; variances by Monte Carlo.\n");
    header(&[
        "κ",
        "p from",
        "p_1 … p_r",
        "estimated 𝕍² ÷ 𝕍²",
        "estimated Σ‖Δ_j‖² ÷ Σ‖Δ_j‖²",
        "products",
        "cost ÷ first-order's: evaluations, seconds",
        "variance ÷ 𝕍²",
        "Σ(1/p_j − 1)‖Δ_j‖²/𝕍²",
        "share of the largest draw",
        "largest observed a_1 … a_r",
        "time ÷ exact's: evaluations, seconds",
    ]);
    for MeasuredStepCoins { floor, p, adapted, result } in measured {
        let variance = result.variance.over(unit);
        let pairs = p.iter().zip(&analysis.steps);
        let formula: f64 = pairs.map(|(p, step)| (1.0 / p - 1.0) * step.increment.value).sum();
        let products = p.iter().sum::<f64>();
        let both = [Price::counted(steps), price];
        let cost = both.map(|price| figure(price.of(products) / price.fixed));
        let time = both.map(|price| {
            let cost = price.of(products) / price.of(steps as f64);
            figure(cost * (1.0 + variance.value).powf(EXPONENT))
        });
        let estimated = |value: &dyn Fn(&AdaptedStepCoins) -> f64| {
            adapted.as_ref().map_or("".into(), |adapted| figure(value(adapted)))
        };
        row([
            floor.to_string(),
            if adapted.is_some() { "adaptation" } else { "formula" }.into(),
            list(p),
            estimated(&|adapted| adapted.exact / unit),
            estimated(&|adapted| adapted.increments / increments),
            figure(products),
            cost.join(", "),
            with_error(variance),
            figure(formula / unit),
            figure(result.largest_share),
            list(&result.curvatures),
            time.join(", "),
        ]);
    }
}

/// The largest curvatures observed with fixed step coins.
pub fn observed_curvatures(coins: &[TrialResult]) {
    println!("\nLargest a_1 … a_r observed in noisy walks:\n");
    for (p, result) in FIXED_P.iter().zip(coins) {
        println!("- step coins({p}): {}", list(&result.curvatures));
    }
}

/// The summary of all settings, with earlier measurements.
pub fn summary(rows: &[Row]) {
    println!("\n## Variance ÷ 𝕍² (earlier measurements in brackets)\n");
    let mut columns = vec!["inner rate".to_string(), "after".into(), "𝔻²/𝕍²".into()];
    columns.push("UFOM q = 0.1 / 0.2 / 0.5, by formula".into());
    columns.extend(FIXED_P.map(|p| format!("step coins p = {p}")));
    header(&columns.iter().map(String::as_str).collect::<Vec<_>>());
    for Row { rate, after, analysis, coins } in rows {
        let unit = analysis.exact.value;
        let earlier = EARLIER.iter().find(|earlier| earlier.0 == *rate && earlier.1 == (*after > 0));
        let beside = |mean: Mean, before: Option<f64>| {
            let before =
                before.map(|before| format!(" ({}; ×{})", figure(before), figure(mean.value / before)));
            with_error(mean) + &before.unwrap_or_default()
        };
        let error = analysis.truncations[0].error.over(unit);
        let ufom = FIXED_P.map(|q| figure((1.0 / q - 1.0) * error.value)).join(" / ");
        let mut cells = vec![rate.to_string(), after.to_string()];
        cells.push(beside(error, earlier.map(|earlier| earlier.2)));
        cells.push(ufom);
        cells.extend(
            coins
                .iter()
                .enumerate()
                .map(|(at, result)| beside(result.variance.over(unit), earlier.map(|earlier| earlier.3[at]))),
        );
        row(cells);
    }
}
