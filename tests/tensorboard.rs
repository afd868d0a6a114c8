//! Event files, read back by the real TensorBoard. Its Python is METABURN_TENSORBOARD_PYTHON, or else `python3`.

mod common;

use common::{Running, TINY, lines, metaburn, names, run, saved, skipped};
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// What TensorBoard reads in `folder`; `None`, said aloud, where there is no TensorBoard.
fn read(folder: &Path) -> Option<Value> {
    let python = std::env::var("METABURN_TENSORBOARD_PYTHON").unwrap_or_else(|_| "python3".into());
    let has = Command::new(&python).args(["-c", "import tensorboard"]).output();
    if !has.is_ok_and(|output| output.status.success()) {
        skipped(format_args!(
            "{python} has no tensorboard; `python3 -m venv V && V/bin/pip install tensorboard`, then set \
             METABURN_TENSORBOARD_PYTHON=V/bin/python"
        ));
        return None;
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scalars.py");
    let output = Command::new(&python).arg(script).arg(folder).output().expect("python starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).expect("JSON"))
}

/// Steps and values of `name` in the journal of `run`, in single precision.
fn journal(run: &Path, name: &str) -> Vec<(u64, f32)> {
    let point = |line: &Value| Some((line["step"].as_u64()?, line[name].as_f64()? as f32));
    lines(&run.join("metrics.jsonl")).iter().filter_map(point).collect()
}

fn seen(scalars: &Value, tag: &str) -> Vec<(u64, f32)> {
    let points = scalars[tag].as_array().unwrap_or_else(|| panic!("{tag} is not in {scalars}"));
    points.iter().map(|point| (point[0].as_u64().unwrap(), point[1].as_f64().unwrap() as f32)).collect()
}

/// That TensorBoard reads what the journal has, each step once.
fn agrees(run: &Path) {
    let events = names(run).into_iter().filter(|name| name.contains("tfevents")).count();
    // The one before a resumption stays for readers that are at it.
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

/// A run that adapts and validates.
fn line(steps: u64) -> String {
    let tiny = TINY.replace("eval.every=0", "eval.every=4");
    format!(
        "train {tiny} --set eval.episodes=2 --set estimator.name=adaptive --set checkpoint.every=3 --steps {steps} \
         --run-dir run"
    )
}

#[test]
fn tensorboard_reads_what_the_journal_has() {
    let folder = TempDir::new().unwrap();
    run(folder.path(), &format!("{} --tensorboard", line(12))).ok();
    agrees(&folder.path().join("run"));
}

#[test]
fn a_killed_and_resumed_run_has_every_step_once() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("run");
    let mut running = Running::start(&mut metaburn(folder.path(), &format!("{} --tensorboard", line(40))));
    running.until(|| saved(&path).is_some_and(|step| step >= 6));
    drop(running);
    run(folder.path(), "resume run").ok();
    agrees(&path);
}

#[test]
fn a_run_trained_without_is_converted() {
    let folder = TempDir::new().unwrap();
    run(folder.path(), &line(8)).ok();
    assert!(names(&folder.path().join("run")).iter().all(|name| !name.contains("tfevents")));
    run(folder.path(), "tensorboard run").ok();
    let printed = run(folder.path(), "tensorboard run").ok().stdout;
    assert!(printed.contains("tfevents"), "{printed}");
    agrees(&folder.path().join("run"));
    run(folder.path(), "tensorboard nowhere").refused(&["there is no run in nowhere"]);
}
