//! Studies: their claims hold, their numbers agree with the engine's, and they continue after an interruption.

use crate::common::{Outcome, Running, TINY, metaburn, names, run};
use bilevel::Params;
use bilevel::hypergradient::{Draw, Memory, estimate};
use bilevel::readback::read;
use burn::tensor::{DType, Device, Tensor};
use metaburn::study::quadratic::Quadratic;
use metaburn::study::quadratic::family::{Family, Task};
use metaburn::study::quadratic::problem::QuadraticProblem;
use metaburn::study::theory::Theory;
use metaburn::study::{Observer, Verdict, run as run_study};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

#[test]
fn the_quadratic_family_s_gradients_are_the_engine_s() {
    let task = |curvature, offset| Task { curvature, offset, radius: 2.0 };
    let family = Family { tasks: [task(0.5, 0.0), task(1.5, 3.0)], rate: 0.1, steps: 10 };
    let engine = QuadraticProblem::of(&family);
    // Inside, in the bends and far outside, of both tasks.
    for theta in [-6.3, -2.4, 0.1, 2.0, 3.5, 4.6, 20.0] {
        let outer = Params::new(vec![Tensor::full([1, 1, 1], theta, (&Device::flex(), DType::F64))]);
        for (at, depth) in [0, family.steps].into_iter().enumerate() {
            let draw = Draw::truncated(2, family.steps, depth);
            let gradient = estimate(&engine, &outer, &draw, Memory::Store).gradient;
            let engine_s = read(gradient.into_leaves().remove(0).reshape([2]));
            for (task, gradient) in engine_s.into_iter().enumerate() {
                let ours = family.gradients(task, theta)[at];
                assert!(
                    (ours - gradient).abs() < 1e-12 * (1.0 + ours.abs()),
                    "task {task} at {theta}, K = {depth}"
                );
            }
        }
    }
}

/// An observer that only counts pieces.
#[derive(Default)]
struct Count(Vec<String>);

impl Observer for Count {
    fn progress(&mut self, key: &str, _done: f64) {
        if !self.0.iter().any(|known| known == key) {
            self.0.push(key.into());
        }
    }
}

#[test]
fn the_quadratic_study_s_claims_hold_and_its_work_is_done_once() {
    let folder = TempDir::new().unwrap();
    let full = Quadratic::full();
    let study =
        Quadratic { starts: 120, convergence_steps: 60_000, cost_steps: 5000, rates: 3, values: 5, ..full };
    let mut count = Count::default();
    let finished = run_study(&study, folder.path(), "metaburn study quadratic", &mut count).unwrap();
    // Descents that settle, descents that cost, inner rates, and the report.
    assert_eq!(count.0.len(), 2 + 3 + 3 + 1, "{:?}", count.0);
    assert_eq!(finished.claims.len(), 9);
    assert_eq!(finished.count(Verdict::Failed), 0, "{:#?}", finished.claims);
    for wanted in
        ["limit of |∇M| is √(2D)", "UFOM(0.1): |∇M| after", "is 0", "cheaper than exact", "fewest measured"]
    {
        let claim = finished.claims.iter().find(|claim| claim.claim.contains(wanted)).unwrap();
        assert_eq!(claim.verdict, Verdict::Held, "{claim:?}");
    }
    let margin = finished.claims[0].measured.value;
    assert!((margin - 0.12_f64.sqrt()).abs() < 0.01 * margin);
    assert_eq!(names(&folder.path().join("data")), ["best-q.csv", "cost.csv", "settling.csv"]);
    assert_eq!(names(&folder.path().join("figures")).len(), 6);
    let report = fs::read_to_string(folder.path().join("report.md")).unwrap();
    for words in ["| held |", "(figures/cost.png)", "`metaburn study quadratic`", "| starts | 120 |"] {
        assert!(report.contains(words), "{words} is not in the report");
    }
    // A lost record is made again, and made the same; the others are not.
    let record = folder.path().join("records/rate-01.json");
    let made: Value = serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
    fs::remove_file(&record).unwrap();
    let mut count = Count::default();
    run_study(&study, folder.path(), "again", &mut count).unwrap();
    assert_eq!(count.0, ["rate-01", "the report"]);
    let again: Value = serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
    assert_eq!(made["record"], again["record"]);
    // Other settings are refused, and named.
    let other = Quadratic { starts: 50, ..study };
    let error = run_study(&other, folder.path(), "", &mut count).unwrap_err().to_string();
    assert!(error.contains("starts is 120 there and 50 here") && error.contains("--out"), "{error}");
}

#[test]
fn the_study_of_theory_finds_the_bounds_attained_and_first_order_biased() {
    let folder = TempDir::new().unwrap();
    let study = Theory { starts: 300, steps: 10_000, draws: 40, longest: 50 };
    let mut count = Count::default();
    let finished = run_study(&study, folder.path(), "metaburn study theory", &mut count).unwrap();
    // Problems with bounds, descents, curves of cost times second moment, memory plans, and the report.
    assert_eq!(count.0.len(), 3 + 4 + 3 + 3 + 1, "{:?}", count.0);
    assert_eq!(finished.claims.len(), 5 + 7 + 8 + 4);
    assert_eq!(finished.count(Verdict::Failed), 0, "{:#?}", finished.claims);
    for wanted in [
        "quadratic family: first-order's bias",
        "waves: first-order's bias",
        "which holds for one parameter only",
        "truncated gradients, K ≥ 1",
        "steps c/√k: E(∇M)² does not fall",
        "steps c/k: E(∇M)² does not fall",
        "bound of order ln T/√T",
        "recompute: most iterates",
        "iterates stored beyond",
        "inner steps recomputed",
        "difference between their gradients",
    ] {
        let claim = finished.claims.iter().find(|claim| claim.claim.contains(wanted)).unwrap();
        assert_eq!(claim.verdict, Verdict::Held, "{claim:?}");
    }
    assert_eq!(names(&folder.path().join("data")), ["bias.csv", "memory.csv", "rates.csv", "trade-off.csv"]);
    assert_eq!(names(&folder.path().join("figures")).len(), 8);
}

/// A study of bias that takes about a second.
fn bias(folder: &Path, more: &str) -> Outcome {
    run(folder, &format!("study bias {TINY} --set inner.steps=3 --set inner.rate=0.1 --tasks 4 {more}"))
}

#[test]
fn a_study_of_bias_shows_a_run() {
    let folder = TempDir::new().unwrap();
    let told = bias(folder.path(), "--after 0,3 --out out --json").json();
    assert_eq!(told["study"], "bias");
    let claims = told["claims"].as_array().unwrap();
    assert!(claims.iter().all(|claim| claim["measured"]["value"].is_number()), "{claims:?}");
    let out = folder.path().join("out");
    let table = fs::read_to_string(out.join("data/truncations.csv")).unwrap();
    let rows: Vec<Vec<f64>> =
        table.lines().skip(1).map(|row| row.split(',').map(|cell| cell.parse().unwrap()).collect()).collect();
    // Two checkpoints, K = 0 … 3; the exact gradient has no error, and others have one.
    assert_eq!(rows.iter().map(|row| row[0]).collect::<Vec<_>>(), [0.0, 0.0, 0.0, 0.0, 3.0, 3.0, 3.0, 3.0]);
    for row in &rows {
        let exact = row[1] == 3.0;
        assert_eq!(exact, row[2] < 1e-12, "{row:?}");
        assert_eq!(exact, (row[6] - 1.0).abs() < 1e-6, "{row:?}");
    }
    assert_eq!(names(&out.join("figures")).len(), 6);
    // Checkpoints that are there already need no training, and a finished study none of it.
    bias(folder.path(), "--after 0,3 --out out").ok();
    let words = ["after is [0,3] there and [0,5] here", "config.outer.steps", "--out"];
    bias(folder.path(), "--after 0,5 --out out").refused(&words);
}

#[test]
fn checkpoints_of_a_study_of_bias_can_be_measured_in_any_order() {
    let folder = TempDir::new().unwrap();
    for piece in ["--only 2", "--only 0", ""] {
        bias(folder.path(), &format!("--after 0,1,3 --out out {piece}")).ok();
    }
    let checkpoints = names(&folder.path().join("out/work/training/checkpoints"));
    let steps = ["step-00000000.safetensors", "step-00000001.safetensors", "step-00000003.safetensors"];
    assert_eq!(checkpoints, steps);
}

#[test]
fn a_study_of_bias_reads_a_kept_run() {
    let folder = TempDir::new().unwrap();
    let train = format!("train {TINY} --set inner.steps=2 --set checkpoint.every=2 --steps 4 --run-dir kept");
    run(folder.path(), &train).ok();
    let told = run(folder.path(), "study bias --run kept --tasks 3 --backend flex --out out --json").json();
    assert_eq!(told["claims"].as_array().unwrap().len(), 3);
    let records = names(&folder.path().join("out/records"));
    assert_eq!(records, ["after-00000000.json", "after-00000002.json", "after-00000004.json"]);
    run(folder.path(), "study bias --run nowhere").refused(&["there is no run in nowhere"]);
}

#[test]
fn every_study_is_listed() {
    let list = run(Path::new("."), "study list").ok().stdout;
    let names = [
        "quadratic: ",
        "theory: ",
        "bias: ",
        "few-shot: ",
        "omniglot: ",
        "hypercleaning: ",
        "hyperparameters: ",
    ];
    for words in names.into_iter().chain(["with --quick"]) {
        assert!(list.contains(words), "{list}");
    }
}

#[test]
fn runs_are_compared_on_one_figure() {
    let folder = TempDir::new().unwrap();
    let short = "--steps 6 --set eval.every=2 --set eval.episodes=4";
    for (name, more) in [
        ("exact-1", "--set seed=1"),
        ("exact-2", "--set seed=2"),
        ("first", "--set estimator.name=first-order"),
    ] {
        let tiny = TINY.replace("--set eval.every=0", "");
        run(folder.path(), &format!("train {tiny} {short} {more} --run-dir {name}")).ok();
    }
    let series = |file: &str| -> Vec<String> {
        let text = fs::read_to_string(folder.path().join(file)).unwrap();
        let svg = roxmltree::Document::parse(&text).unwrap();
        let series = svg.descendants().filter(|node| node.attribute("class") == Some("series"));
        series.filter_map(|node| node.attribute("aria-label").map(String::from)).collect()
    };
    run(folder.path(), "compare exact-1 exact-2 first --out each.svg --against seconds").ok();
    // Loss and validation accuracy.
    assert_eq!(series("each.svg"), ["exact-1", "exact-2", "first", "exact-1", "exact-2", "first"]);
    run(folder.path(), "compare exact-1 exact-2 first --pool --out pooled.svg").ok();
    assert_eq!(series("pooled.svg"), ["exact (2 runs)", "first", "exact (2 runs)", "first"]);
    let printed = run(folder.path(), "compare first --against steps").ok().stdout;
    assert_eq!(printed.trim(), "comparison.png");
    assert!(image::open(folder.path().join("comparison.png")).is_ok());
    run(folder.path(), "compare first --out figure.pdf").refused(&[".svg nor .png"]);
    run(folder.path(), "compare nowhere").refused(&["there is no run in nowhere"]);
    fs::write(folder.path().join("first/metrics.jsonl"), "{\"step\":1,\"lo").unwrap();
    run(folder.path(), "compare first").refused(&["no outer step yet"]);
}

#[test]
fn an_interrupted_study_keeps_what_is_finished() {
    let folder = TempDir::new().unwrap();
    let mut study = Running::start(&mut metaburn(folder.path(), "study quadratic --quick --out out"));
    let records = folder.path().join("out/records");
    study.wait_until(|| records.is_dir() && !names(&records).is_empty());
    let ran = study.interrupt();
    assert_eq!(ran.code, Some(130), "{}", ran.stderr);
    assert!(ran.stderr.contains("to continue:") && ran.stderr.contains("study quadratic --quick --out out"));
    assert!(!folder.path().join("out/report.md").exists());
    let whole =
        |name: &String| serde_json::from_slice::<Value>(&fs::read(records.join(name)).unwrap()).is_ok();
    assert!(names(&records).iter().filter(|name| !name.starts_with('.')).all(whole));
}

#[test]
fn pieces_can_be_run_one_by_one_and_concluded_afterwards() {
    let folder = TempDir::new().unwrap();
    let line = "study quadratic --quick --out out";
    let list =
        || run(folder.path(), &format!("{line} --list --json")).json()["pieces"].as_array().unwrap().clone();
    let pieces = list();
    assert!(pieces.len() > 2 && pieces.iter().all(|piece| piece["done"] == false), "{pieces:?}");
    assert_eq!(names(folder.path()), Vec::<String>::new(), "listing writes nothing");
    run(folder.path(), &format!("{line} --only none")).refused(&["--only none", "numbered from 0", "--list"]);

    let first = pieces[0]["name"].as_str().unwrap();
    let at_once = [first, "1"]
        .map(|piece| Running::start(&mut metaburn(folder.path(), &format!("{line} --only {piece}"))));
    at_once.into_iter().for_each(|running| drop(running.wait().ok()));
    let done: Vec<bool> = list().iter().map(|piece| piece["done"] == true).collect();
    assert!(done[..2] == [true, true] && !done[2..].contains(&true), "{done:?}");
    assert!(!folder.path().join("out/report.md").exists());
    let record = folder.path().join(format!("out/records/{first}.json"));
    let written = fs::metadata(&record).unwrap().modified().unwrap();
    let again = run(folder.path(), &format!("{line} --only 0")).ok();
    assert!(again.stderr.contains("is done already"), "{}", again.stderr);
    run(folder.path(), line).ok();
    assert_eq!(fs::metadata(&record).unwrap().modified().unwrap(), written);
    assert!(folder.path().join("out/report.md").exists());
}

#[test]
fn a_damaged_record_is_named() {
    let folder = TempDir::new().unwrap();
    bias(folder.path(), "--after 0 --out out").ok();
    fs::write(folder.path().join("out/records/after-00000000.json"), json!({ "seconds": 1 }).to_string())
        .unwrap();
    bias(folder.path(), "--after 0 --out out").refused(&["after-00000000.json", "delete it"]);
}
