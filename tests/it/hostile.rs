//! Malicious files: pipes, devices, enormous files and false headers are refused quickly, within bounded memory, in one
//! message that names the file. Accidental damage is in `errors.rs`; tests of parsers that need no file are beside the
//! parser.

use crate::common::{
    IMAGES, Outcome, TINY, checkpoint, folder_with_images, json_lines, metaburn, names, run,
};
use burn::tensor::{DType, Device};
use metaburn::gradient_case::Case;
use metaburn::support::archive::{Archive, Values};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// A sparse file of a terabyte.
fn terabyte(path: &Path) {
    File::create(path).unwrap().set_len(1 << 40).unwrap();
}

/// A pipe without a writer.
fn pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// A link to an endless device.
fn endless(path: &Path) {
    std::os::unix::fs::symlink("/dev/zero", path).unwrap();
}

mod images {
    use super::*;

    /// Asserts that training is refused with `words` if `put` replaces one of the images.
    fn refused(put: impl FnOnce(&Path), words: &[&str]) {
        let folder = folder_with_images();
        let image = folder.path().join("images/class4/2.png");
        fs::remove_file(&image).unwrap();
        put(&image);
        let line = format!("train {IMAGES} {TINY} --steps 1 --run-dir run");
        run(folder.path(), &line).refused(&[&["images/class4/2.png"], words].concat());
        assert!(!folder.path().join("run").exists());
    }

    #[test]
    fn an_image_read_refuses_enormous_files_pipes_devices_and_broken_links() {
        refused(terabyte, &["larger than 256 MB"]);
        refused(pipe, &["not a regular file"]);
        refused(endless, &["not a regular file"]);
        refused(|path| std::os::unix::fs::symlink("nowhere.png", path).unwrap(), &["No such file"]);
        refused(|path| fs::write(path, "").unwrap(), &["it is empty"]);
    }

    #[test]
    fn a_small_file_whose_header_claims_a_billion_pixels_is_refused() {
        let claim = |path: &Path| {
            let mut bytes = Vec::new();
            let image = image::GrayImage::new(8, 8);
            let format = image::ImageFormat::Jpeg;
            image.write_to(&mut std::io::Cursor::new(&mut bytes), format).unwrap();
            let frame = bytes.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap() + 5;
            bytes[frame..frame + 4].copy_from_slice(&[0xff; 4]);
            fs::write(path, bytes).unwrap();
        };
        refused(claim, &["more than 268435456 pixels"]);
    }

    #[test]
    fn an_image_format_is_told_by_content_not_by_extension() {
        let folder = folder_with_images();
        let image = folder.path().join("images/class4/2.png");
        image::GrayImage::new(14, 14).save_with_format(&image, image::ImageFormat::Jpeg).unwrap();
        run(folder.path(), &format!("train {IMAGES} {TINY} --steps 1 --run-dir run")).ok();
    }
}

mod archives {
    use super::*;

    #[test]
    fn a_zip_of_a_terabyte_is_refused_without_reading_it() {
        let folder = TempDir::new().unwrap();
        let given = folder.path().join("given");
        fs::create_dir(&given).unwrap();
        terabyte(&given.join("images_background.zip"));
        terabyte(&given.join("images_evaluation.zip"));
        let line = "train --backend flex --set data.source=omniglot --run-dir run --data given";
        run(folder.path(), line).refused(&["given/images_background.zip", "larger than 64 MB"]);
        assert_eq!(names(folder.path()), ["given"]);
    }

    #[test]
    fn a_pipe_is_not_taken_for_an_archive() {
        let folder = TempDir::new().unwrap();
        let given = folder.path().join("given");
        fs::create_dir(&given).unwrap();
        pipe(&given.join("images_background.zip"));
        let line = "train --backend flex --set data.source=omniglot --run-dir run --data given";
        run(folder.path(), line).refused(&["given", "metaburn data fetch omniglot"]);
    }
}

mod configurations {
    use super::*;

    #[test]
    fn a_configuration_is_read_up_to_a_size_limit() {
        let folder = TempDir::new().unwrap();
        endless(&folder.path().join("mine.toml"));
        run(folder.path(), "train mine.toml").refused(&["mine.toml", "larger than 1048576 bytes"]);
        fs::remove_file(folder.path().join("mine.toml")).unwrap();
        terabyte(&folder.path().join("mine.toml"));
        run(folder.path(), "train mine.toml").refused(&["mine.toml", "larger than 1048576 bytes"]);
        assert_eq!(names(folder.path()), ["mine.toml"]);
    }

    #[test]
    fn a_configuration_can_be_piped_in() {
        let folder = folder_with_images();
        let line = format!("train /dev/stdin {IMAGES} {TINY} --run-dir run --json");
        let mut program = metaburn(folder.path(), &line);
        let program = program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = program.spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"outer.steps = 2\n").unwrap();
        assert_eq!(Outcome::from(child.wait_with_output().unwrap()).json()["steps"], 2);
    }
}

mod runs {
    use super::*;

    /// A folder with a finished run in `run`.
    fn finished(arguments: &str) -> TempDir {
        let folder = folder_with_images();
        run(folder.path(), &format!("train {IMAGES} {TINY} --run-dir run {arguments}")).ok();
        folder
    }

    #[test]
    fn compare_limits_the_size_of_the_files_it_reads() {
        let folder = finished("--steps 2");
        let [metrics, config] =
            ["metrics.jsonl", "config.toml"].map(|name| folder.path().join("run").join(name));
        fs::remove_file(&metrics).unwrap();
        terabyte(&metrics);
        run(folder.path(), "compare run --out figure.svg")
            .refused(&["run/metrics.jsonl", "larger than 1024 MB"]);
        fs::remove_file(&metrics).unwrap();
        pipe(&metrics);
        run(folder.path(), "compare run --out figure.svg")
            .refused(&["run/metrics.jsonl", "not a regular file"]);
        fs::write(&config, "a".repeat(900_000)).unwrap();
        let message = run(folder.path(), "compare run --out figure.svg").refused(&["run/config.toml"]);
        assert!(message.len() < 1000, "{message}");
    }

    #[test]
    fn compare_draws_extreme_losses_without_panicking() {
        let folder = finished("--steps 2");
        let moments = [
            (1, f64::MAX),
            (2, -f64::MAX),
            (3, f64::MIN_POSITIVE),
            (u64::MAX - 1, 0.0),
            (u64::MAX, 1.0),
            (4, 1e300),
        ];
        let line =
            |(step, loss)| json!({"step": step, "gradient_evaluations": step, "loss": loss}).to_string();
        let odd = ["1", "null", "[]", "{}", "{\"step\":\"x\"}"].map(String::from);
        let text: Vec<String> = moments.into_iter().map(line).chain(odd).collect();
        fs::write(folder.path().join("run/metrics.jsonl"), text.join("\n")).unwrap();
        let ran = run(folder.path(), "compare run --out figure.svg");
        assert!(matches!(ran.code, Some(0..=2)) && !ran.stderr.contains("panicked"), "{ran:?}");
    }

    #[test]
    fn a_checkpoint_that_is_enormous_a_pipe_or_a_device_is_refused() {
        let put: [fn(&Path); 3] = [terabyte, pipe, endless];
        for put in put {
            let folder = finished("--steps 2 --set checkpoint.every=1");
            let steps = [0, 1, 2].map(|step| checkpoint(&folder.path().join("run"), step));
            for file in steps.iter().filter(|file| file.exists()) {
                fs::remove_file(file).unwrap();
                put(file);
            }
            for command in ["eval run", "resume run"] {
                run(folder.path(), command).refused(&["step-00000002.safetensors"]);
            }
        }
    }

    /// Changes the arrays and the header of a checkpoint, and makes the checksum right again.
    fn change(file: &Path, change: impl FnOnce(&mut Archive, &mut Value)) {
        let mut archive = Archive::read(file).unwrap();
        let mut header: Value = serde_json::from_str(&archive.text["metaburn"]).unwrap();
        change(&mut archive, &mut header);
        header["seal"] = "".into();
        archive.text.insert("metaburn".into(), header.to_string());
        header["seal"] = archive.seal().into();
        archive.text.insert("metaburn".into(), header.to_string());
        archive.write(file).unwrap();
    }

    #[test]
    fn estimator_state_of_the_wrong_length_is_refused() {
        let telescoping = "--set estimator.name=telescoping --set estimator.levels=every --set inner.steps=3 \
                           --steps 4 --set checkpoint.every=2";
        let average = json!({"sum": 1.0, "weight": 0.5});
        for (products, sound) in [
            (json!([[average], [average, average], [average, average, average]]), true),
            (json!([]), true),
            (json!([[average]]), true),
            (json!([[average], [average], [average]]), false),
            (json!([[], [], []]), false),
        ] {
            let folder = finished(telescoping);
            let file = checkpoint(&folder.path().join("run"), 2);
            change(&file, |_, header| {
                header["estimator"]["products"] = products;
                header["estimator"]["exact"] = average.clone();
            });
            fs::remove_file(checkpoint(&folder.path().join("run"), 4)).unwrap();
            let resumed = run(folder.path(), "resume run --json");
            if sound {
                assert_eq!(resumed.json()["steps"], 4);
                assert_eq!(json_lines(&folder.path().join("run/metrics.jsonl")).len(), 4);
            } else {
                resumed.refused(&["step-00000002.safetensors", "levels"]);
            }
        }
    }

    #[test]
    fn optimizer_state_of_the_wrong_shape_is_refused() {
        let folder = finished("--steps 2 --set checkpoint.every=1");
        let file = checkpoint(&folder.path().join("run"), 2);
        change(&file, |archive, _| {
            let names: Vec<String> = archive.names().map(String::from).collect();
            let name = names.iter().find(|name| name.starts_with("optimizer.0.")).expect("a state");
            archive.set(name.clone(), &[3], Values::F32(vec![0.0; 3]));
        });
        run(folder.path(), "resume run").refused(&["step-00000002.safetensors", "optimizer.0", "[3]"]);
    }

    #[test]
    fn impossible_counts_in_a_checkpoint_are_refused() {
        for (place, count) in [("/skipped_steps", u64::MAX), ("/evaluations/inner", u64::MAX - 1)] {
            let folder = finished("--steps 2 --set checkpoint.every=1");
            let file = checkpoint(&folder.path().join("run"), 2);
            change(&file, |_, header| *header.pointer_mut(place).expect("a count") = count.into());
            // The checkpoint before it is used, with a warning.
            let resumed = run(folder.path(), "resume run --json");
            assert!(resumed.stderr.contains("implausibly large (above 2⁵³)"), "{}", resumed.stderr);
            assert_eq!(resumed.json()["steps"], 2);
        }
        let folder = finished("--steps 2 --set checkpoint.every=1");
        let file = checkpoint(&folder.path().join("run"), 2);
        change(&file, |archive, _| {
            let steps = archive.text.iter_mut().filter(|(name, _)| name.starts_with("optimizer."));
            steps.for_each(|(_, count)| *count = u64::MAX.to_string());
        });
        run(folder.path(), "resume run").refused(&["step-00000002.safetensors", "not a valid step count"]);
    }
}

mod cases {
    use super::*;

    /// The error for a case of one task of two classes, two images of 8×8 pixels each, for one block of two filters,
    /// changed by `change`.
    fn refusal(change: impl FnOnce(&mut Archive)) -> String {
        let mut case = Archive::default();
        case.path = "case.safetensors".into();
        for (name, value) in [("n_way", "2"), ("inner_steps", "1"), ("alpha", "0.1"), ("bn_eps", "1e-5")] {
            case.text.insert(name.into(), value.into());
        }
        for part in ["support", "query"] {
            images(&mut case, part, [1, 2, 8]);
        }
        filters(&mut case, 1, 2);
        change(&mut case);
        let error =
            Case::read(&case, &Device::flex(), DType::F32).err().expect("it should be refused").to_string();
        assert!(error.contains("case.safetensors"), "{error}");
        error
    }

    fn images(case: &mut Archive, part: &str, [tasks, count, side]: [usize; 3]) {
        let values = Values::F32(vec![0.5; tasks * count * side * side]);
        case.set(format!("{part}_x"), &[tasks, count, 1, side, side], values);
        case.set(format!("{part}_y"), &[tasks, count], Values::I64(vec![0; tasks * count]));
    }

    fn filters(case: &mut Archive, block: usize, count: usize) {
        let name = format!("theta.conv{block}.weight");
        case.set(name, &[count, 1, 3, 3], Values::F32(vec![0.5; 9 * count]));
    }

    fn text(key: &'static str, value: &'static str) -> impl Fn(&mut Archive) {
        move |case| {
            case.text.insert(key.into(), value.into());
        }
    }

    #[test]
    fn out_of_range_numbers_are_refused() {
        for value in ["100001", "18446744073709551615", "18446744073709551616", "-1", "1e3", ""] {
            assert!(refusal(text("inner_steps", value)).contains("inner_steps"));
        }
        for value in ["0", "1", "10001", "18446744073709551615"] {
            assert!(refusal(text("n_way", value)).contains("n_way"));
        }
        for value in ["inf", "nan", "1e999"] {
            assert!(refusal(text("alpha", value)).contains("alpha"));
        }
    }

    #[test]
    fn empty_arrays_with_enormous_shapes_are_refused() {
        let nothing = || Values::F32(vec![]);
        let tasks = 1 << 60;
        for shape in [[tasks, 0, 1, 8, 8], [0, tasks, 1, 8, 8], [1, tasks, 1, 0, 0], [1, 0, 1, tasks, tasks]]
        {
            refusal(|case| case.set("support_x", &shape, nothing()));
            refusal(|case| case.set("query_x", &shape, nothing()));
        }
        refusal(|case| case.set("theta.conv1.weight", &[0, 1, 3, 3], nothing()));
    }

    #[test]
    fn more_convolutions_than_the_image_can_be_halved_are_refused() {
        let error = refusal(|case| (2..=4).for_each(|block| filters(case, block, 2)));
        assert!(error.contains("4 convolutions") && error.contains("8 pixels allow at most 3"), "{error}");
        refusal(|case| (2..=100).for_each(|block| filters(case, block, 2)));
        refusal(|case| ["support", "query"].iter().for_each(|part| images(case, part, [1, 2, 1])));
    }

    /// Small files that would each need gigabytes.
    #[test]
    fn a_small_case_that_would_need_gigabytes_is_refused() {
        let features = refusal(|case| {
            ["support", "query"].iter().for_each(|part| images(case, part, [1, 1, 512]));
            filters(case, 1, 5000);
        });
        let logits = refusal(|case| {
            images(case, "query", [1, 30_000, 2]);
            images(case, "support", [1, 1, 2]);
            text("n_way", "10000")(case);
        });
        let losses = refusal(|case| {
            ["support", "query"].iter().for_each(|part| images(case, part, [3000, 1, 2]));
            text("inner_steps", "100000")(case);
        });
        let iterates = refusal(|case| {
            filters(case, 1, 60_000);
            text("inner_steps", "100000")(case);
        });
        for (error, what) in
            [(features, "features"), (logits, "logits"), (losses, "losses"), (iterates, "iterates")]
        {
            assert!(error.contains(&format!("its {what} would have more than 268435456 values")), "{error}");
        }
    }
}
