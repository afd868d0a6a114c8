//! Event files for TensorBoard, read back by TensorBoard itself (see `optional::python_with_tensorboard`).

use crate::common::optional::python_with_tensorboard;
use crate::common::{Running, TINY, json_lines, last_saved_step, metaburn, names, run};
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// The scalars that TensorBoard reads in `folder`, by tag; `None` if there is no TensorBoard.
fn read(folder: &Path) -> Option<Value> {
    let python = python_with_tensorboard()?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/tensorboard_scalars.py");
    let output = Command::new(&python).arg(script).arg(folder).output().expect("python starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).expect("JSON"))
}

/// Steps and values of `name` in `metrics.jsonl` of `run`, in single precision.
fn journal(run: &Path, name: &str) -> Vec<(u64, f32)> {
    let point = |line: &Value| Some((line["step"].as_u64()?, line[name].as_f64()? as f32));
    json_lines(&run.join("metrics.jsonl")).iter().filter_map(point).collect()
}

fn seen(scalars: &Value, tag: &str) -> Vec<(u64, f32)> {
    let points = scalars[tag].as_array().unwrap_or_else(|| panic!("{tag} is not in {scalars}"));
    points.iter().map(|point| (point[0].as_u64().unwrap(), point[1].as_f64().unwrap() as f32)).collect()
}

/// Asserts that TensorBoard reads the values of `metrics.jsonl`, each step once.
fn assert_events_match_journal(run: &Path) {
    let events = names(run).into_iter().filter(|name| name.contains("tfevents")).count();
    // After a resumption the file from before stays, for readers that have it open.
    assert!((1..=2).contains(&events), "{events} event files");
    let Some(scalars) = read(run) else { return };
    for (tag, name) in [
        ("train/loss", "loss"),
        ("train/gradient_norm", "gradient_norm"),
        ("train/rate", "rate"),
        ("cost/products", "products"),
        ("validation/accuracy", "validation_accuracy"),
        ("estimator/q", "q"),
    ] {
        let written = journal(run, name);
        assert!(!written.is_empty(), "{name}");
        assert_eq!(seen(&scalars, tag), written, "{tag}");
    }
}

/// The command for a run with an adaptive estimator and validations.
fn line(steps: u64) -> String {
    let tiny = TINY.replace("eval.every=0", "eval.every=4");
    format!(
        "train {tiny} --set eval.episodes=2 --set estimator.name=adaptive --set checkpoint.every=3 --steps {steps} \
         --run-dir run"
    )
}

#[test]
fn tensorboard_reads_the_values_of_the_journal() {
    let folder = TempDir::new().unwrap();
    run(folder.path(), &format!("{} --tensorboard", line(12))).ok();
    assert_events_match_journal(&folder.path().join("run"));
}

#[test]
fn a_killed_and_resumed_run_has_every_step_once() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("run");
    let mut running = Running::start(&mut metaburn(folder.path(), &format!("{} --tensorboard", line(40))));
    running.wait_until(|| last_saved_step(&path).is_some_and(|step| step >= 6));
    drop(running);
    run(folder.path(), "resume run").ok();
    assert_events_match_journal(&path);
}

#[test]
fn a_run_without_event_files_can_be_converted() {
    let folder = TempDir::new().unwrap();
    run(folder.path(), &line(8)).ok();
    assert!(names(&folder.path().join("run")).iter().all(|name| !name.contains("tfevents")));
    run(folder.path(), "tensorboard run").ok();
    let printed = run(folder.path(), "tensorboard run").ok().stdout;
    assert!(printed.contains("tfevents"), "{printed}");
    assert_events_match_journal(&folder.path().join("run"));
    run(folder.path(), "tensorboard nowhere").refused(&["there is no run in nowhere"]);
}
