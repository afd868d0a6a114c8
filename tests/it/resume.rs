//! Interrupted runs: however they end, `metaburn resume` completes them to the bits of an uninterrupted run.

use crate::common::optional::{lacks_ndarray, lacks_wgpu};
use crate::common::{
    IMAGES, Outcome, Running, SMALL, TINY, advised, best_checkpoints, checkpoint, folder_with_images,
    json_lines, last_saved_step, metaburn, relative_error, run, run_command, run_in_shell, run_state,
    wants_long_tests,
};
use bilevel::rng::generator;
use metaburn::run::Saved;
use metaburn::support::archive::Archive;
use rand::RngExt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// Outer steps of an interrupted run: a few seconds.
const STEPS: u64 = 300;
/// How often a run is killed.
const KILLS: u64 = 8;

/// A folder with images and an uninterrupted run, `whole`; a run with the same options, `torn`, is interrupted.
struct Experiment {
    folder: TempDir,
    options: String,
}

impl Experiment {
    /// Tiny runs with `options`.
    fn new(options: &str) -> Self {
        Self::of(&format!("{IMAGES} {TINY} {options}"))
    }

    /// Runs with these options.
    fn of(options: &str) -> Self {
        let options = format!("{options} --json");
        let this = Self { folder: folder_with_images(), options };
        this.train("whole").ok();
        this
    }

    fn train(&self, name: &str) -> Outcome {
        run(self.folder.path(), &format!("train {} --run-dir {name}", self.options))
    }

    fn start(&self) -> Running {
        Running::start(&mut metaburn(self.folder.path(), &format!("train {} --run-dir torn", self.options)))
    }

    fn resume(&self) -> Outcome {
        run(self.folder.path(), "resume torn --json")
    }

    fn whole(&self) -> PathBuf {
        self.folder.path().join("whole")
    }

    fn torn(&self) -> PathBuf {
        self.folder.path().join("torn")
    }

    /// Makes `torn` a run of `steps` steps that stopped after `step`. The options must save every step.
    fn torn_after(&self, step: u64, steps: u64) {
        self.train("torn").ok();
        for later in step + 1..=steps {
            fs::remove_file(checkpoint(&self.torn(), later)).unwrap();
        }
        fs::remove_dir_all(self.torn().join("results")).unwrap();
    }

    /// Asserts that `torn` and `whole` are equal to the bit: every line, θ and the optimiser's state, the best checkpoints.
    fn assert_same(&self) {
        let (torn, whole) = (run_state(&self.torn()), run_state(&self.whole()));
        assert!(torn == whole, "{torn:?}\n{whole:?}");
        assert_eq!(best_checkpoints(&self.torn()), best_checkpoints(&self.whole()));
        let file = checkpoint(&self.whole(), last_saved_step(&self.whole()).unwrap());
        let names: Vec<String> = Archive::read(&file).unwrap().names().map(String::from).collect();
        assert!(names.iter().any(|name| name.starts_with("theta.")));
        assert!(names.iter().any(|name| name.starts_with("optimizer.")));
    }
}

#[test]
fn ctrl_c_saves_and_prints_a_command_that_resumes_to_the_same_bits() {
    let options = format!("--steps {STEPS} --set outer.clip=1.0 --set checkpoint.every=7");
    let experiment = Experiment::new(&options);
    let mut running = experiment.start();
    running.wait_until(|| last_saved_step(&experiment.torn()) >= Some(14));
    let ran = running.interrupt();
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(130), ""), "{}", ran.stderr);
    let step = last_saved_step(&experiment.torn()).unwrap();
    assert!(ran.stderr.contains(&format!("saved after outer step {step}")), "{}", ran.stderr);
    assert!(step < STEPS && !experiment.torn().join("results").exists());

    let command = advised(&ran.stderr);
    assert!(command.ends_with("metaburn resume torn --json"), "{command}");
    let ran = run_in_shell(experiment.folder.path(), command).ok();
    assert!(ran.stderr.contains(&format!("after outer step {step}")), "{}", ran.stderr);
    assert_eq!(ran.json()["steps"], STEPS);
    experiment.assert_same();
}

#[test]
fn interrupted_run_with_several_best_checkpoints_ends_with_the_same_files_and_bits() {
    let best = "--set checkpoint.keep_best=3 --set eval.every=3 --set eval.episodes=3";
    let experiment = Experiment::new(&format!("--steps {STEPS} --set checkpoint.every=5 {best}"));
    let mut running = experiment.start();
    running.wait_until(|| last_saved_step(&experiment.torn()) >= Some(20));
    assert_eq!(running.interrupt().code, Some(130));
    experiment.resume().ok();
    experiment.assert_same();
    let (ranking, files) = best_checkpoints(&experiment.torn());
    assert_eq!((ranking.validations().len(), files.len()), (3, 4));
}

#[test]
fn kills_with_several_best_checkpoints_end_with_the_same_files_and_bits() {
    let best = "--set checkpoint.keep_best=3 --set eval.every=2 --set eval.episodes=3";
    killed_at_random(&format!("{best} --set checkpoint.every=1"), 8);
}

/// Whether the file at `path` has been written to.
fn has_bytes(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| file.len() > 0)
}

#[test]
fn sigterm_sighup_and_sigusr1_save_and_exit_like_ctrl_c() {
    // Records are shown after a second, and by then a run of a few hundred steps may have ended; and no checkpoint
    // is due before the signal.
    const STEPS: u64 = 2000;
    let experiment = Experiment::new(&format!("--steps {STEPS} --set checkpoint.every={STEPS}"));
    for signal in ["-TERM", "-HUP", "-USR1"] {
        let mut running = experiment.start();
        let record = experiment.torn().join("clock.jsonl");
        running.wait_until(|| has_bytes(&record));
        running.signal(signal);
        let ran = running.wait();
        assert_eq!(ran.code, Some(130), "{signal}: {}", ran.stderr);
        let step = last_saved_step(&experiment.torn()).unwrap();
        assert!(0 < step && step < STEPS, "{signal}: step {step}");
        assert!(ran.stderr.contains(&format!("saved after outer step {step}")), "{signal}: {}", ran.stderr);
        experiment.resume().ok();
        experiment.assert_same();
        fs::remove_dir_all(experiment.torn()).unwrap();
    }
}

/// Starts `run` in `folder`, of five outer steps; each takes a second or more for every thousand inner steps. Messages go to
/// the file `log`.
fn start_slowly(folder: &Path, inner_steps: usize) -> Running {
    let slow = format!("--set inner.steps={inner_steps} --set estimator.name=first-order");
    let plan = "--set memory.plan=recompute --set checkpoint.every=1";
    let line = format!("train {IMAGES} {TINY} {slow} {plan} --steps 5 --run-dir run");
    Running::start_with_log(&mut metaburn(folder, &line), &folder.join("log"))
}

#[test]
fn a_second_ctrl_c_sigterm_or_sighup_stops_at_once_and_keeps_the_latest_checkpoint() {
    for second in ["-INT", "-TERM", "-HUP"] {
        let folder = folder_with_images();
        let (run, log) = (folder.path().join("run"), folder.path().join("log"));
        // The first signal waits for the end of a step, a hundred seconds or more.
        let mut running = start_slowly(folder.path(), 100_000);
        let log_has = |words: &str| fs::read_to_string(&log).unwrap().contains(words);
        // Written just before the first step, in the middle of which the signal should come.
        running.wait_until(|| has_bytes(&run.join("sessions.jsonl")));
        std::thread::sleep(Duration::from_millis(500));
        running.signal("-INT");
        running.wait_until(|| log_has("press Ctrl-C again"));
        let began = std::time::Instant::now();
        running.signal(second);
        let ran = running.wait();
        assert!(began.elapsed() < Duration::from_secs(20), "{second}: at once");
        assert_eq!(ran.code, Some(130), "{second}");
        assert!(log_has("to continue from its latest checkpoint:\n  "), "{second}");
        assert_eq!(last_saved_step(&run), Some(0), "{second}");
    }
}

#[test]
fn a_second_sigusr1_lets_the_step_end_and_be_saved() {
    let folder = folder_with_images();
    let run = folder.path().join("run");
    let mut running = start_slowly(folder.path(), 2000);
    running.wait_until(|| last_saved_step(&run) >= Some(1));
    running.signal("-USR1");
    running.signal("-USR1");
    assert_eq!(running.wait().code, Some(130));
    let (step, log) =
        (last_saved_step(&run).unwrap(), fs::read_to_string(folder.path().join("log")).unwrap());
    assert!(step < 5 && log.contains(&format!("stopped and saved after outer step {step}")), "{log}");
}

#[test]
fn the_printed_command_quotes_a_directory_with_a_space_in_its_name() {
    let folder = folder_with_images();
    let line = format!("train {IMAGES} {TINY} --steps {STEPS} --set checkpoint.every=1 --run-dir");
    let mut running = Running::start(metaburn(folder.path(), &line).arg("my run"));
    running.wait_until(|| last_saved_step(&folder.path().join("my run")) >= Some(1));
    let ran = running.interrupt();
    assert_eq!(ran.code, Some(130), "{}", ran.stderr);
    run_in_shell(folder.path(), advised(&ran.stderr)).ok();
}

/// Kills a tiny run with `options` [`KILLS`] times, at moments drawn from `seed`, then completes it and compares.
fn killed_at_random(options: &str, seed: u64) {
    killed(&format!("{IMAGES} {TINY} {options}"), STEPS, KILLS, seed);
}

/// Kills a run of `steps` steps `kills` times, at moments drawn from `seed`, then completes it and compares.
fn killed(options: &str, steps: u64, kills: u64, seed: u64) {
    let experiment = Experiment::of(&format!("{options} --steps {steps}"));
    let mut moments = generator(seed, "kill", 0);
    let mut running = experiment.start();
    for _ in 0..kills {
        let further = last_saved_step(&experiment.torn()).unwrap_or(0) + moments.random_range(1..20);
        running.wait_until(|| last_saved_step(&experiment.torn()) >= Some(further));
        // At any point of a step or of writing a checkpoint.
        std::thread::sleep(Duration::from_micros(moments.random_range(0..8000)));
        drop(running);
        running = Running::start(&mut metaburn(experiment.folder.path(), "resume torn"));
    }
    drop(running);
    assert!(last_saved_step(&experiment.torn()) < Some(steps));
    let resumed = experiment.resume().json();
    let whole = fs::read(experiment.whole().join("results/test.json")).unwrap();
    let whole: serde_json::Value = serde_json::from_slice(&whole).unwrap();
    for key in ["test_accuracy", "ci95", "loss", "steps", "gradient_evaluations"] {
        assert_eq!(resumed[key], whole[key], "{key}");
    }
    experiment.assert_same();
}

/// Twenty kills; with METABURN_LONG set, a hundred.
#[test]
fn many_kills_with_a_checkpoint_at_every_step_end_with_the_same_bits() {
    let kills = if wants_long_tests() { 100 } else { 20 };
    let adam = "--set checkpoint.every=1 --set eval.every=25 --set eval.episodes=2";
    killed(&format!("{SMALL} {adam}"), 40 * kills, kills, 7);
}

#[test]
fn kills_with_adaptive_ufom_end_with_the_same_bits() {
    let adaptive = "--set estimator.name=adaptive --set estimator.costs=counted --set inner.steps=2";
    killed_at_random(&format!("{adaptive} --set checkpoint.every=1"), 3);
}

#[test]
fn kills_with_tracking_ufom_end_with_the_same_bits() {
    // The tracked error is a vector of θ's shape, saved as arrays of its own.
    let tracking = "--set estimator.name=ufom --set estimator.q=0.3 --set estimator.tracking=fitted";
    killed_at_random(&format!("{tracking} --set inner.steps=2 --set checkpoint.every=3"), 4);
}

#[test]
fn kills_with_adaptive_step_coins_end_with_the_same_bits() {
    let coins = "--set estimator.name=step-coins --set estimator.costs=counted --set inner.steps=3";
    killed_at_random(&format!("{coins} --set checkpoint.every=3"), 5);
}

#[test]
fn kills_with_adaptive_telescoping_end_with_the_same_bits() {
    let telescoping = "--set estimator.name=telescoping --set estimator.costs=counted";
    killed_at_random(&format!("{telescoping} --set inner.steps=3 --set checkpoint.every=3"), 6);
}

/// The numbers of the estimator in a checkpoint without its measured times, which differ between runs.
fn estimator_state(file: &Path) -> serde_json::Value {
    let mut state = Saved::read(file).unwrap().training_state.estimator;
    if let Some(numbers) = state.as_object_mut() {
        numbers.remove("prices");
    }
    state
}

/// A schedule of three estimators. The values of `--set` have no spaces here, since the tests split lines at them.
fn scheduled(first: u64, second: u64) -> String {
    let phase = |name, until| format!("\"{name}\\u0020until\\u0020{until}\"");
    let schedule = [phase("first-order", first), phase("adaptive", second)].join(",");
    format!(
        "--set estimator.schedule=[{schedule}] --set estimator.name=step-coins --set estimator.costs=counted \
         --set inner.steps=3"
    )
}

#[test]
fn kills_with_a_schedule_of_estimators_end_with_the_same_bits() {
    let schedule = scheduled(STEPS / 20, STEPS / 8);
    killed_at_random(&format!("{schedule} --set checkpoint.every=1 --set outer.warmup=9"), 8);
}

#[test]
fn runs_resumed_around_a_change_of_estimator_end_with_the_same_bits() {
    let options = format!("{} --set checkpoint.every=1 --set checkpoint.keep=100", scheduled(3, 6));
    let rates = "--set outer.warmup=5 --set outer.final_rate=0.0001";
    let experiment = Experiment::new(&format!("--steps 10 {options} {rates}"));
    let records = json_lines(&experiment.whole().join("metrics.jsonl"));
    let names: Vec<&str> = records.iter().filter_map(|record| record["estimator"].as_str()).collect();
    assert_eq!(names, [vec!["first-order"; 3], vec!["adaptive"; 3], vec!["step-coins"; 4]].concat());
    for step in [2, 3, 4, 5, 6, 7] {
        experiment.torn_after(step, 10);
        let ran = experiment.resume().ok();
        assert!(ran.stderr.contains("first-order, biased, until step 3, then adaptive ("), "{}", ran.stderr);
        experiment.assert_same();
        for later in step + 1..=10 {
            let [torn, whole] = [experiment.torn(), experiment.whole()].map(|run| checkpoint(&run, later));
            let digest = |file| Archive::read(file).unwrap().digest();
            assert_eq!(digest(&torn), digest(&whole), "outer step {later}");
            assert_eq!(estimator_state(&torn), estimator_state(&whole), "outer step {later}");
        }
        fs::remove_dir_all(experiment.torn()).unwrap();
    }
}

#[test]
fn kills_with_ufom_and_adam_end_with_the_same_bits() {
    let ufom = "--set estimator.name=ufom --set estimator.q=0.3 --set inner.steps=2";
    killed_at_random(
        &format!("{ufom} --set checkpoint.every=1 --set eval.every=10 --set eval.episodes=2"),
        1,
    );
}

#[test]
fn kills_with_momentum_end_with_the_same_bits() {
    let sgd = "--set outer.optimizer=sgd --set outer.momentum=0.9 --set outer.rate=0.01";
    killed_at_random(&format!("{sgd} --set outer.schedule=linear --set checkpoint.every=2"), 2);
}

#[test]
fn kills_with_a_head_and_learned_rates_end_with_the_same_bits() {
    let head = "--set inner.adapts=head --set inner.rates=learned --set inner.proximal=0.1";
    killed_at_random(&format!("{head} --set inner.steps=2 --set checkpoint.every=1"), 4);
}

#[test]
fn kills_with_augmentation_end_with_the_same_bits() {
    let augmentation =
        "--set data.rotations=episode --set data.flips=true --set data.shift=2 --set data.warp=0.1";
    killed_at_random(&format!("{augmentation} --set checkpoint.every=1"), 8);
}

#[test]
fn a_run_with_rotations_as_earlier_versions_wrote_them_is_resumed_to_the_same_bits() {
    let experiment = Experiment::new("--set data.rotations=classes --set checkpoint.every=1 --steps 4");
    experiment.torn_after(2, 4);
    let file = experiment.torn().join("config.toml");
    let mut old = fs::read_to_string(&file).unwrap();
    for (written, earlier) in [
        ("rotations = \"classes\"", "rotations = true"),
        ("flips = false\n", ""),
        ("shift = 0\n", ""),
        ("warp = 0.0\n", ""),
    ] {
        assert!(old.contains(written), "{old}");
        old = old.replace(written, earlier);
    }
    fs::write(&file, old).unwrap();
    experiment.resume().ok();
    experiment.assert_same();
}

#[test]
fn a_run_killed_before_its_first_checkpoint_starts_over() {
    let experiment = Experiment::new(&format!("--steps {STEPS}"));
    fs::create_dir_all(experiment.torn().join("checkpoints")).unwrap();
    fs::copy(experiment.whole().join("config.toml"), experiment.torn().join("config.toml")).unwrap();
    experiment.resume().ok();
    experiment.assert_same();
}

#[test]
fn resuming_a_finished_run_prints_its_result_and_trains_nothing() {
    let experiment = Experiment::new("--steps 4");
    let first = experiment.train("torn").json();
    let (record, file) = (experiment.torn().join("metrics.jsonl"), checkpoint(&experiment.torn(), 4));
    let before = [fs::read(&record).unwrap(), fs::read(&file).unwrap()];
    assert_eq!(experiment.resume().json(), first);
    assert_eq!([fs::read(&record).unwrap(), fs::read(&file).unwrap()], before);
}

/// Asserts that `backend` finishes a run that flex began, with losses close to those of flex.
fn finishes_on(backend: &str, steps: u64, options: &str) {
    let experiment = Experiment::new(&format!("--steps {steps} --set checkpoint.every=1 {options}"));
    experiment.torn_after(steps / 2, steps);
    let line = format!("resume torn --backend {backend} --json");
    let mut command = metaburn(experiment.folder.path(), &line);
    let ran = run_command(command.env("CUBECL_AUTOTUNE_LEVEL", "minimal")).ok();
    assert!(ran.stderr.contains(&format!("on {backend} (")), "{}", ran.stderr);
    let result = ran.json();
    assert_eq!(result["steps"], steps);
    assert!(result["test_accuracy"].is_number());

    let losses = |run: PathBuf| -> Vec<f64> {
        let records = json_lines(&run.join("metrics.jsonl"));
        records.iter().map(|record| record["loss"].as_f64().unwrap()).collect()
    };
    let error = relative_error(&losses(experiment.torn()), &losses(experiment.whole()));
    assert!(error < 1e-3, "relative error of the losses: {error:e}");
}

#[test]
fn ndarray_finishes_a_run_of_flex() {
    if lacks_ndarray() {
        return;
    }
    finishes_on("ndarray", 4, "");
}

#[test]
fn ndarray_finishes_runs_of_flex_with_other_methods() {
    if lacks_ndarray() {
        return;
    }
    finishes_on("ndarray", 4, "--set inner.adapts=head --set inner.rates=learned --set inner.proximal=0.1");
    finishes_on("ndarray", 4, "--set estimator.name=implicit --set inner.proximal=1");
    finishes_on("ndarray", 4, "--set estimator.name=reptile");
}

#[test]
fn wgpu_finishes_a_run_of_flex() {
    if lacks_wgpu() {
        return;
    }
    // Few and small shaders, since they are compiled on the CPU where there is no GPU. Step coins, since on a GPU the
    // tasks of a step are computed together and only some take a product.
    let coins = "--set estimator.name=step-coins --set estimator.costs=counted --set inner.steps=2";
    let small = "--set model.blocks=1 --set inner.eval_steps=0 --set eval.test_episodes=2";
    finishes_on("wgpu", 2, &format!("{coins} {small}"));
    finishes_on("wgpu", 2, &format!("{small} --set estimator.name=implicit --set inner.adapts=head"));
}
