//! The best checkpoints of a run, and `metaburn eval` of ensembles, modes of batch norm and other episodes.

use crate::common::{Silent, TINY, json_lines, names, relative_error, run};
use bilevel::hypergradient::adapt;
use bilevel::stats::{mean, mean_and_ci95};
use bilevel::{Bilevel, Params, device};
use burn::tensor::Tensor;
use metaburn::config::Config;
use metaburn::data::Part;
use metaburn::run::{RunDir, Saved};
use metaburn::support::archive::Archive;
use metaburn::task::BatchNorm;
use metaburn::train::{self, EpisodeLoader, Evaluation, Learner};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use tempfile::TempDir;

/// A validation after every second of twelve steps, and the three best checkpoints.
const THREE_BEST: &str = "--steps 12 --set task.ways=3 --set eval.every=2 --set eval.episodes=8 --set outer.rate=0.01 \
                          --set checkpoint.every=4 --set checkpoint.keep=2 --set checkpoint.keep_best=3";

/// A folder with a finished run, `run`, of built-in characters that keeps its three best checkpoints. Tests only read it,
/// and write results.
fn trained() -> &'static Path {
    static TRAINED: OnceLock<TempDir> = OnceLock::new();
    let folder = TRAINED.get_or_init(|| {
        let folder = TempDir::new().unwrap();
        run(folder.path(), &format!("train {TINY} {THREE_BEST} --run-dir run")).ok();
        folder
    });
    folder.path()
}

fn eval(options: &str) -> Value {
    run(trained(), &format!("eval run --json {options}")).json()
}

/// The result in `results/NAME.json`.
fn written(name: &str) -> Value {
    let file = trained().join(format!("run/results/{name}.json"));
    serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
}

/// The result of a test, in the file of these `shots`, inner `steps` and so on.
fn tested(shots: usize, steps: usize, episodes: usize, rest: &str) -> Value {
    written(&format!(
        "test-3-way-{shots}-shot-2-query-{steps}-inner-steps-{episodes}-episodes-batch-norm-{rest}"
    ))
}

/// The steps of the run's best validations, best first, by its record.
fn best_steps() -> Vec<u64> {
    let mut validations: Vec<(f64, u64)> = json_lines(&trained().join("run/metrics.jsonl"))
        .iter()
        .filter_map(|line| Some((line["validation_accuracy"].as_f64()?, line["step"].as_u64()?)))
        .collect();
    assert_eq!(validations.len(), 6);
    validations.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    validations.into_iter().take(3).map(|(_, step)| step).collect()
}

fn best_file(step: u64) -> PathBuf {
    RunDir::at(&trained().join("run")).best_step_file(step)
}

/// Accuracy, its interval (percent) and loss of the mean logits of `members`, from single predictions, in float64.
fn by_hand(members: &[u64], evaluation: impl Fn(&mut Evaluation), mode: BatchNorm) -> [f64; 3] {
    let (run, mut config) = RunDir::open(&trained().join("run")).unwrap();
    config.model.batch_norm = mode;
    let learner = Learner::new(&config, device::open(config.backend).unwrap());
    let loader = loader(&config, &run, &learner);
    let thetas: Vec<Params> = members
        .iter()
        .map(|step| Saved::read(&run.best_step_file(*step)).unwrap())
        .map(|saved| saved.theta(&learner.leaves(), &learner.opened.device).unwrap())
        .collect();
    let mut asked = Evaluation::new(&config, Part::Test, config.eval.test_episodes);
    evaluation(&mut asked);
    let Evaluation { part, shape, episodes, steps } = asked;
    let (mut accuracies, mut losses) = (Vec::new(), Vec::new());
    for episode in 0..episodes as u64 {
        let problem = learner.classify(loader.images(part, episode..episode + 1, &shape), &shape);
        assert_eq!(problem.tasks(), 1);
        let logits = thetas.iter().map(|theta| {
            let (fast, _) = adapt(&problem, theta, steps);
            numbers(problem.problem.query_logits(steps, theta, &fast))
        });
        let all: Vec<Vec<f64>> = logits.collect();
        let means: Vec<f64> = (0..all[0].len())
            .map(|place| all.iter().map(|logits| logits[place]).sum::<f64>() / all.len() as f64)
            .collect();
        let images = means.chunks(shape.ways).zip(shape.query_labels());
        let scores: Vec<(f64, f64)> = images
            .map(|(logits, label)| {
                let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let sum: f64 = logits.iter().map(|logit| (logit - largest).exp()).sum();
                (f64::from(u8::from(logits[label] == largest)), sum.ln() + largest - logits[label])
            })
            .collect();
        accuracies.push(100.0 * mean(&scores.iter().map(|score| score.0).collect::<Vec<_>>()));
        losses.push(mean(&scores.iter().map(|score| score.1).collect::<Vec<_>>()));
    }
    let (accuracy, ci95) = mean_and_ci95(&accuracies);
    [accuracy, ci95, mean(&losses)]
}

/// A loader of the run's episodes. The images come from the run's data, not from a file, so the folder does not matter.
fn loader(config: &Config, run: &RunDir, learner: &Learner) -> EpisodeLoader {
    let sampler = train::sampler(config, &mut Silent).unwrap();
    let (saved, _) = run.latest().unwrap().unwrap();
    train::check_data(&sampler, &saved.training_state).unwrap();
    EpisodeLoader::new(sampler, &learner.opened)
}

fn numbers(logits: Tensor<3>) -> Vec<f64> {
    logits.into_data().iter::<f64>().collect()
}

fn assert_measured(result: &Value, expected: [f64; 3]) {
    let measured = ["test_accuracy", "ci95", "loss"].map(|key| result[key].as_f64().unwrap());
    let error = relative_error(&measured, &expected);
    assert!(error < 1e-5, "{measured:?}, by hand {expected:?}");
}

#[test]
fn the_best_checkpoints_are_those_of_the_best_validations() {
    let best = best_steps();
    let mut sorted = best.clone();
    sorted.sort_unstable();
    let numbered = sorted.iter().map(|step| format!("best-step-{step:08}.safetensors"));
    let expected: Vec<String> = numbered.chain(["best.safetensors".to_string()]).collect();
    let found = names(&trained().join("run/checkpoints"));
    assert_eq!(found[..4], expected);
    assert_eq!((found.len(), &*found[5]), (6, "step-00000012.safetensors"), "two latest ones besides");

    let digest = |file: &Path| Archive::read(file).unwrap().digest();
    let first = digest(&trained().join("run/checkpoints/best.safetensors"));
    assert_eq!(first, digest(&best_file(best[0])));
    assert!(best[1..].iter().all(|step| digest(&best_file(*step)) != first));
    let (saved, _) = RunDir::at(&trained().join("run")).latest().unwrap().unwrap();
    let ranked = saved.training_state.ranking();
    assert_eq!(ranked.validations().iter().map(|best| best.step).collect::<Vec<_>>(), best);
}

#[test]
fn an_ensemble_predicts_by_the_mean_logits_of_its_members() {
    let best = best_steps();
    let result = eval("--ensemble 3 --episodes 40");
    assert_eq!(result["checkpoints"], serde_json::json!(best));
    assert_eq!(
        (&result["ensemble"], &result["episodes"], &result["seed"]),
        (&3.into(), &40.into(), &0.into())
    );
    assert_eq!(&result["steps"], best.iter().max().unwrap());
    let own = BatchNorm::Transductive;
    let by_hand = |members: &[u64]| by_hand(members, |evaluation| evaluation.episodes = 40, own);
    assert_measured(&result, by_hand(&best));
    let last = best.iter().max().unwrap();
    assert_eq!(tested(1, 3, 40, &format!("transductive-ensemble-3-to-step-{last}")), result);
    // The comparison can fail: other members have another loss.
    let others = by_hand(&best[..2]);
    assert!((others[2] - result["loss"].as_f64().unwrap()).abs() > 1e-4 * others[2]);
    assert_measured(&eval("--ensemble 2 --episodes 40"), others);
    for threads in ["1", "2"] {
        assert_eq!(
            eval(&format!("--ensemble 3 --episodes 40 --threads {threads}")),
            result,
            "{threads} threads"
        );
    }
    let text = run(trained(), "eval run --ensemble 3 --episodes 40").ok().stdout;
    assert!(text.contains("ensemble of the 3 checkpoints after outer steps"), "{text}");
}

#[test]
fn an_ensemble_of_one_is_the_best_checkpoint() {
    let best = eval("--checkpoint best");
    assert_eq!(eval("--ensemble 1"), best);
    assert_eq!((&best["ensemble"], &best["checkpoints"]), (&1.into(), &serde_json::json!([best_steps()[0]])));
    assert_eq!(tested(1, 3, 4, &format!("transductive-step-{}", best_steps()[0])), best);
    // A checkpoint that is only among the best is found by its step.
    let second = best_steps()[1];
    assert_eq!(eval(&format!("--checkpoint {second}"))["steps"], second);
}

#[test]
fn both_modes_of_batch_norm_are_measured_after_one_adaptation() {
    let ran = run(trained(), "eval run --json --batch-norm both --episodes 12").ok();
    let results: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(results.len(), 2);
    for (mode, result) in ["transductive", "support"].into_iter().zip(&results) {
        assert_eq!(result["batch_norm"], mode);
        assert_eq!(&eval(&format!("--batch-norm {mode} --episodes 12")), result);
    }
    assert_eq!(tested(1, 3, 12, "support-step-12"), results[1]);
    let best = best_steps();
    let support = eval("--ensemble 2 --batch-norm support --episodes 12");
    assert_measured(&support, by_hand(&best[..2], |evaluation| evaluation.episodes = 12, BatchNorm::Support));

    let table = run(trained(), "eval run --batch-norm both --episodes 12").ok().stdout;
    for part in [
        "| batch norm | test accuracy (%) |",
        "| transductive | ",
        "| support | ",
        "12 episodes, 3-way 1-shot",
    ] {
        assert!(table.contains(part), "{table}");
    }
}

#[test]
fn episodes_and_inner_steps_can_be_chosen_for_one_evaluation() {
    let best = best_steps();
    let result = eval("--ensemble 1 --steps 0 --shots 3 --episodes 10");
    assert_eq!(
        (&result["inner_steps"], &result["shots"], &result["ways"]),
        (&0.into(), &3.into(), &3.into())
    );
    let chosen = |evaluation: &mut Evaluation| {
        (evaluation.steps, evaluation.shape.shots, evaluation.episodes) = (0, 3, 10);
    };
    assert_measured(&result, by_hand(&best[..1], chosen, BatchNorm::Transductive));
    assert_eq!(tested(3, 0, 10, &format!("transductive-step-{}", best[0])), result);
    assert_eq!(eval("--steps 7 --ways 3")["inner_steps"], 7);
    // Another evaluation is not taken for the run's own.
    assert_eq!(written("test")["inner_steps"], 3);
}

#[test]
fn evaluations_that_a_run_cannot_give_are_refused_with_the_reason() {
    let refused = |options: &str, words: &[&str]| {
        run(trained(), &format!("eval run {options}")).refused(words);
    };
    refused("--ensemble 4", &["3 of its best checkpoints", "checkpoint.keep_best = 4"]);
    refused("--ensemble 2 --checkpoint latest", &["--ensemble", "--checkpoint"]);
    refused("--ensemble 0", &["--ensemble"]);
    refused("--ways 5", &["task.ways = 3", "--set task.ways=5"]);
    refused("--shots 30", &["shots"]);
    refused("--batch-norm none", &["transductive", "support", "both"]);
    let twice = "--steps 2 --set eval.every=2 --set eval.episodes=2 --set checkpoint.keep_best=3";
    let folder = TempDir::new().unwrap();
    run(folder.path(), &format!("train {TINY} {twice} --run-dir run")).ok();
    run(folder.path(), "eval run --ensemble 2").refused(&["1 of its best checkpoints", "eval.every"]);
    let damaged = RunDir::at(&folder.path().join("run")).best_step_file(2);
    fs::write(&damaged, b"damaged").unwrap();
    run(folder.path(), "eval run --ensemble 1").refused(&["best-step-00000002.safetensors", "not usable"]);
}
