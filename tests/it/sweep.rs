//! `metaburn sweep`: from one file to run directories, a table and a figure; resumable.

use crate::common::{
    IMAGES, Running, TINY, folder_with_images, json_lines, last_saved_step, metaburn, names, run, run_state,
};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

const GRID: &str = "[grid]\nestimator.name = ['first-order', 'exact']\n";

/// A folder with images and the sweep file `sweep-small.toml` with `text`, and the command that runs it.
fn sweep(text: &str) -> (TempDir, String) {
    let folder = folder_with_images();
    fs::write(folder.path().join("sweep-small.toml"), text).unwrap();
    (folder, format!("sweep sweep-small.toml {IMAGES} {TINY}"))
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_combination_is_run_once_and_shown_in_a_table_and_a_figure() {
    let (folder, line) = sweep(&format!("seeds = [0, 1]\nset.outer.steps = 2\n{GRID}"));
    let result = run(folder.path(), &format!("{line} --json")).json();
    let settings = result["settings"].as_array().unwrap();
    assert_eq!(settings.len(), 2);
    for (setting, name) in settings.iter().zip(["first-order", "exact"]) {
        assert_eq!(setting["setting"], name);
        assert_eq!(setting["accuracies"].as_array().unwrap().len(), 2);
        let [first, second] = [0, 1].map(|at| setting["accuracies"][at].as_f64().unwrap());
        assert!((setting["mean"].as_f64().unwrap() - (first + second) / 2.0).abs() < 1e-9);
        // Student's t at one degree of freedom: 12.706·|a − b|/2.
        let expected = 12.706 * (first - second).abs() / 2.0;
        assert!((setting["ci95"].as_f64().unwrap() - expected).abs() < 1e-6);
    }
    let out = folder.path().join("checkpoints/sweep-small");
    let left = [
        "exact-seed-0",
        "exact-seed-1",
        "figure.png",
        "figure.svg",
        "first-order-seed-0",
        "first-order-seed-1",
        "table.csv",
        "table.md",
    ];
    assert_eq!(names(&out), left);
    assert!(text(&out.join("table.csv")).starts_with("setting,estimator.name,test accuracy (%),"));
    assert!(text(&out.join("figure.svg")).contains("2 runs"));

    // They are ordinary runs.
    run(folder.path(), "eval checkpoints/sweep-small/exact-seed-0").ok();
    run(folder.path(), "compare checkpoints/sweep-small/exact-seed-0 --out one.svg").ok();

    // Nothing is repeated, and seeds can be added.
    let before = fs::metadata(out.join("exact-seed-0/metrics.jsonl")).unwrap().modified().unwrap();
    let file = folder.path().join("sweep-small.toml");
    fs::write(&file, text(&file).replace("[0, 1]", "[0, 1, 2]")).unwrap();
    let ran = run(folder.path(), &line).ok();
    assert!(ran.stderr.contains("run 5 of 6: first-order-seed-2"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("seed-0"), "{}", ran.stderr);
    assert!(ran.stdout.starts_with("| setting | estimator.name |"), "{}", ran.stdout);
    assert_eq!(fs::metadata(out.join("exact-seed-0/metrics.jsonl")).unwrap().modified().unwrap(), before);
}

#[test]
fn accuracies_are_drawn_against_a_key_with_three_numbers() {
    let grid = "[grid]\nestimator.name = ['first-order', 'exact']\ninner.rate = [0.1, 0.2, 0.4]\n";
    let (folder, line) = sweep(&format!("seeds = [0, 1]\nset.outer.steps = 1\n{grid}"));
    let result = run(folder.path(), &format!("{line} --json")).json();
    let out = folder.path().join("checkpoints/sweep-small");
    assert_eq!(result["by_key"].as_array().unwrap().len(), 1, "{result}");
    assert!(result["by_key"][0].as_str().unwrap().ends_with("by-inner.rate.png"), "{result}");
    let figure = text(&out.join("by-inner.rate.svg"));
    for words in ["inner.rate", "test accuracy (%)", "first-order", "exact"] {
        assert!(figure.contains(words), "{words}");
    }
    assert!(out.join("by-inner.rate.png").is_file());
    assert!(text(&out.join("table.md")).contains("(by-inner.rate.png)"));
}

#[test]
fn runs_can_be_trained_one_by_one_and_summarised_afterwards() {
    let text = format!("seeds = [0, 1]\nset.outer.steps = 2\n{GRID}");
    let (whole, line) = sweep(&text);
    run(whole.path(), &line).ok();
    let (folder, line) = sweep(&text);
    let out = folder.path().join("checkpoints/sweep-small");

    let listed = run(folder.path(), &format!("{line} --list --json")).json();
    let runs = listed["runs"].as_array().unwrap();
    let all = ["first-order-seed-0", "exact-seed-0", "first-order-seed-1", "exact-seed-1"];
    assert_eq!(runs.iter().map(|run| run["name"].as_str().unwrap()).collect::<Vec<_>>(), all);
    assert!(runs.iter().all(|run| run["state"] == "open") && runs[3]["index"] == 3, "{listed}");
    run(folder.path(), &format!("{line} --only 4")).refused(&["--only 4", "numbered from 0", "--list"]);
    assert_eq!(names(folder.path()), ["images", "sweep-small.toml"], "nothing is written");

    // At the same time, by number and by name.
    let one = Running::start(&mut metaburn(folder.path(), &format!("{line} --only 1")));
    let other = Running::start(&mut metaburn(folder.path(), &format!("{line} --only first-order-seed-0")));
    for ended in [one.wait(), other.wait()] {
        assert_eq!((ended.ok().stdout, out.join("table.md").exists()), (String::new(), false));
    }
    assert_eq!(names(&out), ["exact-seed-0", "first-order-seed-0"]);
    let listed = run(folder.path(), &format!("{line} --list --json")).json();
    assert_eq!(
        (&listed["runs"][1]["state"], &listed["runs"][2]["state"]),
        (&"finished".into(), &"open".into())
    );
    assert!(listed["measure"] == "accuracy" && listed["runs"][1]["value"].is_number(), "{listed}");

    run(folder.path(), &format!("{line} --only 2 --only exact-seed-1")).ok();
    let ended = run(folder.path(), &line).ok();
    assert!(!ended.stderr.contains("run 1 of"), "nothing is trained twice: {}", ended.stderr);
    for name in all {
        let other = whole.path().join("checkpoints/sweep-small").join(name);
        assert_eq!(run_state(&out.join(name)), run_state(&other), "{name}");
    }
    assert!(text_of_table(&out) == text_of_table(&whole.path().join("checkpoints/sweep-small")));
}

/// The table without the times, which differ.
fn text_of_table(out: &Path) -> Vec<String> {
    let rows = text(&out.join("table.csv"));
    rows.lines().map(|row| row.rsplit_once(',').unwrap().0.to_string()).collect()
}

#[test]
fn a_folder_with_other_settings_is_refused_and_the_setting_named() {
    let (folder, line) = sweep(&format!("set.outer.steps = 1\n{GRID}"));
    run(folder.path(), &line).ok();
    let words = ["other settings", "outer.steps is 1 there and 2 here", "--out"];
    run(folder.path(), &format!("{line} --set outer.steps=2")).refused(&words);
}

#[test]
fn a_sweep_over_the_form_of_its_images_continues() {
    let (folder, line) = sweep("seeds = [0]\nset.outer.steps = 1\n[grid]\ndata.channels = [1, 3]\n");
    run(folder.path(), &line).ok();
    let file = folder.path().join("sweep-small.toml");
    fs::write(&file, text(&file).replace("[0]", "[0, 1]")).unwrap();
    let ran = run(folder.path(), &line).ok();
    assert!(ran.stderr.contains("run 4 of 4: channels-3-seed-1"), "{}", ran.stderr);
}

#[test]
fn runs_on_other_images_are_not_added() {
    let (folder, line) = sweep(&format!("seeds = [0]\nset.outer.steps = 1\n{GRID}"));
    run(folder.path(), &line).ok();
    let file = folder.path().join("sweep-small.toml");
    fs::write(&file, text(&file).replace("[0]", "[0, 1]")).unwrap();
    // The classes are the same, in another order.
    let classes = names(&folder.path().join("images"));
    for (class, other) in classes.iter().zip(classes.iter().rev()) {
        let (from, to) = (folder.path().join("images").join(class), folder.path().join("others").join(other));
        fs::create_dir_all(&to).unwrap();
        for image in names(&from) {
            fs::copy(from.join(&image), to.join(image)).unwrap();
        }
    }
    let words = ["first-order-seed-1 and first-order-seed-0", "different images", "--out", "delete"];
    let ended = run(folder.path(), &line.replace("--data images", "--data others"));
    assert!(ended.code == Some(2) && words.iter().all(|word| ended.stderr.contains(word)), "{ended:?}");
    run(folder.path(), &line).refused(&words);
    fs::remove_dir_all(folder.path().join("checkpoints/sweep-small/first-order-seed-1")).unwrap();
    run(folder.path(), &line).ok();
}

#[test]
fn a_value_that_is_added_renames_runs_but_trains_none_again() {
    let (folder, line) = sweep("set.outer.steps = 1\n[grid]\ninner.rate = [0.1]\n");
    run(folder.path(), &line).ok();
    let (file, out) = (folder.path().join("sweep-small.toml"), folder.path().join("checkpoints/sweep-small"));
    fs::write(&file, text(&file).replace("[0.1]", "[0.4, 0.1]")).unwrap();
    let ran = run(folder.path(), &line).ok();
    assert!(ran.stderr.contains("run 2 of 2: rate-0.4-seed-0"), "{}", ran.stderr);
    assert!(ran.stdout.contains("| rate-0.1 | 0.1 |"), "{}", ran.stdout);
    let directories = ["rate-0.4-seed-0", "run-seed-0"];
    assert!(names(&out).iter().filter(|name| name.ends_with("seed-0")).eq(directories), "{:?}", names(&out));
    fs::write(&file, text(&file).replace("[0.4, 0.1]", "[0.4]")).unwrap();
    let listed = run(folder.path(), &format!("{line} --list")).ok().stdout;
    assert!(listed.contains("rate-0.4-seed-0: test accuracy"), "{listed}");
}

#[test]
fn all_faults_are_reported_before_anything_is_written() {
    let (folder, line) = sweep("[grid]\ninner.steps = [0, 1]\nouter.rate = [-1]\n");
    let words = ["sweep-small.toml, line 2", "`inner.steps`", "line 3", "`outer.rate`"];
    run(folder.path(), &line).refused(&words);
    run(folder.path(), "sweep nowhere.toml").refused(&["nowhere.toml", "no such file"]);
    assert_eq!(names(folder.path()), ["images", "sweep-small.toml"]);
}

#[test]
fn a_diverging_run_is_reported_and_does_not_stop_the_others() {
    let text = "set.outer.steps = 3\nset.outer.optimizer = 'sgd'\n\
                [[run]]\nname = 'wild'\nouter.rate = 1e30\n[[run]]\nname = 'tame'\nouter.rate = 0.01\n";
    let (folder, line) = sweep(text);
    let ran = run(folder.path(), &line).ok();
    assert!(ran.stderr.contains("wild-seed-0 diverged at outer step"), "{}", ran.stderr);
    let rows: Vec<&str> = ran.stdout.lines().collect();
    assert!(rows[2].starts_with("| wild |  |  | 0 |  | 1 |"), "{}", ran.stdout);
    assert!(rows[3].starts_with("| tame | ") && rows[3].contains(" | 1 | 4 | 0 |"), "{}", ran.stdout);
    let table = self::text(&folder.path().join("checkpoints/sweep-small/table.md"));
    assert!(table.contains("`wild-seed-0` diverged"), "{table}");
    // A diverged run is not repeated.
    let again = run(folder.path(), &line).ok();
    assert!(!again.stderr.contains("diverged at"), "{}", again.stderr);
    let listed = run(folder.path(), &format!("{line} --list")).ok().stdout;
    assert!(listed.contains("wild-seed-0: diverged at outer step"), "{listed}");
    let advice = run(folder.path(), "doctor").stdout;
    assert!(advice.contains("sweep-small/wild-seed-0` would repeat this step; add"), "{advice}");
}

#[test]
fn an_interrupted_sweep_continues_to_the_same_runs() {
    let text = format!("set.outer.steps = 400\nset.checkpoint.every = 20\n{GRID}");
    let (whole, line) = sweep(&text);
    run(whole.path(), &line).ok();

    let (folder, line) = sweep(&text);
    let out = folder.path().join("checkpoints/sweep-small");
    let mut running = Running::start(&mut metaburn(folder.path(), &line));
    running.wait_until(|| last_saved_step(&out.join("first-order-seed-0")) >= Some(20));
    let stopped = running.interrupt();
    assert_eq!(stopped.code, Some(130), "{}", stopped.stderr);
    assert!(stopped.stderr.contains("sweep sweep-small.toml"), "{}", stopped.stderr);
    assert!(!out.join("table.md").exists());
    run(folder.path(), &line).ok();
    for name in ["first-order-seed-0", "exact-seed-0"] {
        let other = whole.path().join("checkpoints/sweep-small").join(name);
        assert_eq!(run_state(&out.join(name)), run_state(&other), "{name}");
        assert_eq!(json_lines(&out.join(name).join("clock.jsonl")).len(), 400);
    }
}

#[test]
fn the_shipped_sweeps_are_valid() {
    let folder = TempDir::new().unwrap();
    for (name, runs, one) in [
        ("estimators", 18, "exact-rate-0.4-seed-2"),
        ("recipe", 11, "shared-head-seed-0"),
        ("ways", 15, "step-coins-ways-60-seed-0"),
    ] {
        let file = format!("{}/configs/sweep-{name}.toml", env!("CARGO_MANIFEST_DIR"));
        let listed = run(folder.path(), &format!("sweep {file} --list")).ok().stdout;
        assert_eq!(listed.lines().count(), runs, "{listed}");
        assert!(listed.contains(&format!("checkpoints/sweep-{name}/{one}: to do")), "{listed}");
    }
    assert_eq!(names(folder.path()), Vec::<String>::new());
}
