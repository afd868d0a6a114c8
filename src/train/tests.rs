//! Runs of a tiny network, with and without pending steps, with failures and divergence.

use super::divergence::Recovery;
use super::steps::MOST_PENDING;
use super::*;
use crate::data::{Glyphs, Sampler, Split, SplitRule};
use crate::run::{Saved, StepRecord};
use crate::support::archive::Archive;
use bilevel::PendingStep;
use bilevel::device::{self, Opened};
use bilevel::readback::read;
use burn::tensor::{Tensor, TensorData};
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// Records steps and warnings, and stops or panics after a number of steps.
#[derive(Default)]
pub(super) struct Notes {
    pub steps: Vec<(u64, f64)>,
    pub warnings: Vec<String>,
    pub stop_after: Option<usize>,
    /// Simulates a device that fails during a run.
    pub panics_after: Option<usize>,
}

impl Watcher for Notes {
    fn step(&mut self, record: &StepRecord, progress: f64) {
        self.steps.push((record.step, progress));
        assert!(self.panics_after.is_none_or(|most| self.steps.len() < most), "out of memory (simulated)");
    }

    fn warning(&mut self, text: &str) {
        self.warnings.push(text.into());
    }

    fn stops(&self) -> bool {
        self.stop_after.is_some_and(|most| self.steps.len() >= most)
    }
}

/// A tiny run in `path`. With `late` it has several pending steps, as on a GPU.
fn trainer(path: &Path, late: bool, more: &[&str]) -> Trainer {
    let (config, learner, episodes) = parts(late, more);
    let (run, lock) = RunDir::create(path).unwrap();
    run.write_config(&config).unwrap();
    let theta = learner.initialise(config.seed);
    Trainer::begin(theta, learner, config, episodes, run, Some(lock)).unwrap()
}

/// What a tiny run is made of.
pub(super) fn parts(late: bool, more: &[&str]) -> (Config, Learner, Episodes) {
    let tiny = "data.image_size=9 model.filters=2 model.blocks=2 outer.meta_batch=2 task.ways=2 \
                task.queries=2 backend=flex threads=1 eval.every=10 eval.episodes=2 eval.test_episodes=2 \
                checkpoint.every=7 checkpoint.keep=100";
    let overrides: Vec<String> =
        tiny.split_whitespace().chain(more.iter().copied()).map(String::from).collect();
    let config = Config::load(None, &overrides).unwrap();
    let set = Glyphs { alphabets: 1, ..Glyphs::default() }.draw(9).unwrap();
    let split = Split::new(&set, SplitRule::Fraction { train: 0.7 }, 3, false, 0).unwrap();
    let opened = device::open(config.backend).unwrap();
    let learner = Learner::new(&config, Opened { is_gpu: late, ..opened });
    let loader = EpisodeLoader::new(Sampler::new(Arc::new(set), split, 0), &learner.opened);
    (config, learner, Episodes::Images(Box::new(loader)))
}

/// Contents of `metrics.jsonl`, and names and digests of checkpoints.
pub(super) fn results(run: &Path) -> (String, Vec<(String, String)>) {
    let mut kept: Vec<_> = fs::read_dir(run.join("checkpoints"))
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, Archive::read(&entry.path()).unwrap().digest())
        })
        .collect();
    kept.sort();
    (fs::read_to_string(run.join("metrics.jsonl")).unwrap(), kept)
}

#[test]
fn pending_steps_do_not_change_results() {
    for more in [
        &["outer.steps=24", "inner.steps=2", "outer.clip=0.5"][..],
        &["outer.evaluations=200", "estimator.name=ufom", "estimator.q=0.5"],
        &["outer.steps=12", "estimator.name=adaptive", "estimator.costs=counted"],
        &["outer.steps=12", "estimator.name=ufom", "estimator.tracking=fitted", "estimator.q=0.5"],
        // On a GPU, steps are pending on both sides of the first change.
        &[
            "outer.steps=16",
            "inner.steps=2",
            "estimator.schedule=['first-order until 5', 'adaptive until 9', 'exact until 12']",
            "estimator.name=step-coins",
            "estimator.costs=counted",
        ],
    ] {
        let folder = tempfile::tempdir().unwrap();
        let [at_once, late] = ["at_once", "late"].map(|name| folder.path().join(name));
        let mut heard = [Notes::default(), Notes::default()];
        for (path, notes) in [&at_once, &late].into_iter().zip(&mut heard) {
            let ended = trainer(path, *path == late, more).run(notes).unwrap();
            assert_eq!(ended, Ended::Finished);
        }
        assert_eq!(results(&at_once), results(&late), "{more:?}");
        assert_eq!(heard[0].steps, heard[1].steps, "{more:?}");
    }
}

#[test]
fn run_stopped_with_pending_steps_saves_them() {
    let folder = tempfile::tempdir().unwrap();
    let mut notes = Notes { stop_after: Some(1), ..Notes::default() };
    let mut trainer = trainer(folder.path(), true, &["outer.steps=30", "checkpoint.every=30"]);
    assert_eq!(trainer.run(&mut notes).unwrap(), Ended::Stopped);
    // All pending steps were resolved together with the first.
    assert!(notes.steps.iter().map(|step| step.0).eq(1..=MOST_PENDING as u64));
    let (saved, faults) = trainer.run.latest().unwrap().unwrap();
    assert_eq!((saved.training_state.step, faults.len()), (MOST_PENDING as u64, 0));
}

#[test]
fn device_failure_gives_advice_and_keeps_checkpoints() {
    let folder = tempfile::tempdir().unwrap();
    let mut notes = Notes { panics_after: Some(5), ..Notes::default() };
    let error = trainer(folder.path(), false, &["outer.steps=9", "checkpoint.every=3", "eval.every=0"])
        .run(&mut notes)
        .unwrap_err();
    assert!(matches!(error, Error::Computing { step: 5, .. }), "{error}");
    let message = error.to_string();
    for words in ["after outer step 5: out of memory", "lower outer.meta_batch", "metaburn resume"] {
        assert!(message.contains(words), "{message}");
    }
    let (run, _) = RunDir::open(folder.path()).unwrap();
    let (saved, faults) = run.latest().unwrap().unwrap();
    assert_eq!((saved.training_state.step, faults.len()), (3, 0));
}

/// θ grows fourfold at every step, until a value overflows single precision.
pub(super) const GROWS: [&str; 7] = [
    "outer.steps=30",
    "checkpoint.every=1000",
    "eval.every=0",
    "outer.optimizer=sgd",
    "outer.rate=1",
    "outer.schedule=constant",
    "outer.weight_decay=5",
];

#[test]
fn divergence_in_a_pending_step_names_the_step_and_is_not_saved() {
    let folder = tempfile::tempdir().unwrap();
    let outcomes = [false, true].map(|late| {
        let path = folder.path().join(late.to_string());
        let mut notes = Notes::default();
        let error = trainer(&path, late, &GROWS).run(&mut notes).unwrap_err();
        let Error::Diverged { step, what, report: Some(ref report), .. } = error else { panic!("{error}") };
        assert!(step > MOST_PENDING as u64 && notes.steps.len() as u64 == step - 1, "{error}");
        assert_eq!(results(&path).1.len(), 1, "only the checkpoint before the first step");
        assert_eq!(results(&path).0.lines().count() as u64, step - 1, "all steps before it are recorded");
        assert_eq!(*report, path.join(format!("divergence/step-{step:08}.json")));
        (step, what, results(&path), notes.steps)
    });
    assert_eq!(outcomes[0], outcomes[1]);
}

#[test]
fn skipping_and_rewinding_stop_at_their_limit_with_and_without_pending_steps() {
    for (more, warned) in [
        (&["divergence.action=skip", "divergence.most=2"][..], "is skipped"),
        (
            &["divergence.action=rewind", "divergence.most=2", "checkpoint.every=6"],
            "continuing after outer step",
        ),
        // The step that diverges is of another estimator than the checkpoint.
        (
            &[
                "divergence.action=rewind",
                "divergence.most=2",
                "checkpoint.every=6",
                "estimator.schedule=['adaptive until 7']",
                "estimator.name=step-coins",
                "estimator.costs=counted",
            ],
            "continuing after outer step",
        ),
        (
            &[
                "divergence.action=skip",
                "divergence.most=2",
                "estimator.schedule=['first-order until 10']",
                "estimator.name=step-coins",
                "estimator.costs=counted",
            ],
            "is skipped",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let outcomes = [false, true].map(|late| {
            let path = folder.path().join(late.to_string());
            let mut notes = Notes::default();
            let error = trainer(&path, late, &[&GROWS, more].concat()).run(&mut notes).unwrap_err();
            let Error::Diverged { step, .. } = error else { panic!("{error}") };
            let warnings: Vec<_> = notes.warnings.iter().filter(|text| text.contains(warned)).collect();
            assert_eq!(warnings.len(), 2, "{:?}", notes.warnings);
            let written = fs::read_dir(path.join("divergence")).unwrap().count();
            assert!(written >= 2, "a report and a checkpoint for each step that diverged");
            (step, results(&path), notes.steps.len())
        });
        assert_eq!(outcomes[0], outcomes[1], "{more:?}");
    }
}

/// Changes a pending step as if the inner loops of `tasks` had diverged.
fn diverge(pending: &mut PendingStep, tasks: &[usize]) {
    let all = pending.estimates.tasks();
    let factors: Vec<f64> = (0..all).map(|task| if tasks.contains(&task) { f64::NAN } else { 1.0 }).collect();
    pending.estimates = pending.estimates.clone().scale(&factors);
    let factors = Tensor::from_data(TensorData::new(factors, [all]), &pending.losses.device());
    pending.losses = pending.losses.clone() * factors;
    pending.gradient = pending.gradient.clone() * f64::NAN;
    pending.weights = pending.weights.clone() * f64::NAN;
}

/// The values of θ.
fn values(theta: &Params) -> Vec<f32> {
    theta
        .leaves()
        .iter()
        .flat_map(|leaf| leaf.clone().into_data().iter::<f32>().collect::<Vec<_>>())
        .collect()
}

#[test]
fn diverged_task_is_left_out_and_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let more = ["outer.steps=9", "outer.meta_batch=3", "outer.clip=0.1"];
    let mut notes = Notes::default();
    let mut trainer = trainer(&folder.path().join("run"), false, &more);
    let mut batches = trainer.batches();
    let first = trainer.launch(&mut batches);
    assert!(trainer.resolve(vec![first], &mut notes).unwrap().is_none());
    let mut pending = trainer.launch(&mut batches);
    // The step without task 1.
    let (before, estimates) = (pending.before.theta.clone(), pending.estimates.select(&[0, 2]));
    let (rate, losses) = (pending.rate, read(pending.losses.clone()));
    diverge(&mut pending, &[1]);
    assert!(matches!(trainer.resolve(vec![pending], &mut notes).unwrap(), Some(Recovery::NextStep)));
    assert_eq!(trainer.outer.steps(), 2);
    let taken = values(trainer.outer.theta());
    let mut other = self::trainer(&folder.path().join("other"), false, &more);
    let mut batches = other.batches();
    other.launch(&mut batches);
    assert_eq!(values(other.outer.theta()), values(&before));
    other.outer.apply(estimates.mean(), rate);
    assert_eq!(values(other.outer.theta()), taken);

    trainer.metrics.flush().unwrap();
    let record = fs::read_to_string(trainer.run.metrics_file()).unwrap();
    let record: serde_json::Value = serde_json::from_str(record.lines().nth(1).unwrap()).unwrap();
    assert_eq!(record["dropped_episodes"], serde_json::json!([4]), "the second of the second three");
    let loss = record["loss"].as_f64().unwrap();
    assert!((loss - (losses[0] + losses[2]) / 2.0).abs() < 1e-9);
    assert!(notes.warnings.len() == 1 && notes.warnings[0].contains("1 of 3 tasks left out"));
}

#[test]
fn step_with_only_diverged_tasks_is_skipped_and_can_be_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let mut notes = Notes::default();
    let mut trainer = trainer(&path, false, &["outer.steps=9", "divergence.action=skip"]);
    let mut batches = trainer.batches();
    let mut pending = trainer.launch(&mut batches);
    let before = values(&pending.before.theta);
    let after = values(trainer.outer.theta());
    diverge(&mut pending, &[0, 1]);
    trainer.resolve(vec![pending], &mut notes).unwrap();
    assert_eq!((trainer.outer.steps(), trainer.progress.skipped_steps), (1, 1));
    assert_eq!(values(trainer.outer.theta()), before);
    let [report, checkpoint] = trainer.run.divergence_files(1);
    let report: serde_json::Value = serde_json::from_slice(&fs::read(report).unwrap()).unwrap();
    assert_eq!(
        (&report["episodes"], &report["losses"]),
        (&serde_json::json!([0, 1]), &serde_json::json!(["NaN", "NaN"]))
    );

    // Repeats the step as the report describes.
    let again = folder.path().join("again");
    fs::create_dir_all(again.join("checkpoints")).unwrap();
    fs::copy(path.join("config.toml"), again.join("config.toml")).unwrap();
    fs::copy(checkpoint, again.join("checkpoints/step-00000000.safetensors")).unwrap();
    let (run, _) = RunDir::open(&again).unwrap();
    let (saved, _) = run.latest().unwrap().unwrap();
    trainer.restore(&saved).unwrap();
    let mut batches = trainer.batches();
    trainer.launch(&mut batches);
    assert_eq!(values(trainer.outer.theta()), after);
}

#[test]
fn skipped_step_leaves_a_tracking_estimator_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let tracking = ["estimator.name=ufom", "estimator.q=1", "estimator.tracking=fitted"];
    let more = [&["outer.steps=9", "divergence.action=skip"][..], &tracking].concat();
    let (mut trainer, mut notes) = (trainer(folder.path(), false, &more), Notes::default());
    let mut batches = trainer.batches();
    let first = trainer.launch(&mut batches);
    trainer.resolve(vec![first], &mut notes).unwrap();
    let state = |trainer: &Trainer| {
        let state = trainer.outer.estimator().state();
        (state.values.clone(), values(state.vector.as_ref().unwrap()))
    };
    let before = state(&trainer);
    let mut pending = trainer.launch(&mut batches);
    diverge(&mut pending, &[0, 1]);
    trainer.resolve(vec![pending], &mut notes).unwrap();
    assert_eq!(trainer.progress.skipped_steps, 1);
    assert_eq!(state(&trainer), before);
    let third = trainer.launch(&mut batches);
    trainer.resolve(vec![third], &mut notes).unwrap();
    assert_ne!(state(&trainer), before);
}

/// The steps of the best validations by the trainer, by its files, and of `best.safetensors`.
fn best(trainer: &Trainer) -> (Vec<u64>, Vec<u64>, u64) {
    let ranked = trainer.progress.ranking.validations().iter().map(|best| best.step).collect();
    let first = Saved::read(&trainer.run.best_file()).unwrap().training_state;
    (ranked, trainer.run.best_steps().unwrap(), first.step)
}

#[test]
fn best_checkpoint_that_cannot_be_saved_leaves_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let more = ["outer.steps=20", "checkpoint.keep_best=3", "eval.every=10"];
    let mut trainer = trainer(folder.path(), false, &more);
    let mut notes = Notes { stop_after: Some(15), ..Notes::default() };
    trainer.run(&mut notes).unwrap();
    assert_eq!(best(&trainer), (vec![10], vec![10], 10));
    // A folder is in the place of the file.
    let folder = trainer.run.best_step_file(20);
    fs::create_dir(&folder).unwrap();
    notes.stop_after = None;
    trainer.run(&mut notes).unwrap();
    assert!(
        notes.warnings.iter().any(|warning| warning.contains("could not be kept")),
        "{:?}",
        notes.warnings
    );
    fs::remove_dir(&folder).unwrap();
    assert_eq!(best(&trainer), (vec![10], vec![10], 10));
}

#[test]
fn going_back_drops_the_best_checkpoints_of_later_steps() {
    let folder = tempfile::tempdir().unwrap();
    let more = ["outer.steps=12", "divergence.action=rewind", "checkpoint.every=3", "eval.every=3"];
    let mut trainer = trainer(folder.path(), false, &[&more[..], &["checkpoint.keep_best=4"]].concat());
    let mut notes = Notes { stop_after: Some(10), ..Notes::default() };
    trainer.run(&mut notes).unwrap();
    let (ranked, files, first) = best(&trainer);
    assert_eq!((ranked.len(), files, first), (3, vec![9, 6, 3], ranked[0]));
    for step in [9, 10] {
        fs::remove_file(trainer.run.checkpoint_file(step)).unwrap();
    }
    let mut batches = trainer.batches();
    let mut pending = trainer.launch(&mut batches);
    diverge(&mut pending, &[0, 1]);
    assert!(matches!(trainer.resolve(vec![pending], &mut notes).unwrap(), Some(Recovery::Rewound)));
    assert_eq!(trainer.outer.steps(), 6);
    let (ranked, files, first) = best(&trainer);
    assert_eq!((ranked.len(), files, first), (2, vec![6, 3], ranked[0]));

    // A file that is gone is not listed either.
    fs::remove_file(trainer.run.best_step_file(ranked[0])).unwrap();
    let (saved, _) = trainer.run.latest().unwrap().unwrap();
    trainer.restore(&saved).unwrap();
    assert_eq!(best(&trainer), (vec![ranked[1]], vec![ranked[1]], ranked[1]));
}

#[test]
fn rewind_uses_new_draws_and_survives_a_resumption() {
    let folder = tempfile::tempdir().unwrap();
    let more = ["outer.steps=12", "divergence.action=rewind", "checkpoint.every=3", "eval.every=0"];
    let mut notes = Notes { stop_after: Some(4), ..Notes::default() };
    let mut trainer = trainer(folder.path(), false, &more);
    trainer.run(&mut notes).unwrap();
    fs::remove_file(trainer.run.checkpoint_file(4)).unwrap();
    let mut batches = trainer.batches();
    let mut pending = trainer.launch(&mut batches);
    let (spent, draw) = (trainer.outer.evaluations(), pending.draw);
    diverge(&mut pending, &[0, 1]);
    assert!(matches!(trainer.resolve(vec![pending], &mut notes).unwrap(), Some(Recovery::Rewound)));
    assert_eq!((trainer.outer.steps(), trainer.progress.rewinds, draw), (3, 1, 4));
    assert_eq!(trainer.outer.evaluations(), spent, "the cost of the undone step remains counted");
    let drawn = trainer.next_draw();
    assert_eq!(drawn, 3 + (1 << 32));
    let (saved, _) = trainer.run.latest().unwrap().unwrap();
    assert_eq!((saved.training_state.step, saved.training_state.rewinds), (3, 1));
    trainer.run(&mut Notes::default()).unwrap();
    let record = fs::read_to_string(trainer.run.metrics_file()).unwrap();
    let steps: Vec<u64> = record
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["step"].as_u64().unwrap())
        .collect();
    assert_eq!(steps, (1..=12).collect::<Vec<_>>());
}
