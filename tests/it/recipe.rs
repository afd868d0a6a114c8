//! The parts of MAML++'s recipe and heads for any number of classes, as a user meets them: they train, resume to the same
//! bits, are evaluated and exported.

use crate::common::{TINY, checkpoint, json_lines, run};
use metaburn::support::archive::Archive;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// Every part at once.
const RECIPE: &str = "--set model.pool=max --set model.bias=true --set model.blocks=3 --set model.negative_slope=0.01 \
                      --set model.init=xavier --set inner.steps=3 --set inner.rates=per-tensor-and-step \
                      --set inner.rate_floor=0.39 --set inner.rates_learning_rate=0.01 --set inner.adapts=all-but-norm \
                      --set inner.norm_per_step=true --set inner.eval_steps=5 --set estimator.name=step-coins \
                      --set estimator.costs=counted --set outer.losses=all --set outer.losses_until=5 \
                      --set outer.final_rate=1e-5 --set outer.warmup=2 --set data.rotations=episode --set data.shift=1";

fn result(folder: &Path, line: &str) -> serde_json::Value {
    run(folder, line).json()
}

#[test]
fn a_run_with_the_whole_recipe_resumes_to_the_same_bits() {
    let folder = TempDir::new().unwrap();
    let train = |name: &str, more: &str| {
        run(folder.path(), &format!("train {TINY} {RECIPE} --run-dir {name} {more}")).ok();
    };
    train("whole", "--steps 8");
    train("parts", "--steps 8 --set checkpoint.every=3");
    // The run is cut back to its third step, and goes on from there.
    for step in [6, 8] {
        fs::remove_file(checkpoint(&folder.path().join("parts"), step)).unwrap();
    }
    run(folder.path(), "resume parts").ok();
    let metrics = |name: &str| fs::read(folder.path().join(name).join("metrics.jsonl")).unwrap();
    assert_eq!(metrics("whole"), metrics("parts"));

    // Three inner and three outer gradients of each of two tasks until step 5, then one outer gradient.
    let records = json_lines(&folder.path().join("whole/metrics.jsonl"));
    let cost = |step: usize| {
        let number = |key: &str| records[step - 1][key].as_u64().unwrap();
        let before = if step == 1 { 0 } else { records[step - 2]["gradient_evaluations"].as_u64().unwrap() };
        number("gradient_evaluations") - before - number("products")
    };
    assert_eq!([1, 5, 6, 8].map(cost), [12, 12, 8, 8]);

    let theta = Archive::read(&checkpoint(&folder.path().join("whole"), 8)).unwrap();
    let shape = |name: &str| theta.get(name).unwrap().0.to_vec();
    assert_eq!(shape("theta.bn2.weight"), [3, 4], "a row for each inner step");
    assert_eq!(shape("rate.conv2.weight"), [3], "a rate for each inner step");
    assert!(!theta.contains("rate.bn2.weight"), "batch norm does not adapt");
    let rates =
        theta.flat("rate.conv2.bias", &[3], (&burn::tensor::Device::flex(), burn::tensor::DType::F32));
    let rates: Vec<f32> = rates.unwrap().into_data().iter().collect();
    assert!(rates.iter().all(|rate| *rate >= 0.39), "{rates:?}");
}

#[test]
fn only_the_head_adapts_until_the_step_that_is_named() {
    let folder = TempDir::new().unwrap();
    let recipe = "--set inner.steps=3 --set inner.rates=per-tensor-and-step --set inner.head=shared";
    let train = |name: &str, more: &str| {
        run(folder.path(), &format!("train {TINY} {recipe} --run-dir {name} {more}")).ok();
        json_lines(&folder.path().join(name).join("metrics.jsonl"))
    };
    let losses = |records: &[serde_json::Value]| -> Vec<f64> {
        records.iter().filter_map(|record| record["loss"].as_f64()).collect()
    };
    let both = "--set inner.adapts=all-but-norm --set inner.head_only_until=3";
    let changing = losses(&train("changing", &format!("--steps 6 {both}")));
    let head = losses(&train("head", "--steps 6 --set inner.adapts=head"));
    assert_eq!(changing[..3], head[..3]);
    assert_ne!(changing[3], head[3], "from the fourth step on, all weights adapt");

    // A run that is cut back to before the change goes on to the same bits.
    train("parts", &format!("--steps 6 --set checkpoint.every=2 {both}"));
    for step in [4, 6] {
        fs::remove_file(checkpoint(&folder.path().join("parts"), step)).unwrap();
    }
    run(folder.path(), "resume parts").ok();
    let metrics = |name: &str| fs::read(folder.path().join(name).join("metrics.jsonl")).unwrap();
    assert_eq!(metrics("parts"), metrics("changing"));

    let refused = run(folder.path(), &format!("train {TINY} {both} --set estimator.name=reptile --steps 1"));
    refused.refused(&["inner.head_only_until", "it moves no weight"]);
    let refused = run(
        folder.path(),
        &format!("train {TINY} {both} --set inner.adapts=head --set inner.head_only_until=3 --steps 1"),
    );
    refused.refused(&["inner.head_only_until", "only the head adapts at any time"]);
}

#[test]
fn an_adaptive_estimator_begins_anew_when_all_weights_adapt() {
    let folder = TempDir::new().unwrap();
    let settings = "--set inner.steps=3 --set inner.rate=0.01 --set estimator.name=step-coins --set estimator.costs=counted";
    run(
        folder.path(),
        &format!("train {TINY} {settings} --set inner.head_only_until=20 --set outer.meta_batch=4 --steps 24 --run-dir run"),
    )
    .ok();
    let records = json_lines(&folder.path().join("run/metrics.jsonl"));
    let certain = |record: &serde_json::Value| {
        record["p"].as_array().unwrap().iter().all(|probability| probability.as_f64() == Some(1.0))
    };
    assert!(!certain(&records[19]), "{}", records[19]);
    assert!(certain(&records[20]), "{}", records[20]);
}

#[test]
fn heads_for_any_number_of_classes_are_evaluated_and_used_with_others() {
    for head in ["prototype", "shared"] {
        let folder = TempDir::new().unwrap();
        let train =
            format!("train {TINY} --steps 3 --set task.ways=3 --set inner.head={head} --run-dir run --json");
        let trained = result(folder.path(), &train);
        // Two tasks: inner, outer and product, and the pass for the prototypes.
        let per_task = if head == "prototype" { 4 } else { 3 };
        assert_eq!(trained["gradient_evaluations"], 3 * 2 * per_task);
        for ways in [2, 3, 7] {
            let line = format!("eval run --ways {ways} --json");
            assert_eq!(result(folder.path(), &line)["ways"], ways, "{head}");
        }
        run(folder.path(), "data episode --set task.ways=7 --out sample").ok();
        let line = "predict run --support sample/support --query sample/query --json";
        let predicted = result(folder.path(), line);
        assert_eq!(predicted["classes"].as_array().unwrap().len(), 7, "{head}");
    }
}

#[test]
fn a_learner_trained_on_more_classes_is_validated_and_tested_on_fewer() {
    let folder = TempDir::new().unwrap();
    let train = format!(
        "train {TINY} --steps 4 --set task.ways=9 --set inner.head=prototype --set eval.ways=3 --set eval.shots=2 \
         --set eval.every=2 --set data.validation=4 --run-dir run --json"
    );
    // Four validation classes, fewer than those of a training episode.
    let trained = result(folder.path(), &train);
    assert_eq!((&trained["ways"], &trained["shots"]), (&3.into(), &2.into()), "{trained}");
    let measured = result(folder.path(), "eval run --json");
    assert_eq!((&measured["ways"], &measured["shots"]), (&3.into(), &2.into()), "{measured}");
    let measured = result(folder.path(), "eval run --ways 4 --shots 1 --json");
    assert_eq!((&measured["ways"], &measured["shots"]), (&4.into(), &1.into()), "{measured}");
    run(folder.path(), "eval run --set task.ways=4").refused(&["--set task.ways", "eval.ways", "use --ways"]);
    run(folder.path(), "eval run --set task.shots=4").refused(&[
        "--set task.shots",
        "eval.shots",
        "use --shots",
    ]);
    run(folder.path(), "resume run --steps 5").ok();

    run(
        folder.path(),
        &format!("train {TINY} --steps 1 --set task.ways=9 --set inner.head=prototype --run-dir nine"),
    )
    .ok();
    let compared = run(folder.path(), "compare run nine --out a.svg").ok();
    assert!(compared.stderr.contains("eval.ways is 3 (run), 9 (nine)"), "{}", compared.stderr);
    assert!(compared.stderr.contains("eval.shots is 2 (run), 1 (nine)"), "{}", compared.stderr);
    assert!(!compared.stderr.contains("task.ways"), "{}", compared.stderr);
}

#[test]
fn a_prototypical_network_trains_without_inner_steps() {
    let folder = TempDir::new().unwrap();
    let train = format!(
        "train {TINY} --steps 150 --set task.ways=3 --set inner.head=prototype --set inner.steps=0 --set outer.rate=0.01 \
         --run-dir run --json"
    );
    let trained = result(folder.path(), &train);
    assert_eq!(trained["gradient_evaluations"], 150 * 2 * 2, "prototypes and the outer loss");
    let losses: Vec<f64> = json_lines(&folder.path().join("run/metrics.jsonl"))
        .iter()
        .filter_map(|record| record["loss"].as_f64())
        .collect();
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    assert!(mean(&losses[100..]) < 0.9 * mean(&losses[..10]), "{losses:?}");
}
