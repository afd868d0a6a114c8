//! Errors of input and environment end in one message that names the cause, never in a panic.

use crate::common::optional::{data_set, lacks_wgpu, skip};
use crate::common::{
    IMAGES, Outcome, Running, TINY, checkpoint, folder_with_images, json_lines, metaburn, names, run,
    run_command, run_in_shell,
};
use metaburn::support::archive::{Archive, Values};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tempfile::TempDir;

/// Asserts that `train` with these arguments is refused with `words` and writes nothing; returns the message.
fn refused(arguments: &str, words: &[&str]) -> String {
    let folder = TempDir::new().unwrap();
    let message =
        run(folder.path(), &format!("train --backend flex --run-dir run {arguments}")).refused(words);
    assert_eq!(names(folder.path()), Vec::<String>::new(), "nothing is written");
    message
}

mod output {
    use super::*;

    const COMMANDS: [&str; 5] = [
        "backends",
        "backends --json",
        "data info",
        "train --steps 1",
        "bench --config A --estimator exact --reps 1",
    ];

    fn with_images(command: &str) -> String {
        if command.starts_with("backends") { command.into() } else { format!("{command} {IMAGES} {TINY}") }
    }

    #[test]
    fn writing_standard_output_to_a_full_disk_is_an_error_and_no_panic() {
        let Ok(full) = File::options().write(true).open("/dev/full") else {
            skip("dev-full", "there is no /dev/full here");
            return;
        };
        let folder = folder_with_images();
        for command in COMMANDS {
            let mut program = metaburn(folder.path(), &with_images(command));
            let child = program.stdout(full.try_clone().unwrap()).stderr(Stdio::piped()).spawn().unwrap();
            let ran = Outcome::from(child.wait_with_output().unwrap());
            assert!(ran.stderr.contains("error: "), "{command}: {}", ran.stderr);
            assert!(!matches!(ran.code, None | Some(0 | 101)), "{command}: {ran:?}");
        }
    }

    #[test]
    fn a_closed_standard_output_pipe_causes_no_panic() {
        let folder = folder_with_images();
        for command in COMMANDS {
            let (reader, writer) = std::io::pipe().unwrap();
            drop(reader);
            let mut program = metaburn(folder.path(), &with_images(command));
            let child = program.stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
            let ran = Outcome::from(child.wait_with_output().unwrap());
            assert!(ran.code != Some(101) && !ran.stderr.contains("panicked"), "{command}: {}", ran.stderr);
        }
    }
}

mod data {
    use super::*;

    const OMNIGLOT: &str = "train --backend flex --set data.source=omniglot --run-dir run --data given";
    const BACKGROUND: &str = "images_background.zip";
    const EVALUATION: &str = "images_evaluation.zip";

    /// A folder with Omniglot in `given`, one of its two archives changed by `change`.
    fn omniglot_with(half: &str, change: impl FnOnce(&mut Vec<u8>)) -> Option<TempDir> {
        let original = data_set("omniglot")?;
        let folder = TempDir::new().unwrap();
        fs::create_dir(folder.path().join("given")).unwrap();
        let mut bytes = fs::read(original.join(half)).unwrap();
        change(&mut bytes);
        fs::write(folder.path().join("given").join(half), bytes).unwrap();
        let other = if half == BACKGROUND { EVALUATION } else { BACKGROUND };
        fs::copy(original.join(other), folder.path().join("given").join(other)).unwrap();
        Some(folder)
    }

    #[test]
    fn a_missing_data_folder_is_named() {
        refused("--set data.source=omniglot --data no/such/folder", &["no/such/folder", "--data PATH"]);
        refused("--set data.source=omniglot", &["datasets/omniglot", "--data PATH"]);
        refused("--set data.source=folder --data no/such/folder", &["no/such/folder", "--data PATH"]);
        refused("--set data.source=folder", &["data.path", "folder"]);
    }

    #[test]
    fn a_data_folder_without_omniglot_is_refused_with_the_command_to_fetch_it() {
        let folder = TempDir::new().unwrap();
        fs::create_dir(folder.path().join("given")).unwrap();
        let words = ["given", "images_background", "metaburn data fetch omniglot", "--data PATH"];
        run(folder.path(), OMNIGLOT).refused(&words);
        run(folder.path(), &OMNIGLOT.replace("omniglot", "folder")).refused(&["given", "class folders"]);
        assert_eq!(names(folder.path()), ["given"]);
    }

    #[test]
    fn a_truncated_zip_is_named_and_nothing_is_written() {
        let half = |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() / 2);
        let Some(folder) = omniglot_with(BACKGROUND, half) else { return };
        let words = ["given/images_background.zip", "damaged", "metaburn data fetch omniglot"];
        run(folder.path(), OMNIGLOT).refused(&words);
        assert_eq!(names(folder.path()), ["given"]);
    }

    #[test]
    fn a_zip_of_garbage_is_named() {
        let noise = |bytes: &mut Vec<u8>| {
            for (place, byte) in bytes.iter_mut().enumerate() {
                *byte = (place * place % 251) as u8;
            }
        };
        let Some(folder) = omniglot_with(EVALUATION, noise) else { return };
        run(folder.path(), OMNIGLOT).refused(&["given/images_evaluation.zip", "damaged"]);
        assert_eq!(names(folder.path()), ["given"]);
    }

    #[test]
    fn a_corrupted_drawing_inside_a_zip_is_named() {
        let flip = |bytes: &mut Vec<u8>| {
            let middle = bytes.len() / 2;
            bytes[middle..middle + 400].iter_mut().for_each(|byte| *byte ^= 0xff);
        };
        let Some(folder) = omniglot_with(EVALUATION, flip) else { return };
        run(folder.path(), OMNIGLOT).refused(&["given/images_evaluation.zip", "/character", ".png"]);
        assert_eq!(names(folder.path()), ["given"]);
    }

    #[test]
    fn a_class_with_too_few_images_for_an_episode_is_named() {
        let folder = folder_with_images();
        for image in 2..6 {
            fs::remove_file(folder.path().join(format!("images/class3/{image}.png"))).unwrap();
        }
        let words = ["`class3` has 2 images", "than the 3 of each class", "task.queries=1"];
        run(folder.path(), &format!("train {IMAGES} {TINY} --run-dir run")).refused(&words);
        assert!(!folder.path().join("run").exists());
    }

    #[test]
    fn too_few_classes_are_refused_with_their_number() {
        let folder = folder_with_images();
        let line = format!("train {IMAGES} {TINY} --set task.ways=9 --run-dir run");
        run(folder.path(), &line).refused(&["task.ways", "8", "9"]);
    }

    #[test]
    fn a_file_that_is_not_an_image_is_named() {
        let folder = folder_with_images();
        fs::write(folder.path().join("images/class4/2.png"), "a picture").unwrap();
        run(folder.path(), &format!("train {IMAGES} {TINY}")).refused(&["images/class4/2.png", "PNG"]);
    }
}

mod settings {
    use super::*;

    #[test]
    fn a_misspelt_key_is_refused_with_a_suggestion() {
        refused("--set inner.setps=5", &["--set inner.setps=5", "did you mean `inner.steps`?"]);
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("mine.toml"), "[outer]\nsteps = 3\n\n[inner]\nsetps = 5\n").unwrap();
        let words = ["mine.toml, line 5", "`inner.setps` (= 5)", "did you mean `inner.steps`?"];
        run(folder.path(), "train mine.toml").refused(&words);
    }

    #[test]
    fn a_value_of_the_wrong_type_is_refused_with_the_expected_type() {
        refused("--set inner.steps=many", &["`inner.steps`", "a whole number ≥ 0", "\"many\""]);
        refused("--set outer.rate=true", &["`outer.rate`", "a number > 0", "true"]);
        refused("--set data.rotations=1", &["`data.rotations`", "\"none\", \"classes\", \"episode\""]);
    }

    #[test]
    fn all_invalid_settings_are_listed_at_once() {
        refused("--set inner.steps=0 --set outer.rate=-1", &["2 settings", "`inner.steps`", "`outer.rate`"]);
    }

    #[test]
    fn a_probability_outside_0_to_1_is_refused() {
        for q in ["0", "1.5", "-0.1", "nan", "inf", "likely"] {
            let message = refused(
                &format!("--set estimator.name=ufom --set estimator.q={q}"),
                &["`estimator.q`", "a number > 0 and ≤ 1"],
            );
            assert!(message.to_lowercase().contains(q), "{message}");
        }
    }

    #[test]
    fn a_probability_is_refused_with_the_exact_estimator() {
        refused("--set estimator.name=exact --set estimator.q=0.5", &["`estimator.q`", "0.5", "ufom"]);
    }

    #[test]
    fn truncation_without_a_depth_or_deeper_than_the_inner_loop_is_refused() {
        refused("--set estimator.name=truncated", &["`estimator.truncate` is missing"]);
        let deep = "--set estimator.name=truncated --set estimator.truncate=4 --set inner.steps=3";
        refused(deep, &["`estimator.truncate`", "4", "3", "inner.steps"]);
    }

    #[test]
    fn an_override_without_a_value_is_refused() {
        refused("--set inner.steps", &["--set inner.steps", "key=value"]);
    }

    #[test]
    fn an_unreadable_configuration_is_named() {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("mine.toml");
        run(folder.path(), "train mine.toml").refused(&["mine.toml", "no such file"]);
        fs::write(&file, b"seed = 1\n# caf\xe9\n").unwrap();
        run(folder.path(), "train mine.toml").refused(&["mine.toml, line 2", "not UTF-8"]);
        fs::write(&file, "seed = 1\nseed = [\n").unwrap();
        run(folder.path(), "train mine.toml").refused(&["mine.toml, line ", "not valid TOML"]);
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        run(folder.path(), "train mine.toml").refused(&["mine.toml", "is a directory"]);
    }
}

mod backends {
    use super::*;

    #[test]
    fn an_unknown_backend_is_refused_with_the_known_ones() {
        let folder = TempDir::new().unwrap();
        let words = ["backend", "gpu", "flex", "ndarray", "wgpu", "vulkan", "cuda"];
        run(folder.path(), "train --backend gpu").refused(&words);
        run(folder.path(), "gradient --case c --estimator exact --out o --backend gpu").refused(&words);
        assert_eq!(names(folder.path()), Vec::<String>::new());
    }

    #[test]
    fn a_backend_that_was_not_built_in_is_refused_with_the_build_command() {
        let folder = TempDir::new().unwrap();
        let backends = [
            ("cuda", cfg!(feature = "cuda")),
            ("vulkan", cfg!(feature = "vulkan")),
            ("wgpu", cfg!(feature = "wgpu")),
            ("ndarray", cfg!(feature = "ndarray")),
        ];
        for (backend, _) in backends.iter().filter(|(_, built_in)| !built_in) {
            let build = format!("cargo build --release --features {backend}");
            let words = [*backend, "built without it", &build, "metaburn backends"];
            run(folder.path(), &format!("train --backend {backend}")).refused(&words);
        }
        assert_eq!(names(folder.path()), Vec::<String>::new());
    }

    #[test]
    fn without_a_graphics_driver_wgpu_is_refused_and_auto_takes_the_cpu() {
        if cfg!(not(feature = "wgpu")) {
            skip("wgpu", "the program was built without wgpu");
            return;
        }
        let folder = folder_with_images();
        let without_drivers = |line: &str| {
            let hidden = [
                "VK_DRIVER_FILES",
                "VK_ICD_FILENAMES",
                "LIBGL_DRIVERS_PATH",
                "__EGL_VENDOR_LIBRARY_FILENAMES",
                "__EGL_VENDOR_LIBRARY_DIRS",
            ];
            run_command(metaburn(folder.path(), line).envs(hidden.map(|variable| (variable, "/nonexistent"))))
        };
        let listed = without_drivers("backends").ok().stdout;
        let line = listed.lines().find(|line| line.starts_with("wgpu")).unwrap();
        if line.split_whitespace().nth(1) == Some("yes") {
            skip("hidden-driver", format_args!("the graphics driver cannot be hidden here: {line}"));
            return;
        }
        let words = ["wgpu", "no graphics adapter", "install", "metaburn backends"];
        without_drivers(&format!("train {IMAGES} --backend wgpu")).refused(&words);
        let tiny = TINY.replace("--backend flex", "--backend auto");
        if !cfg!(feature = "cuda") {
            let stderr = without_drivers(&format!("train {IMAGES} {tiny} --steps 1")).ok().stderr;
            assert!(stderr.contains("on flex (CPU"), "{stderr}");
        }
    }
}

mod checkpoints {
    use super::*;

    /// A folder with a finished run of four steps and checkpoints 2 and 4 in `run`.
    fn finished() -> (TempDir, PathBuf) {
        let folder = folder_with_images();
        let more = "--steps 4 --set checkpoint.every=2 --set checkpoint.keep=2";
        run(folder.path(), &format!("train {IMAGES} {TINY} {more} --run-dir run")).ok();
        let run = folder.path().join("run");
        assert!(checkpoint(&run, 2).is_file() && checkpoint(&run, 4).is_file());
        (folder, run)
    }

    fn flip_the_middle(file: &Path) {
        let mut bytes = fs::read(file).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(file, bytes).unwrap();
    }

    /// Changes the number of outer steps in the header.
    fn change_the_step(file: &Path) {
        let mut bytes = fs::read(file).unwrap();
        let key = br#"\"step\":"#;
        let digit = bytes.windows(key.len()).position(|window| window == key).unwrap() + key.len();
        bytes[digit] = b'3';
        fs::write(file, bytes).unwrap();
    }

    fn cut_in_half(file: &Path) {
        let bytes = fs::read(file).unwrap();
        fs::write(file, &bytes[..bytes.len() / 2]).unwrap();
    }

    fn claim_an_enormous_header(file: &Path) {
        let mut bytes = fs::read(file).unwrap();
        bytes[..8].copy_from_slice(&(u64::MAX / 2).to_le_bytes());
        fs::write(file, bytes).unwrap();
    }

    fn empty(file: &Path) {
        fs::write(file, "").unwrap();
    }

    const DAMAGES: [fn(&Path); 5] =
        [flip_the_middle, change_the_step, cut_in_half, claim_an_enormous_header, empty];

    #[test]
    fn if_all_checkpoints_are_damaged_each_is_named() {
        for damage in DAMAGES {
            let (folder, run) = finished();
            damage(&checkpoint(&run, 2));
            damage(&checkpoint(&run, 4));
            let words = ["run", "step-00000002.safetensors", "step-00000004.safetensors"];
            crate::common::run(folder.path(), "resume run").refused(&words);
            crate::common::run(folder.path(), "eval run").refused(&words);
        }
    }

    #[test]
    fn if_an_older_checkpoint_is_sound_resume_warns_and_continues_from_it() {
        for damage in DAMAGES {
            let (folder, run) = finished();
            let before = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
            let sound = Archive::read(&checkpoint(&run, 4)).unwrap().digest();
            damage(&checkpoint(&run, 4));

            let evaluated = crate::common::run(folder.path(), "eval run --json");
            assert!(evaluated.stderr.contains("warning: "), "{}", evaluated.stderr);
            assert!(evaluated.stderr.contains("step-00000004.safetensors"), "{}", evaluated.stderr);
            assert_eq!(evaluated.json()["steps"], 2);

            let resumed = crate::common::run(folder.path(), "resume run --json");
            assert!(resumed.stderr.contains("warning: "), "{}", resumed.stderr);
            assert!(resumed.stderr.contains("step-00000004.safetensors"), "{}", resumed.stderr);
            assert_eq!(resumed.json()["steps"], 4);
            assert_eq!(fs::read_to_string(run.join("metrics.jsonl")).unwrap(), before);
            assert_eq!(Archive::read(&checkpoint(&run, 4)).unwrap().digest(), sound);
        }
    }

    #[test]
    fn resume_and_eval_refuse_changed_images() {
        let (folder, _) = finished();
        fs::remove_file(folder.path().join("images/class5/5.png")).unwrap();
        for command in ["resume run", "eval run"] {
            crate::common::run(folder.path(), command)
                .refused(&["not what this run was trained on", "--data"]);
        }
    }

    #[test]
    fn a_configuration_of_another_network_is_refused_with_both_values() {
        let (folder, run) = finished();
        let file = run.join("config.toml");
        let config = fs::read_to_string(&file).unwrap();
        fs::write(&file, config.replace("filters = 4", "filters = 5")).unwrap();
        let words = ["configuration of run was changed", "model.filters was 4 and is 5"];
        crate::common::run(folder.path(), "eval run").refused(&words);
        crate::common::run(folder.path(), "resume run").refused(&words);
    }

    #[test]
    fn a_run_that_diverges_stops_with_advice_and_keeps_its_checkpoint() {
        let folder = folder_with_images();
        let diverging = "--steps 5 --set outer.optimizer=sgd --set outer.rate=1e30 --set checkpoint.every=1";
        let ran =
            crate::common::run(folder.path(), &format!("train {IMAGES} {TINY} {diverging} --run-dir run"));
        assert_eq!(ran.code, Some(1));
        for words in ["error: training diverged at outer step 1", "outer.rate", "inner.rate", "outer.clip"] {
            assert!(ran.stderr.contains(words), "{}", ran.stderr);
        }
        let run = folder.path().join("run");
        let kept = names(&run.join("checkpoints"));
        assert_eq!(kept, ["step-00000000.safetensors"], "weights that are not finite are not kept");
        assert_eq!(json_lines(&run.join("metrics.jsonl")).len(), 0);
        // The advice works.
        let commands = ran.stderr.split('`').find(|words| words.starts_with("metaburn resume")).unwrap();
        let command = commands.replace("RATE", "0.01 --json");
        assert_eq!(run_in_shell(folder.path(), &command).json()["steps"], 5);
    }

    #[test]
    fn without_validation_there_is_no_best_checkpoint() {
        let (folder, _) = finished();
        let words = ["best.safetensors", "set eval.every in a new run"];
        crate::common::run(folder.path(), "eval run --checkpoint best").refused(&words);
    }
}

mod directories {
    use super::*;

    #[test]
    fn a_run_directory_in_use_is_refused_with_the_process_id() {
        let folder = folder_with_images();
        let line = format!("train {IMAGES} {TINY} --steps 100000000 --run-dir run");
        let mut running = Running::start(&mut metaburn(folder.path(), &line));
        running.wait_until(|| checkpoint(&folder.path().join("run"), 0).is_file());
        let process = format!("process {}", running.id());
        let words = ["run is in use", &process, "wait for that process to finish, or stop it"];
        run(folder.path(), &line).refused(&words);
        run(folder.path(), "resume run").refused(&words);
        // Reading is allowed.
        let result = run(folder.path(), "eval run --json").json();
        assert!(result["test_accuracy"].is_number());
    }

    #[test]
    fn train_does_not_overwrite_a_run() {
        let folder = folder_with_images();
        let line = format!("train {IMAGES} {TINY} --steps 2 --run-dir run");
        run(folder.path(), &line).ok();
        run(folder.path(), &line).refused(&["run already holds a run", "metaburn resume run", "--run-dir"]);
        assert_eq!(json_lines(&folder.path().join("run/metrics.jsonl")).len(), 2);
    }

    #[test]
    fn a_directory_without_a_run_is_named() {
        let folder = TempDir::new().unwrap();
        fs::create_dir(folder.path().join("empty")).unwrap();
        for command in ["resume", "eval"] {
            for directory in ["empty", "nowhere"] {
                let words = [directory, "no run", "metaburn train --run-dir"];
                run(folder.path(), &format!("{command} {directory}")).refused(&words);
            }
        }
        assert_eq!(names(folder.path()), ["empty"]);
        assert_eq!(names(&folder.path().join("empty")), Vec::<String>::new());
    }

    #[test]
    fn a_directory_that_cannot_be_created_is_named() {
        let folder = folder_with_images();
        fs::write(folder.path().join("file"), "").unwrap();
        let line = format!("train {IMAGES} {TINY} --run-dir file/run");
        run(folder.path(), &line).refused(&["file/run"]);
        let line = format!("data preview {IMAGES} {TINY} --out file/sheet.png");
        run(folder.path(), &line).refused(&["file/sheet.png"]);
    }
}

mod gradient_cases {
    use super::*;

    const COMPUTE: &str = "gradient --case case.safetensors --estimator exact --out out.safetensors";

    /// One task of two classes, two images of 8×8 pixels each, for one block of two filters.
    fn case() -> Archive {
        let mut case = Archive::default();
        for (name, value) in [("n_way", "2"), ("inner_steps", "1"), ("alpha", "0.1"), ("bn_eps", "1e-5")] {
            case.text.insert(name.into(), value.into());
        }
        let floats = |shape: &[usize]| {
            let count: usize = shape.iter().product();
            Values::F32((0..count).map(|place| ((place * 37 % 101) as f32 - 50.0) / 100.0).collect())
        };
        for part in ["support", "query"] {
            case.set(format!("{part}_x"), &[1, 2, 1, 8, 8], floats(&[1, 2, 1, 8, 8]));
            case.set(format!("{part}_y"), &[1, 2], Values::I64(vec![0, 1]));
        }
        for (name, shape) in [
            ("conv1.weight", &[2, 1, 3, 3][..]),
            ("bn1.weight", &[2]),
            ("bn1.bias", &[2]),
            ("linear.weight", &[2, 32]),
            ("linear.bias", &[2]),
        ] {
            case.set(format!("theta.{name}"), shape, floats(shape));
        }
        case
    }

    /// Asserts that the case, changed by `spoil`, is refused with `words`.
    fn refused(spoil: impl FnOnce(Archive) -> Archive, words: &[&str]) {
        let folder = TempDir::new().unwrap();
        spoil(case()).write(&folder.path().join("case.safetensors")).unwrap();
        run(folder.path(), COMPUTE).refused(&[&["case.safetensors"], words].concat());
        assert_eq!(names(folder.path()), ["case.safetensors"]);
    }

    fn without(case: &Archive, name: &str) -> Archive {
        let mut rest = Archive::default();
        rest.text.clone_from(&case.text);
        for kept in case.names().filter(|kept| *kept != name) {
            let (shape, values) = case.get(kept).unwrap();
            rest.set(kept, shape, values.clone());
        }
        rest
    }

    #[test]
    fn a_valid_case_is_computed() {
        let folder = TempDir::new().unwrap();
        case().write(&folder.path().join("case.safetensors")).unwrap();
        run(folder.path(), COMPUTE).ok();
        assert!(
            Archive::read(&folder.path().join("out.safetensors")).unwrap().contains("mean_exact.bn1.bias")
        );
    }

    #[test]
    fn a_missing_array_is_named() {
        for name in case().names() {
            refused(|case| without(&case, name), &[&format!("`{name}`")]);
        }
    }

    #[test]
    fn an_array_of_the_wrong_shape_or_type_is_named() {
        let set = |name: &'static str, shape: &'static [usize], values: Values| {
            move |mut case: Archive| {
                case.set(name, shape, values);
                case
            }
        };
        let floats = |count| Values::F32(vec![0.5; count]);
        refused(set("theta.bn1.bias", &[3], floats(3)), &["`theta.bn1.bias`", "[3]", "[2]"]);
        refused(set("query_y", &[2], Values::I64(vec![0, 1])), &["`query_y`", "[2]", "[1, 2]"]);
        refused(set("support_x", &[64], floats(64)), &["support_x", "[64]"]);
        refused(set("query_x", &[2], floats(2)), &["query_x", "[2]"]);
        refused(set("support_y", &[1, 2], floats(2)), &["`support_y`", "F32", "I64"]);
        refused(set("support_y", &[1, 2], Values::I64(vec![0, 2])), &["support_y", "0..2"]);
        refused(set("query_y", &[1, 2], Values::I64(vec![-1, 0])), &["query_y", "0..2"]);
    }

    #[test]
    fn metadata_that_is_missing_or_not_a_number_is_named() {
        for key in ["n_way", "inner_steps", "alpha", "bn_eps"] {
            let without = |mut case: Archive| {
                case.text.remove(key);
                case
            };
            refused(without, &[key]);
            let spoil = |mut case: Archive| {
                case.text.insert(key.into(), "several".into());
                case
            };
            refused(spoil, &[key, "several"]);
        }
        for (key, value, word) in [
            ("pool", "mean", "stride, max"),
            ("negative_slope", "few", "few"),
            ("negative_slope", "-1", "slope"),
        ] {
            let spoil = |mut case: Archive| {
                case.text.insert(key.into(), value.into());
                case
            };
            refused(spoil, &[word]);
        }
    }

    #[test]
    fn a_file_that_is_not_a_case_is_named() {
        let folder = TempDir::new().unwrap();
        run(folder.path(), COMPUTE).refused(&["case.safetensors", "No such file"]);
        let file = folder.path().join("case.safetensors");
        for content in [&b""[..], b"garbage", &[0xff; 4096], b"\x02\0\0\0\0\0\0\0{}"] {
            fs::write(&file, content).unwrap();
            run(folder.path(), COMPUTE).refused(&["case.safetensors"]);
        }
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        run(folder.path(), COMPUTE).refused(&["case.safetensors"]);
    }

    #[test]
    fn float64_is_refused_on_wgpu() {
        if lacks_wgpu() {
            return;
        }
        let folder = TempDir::new().unwrap();
        let words = ["--dtype f64", "flex", "ndarray", "wgpu", "f32"];
        run(folder.path(), &format!("{COMPUTE} --dtype f64 --backend wgpu")).refused(&words);
    }

    #[test]
    fn a_result_that_cannot_be_written_is_named() {
        let folder = TempDir::new().unwrap();
        case().write(&folder.path().join("case.safetensors")).unwrap();
        let line = COMPUTE.replace("--out out", "--out case.safetensors/out");
        run(folder.path(), &line).refused(&["case.safetensors/out.safetensors"]);
    }
}
