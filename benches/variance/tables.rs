//! The Markdown tables.

use crate::place::Place;
use crate::taught::Taught;
use crate::{COINS, EXPONENT};
use metaburn::diagnosis::{Contender, Diagnosis, Mean, Price, Verdict};

/// 20-way figures of METHOD, "Step coins": rate, whether trained, 𝔻²/𝕍², and step coins' variance/𝕍² at 0.1, 0.2, 0.5.
const METHOD: [(f64, bool, f64, [f64; 3]); 6] = [
    (0.005, false, 0.023, [0.023, 0.009, 0.002]),
    (0.005, true, 0.007, [0.005, 0.002, 0.001]),
    (0.03, false, 0.17, [2.0, 0.11, 0.022]),
    (0.03, true, 0.21, [2.0, 0.37, 0.020]),
    (0.1, false, 0.27, [860.0, 9.6, 0.078]),
    (0.1, true, 0.40, [6e6, 2800.0, 3.2]),
];

/// What the summary needs of a place.
pub struct Row {
    pub rate: f64,
    pub after: u64,
    pub diagnosis: Diagnosis,
    pub coins: Vec<Verdict>,
}

/// Step coins that were measured with these p, and where they come from.
pub struct Judged {
    /// κ.
    pub floor: f64,
    pub p: Vec<f64>,
    /// The law that learned them, unless a formula chose them.
    pub taught: Option<Taught>,
    pub verdict: Verdict,
}

/// Two significant digits.
fn figure(value: f64) -> String {
    let size = value.abs();
    match size {
        _ if value == 0.0 => "0".into(),
        _ if !(1e-4..1e4).contains(&size) => format!("{value:.1e}"),
        _ => {
            let places = (1 - size.log10().floor() as i32).max(0) as usize;
            format!("{value:.places$}")
        }
    }
}

fn sure(mean: Mean) -> String {
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

/// What is known of a place.
pub fn place(place: &Place, diagnosis: &Diagnosis) {
    let unit = diagnosis.exact.value;
    println!("\n## Inner rate {}, after {} outer steps\n", place.rate, place.after);
    println!("{} tasks; 𝕍² = {}.", diagnosis.tasks, sure(diagnosis.exact));
    if let Some(systematic) = diagnosis.systematic {
        println!(
            "Systematic part of first-order's error: {} of 𝔻².",
            sure(systematic.over(diagnosis.error()))
        );
    }
    println!();
    header(&["K", "𝔻²_K/𝕍²", "‖g_r − g_K‖/‖g_r‖", "cosine of g_K and g_r"]);
    for (depth, truncation) in diagnosis.truncations.iter().enumerate().take(diagnosis.inner_steps()) {
        let means = [truncation.error.over(unit), truncation.relative, truncation.cosine];
        row([depth.to_string()].into_iter().chain(means.map(sure)));
    }
    println!();
    header(&["inner step j", "‖Δ_j‖²/𝕍²", "a_j, mean", "a_j, largest", "β_k/𝕍², k = r − j + 1"]);
    for (at, step) in diagnosis.steps.iter().enumerate() {
        row([
            (at + 1).to_string(),
            sure(step.increment.over(unit)),
            sure(step.curvature),
            figure(step.largest_curvature),
            sure(step.level.over(unit)),
        ]);
    }
}

/// Estimators at their best settings, with costs in `unit`.
pub fn contenders(unit: &str, contenders: &[Contender]) {
    println!("\nCosts in {unit}; variances by formula.\n");
    header(&["estimator", "setting", "products", "cost ÷ first-order's", "variance ÷ 𝕍²", "time ÷ exact's"]);
    for contender in contenders {
        let Contender { name, setting, products, cost, variance, time } = contender;
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

/// Step coins by their curvature floors: as the law has learned them, and as formulas choose them.
pub fn judged(diagnosis: &Diagnosis, price: Price, judged: &[Judged]) {
    let steps = diagnosis.inner_steps();
    let unit = diagnosis.exact.value;
    let increments: f64 = diagnosis.steps.iter().map(|step| step.increment.value).sum();
    println!("\nStep coins for costs in seconds, frozen; variances by Monte Carlo.\n");
    header(&[
        "κ",
        "law",
        "p_1 … p_r",
        "its 𝕍² ÷ 𝕍²",
        "its Σ‖Δ_j‖² ÷ Σ‖Δ_j‖²",
        "products",
        "cost ÷ first-order's: evaluations, seconds",
        "variance ÷ 𝕍²",
        "Σ(1/p_j − 1)‖Δ_j‖²/𝕍²",
        "largest draw's share",
        "largest a_1 … a_r met",
        "time ÷ exact's: evaluations, seconds",
    ]);
    for Judged { floor, p, taught, verdict } in judged {
        let variance = verdict.variance.over(unit);
        let pairs = p.iter().zip(&diagnosis.steps);
        let formula: f64 = pairs.map(|(p, step)| (1.0 / p - 1.0) * step.increment.value).sum();
        let products = p.iter().sum::<f64>();
        let both = [Price::counted(steps), price];
        let cost = both.map(|price| figure(price.of(products) / price.fixed));
        let time = both.map(|price| {
            let cost = price.of(products) / price.of(steps as f64);
            figure(cost * (1.0 + variance.value).powf(EXPONENT))
        });
        let believed = |value: &dyn Fn(&Taught) -> f64| {
            taught.as_ref().map_or("".into(), |taught| figure(value(taught)))
        };
        row([
            floor.to_string(),
            if taught.is_some() { "adaptive" } else { "by formula" }.into(),
            list(p),
            believed(&|taught| taught.exact / unit),
            believed(&|taught| taught.increments / increments),
            figure(products),
            cost.join(", "),
            sure(variance),
            figure(formula / unit),
            figure(verdict.largest_share),
            list(&verdict.curvatures),
            time.join(", "),
        ]);
    }
}

/// The curvatures that fixed step coins met at a place.
pub fn met(coins: &[Verdict]) {
    println!("\nLargest a_1 … a_r that noisy walks met:\n");
    for (p, verdict) in COINS.iter().zip(coins) {
        println!("- step coins({p}): {}", list(&verdict.curvatures));
    }
}

/// All places, beside earlier figures.
pub fn summary(rows: &[Row]) {
    println!("\n## Variance ÷ 𝕍² (earlier figures in brackets)\n");
    let mut columns = vec!["inner rate".to_string(), "after".into(), "𝔻²/𝕍²".into()];
    columns.push("UFOM q = 0.1 / 0.2 / 0.5, by formula".into());
    columns.extend(COINS.map(|p| format!("step coins p = {p}")));
    header(&columns.iter().map(String::as_str).collect::<Vec<_>>());
    for Row { rate, after, diagnosis, coins } in rows {
        let unit = diagnosis.exact.value;
        let earlier = METHOD.iter().find(|earlier| earlier.0 == *rate && earlier.1 == (*after > 0));
        let beside = |mean: Mean, before: Option<f64>| {
            let before =
                before.map(|before| format!(" ({}; ×{})", figure(before), figure(mean.value / before)));
            sure(mean) + &before.unwrap_or_default()
        };
        let error = diagnosis.truncations[0].error.over(unit);
        let ufom = COINS.map(|q| figure((1.0 / q - 1.0) * error.value)).join(" / ");
        let mut cells = vec![rate.to_string(), after.to_string()];
        cells.push(beside(error, earlier.map(|earlier| earlier.2)));
        cells.push(ufom);
        cells.extend(
            coins.iter().enumerate().map(|(at, verdict)| {
                beside(verdict.variance.over(unit), earlier.map(|earlier| earlier.3[at]))
            }),
        );
        row(cells);
    }
}
