//! `init`, `doctor`, `completions` and `man`.

use crate::common::optional::skip;
use crate::common::{IMAGES, TINY, folder_with_images, names, run};
use metaburn::config::Config;
use serde_json::Value;
use std::fs;
use std::process::Command;
use tempfile::TempDir;

#[test]
fn init_writes_the_default_configuration_and_overwrites_nothing() {
    let folder = TempDir::new().unwrap();
    for (name, flags, same) in [
        ("plain.toml", "", vec![]),
        ("full.toml", "--full", vec![]),
        ("omniglot.toml", "--full --source omniglot", vec!["data.source=omniglot".to_string()]),
    ] {
        let said = run(folder.path(), &format!("init {name} {flags}")).ok().stdout;
        assert!(said.contains(&format!("metaburn train {name}")), "{said}");
        let file = folder.path().join(name);
        let config = Config::load(Some(&file), &[]).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(config, Config::load(None, &same).unwrap());
        let before = fs::read(&file).unwrap();
        run(folder.path(), &format!("init {name}")).refused(&[name, "not overwritten"]);
        assert_eq!(fs::read(&file).unwrap(), before);
    }
    run(folder.path(), "init no/such/folder/mine.toml")
        .refused(&["no/such/folder/mine.toml", "cannot create"]);
}

/// The checks of `doctor` in `folder`, and its exit code.
fn doctor(folder: &TempDir) -> (Vec<Value>, Option<i32>) {
    let ran = run(folder.path(), "doctor --json");
    let checks = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (checks, ran.code)
}

fn check<'a>(checks: &'a [Value], what: &str) -> &'a Value {
    checks.iter().find(|check| check["what"] == what).unwrap_or_else(|| panic!("no {what} in {checks:?}"))
}

#[test]
fn doctor_finds_no_problem_in_an_empty_folder() {
    let folder = TempDir::new().unwrap();
    let (checks, code) = doctor(&folder);
    assert_eq!(code, Some(0), "{checks:?}");
    let flex = check(&checks, "backend flex");
    assert!(flex["state"] == "ok" && flex["found"].as_str().unwrap().contains("is correct"), "{flex}");
    // What is not built in or not there is no warning: one line says whether there is a GPU.
    assert_eq!(checks.iter().filter(|check| check["what"] == "GPU").count(), 1);
    let backends = checks.iter().filter(|check| check["what"].as_str().unwrap().starts_with("backend "));
    assert!(backends.into_iter().all(|check| check["state"] == "ok"), "{checks:?}");
    let omniglot = check(&checks, "Omniglot");
    assert_eq!(omniglot["state"], "warning");
    assert!(omniglot["advice"].as_str().unwrap().contains("metaburn data fetch omniglot"));
    assert_eq!(names(folder.path()), Vec::<String>::new(), "nothing is left behind");
}

#[test]
fn doctor_reports_damaged_data_and_unfinished_runs() {
    let folder = folder_with_images();
    let line = format!("train {IMAGES} {TINY} --steps 2 --run-dir checkpoints/run");
    run(folder.path(), &line).ok();
    let (checks, _) = doctor(&folder);
    assert_eq!(check(&checks, "runs")["found"], "1 of 1 finished and undamaged");

    // Longer training was interrupted: there is the test of the earlier budget.
    let file = folder.path().join("checkpoints/run/config.toml");
    let config = fs::read_to_string(&file).unwrap();
    fs::write(&file, config.replacen("\nsteps = 2\n", "\nsteps = 4\n", 1)).unwrap();
    let (checks, _) = doctor(&folder);
    let found = &check(&checks, "run checkpoints/run")["found"];
    assert!(found.as_str().unwrap().contains("outer step 2, its budget is not used up"), "{found}");
    fs::write(&file, config).unwrap();

    fs::remove_file(folder.path().join("checkpoints/run/results/test.json")).unwrap();
    fs::create_dir_all(folder.path().join("datasets/mnist")).unwrap();
    let (checks, code) = doctor(&folder);
    assert_eq!(code, Some(1));
    assert_eq!(check(&checks, "MNIST")["state"], "problem");
    let run = check(&checks, "run checkpoints/run");
    assert!(run["advice"].as_str().unwrap().contains("metaburn resume checkpoints/run"), "{run}");
}

#[test]
fn completions_and_man_pages_cover_every_command() {
    let folder = TempDir::new().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let script = run(folder.path(), &format!("completions {shell}")).ok().stdout;
        ["predict", "sweep", "run-dir"]
            .iter()
            .for_each(|word| assert!(script.contains(word), "{shell}: {word}"));
    }
    fs::write(folder.path().join("bash"), run(folder.path(), "completions bash").ok().stdout).unwrap();
    match Command::new("bash").arg("-n").arg(folder.path().join("bash")).output() {
        Ok(bash) => assert!(bash.status.success(), "{}", String::from_utf8_lossy(&bash.stderr)),
        Err(error) => skip("bash", format_args!("bash does not run: {error}")),
    }
    assert_eq!(run(folder.path(), "completions tcsh").code, Some(2));

    run(folder.path(), "man --out pages").ok();
    let pages = names(&folder.path().join("pages"));
    for page in ["metaburn.1", "metaburn-train.1", "metaburn-data-fetch.1", "metaburn-predict.1"] {
        assert!(pages.iter().any(|name| name == page), "{page} is not in {pages:?}");
    }
    let train = fs::read_to_string(folder.path().join("pages/metaburn-train.1")).unwrap();
    assert!(train.contains("run\\-dir") && train.contains("Example: metaburn train"), "{train}");
    fs::write(folder.path().join("file"), "").unwrap();
    run(folder.path(), "man --out file/pages").refused(&["file/pages", "cannot write"]);
}
