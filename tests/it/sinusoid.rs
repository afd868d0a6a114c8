//! Sinusoids, as a user meets them: they train, resume to the same bits, are measured after each inner step and drawn; what
//! needs images is refused.

use crate::common::problems::{exact_gradient_matches_differences, normal};
use crate::common::{TINY, checkpoint, json_lines, run, run_state};
use bilevel::hypergradient::adapt;
use bilevel::stats::{mean, mean_and_ci95};
use bilevel::{Bilevel, Params, Schedule, device};
use burn::tensor::{DType, Device};
use metaburn::config::Config;
use metaburn::data::{Part, SinusoidEpisode, Sinusoids};
use metaburn::model::{Architecture, Mlp, initialise};
use metaburn::run::{RunDir, Saved};
use metaburn::task::{Batch, BatchNorm, FewShot, Loss};
use metaburn::train::{Learner, evaluation_shape};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use tempfile::TempDir;

/// The shipped configuration, in short.
const SINUSOID: &str = "--set task.kind=sinusoid --set task.shots=10 --set task.queries=10 --set inner.rate=0.01 \
                        --set inner.eval_steps=5 --set outer.meta_batch=8 --set outer.rate=0.002 --set eval.every=0 \
                        --set eval.test_episodes=100 --backend flex";

/// A folder with a run, `run`, of a thousand steps, and with one at its start, `untrained`. Tests only read them, and write
/// results.
fn trained() -> &'static Path {
    static TRAINED: OnceLock<TempDir> = OnceLock::new();
    let folder = TRAINED.get_or_init(|| {
        let folder = TempDir::new().unwrap();
        let train = |name: &str, more: &str| {
            run(folder.path(), &format!("train {SINUSOID} --run-dir {name} {more}")).ok();
        };
        train(
            "run",
            "--steps 1000 --set eval.every=250 --set eval.episodes=50 --set checkpoint.keep_best=2 \
               --set checkpoint.every=250 --set checkpoint.keep=9",
        );
        train("untrained", "--steps 1 --set outer.rate=1e-30");
        folder
    });
    folder.path()
}

fn eval(line: &str) -> Value {
    run(trained(), &format!("eval {line} --json")).json()
}

/// The errors of a result after each inner step.
fn errors(result: &Value) -> Vec<f64> {
    let steps = result["errors"].as_array().unwrap();
    steps.iter().map(|step| step["error"].as_f64().unwrap()).collect()
}

/// The learner of the run, and its weights after outer step `step`.
fn learner_at(step: u64) -> (Learner, Params) {
    let path = trained().join("run");
    let (_, config) = RunDir::open(&path).unwrap();
    let learner = Learner::new(&config, device::open(config.backend).unwrap());
    let saved = Saved::read(&checkpoint(&path, step)).unwrap();
    let theta = saved.theta(&learner.leaves(), &learner.opened.device).unwrap();
    (learner, theta)
}

/// A test episode of the run.
fn test_episode(number: u64, shots: usize) -> SinusoidEpisode {
    let (_, config) = RunDir::open(&trained().join("run")).unwrap();
    Sinusoids::new(config.seed).episode(Part::Test, number, shots, evaluation_shape(&config).queries)
}

/// The squared error on `episode` of the mean output of `members` after `steps` inner steps.
fn squared_error(learner: &Learner, members: &[Params], episode: &SinusoidEpisode, steps: usize) -> f64 {
    let problem = learner.regress(std::slice::from_ref(episode));
    let outputs = members.iter().map(|theta| {
        let (fast, _) = adapt(&problem, theta, steps);
        let outputs = problem.problem.query_logits(steps, theta, &fast).into_data();
        outputs.iter::<f64>().collect::<Vec<_>>()
    });
    let outputs: Vec<Vec<f64>> = outputs.collect();
    let squares = episode.query.iter().enumerate().map(|(at, x)| {
        let all: Vec<f64> = outputs.iter().map(|outputs| outputs[at]).collect();
        (mean(&all) - episode.sinusoid.at(*x)).powi(2)
    });
    squares.sum::<f64>() / episode.query.len() as f64
}

#[test]
fn the_exact_gradient_matches_differences() {
    let network = Arc::new(Mlp { batch_norm: false, ..Mlp::new(&[5, 4]) }.build(1, 1).unwrap());
    let leaves = network.leaves();
    let names: Vec<&str> = leaves.iter().map(|leaf| leaf.name.as_str()).collect();
    assert_eq!(
        names,
        ["linear1.weight", "linear1.bias", "linear2.weight", "linear2.bias", "linear.weight", "linear.bias"]
    );
    let set = |seed| {
        let x = normal([3, 6, 1], seed);
        Batch::of_values(&*network, x.clone(), (x - 0.5).sin() * 2)
    };
    let theta = initialise(&*network, 3, &Device::flex());
    let mut seed = 10;
    // With a jitter, so that biases are not at 0.
    let theta = theta.map(|leaf| {
        seed += 1;
        let dims = leaf.dims();
        leaf.cast(DType::F64) + normal(dims, seed) * 0.1
    });
    let problem = FewShot::new(network.clone(), set(1), set(2), 0.05, BatchNorm::Absent);
    let problem = problem.measured_by(Loss::SquaredError);
    exact_gradient_matches_differences(&problem, &theta, 3);
}

#[test]
fn training_lowers_the_error_and_adaptation_lowers_it_further() {
    let (before, after) = (eval("untrained"), eval("run"));
    let last = |result: &Value| result["error"].as_f64().unwrap();
    // A learner that has not seen the family is worse than a constant 0, whose expected error is half the mean squared
    // amplitude: (5³ − 0.1³)/(3·4.9)/2 = 4.25.
    assert!(last(&before) > 2.0, "{before}");
    assert!(last(&after) < 0.6 * last(&before), "{after}\n{before}");
    let errors = errors(&after);
    assert_eq!(errors.len(), 6);
    // After such a short training, only the one inner step that it takes lowers the error for certain.
    assert!(errors[1] < 0.9 * errors[0], "{errors:?}");
}

#[test]
fn the_error_is_the_mean_squared_difference_after_each_inner_step() {
    let result = eval("run --steps 2 --episodes 40 --shots 7");
    assert_eq!([&result["inner_steps"], &result["shots"], &result["episodes"]], [2, 7, 40]);
    assert_eq!(result["part"], "test");
    let name = trained().join("run/results/test-7-shot-10-query-2-inner-steps-40-episodes-step-1000.json");
    let written: Value = serde_json::from_slice(&fs::read(name).unwrap()).unwrap();
    assert_eq!(written, result);

    let (learner, theta) = learner_at(1000);
    let members = [theta];
    for steps in 0..=2 {
        let losses: Vec<f64> = (0..40)
            .map(|number| squared_error(&learner, &members, &test_episode(number, 7), steps))
            .collect();
        let (by_hand, by_hand_ci95) = mean_and_ci95(&losses);
        let step = &result["errors"][steps];
        assert_eq!(step["inner_steps"], steps);
        let close = |value: &Value, by_hand: f64| (value.as_f64().unwrap() - by_hand).abs() < 1e-4 * by_hand;
        assert!(
            close(&step["error"], by_hand) && close(&step["ci95"], by_hand_ci95),
            "{step}, by hand {by_hand} ± {by_hand_ci95}"
        );
    }
    let last = &result["errors"][2];
    assert_eq!([&result["error"], &result["ci95"]], [&last["error"], &last["ci95"]]);
}

#[test]
fn validations_rank_by_error_and_an_ensemble_averages_outputs() {
    let validations: Vec<(f64, u64)> = json_lines(&trained().join("run/metrics.jsonl"))
        .iter()
        .filter(|line| line.get("validation_loss").is_some())
        .map(|line| {
            assert!(line.get("validation_accuracy").is_none() && line["batch_norm"] == "none", "{line}");
            (line["validation_loss"].as_f64().unwrap(), line["step"].as_u64().unwrap())
        })
        .collect();
    assert_eq!(validations.len(), 4);
    let mut best = validations.clone();
    best.sort_by(|a, b| a.0.total_cmp(&b.0));
    let ensemble = eval("run --ensemble 2");
    assert_eq!(ensemble["checkpoints"], serde_json::json!([best[0].1, best[1].1]));
    let (learner, first) = learner_at(best[0].1);
    let members = [first, learner_at(best[1].1).1];
    for (steps, error) in errors(&ensemble).into_iter().enumerate() {
        let by_hand = |members: &[Params]| {
            mean(
                &(0..100)
                    .map(|number| squared_error(&learner, members, &test_episode(number, 10), steps))
                    .collect::<Vec<_>>(),
            )
        };
        let together = by_hand(&members);
        assert!((error - together).abs() < 1e-4 * together, "{error} after {steps}, by hand {together}");
        // The same comparison must be able to fail.
        assert!((error - by_hand(&members[..1])).abs() > 1e-3 * together);
    }
}

#[test]
fn a_run_resumes_to_the_same_bits() {
    let folder = TempDir::new().unwrap();
    for estimator in [
        "estimator.name=exact",
        "estimator.name=first-order",
        "estimator.name=ufom",
        "estimator.name=adaptive --set estimator.costs=counted",
        "estimator.name=step-coins --set estimator.costs=counted",
        "estimator.name=telescoping --set estimator.costs=counted",
        "estimator.name=reptile",
        "estimator.name=implicit --set inner.proximal=0.1",
    ] {
        let name = estimator.split(['=', ' ']).nth(1).unwrap();
        let options = format!(
            "train {SINUSOID} --set {estimator} --set inner.steps=3 --steps 8 --set checkpoint.every=3 --set eval.every=3 \
             --set eval.episodes=4"
        );
        let [whole, torn] = ["whole", "torn"].map(|kind| folder.path().join(format!("{kind}-{name}")));
        for path in [&whole, &torn] {
            run(folder.path(), &format!("{options} --run-dir {}", path.display())).ok();
        }
        for step in [6, 8] {
            fs::remove_file(checkpoint(&torn, step)).unwrap();
        }
        run(folder.path(), &format!("resume {}", torn.display())).ok();
        assert!(run_state(&torn) == run_state(&whole), "{name}");
        let losses: Vec<f64> = json_lines(&whole.join("metrics.jsonl"))
            .iter()
            .filter_map(|line| line["loss"].as_f64())
            .collect();
        assert!(losses.len() == 8 && losses.iter().all(|loss| *loss > 0.0), "{name}: {losses:?}");
    }
}

#[test]
fn threads_change_no_bit() {
    let folder = TempDir::new().unwrap();
    let train = |threads: usize| {
        let name = format!("threads-{threads}");
        run(folder.path(), &format!("train {SINUSOID} --steps 5 --threads {threads} --run-dir {name}")).ok();
        run_state(&folder.path().join(name))
    };
    assert!(train(1) == train(3));
}

#[test]
fn results_are_printed_with_their_interval() {
    let printed = run(trained(), "eval run --steps 3 --episodes 20").ok().stdout;
    for words in [
        "| inner steps | mean squared error | ± 95 % | median |",
        "test error ",
        "after 3 inner steps (20 episodes, 10-shot with 10 queries)",
    ] {
        assert!(printed.contains(words), "{printed}");
    }
    let rows = printed.lines().filter(|line| line.starts_with("| ") && !line.contains("inner steps")).count();
    assert_eq!(rows, 4, "{printed}");
}

#[test]
fn a_report_shows_errors_and_curves_before_and_after_adaptation() {
    run(trained(), "report run --episodes 20 --show 2 --out page.html").ok();
    let page = fs::read_to_string(trained().join("page.html")).unwrap();
    roxmltree::Document::parse_with_options(
        &page,
        roxmltree::ParsingOptions { allow_dtd: true, ..Default::default() },
    )
    .unwrap();
    for words in
        ["Test error", "Curves before and after adaptation", "each of 20 episodes with 10 support points"]
    {
        assert!(page.contains(words), "{words}");
    }
    assert_eq!(page.matches("alt=\"curves of episode").count(), 2);
    assert!(!page.contains("Mistakes") && !page.contains('\u{fffd}'));

    run(trained(), "report run --show 3 --out fitted.svg").ok();
    let figure = fs::read_to_string(trained().join("fitted.svg")).unwrap();
    for words in
        ["the sinusoid", "before adaptation", "after 1 inner step", "after 5 inner steps", "support points"]
    {
        assert!(figure.contains(words), "{words}");
    }
    run(trained(), "plot run --out curves.svg").ok();
    assert!(fs::read_to_string(trained().join("curves.svg")).unwrap().contains("validation error"));
}

#[test]
fn weights_go_to_a_file_and_back() {
    run(trained(), "export run -o learner.safetensors").ok();
    let (first, second) = (eval("run --episodes 20"), {
        run(trained(), "import learner.safetensors --run-dir imported").ok();
        eval("imported --episodes 20")
    });
    assert_eq!(first["errors"], second["errors"]);
}

#[test]
fn what_needs_images_is_refused_with_the_reason() {
    let reason = "task.kind = \"sinusoid\" has none";
    for line in [
        "predict run --support x --query y",
        "data info --set task.kind=sinusoid",
        "data episode --set task.kind=sinusoid",
    ] {
        run(trained(), line).refused(&[reason]);
    }
    let bench = "bench --config A --estimator exact --set task.kind=sinusoid";
    run(trained(), bench).refused(&["has no effect with task.kind = \"sinusoid\""]);
    run(trained(), "eval run --batch-norm both").refused(&["has no batch norm"]);
    for (line, words) in [
        ("eval run --ways 3", "`task.ways` (= 3) has no effect with task.kind = \"sinusoid\""),
        ("eval run --data .", "has no effect with task.kind = \"sinusoid\""),
        ("eval run --set seed=1", "seed"),
    ] {
        run(trained(), line).refused(&[words]);
    }
    for (set, words) in [
        ("data.source=glyphs", "`data.source` (= \"glyphs\") has no effect with task.kind = \"sinusoid\""),
        ("task.ways=3", "`task.ways` (= 3) has no effect with task.kind = \"sinusoid\""),
        ("model.kind=conv4", "`model.kind` = \"conv4\" cannot be combined with task.kind = \"sinusoid\""),
        (
            "model.batch_norm=support",
            "`model.batch_norm` = \"support\" cannot be combined with task.kind = \"sinusoid\"",
        ),
        (
            "inner.head=prototype",
            "`inner.head` = \"prototype\" cannot be combined with task.kind = \"sinusoid\"",
        ),
        ("inner.adapts=all-but-norm", "cannot be combined with model.batch_norm = \"none\""),
    ] {
        let line = format!("train --set task.kind=sinusoid --set {set} --run-dir refused");
        run(trained(), &line).refused(&[words]);
    }
    assert!(!trained().join("refused").exists());
}

#[test]
fn a_sweep_has_a_table_and_a_figure_of_errors() {
    let folder = TempDir::new().unwrap();
    let text = "seeds = [0, 1]\n[set]\ntask.kind = 'sinusoid'\nouter.steps = 40\n[grid]\ninner.rate = [0.001, 0.01]\n";
    fs::write(folder.path().join("sweep-rates.toml"), text).unwrap();
    let line = "sweep sweep-rates.toml --backend flex --set eval.every=20 --set eval.episodes=4 --set eval.test_episodes=6";
    let swept = run(folder.path(), &format!("{line} --json")).json();
    for setting in swept["settings"].as_array().unwrap() {
        let errors: Vec<f64> =
            setting["errors"].as_array().unwrap().iter().map(|error| error.as_f64().unwrap()).collect();
        assert!(errors.len() == 2 && errors.iter().all(|error| *error > 0.0), "{setting}");
        assert!((setting["mean"].as_f64().unwrap() - (errors[0] + errors[1]) / 2.0).abs() < 1e-9);
        assert_eq!((&setting["accuracies"], &setting["episodes"]), (&Value::Null, &6.into()));
    }
    let out = folder.path().join("checkpoints/sweep-rates");
    let table = fs::read_to_string(out.join("table.csv")).unwrap();
    assert!(table.starts_with("setting,inner.rate,test error,"), "{table}");
    assert!(fs::read_to_string(out.join("figure.svg")).unwrap().contains("validation error"));
    let listed = run(folder.path(), &format!("{line} --list")).ok().stdout;
    assert_eq!(listed.matches(": test error ").count(), 4, "{listed}");
    // Nothing is trained again.
    assert!(!run(folder.path(), line).ok().stderr.contains("run 1 of"));

    let mixed = "outer.steps = 1\n[[run]]\nname = 'curve'\ntask.kind = 'sinusoid'\n[[run]]\nname = 'image'\n";
    fs::write(folder.path().join("mixed.toml"), format!("[base]\n{mixed}")).unwrap();
    run(folder.path(), "sweep mixed.toml")
        .refused(&["curve-seed-0 has an error", "image-seed-0 has an accuracy"]);
}

#[test]
fn a_run_is_trained_longer_and_its_test_before_is_kept() {
    let folder = TempDir::new().unwrap();
    run(folder.path(), &format!("train {SINUSOID} --steps 20 --run-dir run")).ok();
    let longer = run(folder.path(), "resume run --steps 60 --json").json();
    assert_eq!((&longer["steps"], &longer["seed"]), (&60.into(), &0.into()));
    let results = crate::common::names(&folder.path().join("run/results"));
    assert_eq!(results, ["test-10-shot-10-query-5-inner-steps-100-episodes-step-20.json", "test.json"]);
    run(folder.path(), "resume run --set task.shots=5").refused(&["task.shots"]);
    let other = run(folder.path(), "eval run --shots 5 --queries 30 --episodes 7 --json").json();
    assert_eq!([&other["shots"], &other["queries"], &other["episodes"]], [5, 30, 7]);
}

#[test]
fn an_adaptation_that_diverges_has_no_error_and_is_never_the_best() {
    let folder = TempDir::new().unwrap();
    // Each inner step is far too large. Training takes one.
    let wild = SINUSOID.replace("inner.rate=0.01", "inner.rate=10").replace("eval_steps=5", "eval_steps=200");
    let validating = wild.replace("eval.every=0", "eval.every=1 --set eval.episodes=3");
    let ran = run(folder.path(), &format!("train {validating} --steps 1 --set outer.clip=1 --run-dir run"));
    assert_eq!((ran.code, &*ran.stdout), (Some(2), ""), "{ran:?}");
    for words in [
        "validation episodes diverged after outer step 1",
        "step 1: no validation error (",
        "of 100 episodes diverged: after 200 inner steps",
        "there is no mean squared error",
    ] {
        assert!(ran.stderr.contains(words), "{words}: {}", ran.stderr);
    }
    let lines = json_lines(&folder.path().join("run/metrics.jsonl"));
    let validation = lines.iter().find(|line| line.get("validation_loss").is_some()).expect("a validation");
    assert!(validation["validation_loss"].is_null() && validation["diverged_episodes"].as_u64() > Some(0));
    run(folder.path(), "eval run --checkpoint best").refused(&["not been validated"]);
    let saved: Value =
        serde_json::from_slice(&fs::read(folder.path().join("run/results/test.json")).unwrap()).unwrap();
    assert!(saved["error"].is_null() && saved["errors"][0]["error"].is_number(), "{saved}");
    for line in ["report run --episodes 4", "report run -o curves.svg", "eval run --episodes 4"] {
        let refused = run(folder.path(), line);
        assert_eq!(refused.code, Some(2), "{refused:?}");
        assert!(refused.stderr.contains("no mean squared error"), "{refused:?}");
    }
    assert!(!folder.path().join("run/report.html").exists() && !folder.path().join("curves.svg").exists());
    run(folder.path(), "eval run --steps 0").ok();
}

#[test]
fn init_writes_a_configuration_that_trains() {
    let folder = TempDir::new().unwrap();
    run(folder.path(), "init sine.toml --source sinusoid").ok();
    let line = "train sine.toml --steps 2 --set eval.test_episodes=4 --backend flex --run-dir run --json";
    let trained = run(folder.path(), line).json();
    assert_eq!(
        (&trained["shots"], &trained["inner_steps"], &trained["queries"]),
        (&10.into(), &10.into(), &100.into())
    );
}

#[test]
fn images_can_be_classified_without_batch_norm() {
    let folder = TempDir::new().unwrap();
    let options = "--set model.kind=mlp --set model.hidden=[8] --set model.batch_norm=none --set outer.meta_batch=2 \
                   --set data.image_size=14 --set eval.every=0 --set eval.test_episodes=4 --set inner.rate=0.1 --backend flex";
    let trained = run(folder.path(), &format!("train {options} --steps 3 --run-dir run --json")).json();
    assert_eq!(trained["batch_norm"], "none");
    run(folder.path(), "data episode --set data.image_size=14 --out sample").ok();
    let predicted =
        run(folder.path(), "predict run --support sample/support --query sample/query --json").json();
    assert_eq!(
        (&predicted["batch_norm"], predicted["predictions"].as_array().unwrap().len()),
        (&"none".into(), 25)
    );
    run(folder.path(), "eval run --batch-norm support").refused(&["has no batch norm"]);
    let conv4 = format!("train {TINY} --set model.batch_norm=none --run-dir other");
    run(folder.path(), &conv4).refused(&["only an \"mlp\" can do without batch norm"]);
}

#[test]
fn the_shipped_configuration_is_that_of_the_paper() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/sinusoid.toml");
    let config = Config::load(Some(&file), &[]).unwrap();
    assert_eq!((config.task.shots, config.inner.steps, config.inner.eval_steps), (10, 1, 10));
    assert_eq!((config.inner.rate, config.outer.rate, config.outer.meta_batch), (0.01, 0.001, 25));
    assert_eq!(config.outer.schedule, Schedule::Constant);
    let learner = Learner::new(&config, device::open(device::Backend::Flex).unwrap());
    // 1·40 + 40, 40·40 + 40, 40·1 + 1.
    assert_eq!(learner.fast_weights(), 80 + 1640 + 41);
    let episode = Sinusoids::new(0).episode(Part::Train, 0, 10, 10);
    assert_eq!(learner.regress(&[episode.clone(), episode]).tasks(), 2);
}
