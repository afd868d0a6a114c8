//! Runs of a tiny network on threads as ranks: what rank 0 writes is what a run alone writes.

use super::divergence::Recovery;
use super::ranks::{check_alike, latest};
use super::tests::{GROWS, Notes, parts, results};
use super::*;
use bilevel::ranks::{Alone, Ranks, Threads};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread;

/// Starts or resumes a run in `path` with the meta-batch's five tasks shared out.
fn trainer(ranks: Arc<dyn Ranks>, path: &Path, more: &[&str]) -> Trainer {
    let more = [&["outer.meta_batch=5", "eval.every=4", "eval.episodes=7"], more].concat();
    let (config, learner, episodes) = parts(false, &more);
    let learner = learner.with(ranks);
    check_alike(&config, None, &learner, &episodes).unwrap();
    let is_first = learner.ranks.rank() == 0;
    let run = RunDir::at(path);
    let found = learner.ranks.of_first(vec![u8::from(is_first && run.config_file().exists())]);
    let theta = learner.initialise(config.seed);
    if found == [0] {
        let lock = is_first.then(|| {
            let (run, lock) = RunDir::create(path).unwrap();
            run.write_config(&config).unwrap();
            lock
        });
        return Trainer::begin(theta, learner, config, episodes, run, lock).unwrap();
    }
    let lock = is_first.then(|| run.lock().unwrap());
    let (saved, _) = latest(&run, &*learner.ranks).unwrap().unwrap();
    let step = saved.training_state.step;
    let mut trainer = Trainer::assemble(config, learner, episodes, theta, step, run, lock).unwrap();
    trainer.restore(&saved).unwrap();
    trainer
}

/// Does `work` on `count` threads as ranks.
fn on<R: Send>(count: usize, work: impl Fn(Arc<dyn Ranks>) -> R + Sync) -> Vec<R> {
    thread::scope(|scope| {
        let work = &work;
        let start = |rank: Threads| scope.spawn(move || work(Arc::new(rank)));
        let ranks: Vec<_> = Threads::new(count).into_iter().map(start).collect();
        ranks.into_iter().map(|rank| rank.join().unwrap()).collect()
    })
}

const METHODS: [&[&str]; 4] = [
    &["outer.steps=12", "inner.steps=2", "outer.clip=0.5", "checkpoint.keep_best=2"],
    &["outer.evaluations=300", "estimator.name=adaptive", "estimator.costs=counted", "estimator.floor=0.3"],
    &["outer.steps=9", "estimator.name=ufom", "estimator.tracking=fitted", "estimator.q=0.5"],
    &["outer.steps=9", "estimator.name=step-coins", "estimator.costs=counted", "memory.plan=recompute"],
];

#[test]
fn rank_0_writes_what_a_run_alone_writes_and_the_others_nothing() {
    for more in METHODS {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: String| folder.path().join(name);
        let alone = path("alone".into());
        assert_eq!(
            trainer(Arc::new(Alone), &alone, more).run(&mut Notes::default()).unwrap(),
            Ended::Finished
        );
        let accuracy = |trainer: &Trainer| trainer.evaluate(Part::Test, 7, |_| {}).loss().to_bits();
        let tested = accuracy(&trainer(Arc::new(Alone), &alone, more));
        for count in [1, 2, 3, 5] {
            let shared = path(format!("shared-{count}"));
            let ended = on(count, |ranks| {
                let own =
                    if ranks.rank() == 0 { shared.clone() } else { path(format!("none-{}", ranks.rank())) };
                let (mut trainer, mut notes) = (trainer(ranks, &own, more), Notes::default());
                let ended = trainer.run(&mut notes).unwrap();
                (ended, notes.steps, accuracy(&trainer), own.exists() == trainer.is_first())
            });
            assert_eq!(results(&shared), results(&alone), "{more:?} on {count} ranks");
            for (end, steps, accuracy, alone_has_files) in &ended {
                assert_eq!((*end, *accuracy, *alone_has_files), (Ended::Finished, tested, true));
                assert_eq!(steps, &ended[0].1);
            }
        }
    }
}

#[test]
fn a_run_stopped_by_one_rank_continues_on_another_number_of_ranks() {
    for more in METHODS {
        let folder = tempfile::tempdir().unwrap();
        let [alone, shared] = ["alone", "shared"].map(|name| folder.path().join(name));
        trainer(Arc::new(Alone), &alone, more).run(&mut Notes::default()).unwrap();
        // Stopped after three steps, after three more, and then not.
        for (count, stops) in [(3, Some(2)), (2, Some(0)), (5, None)] {
            let ended = on(count, |ranks| {
                let stop_after = stops.filter(|rank| *rank == ranks.rank()).map(|_| 3);
                let mut notes = Notes { stop_after, ..Notes::default() };
                trainer(ranks, &shared, more).run(&mut notes).unwrap()
            });
            let expected = if stops.is_some() { Ended::Stopped } else { Ended::Finished };
            assert!(ended.iter().all(|end| *end == expected), "{ended:?}");
        }
        let [whole, parts] = [&alone, &shared].map(|path| results(path));
        assert_eq!(parts.0, whole.0, "{more:?}");
        // Checkpoints at stops are additional.
        assert!(whole.1.iter().all(|checkpoint| parts.1.contains(checkpoint)), "{more:?}");
    }
}

#[test]
fn all_ranks_take_a_divergence_the_same_way() {
    for more in [
        &["divergence.action=skip", "divergence.most=2"][..],
        &["divergence.action=rewind", "divergence.most=2", "checkpoint.every=6"],
    ] {
        let folder = tempfile::tempdir().unwrap();
        let more = [&GROWS, more].concat();
        let ends = |ranks: Arc<dyn Ranks>, path: &Path| {
            let error = trainer(ranks, path, &more).run(&mut Notes::default()).unwrap_err();
            let Error::Diverged { step, what, .. } = error else { panic!("{error}") };
            (step, what)
        };
        let [alone, shared] = ["alone", "shared"].map(|name| folder.path().join(name));
        let expected = ends(Arc::new(Alone), &alone);
        assert_eq!(on(3, |ranks| ends(ranks, &shared)), [expected; 3]);
        assert_eq!(results(&shared), results(&alone), "{more:?}");
        let reports = |path: &Path| fs::read_dir(path.join("divergence")).unwrap().count();
        assert_eq!(reports(&shared), reports(&alone));
    }
}

#[test]
fn a_task_that_diverges_on_one_rank_is_left_out_by_all() {
    let folder = tempfile::tempdir().unwrap();
    let left = |ranks: Arc<dyn Ranks>, path: &Path| {
        let mut trainer = trainer(ranks, path, &["outer.steps=9", "outer.clip=0.1"]);
        let mut batches = trainer.batches();
        let mut pending = trainer.launch(&mut batches);
        // Task 3, wherever it is.
        let factor = |task| if task == 3 { f64::NAN } else { 1.0 };
        let factors: Vec<f64> = pending.share.own().map(factor).collect();
        pending.estimates = pending.estimates.clone().scale(&factors);
        pending.gradient = pending.gradient.clone() * f64::NAN;
        let resolved = trainer.resolve(vec![pending], &mut Notes::default()).unwrap();
        assert!(matches!(resolved, Some(Recovery::NextStep)));
        trainer.metrics.flush().unwrap();
        let theta = trainer.outer.theta().leaves().iter();
        theta
            .flat_map(|leaf| leaf.clone().into_data().iter::<f32>().map(f32::to_bits).collect::<Vec<_>>())
            .collect()
    };
    let [alone, shared] = ["alone", "shared"].map(|name| folder.path().join(name));
    let expected: Vec<u32> = left(Arc::new(Alone), &alone);
    for found in on(5, |ranks| left(ranks, &shared)) {
        assert!(found == expected);
    }
    let [alone, shared] = [alone, shared].map(|path| fs::read_to_string(path.join("metrics.jsonl")).unwrap());
    assert!(alone == shared && alone.contains("\"dropped_episodes\":[3]"), "{shared}");
}

#[test]
fn ranks_that_differ_are_refused_by_name() {
    let messages = on(3, |ranks| {
        let seed = format!("seed={}", ranks.rank() / 2);
        let (config, learner, episodes) = parts(false, &[&seed, "outer.meta_batch=5"]);
        check_alike(&config, None, &learner.with(ranks), &episodes).unwrap_err().to_string()
    });
    assert!(messages.iter().all(|message| message == &messages[0]), "{messages:?}");
    assert!(messages[0].contains("configuration.seed is 0 on rank 0 and 1 on rank 2"), "{}", messages[0]);
    let few = on(3, |ranks| {
        let (config, learner, episodes) = parts(false, &["outer.meta_batch=2"]);
        check_alike(&config, None, &learner.with(ranks), &episodes).unwrap_err().to_string()
    });
    assert!(few[2].contains("3 ranks cannot share the 2 tasks"), "{}", few[2]);
}

#[test]
fn ranks_whose_weights_differ_do_not_save_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let messages = on(3, |ranks| {
        let mut trainer = trainer(ranks, &path, &["outer.steps=9", "eval.every=0", "checkpoint.every=3"]);
        if trainer.learner.ranks.rank() == 1 {
            let wrong = trainer.outer.theta().clone();
            trainer.outer.apply(wrong, 0.1);
        }
        trainer.run(&mut Notes::default()).unwrap_err().to_string()
    });
    for message in messages {
        assert!(
            message.contains("after outer step 3 the weights of these ranks differ from those of rank 0: 1."),
            "{message}"
        );
    }
    assert_eq!(results(&path).1.len(), 1, "only the checkpoint before the first step");
}
