//! Training longer than planned, with other settings, or elsewhere: `resume --steps`, `resume --set`, `export` and `import`.

use crate::common::{
    IMAGES, TINY, advised, checkpoint, folder_with_images, json_lines, names, run, run_in_shell, run_state,
};
use metaburn::config::Config;
use metaburn::support::archive::{Archive, Values};
use serde_json::Value;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

const CONSTANT: &str = "--set outer.schedule=constant --set checkpoint.every=2";

/// A folder with images and a finished run, `run`, of `steps` steps.
fn trained(steps: u64, settings: &str) -> TempDir {
    let folder = folder_with_images();
    run(folder.path(), &format!("train {IMAGES} {TINY} {CONSTANT} {settings} --steps {steps} --run-dir run"))
        .ok();
    folder
}

fn config(run: &Path) -> Config {
    Config::load(Some(&run.join("config.toml")), &[]).unwrap()
}

/// The command in a message's backticks that contains `words`.
fn command_with<'a>(message: &'a str, words: &str) -> &'a str {
    let mut commands = message.split('`').skip(1).step_by(2);
    commands.find(|command| command.contains(words)).unwrap_or_else(|| panic!("no {words} in {message}"))
}

#[test]
fn a_finished_run_is_trained_longer_to_the_bits_of_a_longer_run_and_its_first_test_is_kept() {
    let folder = trained(4, "");
    let path = folder.path().join("run");
    run(folder.path(), &format!("train {IMAGES} {TINY} {CONSTANT} --steps 8 --run-dir whole")).ok();
    let first = fs::read_to_string(path.join("results/test.json")).unwrap();
    let ran = run(folder.path(), "resume run --steps 8 --json");
    assert!(ran.stderr.contains("changed: outer.steps: 4 → 8"), "{}", ran.stderr);
    let result = ran.json();
    assert_eq!(result["steps"], 8);
    assert_eq!(run_state(&path), run_state(&folder.path().join("whole")));
    assert_eq!(config(&path), config(&folder.path().join("whole")));
    let results = names(&path.join("results"));
    assert_eq!(results.len(), 2, "{results:?}");
    let kept = results.iter().find(|name| name.ends_with("-step-4.json")).expect("the first test");
    assert_eq!(fs::read_to_string(path.join("results").join(kept)).unwrap(), first);
    let sessions = json_lines(&path.join("sessions.jsonl"));
    assert_eq!(sessions[1]["changes"], serde_json::json!(["outer.steps: 4 → 8"]));
    assert_eq!(sessions[0]["changes"], Value::Null);
    // `train` on its directory names the way.
    let message = run(folder.path(), "train --run-dir run").refused(&["already holds a run"]);
    let longer = command_with(&message, "--steps N").replace("--steps N", "--steps 9 --json");
    assert_eq!(run_in_shell(folder.path(), &longer).json()["steps"], 9);
    for (budget, words) in [
        ("--steps 3", "--steps 3: the run has already taken 9 outer steps; give a total of more than 9"),
        ("--set outer.steps=3", "--set outer.steps=3: the run has already taken 9 outer steps"),
        ("--set outer.evaluations=3", "--set outer.evaluations=3: the run has already taken "),
    ] {
        run(folder.path(), &format!("resume run {budget}")).refused(&[words]);
    }
    assert_eq!(run(folder.path(), "resume run --json").json()["steps"], 9, "refused changes are not kept");
    let said = run(folder.path(), "resume run").ok().stderr;
    assert!(
        said.contains("the budget is used up; to train longer: ") && said.contains(" --steps N"),
        "{said}"
    );
}

#[test]
fn settings_that_may_change_are_kept_and_the_others_are_refused_by_name() {
    let folder = trained(2, "");
    let path = folder.path().join("run");
    let set =
        "--set outer.steps=4 --set outer.rate=0.0005 --set checkpoint.keep=1 --set eval.test_episodes=3";
    let result = run(folder.path(), &format!("resume run {set} --json")).json();
    assert_eq!((&result["steps"], &result["episodes"]), (&4.into(), &3.into()));
    assert_eq!((config(&path).outer.rate, config(&path).checkpoint.keep), (0.0005, 1));
    assert_eq!(json_lines(&path.join("metrics.jsonl"))[3]["rate"], 0.0005);
    let before = fs::read(path.join("config.toml")).unwrap();
    for change in
        ["model.filters=8", "seed=1", "task.shots=2", "inner.rate=1", "eval.every=1", "outer.optimizer=sgd"]
    {
        let key = change.split('=').next().unwrap();
        let words = [&*format!("`{key}` (which is "), "cannot change after training", "outer.steps"];
        run(folder.path(), &format!("resume run --set {change}")).refused(&words);
    }
    assert_eq!(fs::read(path.join("config.toml")).unwrap(), before);
    // A budget of another kind.
    let more = run(folder.path(), "resume run --set outer.evaluations=100000000 --steps 5 --json");
    assert_eq!(more.code, Some(2), "two budgets: {more:?}");
}

#[test]
fn an_edited_configuration_is_taken_where_it_may_change_and_refused_where_not() {
    let folder = trained(2, "");
    let file = folder.path().join("run/config.toml");
    let original = fs::read_to_string(&file).unwrap();
    let edit = |from: &str, to: &str| {
        assert!(original.contains(from), "{original}");
        fs::write(&file, original.replacen(from, to, 1)).unwrap();
    };
    for (from, to, words) in [
        ("filters = 4", "filters = 8", "model.filters was 4 and is 8"),
        ("seed = 0", "seed = 5", "seed was 0 and is 5"),
        ("shots = 1", "shots = 3", "task.shots was 1 and is 3"),
    ] {
        edit(from, to);
        let message = run(folder.path(), "resume run").refused(&[words, "Restore the original values"]);
        assert!(message.contains("metaburn import --set"), "{message}");
    }
    edit("steps = 2\n", "steps = 4\n");
    assert_eq!(run(folder.path(), "resume run --json").json()["steps"], 4);
}

mod imported {
    use super::*;

    #[test]
    fn weights_keep_their_step_and_settings_and_the_advice_trains_further() {
        let folder = trained(4, "");
        run(folder.path(), "export run -o w.safetensors").ok();
        let said = run(folder.path(), "import w.safetensors --data images --run-dir copy --backend flex")
            .ok()
            .stdout;
        assert!(said.contains("after outer step 4"), "{said}");
        assert!(checkpoint(&folder.path().join("copy"), 4).is_file());
        assert_eq!(config(&folder.path().join("copy")).outer, config(&folder.path().join("run")).outer);
        let [own, copied] =
            ["run", "copy"].map(|name| run(folder.path(), &format!("eval {name} --json")).json());
        assert_eq!(own, copied);
        assert!(advised(&said).ends_with("resume copy --steps 8"), "{said}");
        assert_eq!(run_in_shell(folder.path(), &format!("{} --json", advised(&said))).json()["steps"], 8);
        assert_eq!(json_lines(&folder.path().join("copy/metrics.jsonl"))[0]["step"], 5);
    }

    #[test]
    fn a_learner_is_used_where_its_training_images_are_not() {
        let folder = trained(2, "--set model.batch_norm=support");
        run(folder.path(), "export run -o w.safetensors").ok();
        let there = TempDir::new().unwrap();
        fs::copy(folder.path().join("w.safetensors"), there.path().join("w.safetensors")).unwrap();
        for class in ["class1", "class2"] {
            let shots = there.path().join("shots").join(class);
            fs::create_dir_all(&shots).unwrap();
            fs::copy(folder.path().join(format!("images/{class}/0.png")), shots.join("0.png")).unwrap();
        }
        let ran = run(there.path(), "import w.safetensors --run-dir mine --backend flex").ok();
        assert!(
            ran.stderr.contains("images that these weights were trained on were not found"),
            "{}",
            ran.stderr
        );
        let query = folder.path().join("images/class1/3.png");
        let predict = |name: &str, place: &Path| {
            let line = format!(
                "predict {name} --support {} --query {} --json",
                there.path().join("shots").display(),
                query.display()
            );
            run(place, &line).json()["predictions"][0]["logits"].clone()
        };
        assert_eq!(predict("mine", there.path()), predict("run", folder.path()));
        // Nor need images that `metaburn data fetch` makes be there.
        let line = "import w.safetensors --run-dir fetched --backend flex --set data.source=omniglot";
        let told = run(there.path(), line).ok().stderr;
        assert!(told.contains("images that these weights were trained on were not found"), "{told}");
        // Training needs images; the message says how to name them, and that works.
        let message =
            run(there.path(), "resume mine --steps 4").refused(&["no folder is given", "--data PATH"]);
        assert!(message.contains("data.source = \"folder\""), "{message}");
        let images = folder.path().join("images").display().to_string();
        let advised = advised(&ran.stdout).replace("PATH", &images);
        assert!(advised.contains("resume mine --steps 4 --data "), "{advised}");
        assert_eq!(run_in_shell(there.path(), &format!("{advised} --json")).json()["steps"], 4);
        // From then on they are the run's images.
        assert_eq!(run(there.path(), "resume mine --steps 5 --json").json()["steps"], 5);
        // Other images are not taken for them.
        run(there.path(), "import w.safetensors --run-dir other --backend flex").ok();
        fs::remove_file(folder.path().join("images/class0/5.png")).unwrap();
        run(there.path(), &format!("resume other --steps 4 --data {images}"))
            .refused(&["not what this run was trained on"]);
        // With `--data` they must be there and suffice.
        run(there.path(), "import w.safetensors --run-dir third --data nowhere").refused(&["nowhere"]);
        run(there.path(), "import w.safetensors --run-dir third --data shots")
            .refused(&["1 class, but an episode"]);
    }

    #[test]
    fn weights_without_a_configuration_are_refused_and_the_advice_works() {
        let folder = trained(1, "");
        run(folder.path(), "export run -o w.safetensors").ok();
        let mut archive = Archive::read(&folder.path().join("w.safetensors")).unwrap();
        archive.text.clear();
        archive.write(&folder.path().join("foreign.safetensors")).unwrap();
        let message = run(folder.path(), "import foreign.safetensors --run-dir a")
            .refused(&["foreign.safetensors holds no configuration", "not known"]);
        assert!(!folder.path().join("a").exists());
        run_in_shell(folder.path(), command_with(&message, "metaburn init")).ok();
        // The file describes the built-in network: it is named, and refused for what differs.
        let import = command_with(&message, "mine.toml --run-dir").replace("DIR", "a");
        let refused = run_in_shell(folder.path(), &import);
        assert_eq!(refused.code, Some(2), "{refused:?}");
        assert!(refused.stderr.contains("model.filters"), "{}", refused.stderr);
        let fits = "--set model.filters=4 --set task.ways=2 --set data.image_size=14 --backend flex";
        run_in_shell(folder.path(), &format!("{import} {fits}")).ok();
        // With keys alone, a warning says what the others are.
        let ran = run(folder.path(), &format!("import foreign.safetensors --run-dir b {fits} --json"));
        assert!(
            ran.stderr.contains("every key that --set does not give has its built-in value"),
            "{}",
            ran.stderr
        );
        assert_eq!(ran.json()["step"], 0);
        archive.set("module.conv1.weight", &[1], Values::F32(vec![0.0]));
        archive.write(&folder.path().join("parallel.safetensors")).unwrap();
        let parallel = run(folder.path(), &format!("import parallel.safetensors --run-dir c {fits}"));
        assert_eq!(parallel.code, Some(2));
        assert!(parallel.stderr.contains("save `model.module.state_dict()`"), "{}", parallel.stderr);
    }
}

#[test]
fn missing_data_names_the_command_that_brings_it() {
    let folder = TempDir::new().unwrap();
    let configs = concat!(env!("CARGO_MANIFEST_DIR"), "/configs/omniglot-5way-1shot.toml");
    for line in [format!("train {configs}"), "data info --set data.source=omniglot".into()] {
        run(folder.path(), &line).refused(&["datasets/omniglot", "`metaburn data fetch omniglot`"]);
    }
}
