//! The Omniglot study: its accuracies are those that `eval` measures, and more can be added to it later.

use crate::common::{names, run};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// Tiny runs on the built-in characters.
const STUDY: &str = "study omniglot --quick --set data.source=glyphs --set data.image_size=14 --set model.blocks=3 --set model.filters=4 \
                     --set outer.meta_batch=2 --set eval.every=2 --set eval.episodes=4 --set eval.test_episodes=6 --backend flex \
                     --out out";

fn record(folder: &Path, name: &str) -> Value {
    let text = fs::read(folder.join(format!("out/records/{name}.json"))).unwrap();
    serde_json::from_slice::<Value>(&text).unwrap()["record"].take()
}

#[test]
fn accuracies_are_those_of_eval_and_runs_can_be_added() {
    let folder = TempDir::new().unwrap();
    let first = format!("{STUDY} --set outer.steps=4 --settings 5w1s --methods recipe,first-order");
    let told = run(folder.path(), &format!("{first} --json")).json();
    let claims = told["claims"].as_array().unwrap();
    assert_eq!(claims.len(), 1, "the recipe's accuracy: {claims:?}");
    let done: BTreeSet<String> = names(&folder.path().join("out/records")).into_iter().collect();
    let of = |names: &[&str]| names.iter().map(|name| format!("{name}.json")).collect::<BTreeSet<_>>();
    assert_eq!(done, of(&["5w1s-recipe-seed-0", "5w1s-first-order-seed-0"]));

    for name in ["5w1s-recipe-seed-0", "5w1s-first-order-seed-0"] {
        let record = record(folder.path(), name);
        assert_eq!((&record["steps"], record["validations"].as_array().unwrap().len()), (&4.into(), 2));
        let tests = record["tests"].as_array().unwrap();
        assert_eq!(tests.len(), 2);
        for (test, (which, episodes)) in tests.iter().zip([("--checkpoint best", 6), ("--ensemble 2", 2)]) {
            let line = format!("eval out/work/{name} {which} --episodes {episodes} --batch-norm both --json");
            let lines = run(folder.path(), &line).ok().stdout;
            let measured: Vec<Value> =
                lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            for (mode, measured) in ["transductive", "support"].iter().zip(&measured) {
                assert_eq!(measured["batch_norm"], *mode);
                assert_eq!(test[mode]["value"], measured["test_accuracy"], "{name} {which}");
                assert_eq!(test[mode]["ci95"], measured["ci95"]);
            }
            assert_eq!(test["checkpoints"], measured[0]["checkpoints"], "{name} {which}");
            assert_eq!((&test["setting"], &test["episodes"]), (&"5w1s".into(), &episodes.into()));
        }
    }
    let recipe = record(folder.path(), "5w1s-recipe-seed-0");
    assert_eq!(claims[0]["measured"]["value"], recipe["tests"][0]["transductive"]["value"]);
    let report = fs::read_to_string(folder.path().join("out/report.md")).unwrap();
    for words in ["MAML++'s recipe", "first-order MAML", "Finn, Abbeel & Levine 2017", "98.7"] {
        assert!(report.contains(words), "{words}");
    }

    // Another method and another seed: what is there is not computed again.
    let written =
        |name: &str| fs::metadata(folder.path().join("out/records").join(name)).unwrap().modified().unwrap();
    let before = written("5w1s-recipe-seed-0.json");
    let more =
        format!("{STUDY} --set outer.steps=4 --settings 5w1s --methods recipe,maml,first-order --seeds 2");
    let told = run(folder.path(), &format!("{more} --json")).json();
    assert_eq!(told["claims"].as_array().unwrap().len(), 1, "the recipe's accuracy");
    assert_eq!(names(&folder.path().join("out/records")).len(), 6);
    assert_eq!(written("5w1s-recipe-seed-0.json"), before);

    let other = run(folder.path(), &format!("{STUDY} --set outer.steps=5 --settings 5w1s"));
    other.refused(&["outer.steps", "4 there and 5 here"]);
}

#[test]
fn one_run_of_prototypes_is_tested_in_all_settings() {
    let folder = TempDir::new().unwrap();
    let line = format!("{STUDY} --set outer.steps=4 --settings 5w1s --methods prototypes --json");
    let claims = run(folder.path(), &line).json()["claims"].take();
    assert_eq!(claims.as_array().unwrap().len(), 4, "an accuracy in each setting: {claims:?}");
    assert_eq!(names(&folder.path().join("out/work")), ["prototypes-seed-0"]);
    let record = record(folder.path(), "prototypes-seed-0");
    assert_eq!(record["steps"], 4);
    let tests = record["tests"].as_array().unwrap();
    assert_eq!(tests.len(), 8, "one checkpoint and the ensemble");
    for (at, (name, ways, shots)) in
        [("5w1s", 5, 1), ("5w5s", 5, 5), ("20w1s", 20, 1), ("20w5s", 20, 5)].iter().enumerate()
    {
        let line = format!(
            "eval out/work/prototypes-seed-0 --checkpoint best --ways {ways} --shots {shots} --episodes 6 --json"
        );
        let measured = run(folder.path(), &line).json();
        let test = &tests[at];
        assert_eq!(test["setting"], *name);
        assert_eq!(test["transductive"]["value"], measured["test_accuracy"], "{name}");
        assert_eq!(test["checkpoints"], measured["checkpoints"], "{name}");
        assert_eq!(claims[at]["measured"]["value"], measured["test_accuracy"], "{name}");
    }
}

#[test]
fn what_the_study_cannot_compare_is_refused() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("own.toml"), "task.ways = 5").unwrap();
    for (more, words) in [
        ("--settings 7w1s", "it must be one of 5w1s, 5w5s, 20w1s, 20w5s"),
        ("--methods exact", "it must be one of recipe, prototypes, maml, first-order"),
        ("--seeds 0", "from 1"),
        ("--set eval.every=0", "eval.every = 0"),
        ("--set outer.steps=4 --set eval.every=5", "eval.every to at most 4"),
        ("--methods maml --set estimator.name=adaptive", "the estimator of MAML is exact"),
        (
            "--methods first-order --set estimator.name=exact",
            "the estimator of first-order MAML is first-order",
        ),
        ("--methods recipe --settings 5w1s --set task.ways=6", "trains on 5-way 1-shot episodes"),
        ("own.toml", "trains its own configurations"),
    ] {
        run(folder.path(), &format!("{STUDY} {more}")).refused(&[words]);
    }
    // One of the settings that one run of prototypes is tested in; refused before training, after a note on the split.
    let more = "--methods prototypes --set eval.queries=17";
    let ran = run(folder.path(), &format!("{STUDY} {more}"));
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    for words in ["split ", "error: ", "5 support and 17 query images"] {
        assert!(ran.stderr.contains(words), "{}", ran.stderr);
    }
}
