//! The few-shot study: its claims match its runs, and it continues after an interruption.

use crate::common::{IMAGES, Outcome, Running, TINY, folder_with_images, metaburn, names, run};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Three estimators whose outer steps cost 24 to 44 gradient evaluations, and 52 with probes.
const STUDY: &str = "--set inner.steps=5 --set inner.rate=0.1 --set eval.episodes=6 --set checkpoint.every=3 \
                     --set outer.evaluations=300 \
                     --estimators first-order,step-coins,exact";

/// The study's command, into `out` and with `more`.
fn line(more: &str) -> String {
    format!("study few-shot {TINY} {IMAGES} {STUDY} --out out {more}")
}

fn study(folder: &Path, more: &str) -> Outcome {
    run(folder, &line(more))
}

/// The rows of a data file, by column.
fn rows(folder: &Path, name: &str) -> Vec<BTreeMap<String, String>> {
    let text = fs::read_to_string(folder.join("out/data").join(name)).unwrap();
    let mut lines = text.lines().map(|line| line.split(',').map(String::from));
    let columns: Vec<String> = lines.next().unwrap().collect();
    lines.map(|cells| columns.iter().cloned().zip(cells).collect()).collect()
}

/// All records, without what a clock decides.
fn records(folder: &Path) -> BTreeMap<String, Value> {
    let records = folder.join("out/records");
    let timeless = |name: String| {
        let mut kept: Value = serde_json::from_slice(&fs::read(records.join(&name)).unwrap()).unwrap();
        for validation in kept["record"]["validations"].as_array_mut().unwrap() {
            validation.as_object_mut().unwrap().retain(|key, _| key != "seconds" && key != "cores");
        }
        (name, kept["record"].take())
    };
    names(&records).into_iter().map(timeless).collect()
}

#[test]
fn claims_match_the_runs() {
    let folder = folder_with_images();
    let told = study(folder.path(), "--seeds 2 --target 30 --json").json();
    let validations = rows(folder.path(), "validations.csv");
    let number = |row: &BTreeMap<String, String>, column: &str| row[column].parse::<f64>().unwrap();
    let of = |estimator: &str, run: &str| -> Vec<&BTreeMap<String, String>> {
        validations.iter().filter(|row| row["estimator"] == estimator && row["run"] == run).collect()
    };
    for estimator in ["first-order", "step-coins", "exact"] {
        let run = of(estimator, "1");
        // Before the first step, then past every tenth of the budget, by less than the longest outer step, which probes.
        assert_eq!(run.len(), 11, "{run:?}");
        for (tenth, validation) in run.iter().enumerate() {
            let late = number(validation, "evaluations") - 30.0 * tenth as f64;
            assert!((0.0..32.0).contains(&late), "{validation:?}");
        }
        assert!(run.windows(2).all(|pair| number(pair[0], "seconds") < number(pair[1], "seconds")));
        // Runs of one seed begin with the same weights and see the same episodes.
        assert_eq!(number(run[0], "accuracy"), number(of("exact", "1")[0], "accuracy"));
    }
    // All have spent as many evaluations as first-order, whose steps divide the budget best, or more.
    let all = validations.iter().filter(|row| number(row, "evaluations") >= 300.0);
    let equal = all.map(|row| number(row, "evaluations")).fold(f64::INFINITY, f64::min);
    let at_equal = |estimator: &str, run: &str| {
        let validations = of(estimator, run);
        let after =
            validations.iter().position(|validation| number(validation, "evaluations") >= equal).unwrap();
        let [a, b] = [validations[after - 1], validations[after]]
            .map(|validation| (number(validation, "evaluations"), number(validation, "accuracy")));
        a.1 + (equal - a.0) / (b.0 - a.0) * (b.1 - a.1)
    };
    let lead = ["0", "1"].map(|run| at_equal("exact", run) - at_equal("first-order", run));
    let claim = &told["claims"][0];
    assert_eq!(claim["claim"], "exact: accuracy minus that of first-order, at equal evaluations (points)");
    let measured = claim["measured"]["value"].as_f64().unwrap();
    assert!((measured - (lead[0] + lead[1]) / 2.0).abs() < 1e-9, "{measured} is not the mean of {lead:?}");
    assert_eq!(rows(folder.path(), "target.csv").len(), 6);
    assert!(rows(folder.path(), "target.csv").iter().all(|row| row["target"] == "30"));
    let report = fs::read_to_string(folder.path().join("out/report.md")).unwrap();
    for words in
        ["First to reach 30.0 %", "| estimator |", "figures/target.png", "estimators.step-coins.costs"]
    {
        assert!(report.contains(words), "{words} is not in the report");
    }
    // More seeds keep those that are there; another budget is another study.
    let before = records(folder.path());
    study(folder.path(), "--seeds 3").ok();
    let after = records(folder.path());
    assert_eq!((before.len(), after.len()), (6, 9));
    assert!(before.iter().all(|(name, record)| after[name] == *record));
    // So can estimators, with the settings that they have in the folder.
    study(folder.path(), "--estimators exact,ufom-0.2").ok();
    assert_eq!(records(folder.path()).len(), 12);
    study(folder.path(), "--evaluations 400").refused(&["config.outer.evaluations is 300 there", "--out"]);
}

#[test]
fn a_killed_study_continues_to_the_same_records() {
    let (whole, killed) = (folder_with_images(), folder_with_images());
    study(whole.path(), "--seeds 2").ok();
    // Killed as soon as the third run has been validated.
    let run = killed.path().join("out/work/exact-seed-0");
    let mut started = Running::start(&mut metaburn(killed.path(), &line("--seeds 2")));
    started.wait_until(|| run.join("validations.json").exists());
    drop(started);
    assert!(!killed.path().join("out/report.md").exists());
    study(killed.path(), "--seeds 2").ok();
    assert_eq!(records(whole.path()), records(killed.path()));
}

#[test]
fn invalid_comparisons_are_refused() {
    let folder = folder_with_images();
    study(folder.path(), "--estimators exact,best").refused(&["unknown estimator", "step-coins"]);
    study(folder.path(), "--seeds 1").refused(&["--seeds"]);
    study(folder.path(), "--target 101").refused(&["from 0 to 100"]);
    // 300 evaluations are 25 outer steps of two tasks, of five inner gradients and an outer one each.
    study(folder.path(), "--estimators annealed-25").refused(&["ends at outer step 25", "--evaluations"]);
    study(folder.path(), "--estimators truncated-9").refused(&["estimator.truncate", "from 0 to 5"]);
}
