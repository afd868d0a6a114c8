//! Long runs: neither the program's memory nor the number of checkpoints grows with the number of steps.
//!
//! `METABURN_LONG=1 cargo test --test it endurance` takes 100 000 outer steps; without METABURN_LONG it takes 4000.
#![cfg(target_os = "linux")] // it reads /proc

use crate::common::{
    Running, SMALL, folder_with_images, json_lines, last_saved_step, metaburn, names, wants_long_tests,
};
use std::fs;

/// Resident memory of process `id`, in KiB.
fn resident(id: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[test]
fn memory_and_files_do_not_grow_with_the_steps() {
    let steps: u64 = if wants_long_tests() { 100_000 } else { 4000 };
    let folder = folder_with_images();
    let run = folder.path().join("run");
    let line = format!(
        "train {SMALL} --steps {steps} --set eval.every={} --set checkpoint.every={} --run-dir run --json",
        steps / 100,
        steps / 1000
    );
    let mut running = Running::start(&mut metaburn(folder.path(), &line));
    let mut seen: Vec<(u64, f64)> = Vec::new();
    let mut files = 0;
    while let (Some(step), Some(memory)) = (last_saved_step(&run).or(Some(0)), resident(running.id())) {
        seen.push((step, memory));
        if run.join("checkpoints").exists() {
            files = files.max(names(&run.join("checkpoints")).len());
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
        if running.has_ended() {
            break;
        }
    }
    let result = running.wait().json();
    assert_eq!(result["steps"], steps);
    // Three checkpoints, a fourth before the first is deleted, the best one, and one that is being written.
    assert!((1..=6).contains(&files), "{files} files");
    let record = json_lines(&run.join("metrics.jsonl"));
    let trained = record.iter().filter(|line| line["loss"].is_number());
    assert!(trained.map(|line| line["step"].as_u64().unwrap()).eq(1..=steps));

    let mean = |from: f64, to: f64| {
        let within = |step: u64| (from..=to).contains(&(step as f64 / steps as f64));
        let some: Vec<f64> =
            seen.iter().filter(|(step, _)| within(*step)).map(|(_, memory)| *memory).collect();
        assert!(!some.is_empty(), "{seen:?}");
        some.iter().sum::<f64>() / some.len() as f64
    };
    let (early, late) = (mean(0.1, 0.2), mean(0.9, 1.0));
    println!(
        "{early:.0} KiB at 10–20 % of {steps} steps, {late:.0} KiB at 90–100 %; at most {files} checkpoints"
    );
    assert!(late < 1.05 * early, "{early} KiB became {late} KiB");
}
