//! The number of threads changes no bit of a run. (`engine/threads.rs` tests single estimates.)

use crate::common::{IMAGES, TINY, checkpoint, folder_with_images, run};
use metaburn::support::archive::Archive;
use std::fs;

#[test]
fn the_number_of_threads_does_not_change_a_run() {
    let folder = folder_with_images();
    let more = "--steps 6 --set inner.steps=2 --set eval.every=3 --set eval.episodes=5";
    let left = |name: &str, threads: &str| {
        let line = format!("train {IMAGES} {TINY} {more} {threads} --run-dir {name} --json");
        let ran = run(folder.path(), &line).ok();
        let path = folder.path().join(name);
        let digest = Archive::read(&checkpoint(&path, 6)).unwrap().digest();
        (ran.stderr, fs::read_to_string(path.join("metrics.jsonl")).unwrap(), digest)
    };
    let (said, record, digest) = left("one", "--threads 1");
    assert!(said.contains("CPU, 1 thread)"), "{said}");
    for (name, threads) in [("three", "--threads 3"), ("all", ""), ("key", "--set threads=2")] {
        let other = left(name, threads);
        assert!(other.1 == record && other.2 == digest, "{name}");
    }

    // A run keeps the number of threads that it was started with; resume and eval may use another.
    let kept = |name: &str| fs::read_to_string(folder.path().join(name).join("config.toml")).unwrap();
    assert!(kept("one").contains("threads = 1") && !kept("all").contains("threads"));
    let first = run(folder.path(), "resume one --json").json();
    assert_eq!(run(folder.path(), "resume one --threads 4 --json").json(), first);
    assert_eq!(run(folder.path(), "eval one --threads 4 --json").json(), first);
}

#[test]
fn deterministic_runs_do_not_depend_on_measured_times() {
    let folder = folder_with_images();
    let more = "--steps 40 --set inner.steps=3 --set eval.every=0 --set estimator.name=adaptive";
    let record = |name: &str, threads: usize| {
        let options = format!("--deterministic --threads {threads}");
        run(folder.path(), &format!("train {IMAGES} {TINY} {more} {options} --run-dir {name}")).ok();
        fs::read_to_string(folder.path().join(name).join("metrics.jsonl")).unwrap()
    };
    let first = record("first", 1);
    assert!(first == record("second", 1) && first == record("third", 2));
    let ran = run(folder.path(), "train --deterministic --backend wgpu");
    ran.refused(&["`deterministic` = true cannot be combined with backend = \"wgpu\"", "flex"]);
}

#[test]
fn invalid_numbers_of_threads_are_refused() {
    let folder = folder_with_images();
    for threads in ["0", "5000", "many"] {
        let ran = run(folder.path(), &format!("train {IMAGES} {TINY} --steps 1 --threads {threads}"));
        ran.refused(&["--threads", threads]);
        let ran = run(folder.path(), &format!("train {IMAGES} {TINY} --steps 1 --set threads={threads}"));
        ran.refused(&["threads", "1 to 1024"]);
    }
}
