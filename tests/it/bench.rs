//! `metaburn bench`: the columns of its rows, their consistency, and what it refuses.

use crate::common::{metaburn, run, run_command};
use serde_json::Value;
use std::path::Path;

/// A network so small, and so few repetitions, that a row takes little time.
const SMALL: &str =
    "--backend flex --reps 2 --set model.filters=4 --set outer.meta_batch=2 --set data.image_size=14";

/// The columns that the programs for other frameworks print too.
const SHARED: [&str; 14] = [
    "config",
    "T",
    "N",
    "K",
    "Q",
    "r",
    "est",
    "step_ms_median",
    "step_ms_min",
    "reps",
    "episodes_per_s",
    "peak_rss_mb",
    "cpu_per_wall",
    "others_cores",
];

/// The rows that `bench --json` prints with these options and [`SMALL`].
fn rows(options: &str) -> Vec<Value> {
    let printed = run(Path::new("."), &format!("bench --json {SMALL} {options}")).ok().stdout;
    printed.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// The only row.
fn row(options: &str) -> Value {
    let rows = rows(options);
    let [row] = &rows[..] else { panic!("{rows:?}") };
    row.clone()
}

fn number(row: &Value, key: &str) -> f64 {
    row[key].as_f64().unwrap_or_else(|| panic!("{key} is no number in {row}"))
}

/// Asserts that a equals b up to the rounding of printed numbers.
fn assert_close(a: f64, b: f64) {
    assert!((a - b).abs() <= 0.01 * b.abs(), "{a} is not {b}");
}

#[test]
fn a_row_has_the_shared_columns_and_is_consistent() {
    let row = row("--config A --estimator exact");
    for key in SHARED {
        let is_missing =
            ["peak_rss_mb", "cpu_per_wall", "others_cores"].contains(&key) && cfg!(not(target_os = "linux"));
        assert!(row.get(key).is_some_and(|value| value.is_null() == is_missing), "{key} in {row}");
    }
    assert_eq!((row["config"].as_str(), row["est"].as_str()), (Some("A"), Some("exact")));
    assert_eq!(["T", "N", "K", "Q", "r", "reps"].map(|key| number(&row, key)), [2., 5., 1., 5., 5., 2.]);
    assert!(
        0.0 < number(&row, "step_ms_min") && number(&row, "step_ms_min") <= number(&row, "step_ms_median")
    );
    assert_close(number(&row, "episodes_per_s") * number(&row, "step_ms_median"), 1e3 * number(&row, "T"));
    // The median of two times is their mean.
    assert_close(number(&row, "step_ms_median"), number(&row, "step_ms_mean"));
    assert!(number(&row, "loss") > 0.0);
    if cfg!(target_os = "linux") {
        // Plausible bounds for a program of this kind.
        assert!((5.0..4000.0).contains(&number(&row, "peak_rss_mb")), "{row}");
    }
}

#[test]
fn every_pair_of_configuration_and_estimator_is_a_row_in_order() {
    let found = rows("--config c,B --estimator fo,truncated");
    let names = |row: &Value| {
        let text = |key: &str| row[key].as_str().map(str::to_owned);
        (text("config"), text("est"), row["r"].as_u64())
    };
    let expected = [("C", "first-order"), ("C", "truncated"), ("B", "first-order"), ("B", "truncated")];
    let expected = expected.map(|(config, name)| (Some(config.to_owned()), Some(name.to_owned()), Some(10)));
    assert_eq!(found.iter().map(names).collect::<Vec<_>>(), expected);
    // They differ by the last inner step's product alone.
    assert!(number(&found[0], "gflop") < number(&found[1], "gflop"));
    let printed = run(Path::new("."), &format!("bench --config A --steps 2 {SMALL}")).ok().stdout;
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(lines.len(), 2 + 1 + 2, "{printed}");
    assert!(lines[2].contains("episodes/s") && lines[2].contains("peak MB"), "{printed}");
    assert!(lines[3].contains("first-order") && lines[4].contains("exact"), "{printed}");
}

#[test]
fn recomputed_iterates_are_counted_and_do_not_change_the_loss() {
    let four = "--steps 4 --config A";
    let [store, again] =
        ["exact --memory store", "remat"].map(|name| row(&format!("{four} --estimator {name}")));
    assert_eq!((store["memory"].as_str(), again["memory"].as_str()), (Some("store"), Some("recompute")));
    assert_eq!(store["loss"], again["loss"], "the same steps were taken");
    let first_order = row(&format!("{four} --estimator first-order"));
    // First-order takes 4 inner gradients of 5 images and one outer gradient of 25; recomputing takes 4·3/2 more inner ones.
    let gradients = number(&first_order, "gflop") * (6.0 * 5.0) / (4.0 * 5.0 + 25.0);
    let more = number(&again, "gflop") - number(&store, "gflop");
    assert!((more - gradients).abs() < 3e-6, "{more} is not {gradients}");
}

#[test]
fn throughput_of_a_random_estimator_uses_the_mean_time() {
    let line = format!("bench --json --config A --estimator ufom --set estimator.q=0.5 {SMALL}");
    let row = run(Path::new("."), &line.replace("--reps 2", "--reps 12")).json();
    assert_close(number(&row, "episodes_per_s") * number(&row, "step_ms_mean"), 1e3 * number(&row, "T"));
}

#[test]
fn shares_are_relative_to_the_printed_rates() {
    let row = row("--config A --estimator first-order --threads 1 --share");
    assert_eq!(row["threads"], 1);
    for (share, rate) in [("share", "matrix_gflop_per_s"), ("share_of_shapes", "shapes_gflop_per_s")] {
        assert!(number(&row, rate) > 0.0);
        assert_close(number(&row, share) * number(&row, rate), number(&row, "gflop_per_s"));
    }
}

#[test]
fn an_evaluation_is_one_row_whatever_the_estimators() {
    let row = row("--config E --estimator first-order,exact");
    assert_eq!((row["config"].as_str(), row["est"].as_str()), (Some("E"), Some("none")));
    assert_eq!(["T", "N", "r"].map(|key| number(&row, key)), [2., 5., 5.]);
    assert_close(number(&row, "episodes_per_s") * number(&row, "step_ms_median"), 1e3 * 2.);
    // An untrained learner's loss, adapted to one image of each class.
    assert!(number(&row, "loss") > 0.0 && row["gflop"].is_null(), "{row}");
}

#[test]
fn the_network_of_mamlpp_has_convolutions_of_stride_one() {
    let [strided, pooled] = ["B", "M"].map(|name| {
        row(&format!("--config {name} --steps 2 --estimator first-order --set data.image_size=28"))
    });
    // Convolutions of stride 1 on each size take four times the products.
    assert!(number(&pooled, "gflop") > 3.0 * number(&strided, "gflop"), "{strided} {pooled}");
}

#[test]
fn unknown_values_are_refused_with_the_known_ones() {
    let refused =
        |options: &str, words: &[&str]| run(Path::new("."), &format!("bench {options}")).refused(words);
    refused("--config D", &["--config", "[possible values: A, B, C, L, M, E, P]"]);
    refused("--estimator exat", &["exat", "similar", "'exact'"]);
    refused("--memory snapshot", &["snapshot", "similar", "'snapshots'"]);
    refused("--backend flx", &["flx", "flex", "wgpu"]);
    refused("--set inner.step=3", &["unknown key", "did you mean `inner.steps`?"]);
    refused("--threads 0", &["--threads"]);
    refused("--reps 0", &["--reps"]);
    refused("--estimator exact,truncated --set estimator.truncate=3", &["estimator.truncate", "exact"]);
}

#[test]
fn a_failing_row_ends_the_table_with_one_message() {
    let message = run(Path::new("."), "bench --backend flex --set data.source=folder --data no/such")
        .refused(&["no/such"]);
    assert_eq!(message.matches("error: ").count(), 1, "{message}");
}

#[test]
#[cfg(target_arch = "x86_64")]
fn an_older_instruction_set_is_used_if_named_and_an_unknown_one_refused() {
    let bench = |name: &str| {
        let line = format!("bench --json {SMALL} --config C --estimator first-order");
        run_command(metaburn(Path::new("."), &line).env("BILEVEL_ISA", name))
    };
    assert_eq!(bench("scalar").json()["instruction_set"], "scalar");
    bench("avx9").refused(&["BILEVEL_ISA=avx9", "avx2"]);
}
