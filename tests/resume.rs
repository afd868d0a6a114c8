//! Interrupted runs: however they end, `metaburn resume` makes of them what they would have been.

mod common;

use common::{IMAGES, Ran, Running, TINY, checkpoint, folder_with_images, lines, metaburn, names, run};
use metaburn::archive::Archive;
use metaburn::random::generator;
use rand::RngExt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// Outer steps of the runs that are interrupted: a few seconds' worth.
const STEPS: u64 = 300;

/// A folder with images in it and, in `whole`, an uninterrupted run; the command for another such
/// run in `torn`.
struct Experiment {
    folder: TempDir,
    options: String,
}

impl Experiment {
    /// With runs of `options` beside the tiny ones.
    fn new(options: &str) -> Self {
        let options = format!("{IMAGES} {TINY} {options} --json");
        let this = Self { folder: folder_with_images(), options };
        this.train("whole").ok();
        this
    }

    fn train(&self, name: &str) -> Ran {
        run(self.folder.path(), &format!("train {} --run-dir {name}", self.options))
    }

    fn start(&self) -> Running {
        Running::start(&mut metaburn(self.folder.path(), &format!("train {} --run-dir torn", self.options)))
    }

    fn resume(&self) -> Ran {
        run(self.folder.path(), "resume torn --json")
    }

    fn whole(&self) -> PathBuf {
        self.folder.path().join("whole")
    }

    fn torn(&self) -> PathBuf {
        self.folder.path().join("torn")
    }

    /// Makes `torn` a run of `steps` steps that lost power after `step`; each step left a checkpoint.
    fn torn_after(&self, step: u64, steps: u64) {
        self.train("torn").ok();
        for later in step + 1..=steps {
            fs::remove_file(checkpoint(&self.torn(), later)).unwrap();
        }
        fs::remove_dir_all(self.torn().join("results")).unwrap();
    }

    /// That `torn` ended as `whole` did, to the bit: every line, θ and the optimiser's state.
    fn assert_same(&self) {
        let record = |run: PathBuf| fs::read_to_string(run.join("metrics.jsonl")).unwrap();
        assert!(record(self.torn()) == record(self.whole()), "the records differ");
        let kept = |run: PathBuf| names(&run.join("checkpoints")).pop().unwrap();
        assert_eq!(kept(self.torn()), kept(self.whole()));
        let arrays = |run: PathBuf| Archive::read(&run.join("checkpoints").join(kept(self.whole()))).unwrap();
        let (torn, whole) = (arrays(self.torn()), arrays(self.whole()));
        assert!(whole.names().any(|name| name == "theta.conv1.weight"));
        assert!(whole.names().any(|name| name.starts_with("optimizer.")));
        assert!(torn.names().eq(whole.names()));
        assert_eq!(torn.digest(), whole.digest());
        let steps = |run: PathBuf| -> Vec<u64> {
            lines(&run.join("clock.jsonl")).iter().map(|line| line["step"].as_u64().unwrap()).collect()
        };
        assert_eq!(steps(self.torn()), (1..=STEPS).collect::<Vec<_>>());
    }
}

/// The last step that a checkpoint of `run` knows of.
fn saved(run: &Path) -> Option<u64> {
    let entries = fs::read_dir(run.join("checkpoints")).ok()?;
    let step = |name: String| name.strip_prefix("step-")?.strip_suffix(".safetensors")?.parse().ok();
    entries.filter_map(|entry| step(entry.ok()?.file_name().into_string().ok()?)).max()
}

/// The indented command that a message ends with.
fn command_in(message: &str) -> &str {
    message.lines().rev().find_map(|line| line.strip_prefix("  ")).expect("a command")
}

/// Types `command` into a shell that finds metaburn.
fn typed(folder: &Path, command: &str) -> Ran {
    let program = Path::new(env!("CARGO_BIN_EXE_metaburn"));
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{path}", program.parent().unwrap().display());
    common::ran(Command::new("sh").args(["-c", command]).env("PATH", path).current_dir(folder))
}

#[test]
fn ctrl_c_saves_and_prints_the_command_that_goes_on_to_the_same_bits() {
    let options = format!("--steps {STEPS} --set outer.clip=1.0 --set checkpoint.every=7");
    let experiment = Experiment::new(&options);
    let mut running = experiment.start();
    running.until(|| saved(&experiment.torn()) >= Some(14));
    let ran = running.interrupt();
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(130), ""), "{}", ran.stderr);
    let step = saved(&experiment.torn()).unwrap();
    assert!(ran.stderr.contains(&format!("saved after outer step {step}")), "{}", ran.stderr);
    assert!(step < STEPS && !experiment.torn().join("results").exists());

    let command = command_in(&ran.stderr);
    assert!(command.ends_with("metaburn resume torn --json"), "{command}");
    let ran = typed(experiment.folder.path(), command).ok();
    assert!(ran.stderr.contains(&format!("after outer step {step}")), "{}", ran.stderr);
    assert_eq!(ran.json()["steps"], STEPS);
    experiment.assert_same();
}

#[test]
fn the_printed_command_holds_for_a_directory_with_a_space_in_its_name() {
    let folder = folder_with_images();
    let line = format!("train {IMAGES} {TINY} --steps {STEPS} --set checkpoint.every=1 --run-dir");
    let mut running = Running::start(metaburn(folder.path(), &line).arg("my run"));
    running.until(|| saved(&folder.path().join("my run")) >= Some(1));
    let ran = running.interrupt();
    assert_eq!(ran.code, Some(130), "{}", ran.stderr);
    typed(folder.path(), command_in(&ran.stderr)).ok();
}

/// Kills a run of `options` again and again, at moments drawn from `seed`, until it is through.
fn killed_at_random(options: &str, seed: u64) {
    let experiment = Experiment::new(&format!("--steps {STEPS} {options}"));
    let mut moments = generator(seed, "kill", 0);
    let mut running = experiment.start();
    for _ in 0..8 {
        let further = saved(&experiment.torn()).unwrap_or(0) + moments.random_range(1..20);
        running.until(|| saved(&experiment.torn()) >= Some(further));
        // Anywhere within a step, or within the writing of a checkpoint.
        std::thread::sleep(Duration::from_micros(moments.random_range(0..8000)));
        drop(running);
        running = Running::start(&mut metaburn(experiment.folder.path(), "resume torn"));
    }
    drop(running);
    assert!(saved(&experiment.torn()) < Some(STEPS));
    let resumed = experiment.resume().json();
    let whole = fs::read(experiment.whole().join("results/test.json")).unwrap();
    let whole: serde_json::Value = serde_json::from_slice(&whole).unwrap();
    for key in ["test_accuracy", "ci95", "loss", "steps", "gradient_evaluations"] {
        assert_eq!(resumed[key], whole[key], "{key}");
    }
    experiment.assert_same();
}

#[test]
fn killed_at_any_moment_adaptive_ufom_with_counted_costs_ends_at_the_same_bits() {
    let adaptive = "--set estimator.name=adaptive --set estimator.costs=counted --set inner.steps=2";
    killed_at_random(&format!("{adaptive} --set checkpoint.every=1"), 3);
}

#[test]
fn killed_at_any_moment_tracking_ufom_ends_at_the_same_bits() {
    // The tracked error is a vector of θ's shape, and the checkpoint's own arrays.
    let tracking = "--set estimator.name=ufom --set estimator.q=0.3 --set estimator.tracking=fitted";
    killed_at_random(&format!("{tracking} --set inner.steps=2 --set checkpoint.every=3"), 4);
}

#[test]
fn killed_at_any_moment_adaptive_step_coins_end_at_the_same_bits() {
    let coins = "--set estimator.name=step-coins --set estimator.costs=counted --set inner.steps=3";
    killed_at_random(&format!("{coins} --set checkpoint.every=3"), 5);
}

#[test]
fn killed_at_any_moment_adaptive_telescoping_ends_at_the_same_bits() {
    let telescoping = "--set estimator.name=telescoping --set estimator.costs=counted";
    killed_at_random(&format!("{telescoping} --set inner.steps=3 --set checkpoint.every=3"), 6);
}

#[test]
fn killed_at_any_moment_adam_with_ufom_ends_at_the_same_bits() {
    let ufom = "--set estimator.name=ufom --set estimator.q=0.3 --set inner.steps=2";
    killed_at_random(
        &format!("{ufom} --set checkpoint.every=1 --set eval.every=10 --set eval.episodes=2"),
        1,
    );
}

#[test]
fn killed_at_any_moment_sgd_with_momentum_ends_at_the_same_bits() {
    let sgd = "--set outer.optimizer=sgd --set outer.momentum=0.9 --set outer.rate=0.01";
    killed_at_random(&format!("{sgd} --set outer.schedule=linear --set checkpoint.every=2"), 2);
}

#[test]
fn killed_at_any_moment_a_head_with_learned_rates_ends_at_the_same_bits() {
    let head = "--set inner.adapts=head --set inner.rates=learned --set inner.proximal=0.1";
    killed_at_random(&format!("{head} --set inner.steps=2 --set checkpoint.every=1"), 4);
}

#[test]
fn a_run_killed_before_its_first_checkpoint_begins_again() {
    let experiment = Experiment::new(&format!("--steps {STEPS}"));
    fs::create_dir_all(experiment.torn().join("checkpoints")).unwrap();
    fs::copy(experiment.whole().join("config.toml"), experiment.torn().join("config.toml")).unwrap();
    experiment.resume().ok();
    experiment.assert_same();
}

#[test]
fn a_finished_run_tells_its_result_again_and_trains_nothing() {
    let experiment = Experiment::new("--steps 4");
    let first = experiment.train("torn").json();
    let (record, file) = (experiment.torn().join("metrics.jsonl"), checkpoint(&experiment.torn(), 4));
    let before = [fs::read(&record).unwrap(), fs::read(&file).unwrap()];
    assert_eq!(experiment.resume().json(), first);
    assert_eq!([fs::read(&record).unwrap(), fs::read(&file).unwrap()], before);
}

/// That a run begun on flex is finished by `backend`, with about the losses that flex would have had.
fn finishes_on(backend: &str, steps: u64, options: &str) {
    let experiment = Experiment::new(&format!("--steps {steps} --set checkpoint.every=1 {options}"));
    experiment.torn_after(steps / 2, steps);
    let line = format!("resume torn --backend {backend} --json");
    let mut command = metaburn(experiment.folder.path(), &line);
    let ran = common::ran(command.env("CUBECL_AUTOTUNE_LEVEL", "minimal")).ok();
    assert!(ran.stderr.contains(&format!("on {backend} (")), "{}", ran.stderr);
    let result = ran.json();
    assert_eq!(result["steps"], steps);
    assert!(result["test_accuracy"].is_number());

    let losses = |run: PathBuf| -> Vec<f64> {
        let records = lines(&run.join("metrics.jsonl"));
        records.iter().map(|record| record["loss"].as_f64().unwrap()).collect()
    };
    let error = common::relative(&losses(experiment.torn()), &losses(experiment.whole()));
    assert!(error < 1e-3, "relative error of the losses: {error:e}");
}

#[test]
fn what_flex_began_ndarray_finishes() {
    finishes_on("ndarray", 4, "");
}

#[test]
fn what_flex_began_of_every_other_method_ndarray_finishes() {
    finishes_on("ndarray", 4, "--set inner.adapts=head --set inner.rates=learned --set inner.proximal=0.1");
    finishes_on("ndarray", 4, "--set estimator.name=implicit --set inner.proximal=1");
    finishes_on("ndarray", 4, "--set estimator.name=reptile");
}

#[test]
fn what_flex_began_wgpu_finishes() {
    if common::lacks_wgpu() {
        return;
    }
    // Shaders are compiled on a CPU where there is no GPU: as few and as small ones as possible.
    // Step coins, since on a GPU the tasks of a step go together and only some are due.
    let coins = "--set estimator.name=step-coins --set estimator.costs=counted --set inner.steps=2";
    let small = "--set model.blocks=1 --set inner.eval_steps=0 --set eval.test_episodes=2";
    finishes_on("wgpu", 2, &format!("{coins} {small}"));
    finishes_on("wgpu", 2, &format!("{small} --set estimator.name=implicit --set inner.adapts=head"));
}
