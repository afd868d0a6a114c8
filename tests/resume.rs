//! Interrupted runs: however they end, `metaburn resume` makes of them what they would have been.

mod common;

use common::{
    IMAGES, Ran, Running, SMALL, TINY, checkpoint, folder_with_images, is_long, left, lines, metaburn, run,
    saved,
};
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
/// How often a run is killed.
const KILLS: u64 = 8;

/// A folder with images in it and, in `whole`, an uninterrupted run; the command for another such
/// run in `torn`.
struct Experiment {
    folder: TempDir,
    options: String,
}

impl Experiment {
    /// With tiny runs of `options`.
    fn new(options: &str) -> Self {
        Self::of(&format!("{IMAGES} {TINY} {options}"))
    }

    /// With runs of these options.
    fn of(options: &str) -> Self {
        let options = format!("{options} --json");
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
        let (torn, whole) = (left(&self.torn()), left(&self.whole()));
        assert!(torn == whole, "{torn:?}\n{whole:?}");
        let file = checkpoint(&self.whole(), saved(&self.whole()).unwrap());
        let names: Vec<String> = Archive::read(&file).unwrap().names().map(String::from).collect();
        assert!(names.iter().any(|name| name.starts_with("theta.")));
        assert!(names.iter().any(|name| name.starts_with("optimizer.")));
    }
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

/// Sends `signal` to a run in training.
fn signal(running: &Running, signal: &str) {
    let sent = Command::new("kill").args([signal, &running.id().to_string()]).status();
    assert!(sent.is_ok_and(|status| status.success()));
}

#[test]
fn sigterm_saves_and_exits_as_ctrl_c_does() {
    // Records are shown after a second, and by then a run of a few hundred steps may have ended; and no checkpoint
    // is due before the signal.
    const STEPS: u64 = 2000;
    let experiment = Experiment::new(&format!("--steps {STEPS} --set checkpoint.every={STEPS}"));
    let mut running = experiment.start();
    let record = experiment.torn().join("clock.jsonl");
    running.until(|| fs::metadata(&record).is_ok_and(|file| file.len() > 0));
    signal(&running, "-TERM");
    let ran = running.end();
    assert_eq!(ran.code, Some(130), "{}", ran.stderr);
    let step = saved(&experiment.torn()).unwrap();
    assert!(0 < step && step < STEPS && ran.stderr.contains(&format!("saved after outer step {step}")));
    experiment.resume().ok();
    experiment.assert_same();
}

#[test]
fn a_second_ctrl_c_stops_at_once_and_loses_no_checkpoint() {
    // A step of a hundred seconds and more: the first Ctrl-C waits for its end.
    let folder = folder_with_images();
    let long = "--set inner.steps=100000 --set memory.plan=recompute --set estimator.name=first-order";
    let line = format!("train {IMAGES} {TINY} {long} --steps 5 --run-dir run");
    let log = folder.path().join("log");
    let mut running = Running::logging(&mut metaburn(folder.path(), &line), &log);
    let said = |words: &str| fs::read_to_string(&log).unwrap().contains(words);
    running.until(|| said("iterate"));
    signal(&running, "-INT");
    running.until(|| said("press Ctrl-C again"));
    let began = std::time::Instant::now();
    signal(&running, "-INT");
    let ran = running.end();
    assert!(began.elapsed() < Duration::from_secs(20), "at once");
    assert_eq!(ran.code, Some(130));
    assert!(said("to go on from its latest checkpoint:\n  "));
    assert_eq!(saved(&folder.path().join("run")), Some(0));
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
    killed(&format!("{IMAGES} {TINY} {options}"), STEPS, KILLS, seed);
}

/// Kills a run of these options and `steps` so many times, at moments drawn from `seed`.
fn killed(options: &str, steps: u64, kills: u64, seed: u64) {
    let experiment = Experiment::of(&format!("{options} --steps {steps}"));
    let mut moments = generator(seed, "kill", 0);
    let mut running = experiment.start();
    for _ in 0..kills {
        let further = saved(&experiment.torn()).unwrap_or(0) + moments.random_range(1..20);
        running.until(|| saved(&experiment.torn()) >= Some(further));
        // Anywhere within a step, or within the writing of a checkpoint.
        std::thread::sleep(Duration::from_micros(moments.random_range(0..8000)));
        drop(running);
        running = Running::start(&mut metaburn(experiment.folder.path(), "resume torn"));
    }
    drop(running);
    assert!(saved(&experiment.torn()) < Some(steps));
    let resumed = experiment.resume().json();
    let whole = fs::read(experiment.whole().join("results/test.json")).unwrap();
    let whole: serde_json::Value = serde_json::from_slice(&whole).unwrap();
    for key in ["test_accuracy", "ci95", "loss", "steps", "gradient_evaluations"] {
        assert_eq!(resumed[key], whole[key], "{key}");
    }
    experiment.assert_same();
}

/// With METABURN_LONG set, a hundred times.
#[test]
fn killed_again_and_again_with_a_checkpoint_at_every_step_ends_at_the_same_bits() {
    let kills = if is_long() { 100 } else { 20 };
    let adam = "--set checkpoint.every=1 --set eval.every=25 --set eval.episodes=2";
    killed(&format!("{SMALL} {adam}"), 40 * kills, kills, 7);
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
