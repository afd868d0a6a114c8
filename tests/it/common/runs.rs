//! Reading what a run has written.

use metaburn::run::{Ranking, RunDir};
use metaburn::support::archive::Archive;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// The JSON lines of a file.
pub fn json_lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).expect("a file of lines");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// The names in a folder, sorted.
pub fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text")).collect();
    names.sort();
    names
}

/// The path of the checkpoint of `run` after outer step `step`.
pub fn checkpoint(run: &Path, step: u64) -> PathBuf {
    run.join(format!("checkpoints/step-{step:08}.safetensors"))
}

/// The last outer step of which `run` has a checkpoint.
pub fn last_saved_step(run: &Path) -> Option<u64> {
    let entries = fs::read_dir(run.join("checkpoints")).ok()?;
    let step = |name: String| name.strip_prefix("step-")?.strip_suffix(".safetensors")?.parse().ok();
    entries.filter_map(|entry| step(entry.ok()?.file_name().into_string().ok()?)).max()
}

/// What two runs that did the same have in common, to the bit: `metrics.jsonl`, the steps in `clock.jsonl` (not the
/// times), and the name and content of the last checkpoint.
#[derive(Debug, PartialEq)]
pub struct RunState {
    metrics: String,
    clock: Vec<u64>,
    last_checkpoint: (String, String),
}

/// The state of the run in `path`.
pub fn run_state(path: &Path) -> RunState {
    let last = names(&path.join("checkpoints")).pop().expect("a checkpoint");
    let arrays = Archive::read(&path.join("checkpoints").join(&last)).expect("a sound checkpoint");
    let steps = json_lines(&path.join("clock.jsonl"));
    RunState {
        metrics: fs::read_to_string(path.join("metrics.jsonl")).expect("a record"),
        clock: steps.iter().map(|line| line["step"].as_u64().expect("a step")).collect(),
        last_checkpoint: (last, arrays.digest()),
    }
}

/// The best validations that `run` lists, and names and digests of its best checkpoints.
pub fn best_checkpoints(run: &Path) -> (Ranking, Vec<(String, String)>) {
    let folder = run.join("checkpoints");
    let best = names(&folder).into_iter().filter(|name| name.starts_with("best"));
    let digest = |name: &String| Archive::read(&folder.join(name)).expect("a sound checkpoint").digest();
    let files = best.map(|name| (name.clone(), digest(&name))).collect();
    let (saved, _) = RunDir::at(run).latest().expect("a sound checkpoint").expect("a checkpoint");
    (saved.training_state.ranking(), files)
}
