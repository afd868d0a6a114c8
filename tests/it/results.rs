//! What an accuracy was measured on is part of it: in its file, in tables, in figures. Evaluations change nothing that
//! training found, and numbers that are none are not shown as any.

use crate::common::optional::skip;
use crate::common::{
    IMAGES, Outcome, SMALL, TINY, folder_with_images, json_lines, metaburn, names, run, run_in_shell,
};
use serde_json::Value;
use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;
use tempfile::TempDir;

/// A folder with images and a run, `run`, of four steps.
fn trained(settings: &str) -> TempDir {
    let folder = folder_with_images();
    run(folder.path(), &format!("train {IMAGES} {TINY} --steps 4 {settings} --run-dir run")).ok();
    folder
}

fn json_file(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn test_result(folder: &TempDir) -> Value {
    json_file(&folder.path().join("run/results/test.json"))
}

/// Where the commands in a message's backticks begin with `metaburn`, the first of them.
fn command_in(message: &str) -> &str {
    let at = message.find("`metaburn ").expect("a command in backticks") + 1;
    let rest = &message[at..];
    &rest[..rest.find('`').expect("its end")]
}

mod evaluations {
    use super::*;

    #[test]
    fn an_evaluation_leaves_the_test_of_training_alone_and_has_a_file_of_its_own() {
        let folder = trained("");
        let before = test_result(&folder);
        let ran = run(folder.path(), "eval run --episodes 2 --json");
        let name = "test-2-way-1-shot-2-query-3-inner-steps-2-episodes-batch-norm-transductive-step-4.json";
        assert!(ran.stderr.contains(&format!("result in run/results/{name}")), "{}", ran.stderr);
        let result = ran.json();
        assert_eq!(result["episodes"], 2);
        assert_eq!(test_result(&folder), before, "the test of training");
        assert_eq!(json_file(&folder.path().join("run/results").join(name)), result);
    }

    #[test]
    fn every_option_is_in_the_result_and_its_text() {
        let folder = trained("--set inner.head=prototype");
        let options =
            "--shots 2 --queries 3 --ways 2 --steps 0 --split train --episodes 3 --batch-norm support";
        let result = run(folder.path(), &format!("eval run --json {options}")).json();
        for (key, value) in
            [("shots", 2), ("queries", 3), ("ways", 2), ("inner_steps", 0), ("episodes", 3), ("steps", 4)]
        {
            assert_eq!(result[key], value, "{key}");
        }
        assert_eq!(result["batch_norm"], "support");
        assert!(result["train_accuracy"].is_number());
        let text = run(folder.path(), &format!("eval run {options}")).ok().stdout;
        for words in
            ["train accuracy", "3 episodes, 2-way 2-shot with 3 queries a class", "after 0 inner steps"]
        {
            assert!(text.contains(words), "{text}");
        }
        // The same by keys.
        let keys = "--set task.shots=2 --set eval.queries=3 --set inner.eval_steps=0 --set model.batch_norm=support \
                    --set eval.test_episodes=3 --split train";
        assert_eq!(run(folder.path(), &format!("eval run --json {keys}")).json(), result);
        assert_eq!(names(&folder.path().join("run/results")).len(), 2, "one file for one measurement");
    }

    #[test]
    fn settings_that_cannot_change_after_training_are_refused_by_name() {
        let folder = trained("--set eval.every=4 --set eval.episodes=2");
        for (key, value) in [
            ("model.filters", "8"),
            ("seed", "1"),
            ("inner.rate", "1"),
            ("outer.steps", "9"),
            ("eval.every", "5"),
        ] {
            let words = [&format!("`{key}` (which is "), "cannot change after training", "task.shots"];
            run(folder.path(), &format!("eval run --set {key}={value}")).refused(&words);
        }
        run(folder.path(), "eval run --set data.validation=1").refused(&["data.validation", "trained on"]);
        run(folder.path(), "eval run --set task.ways=3").refused(&["--ways 3", "task.ways = 2"]);
        run(folder.path(), "eval run --set no.such=3").refused(&["no.such"]);
    }

    #[test]
    fn a_configuration_that_was_edited_is_refused_by_name_and_the_advice_works() {
        let folder = trained("");
        let file = folder.path().join("run/config.toml");
        let config = fs::read_to_string(&file).unwrap();
        fs::write(&file, config.replacen("shots = 1", "shots = 2", 1).replacen("seed = 0", "seed = 5", 1))
            .unwrap();
        // An evaluation with other shots is one that says so.
        for command in ["eval run", "report run"] {
            let message = run(folder.path(), command).refused(&["seed was 0 and is 5", "--shots"]);
            assert!(!message.contains("task.shots was"), "{message}");
        }
        run(folder.path(), "resume run").refused(&["task.shots was 1 and is 2", "seed was 0 and is 5"]);
        fs::write(&file, config).unwrap();
        assert_eq!(run(folder.path(), "eval run --shots 2 --json").json()["shots"], 2);
    }

    #[test]
    fn a_result_that_cannot_be_saved_is_printed_all_the_same() {
        let folder = trained("");
        let results = folder.path().join("run/results");
        fs::remove_dir_all(&results).unwrap();
        fs::write(&results, "a file in the place of the folder").unwrap();
        let ran = run(folder.path(), "eval run --batch-norm both");
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.stderr.contains("error: cannot create run/results"), "{ran:?}");
        assert!(ran.stdout.contains("| transductive | ") && ran.stdout.contains("| support | "), "{ran:?}");
    }

    /// Puts ten classes of images that no run was trained on into the folder `other`: those of other runs, turned.
    fn put_other_images(folder: &TempDir) {
        let other = folder_with_images();
        for class in 0..10 {
            let images = other.path().join(format!("images/class{class}"));
            for name in names(&images) {
                let image = image::open(images.join(&name)).unwrap();
                image.rotate90().save(images.join(&name)).unwrap();
            }
        }
        fs::rename(other.path().join("images"), folder.path().join("other")).unwrap();
    }

    #[test]
    fn a_run_that_was_trained_on_a_list_is_measured_on_class_folders() {
        let folder = folder_with_images();
        let images = (0..10).flat_map(|class| (0..6).map(move |image| (class, image)));
        let rows = images.map(|(class, image)| format!("class{class}/{image}.png,{class}\n"));
        let list = format!("filename,label\n{}", rows.collect::<String>());
        fs::write(folder.path().join("list.csv"), list).unwrap();
        let listed = "--set data.list=list.csv --steps 1 --run-dir run";
        run(folder.path(), &format!("train {IMAGES} {TINY} {listed}")).ok();
        put_other_images(&folder);
        fs::remove_dir_all(folder.path().join("other/class0")).unwrap();
        let line = "eval run --data other --episodes 2 --json";
        run(folder.path(), line).refused(&["list.csv", "class0/0.png", "--set data.list="]);
        assert_eq!(run(folder.path(), &format!("{line} --set data.list=")).json()["data"]["classes"], 9);
        // Without the list, classes of its own folder have other names and images.
        run(folder.path(), "eval run --set data.list=").refused(&["the run's own folder", "data.list"]);
    }

    #[test]
    fn other_data_is_measured_on_all_its_classes_and_the_training_images_need_not_be_there() {
        let folder = trained("");
        put_other_images(&folder);
        // Classes that were trained on are known by their images, whatever their names.
        for (of, class) in (0..10).flat_map(|class| [("other", class), ("images", class)]) {
            let from = folder.path().join(format!("{of}/class{class}"));
            let to = folder.path().join(format!("mixed/{of}{class}"));
            fs::create_dir_all(&to).unwrap();
            for name in names(&from) {
                fs::copy(from.join(&name), to.join(&name)).unwrap();
            }
        }
        run(folder.path(), "eval run --data mixed")
            .refused(&["8 of the 20", "that the network was trained on"]);
        fs::rename(folder.path().join("images"), folder.path().join("gone")).unwrap();
        run(folder.path(), "eval run").refused(&["images", "--data"]);
        let ran = run(folder.path(), "eval run --data other --episodes 5 --json");
        assert!(ran.stderr.contains("other is not the data that this run was trained on"), "{}", ran.stderr);
        let result = ran.json();
        assert_eq!((&result["data"]["classes"], &result["data"]["all_classes"]), (&10.into(), &true.into()));
        assert!(result["test_accuracy"].is_number());
        let digest = result["data"]["digest"].as_str().unwrap();
        let file = names(&folder.path().join("run/results"))
            .into_iter()
            .find(|name| name.contains("-all-classes-of-other-"));
        assert!(file.unwrap().ends_with(&format!("{}.json", &digest[..8])));
        let text = run(folder.path(), "eval run --data other --episodes 5").ok().stdout;
        assert!(text.contains("drawn from all 10 classes of "), "{text}");
        // With a split, only its test classes.
        let split = run(folder.path(), "eval run --data other --split test --episodes 5 --json").json();
        assert_eq!((&split["data"]["classes"], &split["data"]["all_classes"]), (&2.into(), &false.into()));
        let divided = serde_json::json!({"rule": "fraction", "validation": 0, "rotations": "none"});
        assert_eq!(split["data"]["split"], divided);
        // Another split of the same data has a file of its own.
        run(folder.path(), "eval run --data other --split test --episodes 5 --set data.validation=1").ok();
        let results = names(&folder.path().join("run/results"));
        let of_parts = results.iter().filter(|name| name.contains("-part-of-other-"));
        assert_eq!(of_parts.count(), 2, "{results:?}");
        // A report says so too, and its commands repeat it.
        run(folder.path(), "report run --data other --episodes 4 --shots 2 -o page.html").ok();
        let page = fs::read_to_string(folder.path().join("page.html")).unwrap();
        for words in ["2-way 2-shot", "10 classes of", "not what the run was trained on"] {
            assert!(page.contains(words), "{words}");
        }
        let command = page.lines().find(|line| line.contains(" eval run --episodes 4")).expect("a command");
        let command = command.replace(env!("CARGO_BIN_EXE_metaburn"), "metaburn");
        assert!(run_in_shell(folder.path(), &command).ok().stdout.contains("2-way 2-shot"));
    }

    #[test]
    fn changed_images_of_the_run_are_not_measured_on_training_classes() {
        let folder = trained("");
        let fixed = ["data.invert", "fixed for the data that this run was trained on"];
        for data in ["", "--data images", "--data images --split test"] {
            run(folder.path(), &format!("eval run {data} --set data.invert=false")).refused(&fixed);
        }
        run(folder.path(), "eval run --split train --set data.rotations=classes").refused(&fixed);
        // A run remembers where its images are, also if they were named relative to the folder of its start.
        let relative = "--set data.source=folder --set data.path=images --set task.ways=2 --run-dir relative";
        run(folder.path(), &format!("train {TINY} --steps 1 {relative}")).ok();
        run(folder.path(), "eval relative --data images --set data.invert=false").refused(&fixed);
        run(&folder.path().join("images"), "eval ../relative").ok();
        for class in 0..10 {
            let images = folder.path().join(format!("images/class{class}"));
            fs::copy(images.join("0.png"), images.join("more.png")).unwrap();
        }
        // No class has the images that it had, but the folder and the names are those of the run.
        let ran = run(folder.path(), "eval run --data images");
        ran.refused(&["8 of the 10", "that the network was trained on"]);
        let ran = run(folder.path(), "eval run --data images --split test --episodes 3 --json");
        assert_eq!(ran.json()["data"]["classes"], 2);
        // The same images elsewhere may be others that have the same names.
        fs::rename(folder.path().join("images"), folder.path().join("elsewhere")).unwrap();
        let ran = run(folder.path(), "eval run --data elsewhere --json");
        assert!(ran.stderr.contains("8 of 10 validation and test classes"), "{}", ran.stderr);
        assert_eq!(ran.json()["data"]["classes"], 10);
    }

    #[test]
    fn only_the_evaluated_part_must_suffice() {
        let folder = TempDir::new().unwrap();
        let settings =
            "--set inner.head=prototype --set task.queries=5 --set eval.every=1 --set eval.episodes=2";
        run(folder.path(), &format!("train {TINY} {settings} --steps 1 --run-dir run")).ok();
        let eval = |options: &str| run(folder.path(), &format!("eval run --episodes 2 {options}"));
        // There are 100 validation classes and 300 test classes.
        assert_eq!(eval("--ways 150 --queries 1 --json").json()["ways"], 150);
        // A class has 20 images, and a training episode would need 23.
        assert_eq!(eval("--shots 18 --queries 2 --json").json()["shots"], 18);
        eval("--ways 150 --queries 1 --split validation").refused(&["100 classes", "--ways, at most 100"]);
        eval("--ways 301").refused(&["the test part has 300 classes", "--ways, at most 300", "--split"]);
        eval("--shots 18").refused(&["--shots and --queries, together at most 20 instead of 23"]);
    }

    #[test]
    fn training_classes_are_measured_without_augmentation() {
        let folder = trained(
            "--set data.shift=3 --set data.warp=0.3 --set data.flips=true --set data.rotations=episode",
        );
        run(folder.path(), "export run -o out.safetensors").ok();
        // The same weights and the same split, of a run without augmentation.
        let plain = "--set data.shift=0 --set data.warp=0 --set data.flips=false --set data.rotations=none";
        run(
            folder.path(),
            &format!("import out.safetensors --data images --backend flex {plain} --run-dir plain"),
        )
        .ok();
        let [augmented, plain] = ["run", "plain"].map(|name| {
            run(folder.path(), &format!("eval {name} --split train --episodes 20 --json")).json()
        });
        for key in ["loss", "train_accuracy"] {
            assert_eq!(augmented[key], plain[key], "{key}");
        }
    }

    #[test]
    fn a_run_on_built_in_characters_is_measured_on_a_folder_of_images() {
        let folder = folder_with_images();
        run(folder.path(), &format!("train {TINY} --set task.ways=2 --steps 1 --run-dir run")).ok();
        let result = run(folder.path(), "eval run --data images --episodes 3 --json").json();
        assert_eq!((&result["data"]["source"], &result["data"]["classes"]), (&"folder".into(), &10.into()));
    }
}

mod diverged {
    use super::*;

    /// From its second step on, each inner step multiplies the distance from θ by about 1 − rate · proximal = −9. Training takes
    /// one step.
    const WILD: &str = "--set inner.rate=1 --set inner.proximal=10 --set inner.eval_steps=200";

    #[test]
    fn an_evaluation_without_answers_is_refused_counted_and_its_advice_works() {
        let folder = folder_with_images();
        let ran = run(folder.path(), &format!("train {IMAGES} {TINY} {WILD} --steps 2 --run-dir run"));
        let words = ["all 4 episodes diverged", "200 inner steps", "not finite"];
        let message = error_of(&ran, &words);
        let saved = test_result(&folder);
        assert_eq!((&saved["test_accuracy"], &saved["ci95"]), (&Value::Null, &Value::Null));
        assert_eq!((&saved["diverged_episodes"], &saved["episodes"]), (&4.into(), &4.into()));
        error_of(&run(folder.path(), "eval run --episodes 6"), &["all 6 episodes diverged"]);
        let json = run(folder.path(), "eval run --episodes 6 --json");
        assert_eq!(json.code, Some(2));
        let json: Value = serde_json::from_str(&json.stdout).unwrap();
        assert_eq!((&json["test_accuracy"], &json["diverged_episodes"]), (&Value::Null, &6.into()));
        error_of(&run(folder.path(), "report run --episodes 3"), &["all 3 episodes diverged"]);
        assert!(!folder.path().join("run/report.html").exists());
        // The advice names fewer steps; training took one.
        let advised = command_in(&message).replace("--steps N", "--steps 1 --json");
        let result = run_in_shell(folder.path(), &advised).json();
        assert!(
            result["test_accuracy"].is_number() && result["diverged_episodes"] == Value::Null,
            "{result}"
        );
    }

    /// The message of a run that printed notes and then this error, with exit code 2 and no result.
    fn error_of(ran: &Outcome, words: &[&str]) -> String {
        let at = ran.stderr.find("error: ").unwrap_or_else(|| panic!("{ran:?}"));
        assert_eq!((ran.code, &*ran.stdout), (Some(2), ""), "{ran:?}");
        words.iter().for_each(|word| assert!(ran.stderr[at..].contains(word), "{word}: {}", ran.stderr));
        ran.stderr[at..].into()
    }

    #[test]
    fn a_validation_without_answers_has_no_accuracy_and_no_best_checkpoint() {
        let folder = folder_with_images();
        let validating = TINY.replace("eval.every=0", "eval.every=1 --set eval.episodes=3");
        let line = format!("train {IMAGES} {validating} {WILD} --steps 1 --run-dir run");
        let ran = run(folder.path(), &line);
        assert!(
            ran.stderr.contains("warning: all 3 validation episodes diverged after outer step 1"),
            "{ran:?}"
        );
        assert!(ran.stderr.contains("no validation accuracy"), "{ran:?}");
        let lines = json_lines(&folder.path().join("run/metrics.jsonl"));
        let validation = lines.iter().find(|line| line["diverged_episodes"] == 3).expect("a validation");
        assert_eq!(validation["validation_accuracy"], Value::Null);
        let words = ["not been validated", "train it further with `metaburn resume run --steps N`"];
        run(folder.path(), "eval run --checkpoint best").refused(&words);
        run(folder.path(), "plot run").ok();
    }

    #[test]
    fn a_sweep_leaves_out_a_run_without_answers_and_says_so() {
        let folder = folder_with_images();
        let text = "set.outer.steps = 1\n[[run]]\nname = 'wild'\ninner.rate = 1\ninner.proximal = 10\ninner.eval_steps = 200\n\
                    [[run]]\nname = 'tame'\ninner.rate = 0.1\n";
        fs::write(folder.path().join("s.toml"), text).unwrap();
        let line = format!("sweep s.toml {IMAGES} {TINY}");
        let ran = run(folder.path(), &line).ok();
        assert!(ran.stderr.contains("wild-seed-0: all 4 episodes diverged"), "{}", ran.stderr);
        let rows: Vec<&str> = ran.stdout.lines().collect();
        assert!(rows[2].starts_with("| wild |  |  | 0 | 4 | 1 |"), "{}", ran.stdout);
        let page = fs::read_to_string(folder.path().join("checkpoints/sweep-s/table.md")).unwrap();
        assert!(page.contains("All test episodes of `wild-seed-0` diverged"), "{page}");
        assert!(
            run(folder.path(), &format!("{line} --list"))
                .ok()
                .stdout
                .contains("no accuracy: all 4 test episodes")
        );
        // It is not tested again.
        assert_eq!(run(folder.path(), &line).ok().stdout, ran.stdout);
    }
}

mod tables_and_figures {
    use super::*;

    #[test]
    fn a_sweep_keeps_the_numbers_of_its_own_tests_and_says_how_many_episodes() {
        let folder = folder_with_images();
        fs::write(folder.path().join("s.toml"), "set.outer.steps = 2\n[grid]\ninner.rate = [0.1, 0.4]\n")
            .unwrap();
        let line = format!("sweep s.toml {IMAGES} {TINY}");
        let first = run(folder.path(), &line).ok().stdout;
        assert!(first.contains("| episodes |") && first.contains(" | 4 | 0 |"), "{first}");
        let out = folder.path().join("checkpoints/sweep-s");
        let runs: Vec<String> = names(&out).into_iter().filter(|name| name.ends_with("seed-0")).collect();
        run(folder.path(), &format!("eval checkpoints/sweep-s/{} --episodes 2 --shots 2", runs[0])).ok();
        assert_eq!(run(folder.path(), &line).ok().stdout, first);
        // A number that measured something else, put there by hand, is not taken: the run is tested again.
        let file = out.join(&runs[0]).join("results/test.json");
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, text.replacen("\"episodes\": 4", "\"episodes\": 2", 1)).unwrap();
        assert!(run(folder.path(), &format!("{line} --list")).ok().stdout.contains("to do"));
        assert_eq!(run(folder.path(), &line).ok().stdout, first);
    }

    #[test]
    fn a_sweep_over_ways_says_that_its_accuracies_cannot_be_compared() {
        let folder = folder_with_images();
        fs::write(folder.path().join("s.toml"), "set.outer.steps = 1\n[grid]\ntask.shots = [1, 2]\n")
            .unwrap();
        let ran = run(folder.path(), &format!("sweep s.toml {IMAGES} {TINY}")).ok();
        assert!(
            ran.stderr.contains("warning: not all these accuracies can be compared: task.shots is "),
            "{ran:?}"
        );
        let page = fs::read_to_string(folder.path().join("checkpoints/sweep-s/table.md")).unwrap();
        assert!(page.contains("Not all accuracies can be compared: task.shots is "), "{page}");
    }

    #[test]
    fn curves_that_cannot_be_compared_say_so_in_the_legend_and_the_terminal() {
        let folder = folder_with_images();
        let line = format!("train {IMAGES} {TINY} --steps 2 --run-dir");
        for (name, settings) in [
            ("one", ""),
            ("again", "--set seed=1"),
            ("shots", "--set task.shots=2"),
            ("support", "--set model.batch_norm=support"),
        ] {
            run(folder.path(), &format!("{line} {name} {settings}")).ok();
        }
        let shown = |command: &str, out: &str| {
            let ran = run(folder.path(), &format!("{command} --out {out}")).ok();
            (ran.stderr, fs::read_to_string(folder.path().join(out)).unwrap())
        };
        let (warning, figure) = shown("compare one shots", "a.svg");
        assert!(warning.contains("cannot be compared: task.shots is 1 (one), 2 (shots)"), "{warning}");
        assert!(figure.contains("one: 1-shot") && figure.contains("shots: 2-shot"), "{figure}");
        let (warning, figure) = shown("plot one support", "b.svg");
        assert!(warning.contains("model.batch_norm is transductive (one), support (support)"), "{warning}");
        assert!(figure.contains("one: batch norm transductive"), "{figure}");
        // Repetitions can be compared.
        let (nothing, figure) = shown("compare one again --pool", "c.svg");
        assert!(nothing.is_empty() && figure.contains("2 runs"), "{nothing}");

        // The same settings on other images are neither pooled nor compared in silence.
        fs::remove_file(folder.path().join("images/class0/5.png")).unwrap();
        run(folder.path(), &format!("{line} fewer")).ok();
        let (warning, figure) = shown("compare one fewer --pool", "d.svg");
        assert!(warning.contains("cannot be compared: data is "), "{warning}");
        assert!(!figure.contains("2 runs") && figure.contains("one: data "), "{figure}");
    }
}

mod streams {
    use super::*;

    /// How the program ends if nobody reads what it writes to standard error, or to standard output if not `errors`.
    fn unread(folder: &Path, line: &str, errors: bool) -> Outcome {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut program = metaburn(folder, line);
        match errors {
            true => program.stdout(Stdio::piped()).stderr(writer),
            false => program.stdout(writer).stderr(Stdio::piped()),
        };
        program.spawn().unwrap().wait_with_output().unwrap().into()
    }

    #[test]
    fn messages_that_nobody_reads_stop_nothing_and_results_are_complete() {
        let folder = folder_with_images();
        let validating = SMALL.to_string() + " --set eval.every=1";
        let ran = unread(
            folder.path(),
            &format!("train {validating} --steps 3 --progress plain --run-dir run"),
            true,
        )
        .ok();
        assert!(ran.stdout.contains("test accuracy"), "{ran:?}");
        assert!(folder.path().join("run/results/test.json").is_file());
        assert_eq!(unread(folder.path(), "resume run --steps 5 --json", true).json()["steps"], 5);
        assert!(
            unread(folder.path(), "eval run --batch-norm both", true).ok().stdout.contains("| support |")
        );
        run(
            folder.path(),
            "data episode --set model.kind=mlp --set data.image_size=8 --set task.ways=2 --out e",
        )
        .ok();
        let asked = "predict run --support e/support --query e/query";
        assert!(unread(folder.path(), asked, true).ok().stdout.contains("probability"));
        // An error is still an error.
        assert_eq!(unread(folder.path(), "eval nowhere", true).code, Some(2));
        fs::write(folder.path().join("s.toml"), "set.outer.steps = 1\n").unwrap();
        assert!(
            unread(folder.path(), &format!("sweep s.toml {SMALL}"), true)
                .ok()
                .stdout
                .contains("| test accuracy")
        );
    }

    #[test]
    fn results_that_nobody_reads_are_saved() {
        let folder = folder_with_images();
        let ran = unread(folder.path(), &format!("train {SMALL} --steps 2 --run-dir run"), false);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert_eq!(test_result(&folder)["steps"], 2);
        assert_eq!(unread(folder.path(), "eval run --episodes 7", false).code, Some(0));
        let results = names(&folder.path().join("run/results"));
        assert!(results.iter().any(|name| name.contains("-7-episodes-")), "{results:?}");
        let like_the_run = "--set model.kind=mlp --set data.image_size=8 --set task.ways=2";
        run(folder.path(), &format!("data episode {like_the_run} --out e")).ok();
        let asked = "predict run --support e/support --query e/query --picture answers.png";
        assert_eq!(unread(folder.path(), asked, false).code, Some(0));
        assert!(folder.path().join("answers.png").is_file());
        // A disk that is full is an error, after the result is saved.
        let Ok(full) = File::options().write(true).open("/dev/full") else {
            return skip("dev-full", "there is no /dev/full to write to");
        };
        let mut program = metaburn(folder.path(), "eval run --episodes 9");
        let child = program.stdout(full).stderr(Stdio::piped()).spawn().unwrap();
        let ran = Outcome::from(child.wait_with_output().unwrap());
        assert!(ran.code == Some(1) && ran.stderr.contains("error: "), "{ran:?}");
        assert!(names(&folder.path().join("run/results")).iter().any(|name| name.contains("-9-episodes-")));
    }
}

mod predictions {
    use super::*;

    #[test]
    fn images_of_one_class_are_no_question() {
        let folder = trained("--set inner.head=prototype");
        fs::create_dir(folder.path().join("shots")).unwrap();
        fs::rename(folder.path().join("images/class1"), folder.path().join("shots/class1")).unwrap();
        run(folder.path(), "predict run --support shots --query images/class2")
            .refused(&["one class only, `class1`", "at least two class folders"]);
        fs::rename(folder.path().join("images/class3"), folder.path().join("shots/class3")).unwrap();
        run(folder.path(), "predict run --support shots --query images/class2").ok();
    }

    #[test]
    fn support_images_among_the_queries_are_named_and_not_counted() {
        let folder = trained("--set model.batch_norm=support");
        for class in ["class1", "class2"] {
            fs::create_dir_all(folder.path().join("shots").join(class)).unwrap();
            let from = folder.path().join(format!("images/{class}/0.png"));
            // The same picture under another name.
            fs::copy(from, folder.path().join(format!("shots/{class}/shot.png"))).unwrap();
        }
        let ask = |query: &str| run(folder.path(), &format!("predict run --support shots --query {query}"));
        let ran = ask("images/class1 images/class2 --json");
        let words = "2 of the 12 images to classify are also among the support images";
        assert!(ran.stderr.contains(words) && ran.stderr.contains("images/class1/0.png"), "{}", ran.stderr);
        let answers = ran.json();
        assert_eq!(answers["counted"], 10);
        let known =
            answers["predictions"].as_array().unwrap().iter().filter(|answer| answer["is_support"] == true);
        assert_eq!(known.count(), 2);
        let all = ask("shots --json").json();
        assert_eq!((&all["accuracy"], &all["counted"]), (&Value::Null, &0.into()));
        assert!(!ask("shots").ok().stdout.contains("accuracy"));
        let new = ask("images/class1/1.png images/class2/1.png").ok();
        assert!(!new.stderr.contains("also among"), "{}", new.stderr);
        assert!(new.stdout.contains("of the 2 images"), "{}", new.stdout);
    }
}
