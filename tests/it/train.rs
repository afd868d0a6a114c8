//! `metaburn train` and `metaburn eval`: what they print and which files they write.

use crate::common::{IMAGES, Outcome, TINY, checkpoint, folder_with_images, json_lines, names, run};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tempfile::TempDir;

/// Trains a tiny run in `folder/NAME` on the images in `folder`, with `more` arguments.
fn train(folder: &Path, name: &str, more: &str) -> Outcome {
    run(folder, &format!("train {IMAGES} {TINY} --run-dir {name} --json {more}"))
}

/// The records of outer steps, without those of validations.
fn steps(run: &Path) -> Vec<Value> {
    let mut records = json_lines(&run.join("metrics.jsonl"));
    records.retain(|record| record.get("loss").is_some());
    records
}

fn numbers(records: &[Value], key: &str) -> Vec<u64> {
    records.iter().map(|record| record[key].as_u64().expect(key)).collect()
}

#[test]
fn a_run_prints_one_json_object_and_writes_its_record() {
    let folder = TempDir::new().unwrap();
    let line = format!("train {TINY} --steps 6 --set inner.steps=2 --run-dir run --json");
    let ran = run(folder.path(), &line).ok();
    assert!(ran.stderr.contains("run directory run") && ran.stderr.contains("testing on 4 episodes"));

    let result = ran.json();
    let number = |key: &str| result[key].as_f64().expect(key);
    assert!((0.0..=100.0).contains(&number("test_accuracy")));
    assert!(number("ci95") >= 0.0 && number("seconds") > 0.0);
    assert_eq!((&result["episodes"], &result["steps"]), (&4.into(), &6.into()));
    // Meta-batches of 2, each task with 2 inner gradients, 1 outer gradient and 2 products.
    assert_eq!(result["gradient_evaluations"], 6 * 2 * (2 + 1 + 2));
    assert_eq!(result["batch_norm"], "transductive");

    let run = folder.path().join("run");
    assert_eq!(numbers(&steps(&run), "step"), [1, 2, 3, 4, 5, 6]);
    assert_eq!(numbers(&steps(&run), "gradient_evaluations"), [10, 20, 30, 40, 50, 60]);
    assert_eq!(numbers(&json_lines(&run.join("clock.jsonl")), "step"), [1, 2, 3, 4, 5, 6]);
    assert!(checkpoint(&run, 6).is_file() && run.join("config.toml").is_file());
    let kept: Value = serde_json::from_slice(&fs::read(run.join("results/test.json")).unwrap()).unwrap();
    assert_eq!(kept, result);
}

#[test]
fn without_json_the_result_is_one_sentence() {
    let folder = folder_with_images();
    let line = format!("train {IMAGES} {TINY} --steps 2 --set model.batch_norm=support");
    let stdout = run(folder.path(), &line).ok().stdout;
    assert_eq!(stdout.lines().count(), 1);
    for part in [
        "test accuracy",
        "4 episodes, 2-way 1-shot with 2 queries a class, batch norm support",
        "after 2 outer steps",
        "12 gradient",
    ] {
        assert!(stdout.contains(part), "{stdout}");
    }
}

#[test]
fn runs_without_run_dir_are_numbered() {
    let folder = folder_with_images();
    for _ in 0..2 {
        run(folder.path(), &format!("train {IMAGES} {TINY} --steps 1")).ok();
    }
    let found = names(&folder.path().join("checkpoints"));
    assert_eq!(found, ["folder-2way-1shot-exact-001", "folder-2way-1shot-exact-002"]);
}

#[test]
fn training_from_the_resolved_configuration_gives_the_same_record() {
    let folder = folder_with_images();
    let more = "--steps 5 --set seed=3 --set estimator.name=ufom --set eval.every=2 --set eval.episodes=3";
    let first = train(folder.path(), "first", more).json();
    let second = run(folder.path(), "train first/config.toml --run-dir second --json").json();
    for key in ["test_accuracy", "ci95", "loss", "gradient_evaluations"] {
        assert_eq!(first[key], second[key], "{key}");
    }
    for file in ["metrics.jsonl", "config.toml"] {
        let read = |run: &str| fs::read_to_string(folder.path().join(run).join(file)).unwrap();
        assert_eq!(read("first"), read("second"), "{file}");
    }
}

#[test]
fn a_budget_of_evaluations_ends_with_the_step_that_reaches_it() {
    let folder = folder_with_images();
    let result = train(folder.path(), "run", "--set outer.evaluations=50").json();
    // 6 a step: 48 after 8 steps are not enough.
    assert_eq!((&result["steps"], &result["gradient_evaluations"]), (&9.into(), &54.into()));
    assert_eq!(steps(&folder.path().join("run")).len(), 9);
}

#[test]
fn first_order_truncated_and_exact_cost_the_expected_evaluations() {
    let folder = folder_with_images();
    for (estimator, products) in
        [("first-order", 0), ("truncated --set estimator.truncate=2", 2), ("exact", 3)]
    {
        let name = estimator.split(' ').next().unwrap();
        let more = format!("--steps 4 --set inner.steps=3 --set estimator.name={estimator}");
        let result = train(folder.path(), name, &more).json();
        assert_eq!(result["gradient_evaluations"], 4 * 2 * (3 + 1 + products), "{name}");
    }
}

#[test]
fn adaptive_ufom_records_its_statistics_at_every_step() {
    let folder = folder_with_images();
    let more = "--steps 40 --set inner.steps=3 --set estimator.name=adaptive --set estimator.floor=0.3";
    train(folder.path(), "run", more).json();
    let records = steps(&folder.path().join("run"));
    assert_eq!(records[0]["q"], 0.3);
    assert_eq!((&records[0]["exact_second_moment"], &records[0]["exact_draws"]), (&Value::Null, &0.into()));
    let last = records.last().unwrap();
    for key in ["q", "exact_second_moment", "error_second_moment", "cost_fixed", "cost_random"] {
        assert!(last[key].as_f64().expect(key) > 0.0, "{key}: {last}");
    }
    let exact = records[..39].iter().filter(|record| record["products"] != 0).count();
    assert_eq!(last["exact_draws"], exact);
}

#[test]
fn step_coins_skip_products_of_single_inner_steps() {
    let folder = folder_with_images();
    let more = "--steps 12 --set inner.steps=3 --set estimator.name=step-coins --set estimator.p=0.5";
    let result = train(folder.path(), "run", more).json();
    let products = numbers(&steps(&folder.path().join("run")), "products");
    assert_eq!(result["gradient_evaluations"], 12 * 2 * (3 + 1) + products.iter().sum::<u64>());
    assert!(products.iter().any(|products| !products.is_multiple_of(3)), "{products:?}");
    assert!(products.iter().all(|products| *products <= 6), "{products:?}");
}

#[test]
fn ufom_takes_all_or_no_products_by_its_coins() {
    let folder = folder_with_images();
    let products = |coin: &str| {
        let ufom = format!("--set estimator.name=ufom --set estimator.q=0.5 --set estimator.coin={coin}");
        let more = format!("--steps 8 --set inner.steps=3 --set outer.meta_batch=4 {ufom}");
        let result = train(folder.path(), coin, &more).json();
        let products = numbers(&steps(&folder.path().join(coin)), "products");
        let all: u64 = products.iter().sum();
        assert_eq!(result["gradient_evaluations"], 8 * 4 * (3 + 1) + all);
        products
    };
    let by_step = products("step");
    assert!(by_step.iter().all(|products| [0, 12].contains(products)), "{by_step:?}");
    assert!(by_step.contains(&0) && by_step.contains(&12), "{by_step:?}");
    let stratified = products("stratified");
    assert!(stratified.iter().all(|products| *products == 6), "{stratified:?}");
    let by_task = products("task");
    assert!(by_task.iter().all(|products| products.is_multiple_of(3) && *products <= 12), "{by_task:?}");
    assert!(by_task.iter().any(|products| ![0, 12].contains(products)), "{by_task:?}");
}

#[test]
fn optimizers_give_different_trajectories() {
    let folder = folder_with_images();
    let optimizers = [
        ("sgd", "sgd"),
        ("momentum", "sgd --set outer.momentum=0.9"),
        ("adam", "adam"),
        ("adamw", "adamw --set outer.weight_decay=0.5"),
    ];
    let losses = optimizers.map(|(name, optimizer)| {
        let more = format!("--steps 4 --set outer.rate=0.01 --set outer.optimizer={optimizer}");
        train(folder.path(), name, &more).ok();
        let losses: Vec<f64> =
            steps(&folder.path().join(name)).iter().map(|step| step["loss"].as_f64().unwrap()).collect();
        assert_eq!(losses.len(), 4);
        losses
    });
    for (index, these) in losses.iter().enumerate() {
        assert_eq!(these[0], losses[0][0], "all begin at the same θ");
        assert!(losses[..index].iter().all(|others| others[2] != these[2]), "{losses:?}");
    }
}

#[test]
fn a_perceptron_with_support_batch_norm_trains() {
    let folder = folder_with_images();
    // TINY has keys of the convolutional network, which do not go with this one.
    let line = "train --set model.kind=mlp --set model.hidden=[8,6] --set model.batch_norm=support \
                --set data.image_size=14 --set task.queries=2 --set outer.meta_batch=2 --set eval.every=0 \
                --set eval.test_episodes=4 --backend flex --steps 3 --run-dir run --json";
    let result = run(folder.path(), &format!("{line} {IMAGES}")).json();
    assert_eq!((&result["batch_norm"], &result["steps"]), (&"support".into(), &3.into()));
    assert_eq!(run(folder.path(), "eval run --json").json(), result);
}

#[test]
fn eval_reproduces_the_accuracy_of_training() {
    let folder = folder_with_images();
    let more = "--steps 4 --set eval.every=2 --set eval.episodes=3 --set eval.test_episodes=40";
    let trained = train(folder.path(), "run", more).json();
    assert_eq!(run(folder.path(), "eval run --json").json(), trained);

    let validation = run(folder.path(), "eval run --split validation --episodes 3 --json").json();
    assert_eq!(validation["episodes"], 3);
    let records = json_lines(&folder.path().join("run/metrics.jsonl"));
    assert_eq!(validation["validation_accuracy"], records[5]["validation_accuracy"]);
    let rest = "2-way 1-shot 2-query 3-inner-steps";
    let [test, validation] = [("test", 40), ("validation", 3)].map(|(part, episodes)| {
        let name = format!("{part} {rest} {episodes}-episodes batch-norm-transductive step-4.json");
        name.replace(' ', "-")
    });
    assert_eq!(names(&folder.path().join("run/results")), [&test, "test.json", &validation]);

    let best = run(folder.path(), "eval run --checkpoint best --split validation --episodes 3 --json").json();
    let accuracy = |record: &Value| record["validation_accuracy"].as_f64().unwrap();
    assert_eq!(accuracy(&best), accuracy(&records[2]).max(accuracy(&records[5])));
}

#[test]
fn the_latest_checkpoints_and_the_best_one_are_kept() {
    let folder = folder_with_images();
    let more = "--steps 6 --set checkpoint.every=1 --set checkpoint.keep=2";
    train(folder.path(), "plain", more).ok();
    let found = names(&folder.path().join("plain/checkpoints"));
    assert_eq!(found, ["step-00000005.safetensors", "step-00000006.safetensors"]);

    train(folder.path(), "validated", &format!("{more} --set eval.every=2 --set eval.episodes=2")).ok();
    let run = folder.path().join("validated");
    let found = names(&run.join("checkpoints"));
    assert_eq!(found, ["best.safetensors", "step-00000005.safetensors", "step-00000006.safetensors"]);
    let records = json_lines(&run.join("metrics.jsonl"));
    assert_eq!(numbers(&records, "step"), [1, 2, 2, 3, 4, 4, 5, 6, 6]);
}

#[test]
fn files_of_a_run_have_the_default_permissions() {
    let folder = folder_with_images();
    train(folder.path(), "run", "--steps 1").ok();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
    let image = folder.path().join("images/class0/0.png");
    let cache = folder.path().join("datasets/.cache");
    let cached = cache.join(&names(&cache)[0]);
    let run = folder.path().join("run");
    let written =
        ["metrics.jsonl", "config.toml", "results/test.json", "checkpoints/step-00000001.safetensors"];
    for path in written.map(|name| run.join(name)).iter().chain([&cached]) {
        // This process wrote the image, with the default permissions.
        assert_eq!(mode(path), mode(&image), "{}", path.display());
    }
}
