//! `metaburn train` and `metaburn eval`: what they print and what they leave on disk.

mod common;

use common::{IMAGES, Ran, TINY, checkpoint, folder_with_images, lines, names, run};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tempfile::TempDir;

/// A tiny run in `folder/NAME`, on the images there, with `more` arguments.
fn train(folder: &Path, name: &str, more: &str) -> Ran {
    run(folder, &format!("train {IMAGES} {TINY} --run-dir {name} --json {more}"))
}

/// The records of the outer steps that a run took, without those of validations.
fn steps(run: &Path) -> Vec<Value> {
    let mut records = lines(&run.join("metrics.jsonl"));
    records.retain(|record| record.get("loss").is_some());
    records
}

fn numbers(records: &[Value], key: &str) -> Vec<u64> {
    records.iter().map(|record| record[key].as_u64().expect(key)).collect()
}

#[test]
fn a_run_on_glyphs_prints_one_json_object_and_leaves_its_record() {
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
    assert_eq!(numbers(&lines(&run.join("clock.jsonl")), "step"), [1, 2, 3, 4, 5, 6]);
    assert!(checkpoint(&run, 6).is_file() && run.join("config.toml").is_file());
    let kept: Value = serde_json::from_slice(&fs::read(run.join("results/test.json")).unwrap()).unwrap();
    assert_eq!(kept, result);
}

#[test]
fn for_people_the_result_is_one_sentence() {
    let folder = folder_with_images();
    let line = format!("train {IMAGES} {TINY} --steps 2 --set model.batch_norm=support");
    let stdout = run(folder.path(), &line).ok().stdout;
    assert_eq!(stdout.lines().count(), 1);
    for part in [
        "test accuracy",
        "4 episodes, 2-way 1-shot, batch norm support",
        "after 2 outer steps",
        "12 gradient",
    ] {
        assert!(stdout.contains(part), "{stdout}");
    }
}

#[test]
fn runs_without_a_directory_of_their_own_are_numbered() {
    let folder = folder_with_images();
    for _ in 0..2 {
        run(folder.path(), &format!("train {IMAGES} {TINY} --steps 1")).ok();
    }
    let found = names(&folder.path().join("checkpoints"));
    assert_eq!(found, ["folder-2way-1shot-exact-001", "folder-2way-1shot-exact-002"]);
}

#[test]
fn the_resolved_configuration_trains_again_to_the_same_record() {
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
fn a_budget_of_gradient_evaluations_ends_with_the_step_that_reaches_it() {
    let folder = folder_with_images();
    let result = train(folder.path(), "run", "--set outer.evaluations=50").json();
    // 6 a step: 48 after 8 steps is too little.
    assert_eq!((&result["steps"], &result["gradient_evaluations"]), (&9.into(), &54.into()));
    assert_eq!(steps(&folder.path().join("run")).len(), 9);
}

#[test]
fn biased_estimators_and_the_exact_one_cost_what_they_should() {
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
fn adaptive_ufom_records_what_it_knows_at_every_step() {
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
fn step_coins_take_products_step_by_step() {
    let folder = folder_with_images();
    let more = "--steps 12 --set inner.steps=3 --set estimator.name=step-coins --set estimator.p=0.5";
    let result = train(folder.path(), "run", more).json();
    let products = numbers(&steps(&folder.path().join("run")), "products");
    assert_eq!(result["gradient_evaluations"], 12 * 2 * (3 + 1) + products.iter().sum::<u64>());
    assert!(products.iter().any(|products| !products.is_multiple_of(3)), "{products:?}");
    assert!(products.iter().all(|products| *products <= 6), "{products:?}");
}

#[test]
fn ufom_takes_products_when_its_coins_come_up() {
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
fn every_optimizer_takes_its_own_way() {
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
fn a_multilayer_perceptron_with_batch_norm_of_the_support_images_trains() {
    let folder = folder_with_images();
    // The network's own keys, so that the tiny convolution's are not in the way.
    let line = "train --set model.kind=mlp --set model.hidden=[8,6] --set model.batch_norm=support \
                --set data.image_size=14 --set task.queries=2 --set outer.meta_batch=2 --set eval.every=0 \
                --set eval.test_episodes=4 --backend flex --steps 3 --run-dir run --json";
    let result = run(folder.path(), &format!("{line} {IMAGES}")).json();
    assert_eq!((&result["batch_norm"], &result["steps"]), (&"support".into(), &3.into()));
    assert_eq!(run(folder.path(), "eval run --json").json(), result);
}

#[test]
fn eval_finds_again_what_training_measured() {
    let folder = folder_with_images();
    let more = "--steps 4 --set eval.every=2 --set eval.episodes=3 --set eval.test_episodes=40";
    let trained = train(folder.path(), "run", more).json();
    assert_eq!(run(folder.path(), "eval run --json").json(), trained);

    let validation = run(folder.path(), "eval run --split validation --episodes 3 --json").json();
    assert_eq!(validation["episodes"], 3);
    let records = lines(&folder.path().join("run/metrics.jsonl"));
    assert_eq!(validation["validation_accuracy"], records[5]["validation_accuracy"]);
    assert_eq!(names(&folder.path().join("run/results")), ["test.json", "validation.json"]);

    let best = run(folder.path(), "eval run --checkpoint best --split validation --episodes 3 --json").json();
    let accuracy = |record: &Value| record["validation_accuracy"].as_f64().unwrap();
    assert_eq!(accuracy(&best), accuracy(&records[2]).max(accuracy(&records[5])));
}

#[test]
fn only_the_latest_checkpoints_are_kept_and_the_best_one() {
    let folder = folder_with_images();
    let more = "--steps 6 --set checkpoint.every=1 --set checkpoint.keep=2";
    train(folder.path(), "plain", more).ok();
    let found = names(&folder.path().join("plain/checkpoints"));
    assert_eq!(found, ["step-00000005.safetensors", "step-00000006.safetensors"]);

    train(folder.path(), "validated", &format!("{more} --set eval.every=2 --set eval.episodes=2")).ok();
    let run = folder.path().join("validated");
    let found = names(&run.join("checkpoints"));
    assert_eq!(found, ["best.safetensors", "step-00000005.safetensors", "step-00000006.safetensors"]);
    let records = lines(&run.join("metrics.jsonl"));
    assert_eq!(numbers(&records, "step"), [1, 2, 2, 3, 4, 4, 5, 6, 6]);
}

#[test]
fn all_that_a_run_leaves_can_be_read_by_whoever_can_read_the_folder() {
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
        // This process made the image, with the permissions that the user wants of new files.
        assert_eq!(mode(path), mode(&image), "{}", path.display());
    }
}
