//! Memory plans of whole runs: the same weights by every plan, its cost, and the plan that `auto` chooses.

use crate::common::{IMAGES, TINY, checkpoint, folder_with_images, json_lines, run};
use bilevel::hypergradient::Memory;
use metaburn::support::archive::Archive;
use std::fs;

#[test]
fn every_plan_trains_to_the_same_weights() {
    let folder = folder_with_images();
    let trained = |name: &str, plan: &str| {
        let line = format!(
            "train {IMAGES} {TINY} --steps 3 --set inner.steps=6 --set estimator.name=ufom \
             --set estimator.q=0.5 --run-dir {name} {plan}"
        );
        let stderr = run(folder.path(), &line).ok().stderr;
        let at = folder.path().join(name);
        let archive = Archive::read(&checkpoint(&at, 3)).unwrap();
        let records = json_lines(&at.join("metrics.jsonl"));
        let sum = |key: &str| records.iter().map(|record| record[key].as_u64().unwrap()).sum::<u64>();
        let spent = records.last().unwrap()["gradient_evaluations"].as_u64().unwrap();
        (archive.digest(), [sum("recomputed"), sum("products"), spent], stderr)
    };
    let (weights, [recomputed, products, spent], stderr) = trained("auto", "");
    assert!(stderr.contains("memory: all iterates that are needed are stored"), "{stderr}");
    assert_eq!((recomputed, spent), (0, 3 * 2 * (6 + 1) + products));
    assert!(products > 0, "no draw was exact");
    for (name, plan, line) in [
        ("store", "--set memory.plan=store", "all iterates"),
        ("snapshots", "--set memory.plan=snapshots", "up to 3 iterates"),
        ("two", "--set memory.plan=snapshots --set memory.snapshots=2", "up to 2 iterates"),
        ("recompute", "--set memory.plan=recompute", "one iterate"),
    ] {
        let (other, [recomputed, same, spent], stderr) = trained(name, plan);
        assert!(stderr.contains(&format!("memory: {line}")), "{name}: {stderr}");
        assert!(other == weights, "{name} ends elsewhere");
        assert_eq!((same, recomputed > 0), (products, name != "store"), "{name}");
        assert_eq!(spent, 3 * 2 * (6 + 1) + products + recomputed, "{name}");
    }
}

#[test]
fn auto_keeps_fewer_iterates_if_all_would_exceed_the_budget() {
    let folder = folder_with_images();
    let told = |name: &str, more: &str| {
        let line = format!(
            "train {IMAGES} {TINY} --steps 1 --set inner.steps=50 --set model.filters=16 --run-dir {name} {more}"
        );
        let stderr = run(folder.path(), &line).ok().stderr;
        let step = json_lines(&folder.path().join(name).join("metrics.jsonl")).remove(0);
        (stderr, ["recomputed", "iterate_bytes"].map(|key| step[key].as_u64().unwrap()))
    };
    let (stderr, [recomputed, stored]) = told("ample", "");
    assert!(stderr.contains("memory: all iterates that are needed are stored"), "{stderr}");
    assert!(recomputed == 0 && stored > 1 << 20, "{stored} bytes are too few for this test");
    let (stderr, [recomputed, kept]) = told("scarce", "--set memory.budget=1");
    assert!(stderr.contains("memory: up to 8 iterates per task are stored"), "{stderr}");
    assert!(stderr.contains("an exact gradient through 50 inner steps recomputes 48 of them"), "{stderr}");
    assert_eq!((recomputed, 50 * kept), (2 * Memory::Snapshots(8).recomputed(50), 8 * stored));
    let (stderr, costs) = told("first-order", "--set memory.budget=1 --set estimator.name=first-order");
    assert!(stderr.contains("memory: no inner step is differentiated"), "{stderr}");
    assert_eq!(costs, [0, 0]);
}

#[test]
fn auto_chooses_the_same_plan_with_any_number_of_threads() {
    let folder = folder_with_images();
    let mut seen = ["1", "2", "3"].map(|threads| {
        // Within the budget for one of the two tasks, and beyond it for both.
        let line = format!(
            "train {IMAGES} {TINY} --steps 1 --set inner.steps=50 --set model.filters=16 --set memory.budget=2 \
             --threads {threads} --run-dir run-{threads}"
        );
        run(folder.path(), &line).ok();
        let metrics = folder.path().join(format!("run-{threads}/metrics.jsonl"));
        assert!(json_lines(&metrics)[0]["recomputed"].as_u64().unwrap() > 0);
        fs::read_to_string(metrics).unwrap()
    });
    seen.sort_unstable();
    assert_eq!(seen[0], seen[2]);
}
