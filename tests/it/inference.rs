//! `predict`, `export` and `import`, and the same logits from PyTorch.

use crate::common::optional::python_with_pytorch;
use crate::common::{Outcome, TINY, checkpoint, coloured_folder, names, run, run_command};
use image::GrayImage;
use metaburn::data::Glyphs;
use metaburn::support::archive::{Archive, Values};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

const WAYS: usize = 5;
/// A network that learns to classify glyphs within seconds.
const QUICK: &str = "--set model.filters=16 --set outer.meta_batch=8 --set eval.every=0 --set eval.test_episodes=20 \
                     --set checkpoint.every=50 --backend flex";

/// A folder with a run called `run`, trained for `steps` outer steps with these `settings`, and five classes of new
/// characters, drawn dark on white: three images of each class in `shots`, four in `photos`.
fn trained(settings: &str, steps: usize) -> TempDir {
    let folder = TempDir::new().unwrap();
    write_characters(folder.path());
    run(folder.path(), &format!("train --run-dir run --steps {steps} {settings}")).ok();
    folder
}

fn write_characters(folder: &Path) {
    let set = Glyphs { seed: 77, ..Glyphs::default() }.draw(28).unwrap();
    for class in 0..WAYS {
        for example in 0..7 {
            let part = if example < 3 { "shots" } else { "photos" };
            let path = folder.join(format!("{part}/class{class}/{example}.png"));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let paper = set.image(class * 11, example).iter().map(|ink| 255 - ink).collect();
            GrayImage::from_raw(28, 28, paper).unwrap().save(path).unwrap();
        }
    }
}

fn predict(folder: &TempDir, rest: &str) -> Outcome {
    run(folder.path(), &format!("predict run --support shots --backend flex {rest}"))
}

fn logits(answers: &Value) -> Vec<Vec<f64>> {
    let numbers =
        |row: &Value| row["logits"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
    answers["predictions"].as_array().unwrap().iter().map(numbers).collect()
}

fn largest_difference(a: &[Vec<f64>], b: &[Vec<f64>]) -> f64 {
    assert_eq!(a.concat().len(), b.concat().len());
    a.concat().iter().zip(b.concat()).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

/// The weights and learned rates in `archive`, sorted by their names without `prefix`.
fn arrays(archive: &Archive, prefix: &str) -> Vec<(String, Vec<usize>, Vec<u32>)> {
    let network = archive.names().filter(|name| !name.starts_with("optimizer."));
    let one = |name: &str| {
        let (shape, values) = archive.get(name).unwrap();
        let Values::F32(values) = values else { panic!("{name} is not F32") };
        let bits = values.iter().map(|value| value.to_bits()).collect();
        (name.strip_prefix(prefix).unwrap_or(name).to_string(), shape.to_vec(), bits)
    };
    let mut arrays: Vec<_> = network.map(one).collect();
    arrays.sort();
    arrays
}

fn exported(folder: &TempDir) -> Archive {
    run(folder.path(), "export run -o out.safetensors").ok();
    Archive::read(&folder.path().join("out.safetensors")).unwrap()
}

mod predict_command {
    use super::*;

    #[test]
    fn a_briefly_trained_model_predicts_new_characters_better_than_chance() {
        let folder = trained(QUICK, 150);
        let answers = predict(&folder, "--query photos --json").json();
        let accuracy = answers["accuracy"].as_f64().unwrap();
        assert!(accuracy > 50.0, "{accuracy} %, where chance is 20 %");
        assert_eq!(answers["inverted"], true);
        assert_eq!(answers["outer_step"], 150);
        assert_eq!(answers["steps"], 3);
        assert_eq!(answers["classes"].as_array().unwrap().len(), WAYS);
        let predictions = answers["predictions"].as_array().unwrap();
        assert_eq!(predictions.len(), WAYS * 4);
        for prediction in predictions {
            let probabilities = prediction["probabilities"].as_object().unwrap();
            let sum: f64 = probabilities.values().map(|p| p.as_f64().unwrap()).sum();
            assert!((sum - 1.0).abs() < 1e-9);
            assert_eq!(probabilities[prediction["class"].as_str().unwrap()], prediction["probability"]);
            assert_eq!(prediction["logits"].as_array().unwrap().len(), WAYS);
            let file = prediction["file"].as_str().unwrap();
            assert!(file.contains(&format!("/{}/", prediction["folder_class"].as_str().unwrap())), "{file}");
        }
        let right = predictions.iter().filter(|p| p["class"] == p["folder_class"]).count();
        assert_eq!(accuracy, 100.0 * right as f64 / (WAYS * 4) as f64);

        let table = predict(&folder, "--query photos").ok().stdout;
        assert_eq!(table.lines().count(), 1 + WAYS * 4 + 1, "{table}");
        assert!(
            table.starts_with("image ") && table.contains("% (") && table.contains("runner-up"),
            "{table}"
        );

        // The picture has a frame around each answer. Grey images have no pixel of these colours.
        assert_eq!(predict(&folder, "--query photos --picture answers.png").ok().stdout, table);
        let picture = image::open(folder.path().join("answers.png")).unwrap().into_rgb8();
        let pixels = |colour: [u8; 3]| picture.pixels().filter(|pixel| pixel.0 == colour).count();
        let (frame, corner) = (90 * 90 - 84 * 84, 31 * 31 - 28 * 28);
        assert_eq!(pixels([0, 158, 115]), right * frame);
        assert_eq!(pixels([230, 118, 0]), (WAYS * 4 - right) * (frame + corner));
        let failed = predict(&folder, "--query photos --picture nowhere/answers.png");
        assert_eq!(failed.code, Some(2));
        assert!(
            failed.stdout == table && failed.stderr.contains("--picture: cannot write nowhere/answers.png")
        );

        // Without adaptation it is worse.
        let unadapted =
            predict(&folder, "--query photos --steps 0 --json").json()["accuracy"].as_f64().unwrap();
        assert!(unadapted < accuracy, "{unadapted} % without adapting");
    }

    #[test]
    fn with_support_batch_norm_predictions_are_independent_of_each_other() {
        for settings in ["", "--set model.batch_norm=support"] {
            let folder = trained(&format!("{TINY} {settings}").replace("image_size=14", "image_size=28"), 2);
            let together = predict(&folder, "--query photos --json").json();
            let alone = together["predictions"].as_array().unwrap().iter().map(|prediction| {
                let file = prediction["file"].as_str().unwrap();
                logits(&predict(&folder, &format!("--query {file} --json")).json()).remove(0)
            });
            let difference = largest_difference(&alone.collect::<Vec<_>>(), &logits(&together));
            assert!(difference < 1e-5, "{difference:e}");
        }
    }

    #[test]
    fn with_transductive_batch_norm_predictions_depend_on_each_other_and_a_warning_says_so() {
        let folder = trained(&TINY.replace("image_size=14", "image_size=28"), 2);
        let ask =
            |query: &str| predict(&folder, &format!("--batch-norm transductive --query {query} --json"));
        let (all, some) = (ask("photos").json(), ask("photos/class0").json());
        assert!(largest_difference(&logits(&all)[..4], &logits(&some)) > 1e-3);
        assert!(ask("photos").ok().stderr.contains("depends on the other images"));
        assert!(predict(&folder, "--query photos").ok().stderr.contains("was trained with transductive"));
        ask("photos/class0/3.png").refused(&["at least two", "--batch-norm transductive"]);
    }

    #[test]
    fn adaptation_of_the_head_alone_and_learned_rates_change_the_logits() {
        let tiny = TINY.replace("image_size=14", "image_size=28");
        for settings in [
            "--set inner.adapts=head",
            "--set inner.rates=learned",
            "--set inner.adapts=head --set inner.rates=learned",
        ] {
            let folder = trained(&format!("{tiny} {settings}"), 2);
            let ask =
                |steps: usize| predict(&folder, &format!("--query photos --steps {steps} --json")).json();
            assert!(largest_difference(&logits(&ask(0)), &logits(&ask(3))) > 1e-3, "{settings}");
        }
    }

    #[test]
    fn inversion_is_detected_from_the_support_images_unless_given() {
        let folder = trained(&TINY.replace("image_size=14", "image_size=28"), 1);
        let inverted = |rest: &str| {
            predict(&folder, &format!("--query photos --json {rest}")).json()["inverted"].clone()
        };
        assert_eq!([inverted(""), inverted("--invert false")], [true, false]);
    }

    #[test]
    fn invalid_arguments_are_named() {
        let folder = trained(&TINY.replace("image_size=14", "image_size=28"), 1);
        let ask = |rest: &str| run(folder.path(), &format!("predict {rest}"));
        ask("run --support gone --query photos").refused(&["gone", "--support"]);
        ask("run --support shots --query gone.png").refused(&["gone.png", "--query"]);
        ask("nowhere --support shots --query photos").refused(&["nowhere"]);
        ask("run --support shots --query photos --checkpoint best").refused(&["best.safetensors", "latest"]);
        ask("run --support shots --query photos --checkpoint 7").refused(&["outer step 7", "0, 1"]);
        ask("run --support shots --query photos --checkpoint soon").refused(&["soon"]);
        fs::write(folder.path().join("photos/class0/bad.png"), "no picture").unwrap();
        ask("run --support shots --query photos").refused(&["bad.png"]);
        fs::remove_file(folder.path().join("photos/class0/bad.png")).unwrap();
        fs::create_dir(folder.path().join("none")).unwrap();
        ask("run --support shots --query none").refused(&["none` nor its folders", "a usable image"]);
        fs::remove_dir_all(folder.path().join("shots/class4")).unwrap();
        ask("run --support shots --query photos").refused(&["4 classes", "exactly 5", "task.ways=4"]);
    }
}

mod export_and_import {
    use super::*;

    #[test]
    fn export_uses_pytorch_names_and_import_restores_every_bit() {
        let max_pooling = "--set model.blocks=3 --set model.pool=max --set model.bias=true \
                           --set model.negative_slope=0.01 --set model.init=xavier";
        for settings in [
            "",
            "--set inner.rates=learned",
            "--set inner.adapts=head --set inner.rates=learned",
            max_pooling,
        ] {
            let folder = trained(&format!("{TINY} {settings}"), 2);
            let (archive, before) =
                (exported(&folder), Archive::read(&checkpoint(&folder.path().join("run"), 2)).unwrap());
            assert!(archive.names().all(|name| !name.starts_with("theta.")));
            assert_eq!(archive.get("conv1.weight").unwrap().0, [4, 1, 3, 3]);
            assert_eq!(archive.get("linear.weight").unwrap().0, [WAYS, 4]);
            assert_eq!(archive.contains("conv3.bias"), settings == max_pooling);
            assert_eq!(archive.text["format"], "pt");
            assert!(!archive.text["config"].contains("backend"));
            run(folder.path(), "import out.safetensors --run-dir again --backend flex").ok();
            let after = Archive::read(&checkpoint(&folder.path().join("again"), 2)).unwrap();
            assert_eq!(arrays(&after, "theta."), arrays(&before, "theta."), "{settings}");
            assert_eq!(arrays(&archive, ""), arrays(&before, "theta."), "{settings}");
            let config =
                |name: &str| fs::read_to_string(folder.path().join(name).join("config.toml")).unwrap();
            assert_eq!(config("again"), config("run"), "backend was given again");
            let resumed = run(folder.path(), "resume again --json").json();
            assert_eq!(resumed["steps"], 2);
        }
    }

    #[test]
    fn a_resnet_is_exported_with_torchvisions_names() {
        let resnet = "--set model.kind=resnet --set model.filters=2 --set model.layers=4";
        let folder = trained(&format!("{QUICK} {resnet}").replacen("--set model.filters=16", "", 1), 1);
        let archive = exported(&folder);
        for (name, shape) in [
            ("layer1.0.conv1.weight", &[2, 1, 3, 3][..]),
            ("layer1.0.downsample.0.weight", &[2, 1, 1, 1]),
            ("layer1.0.downsample.1.bias", &[2]),
            ("layer4.0.conv2.weight", &[16, 16, 3, 3]),
            ("layer4.0.bn2.weight", &[16]),
            ("linear.weight", &[WAYS, 16]),
        ] {
            assert_eq!(archive.get(name).unwrap().0, shape, "{name}");
        }
        run(folder.path(), "import out.safetensors --run-dir again --backend flex").ok();
    }

    #[test]
    fn an_earlier_checkpoint_can_be_exported() {
        let folder = trained(&format!("{TINY} --set checkpoint.every=1"), 2);
        run(folder.path(), "export run --checkpoint 1").ok();
        let path = folder.path().join("run/learner.safetensors");
        let step = Archive::read(&checkpoint(&folder.path().join("run"), 1)).unwrap();
        assert_eq!(arrays(&Archive::read(&path).unwrap(), ""), arrays(&step, "theta."));
    }

    /// Writes `changed.safetensors` into `folder`: the exported weights after a `change`.
    fn write_changed(folder: &TempDir, change: impl FnOnce(&mut Archive)) {
        let mut archive = Archive::read(&folder.path().join("out.safetensors")).unwrap();
        change(&mut archive);
        archive.write(&folder.path().join("changed.safetensors")).unwrap();
    }

    #[test]
    fn import_refuses_weights_of_another_network_and_writes_nothing() {
        let folder = trained(TINY, 1);
        exported(&folder);
        let import =
            |rest: &str| run(folder.path(), &format!("import {rest} --run-dir again --backend flex"));
        import("out.safetensors --set model.filters=5").refused(&["conv1.weight", "model.filters"]);
        import("out.safetensors --set task.ways=4").refused(&["linear.weight", "task.ways"]);
        import("gone.safetensors").refused(&["gone.safetensors"]);
        import("run/checkpoints/step-00000001.safetensors").refused(&["checkpoint", "metaburn export"]);
        fs::write(folder.path().join("noise.safetensors"), "noise").unwrap();
        import("noise.safetensors").refused(&["noise.safetensors"]);
        let import_with = |name: &str, values: Vec<f32>| {
            write_changed(&folder, |archive| archive.set(name, &[values.len()], Values::F32(values)));
            import("changed.safetensors")
        };
        import_with("linear.bias", vec![f32::NAN; WAYS]).refused(&["linear.bias", "not finite"]);
        import_with("conv1.bias", vec![0.0; 4]).refused(&["conv1.bias", "model.bias=true"]);
        import_with("rate.linear.bias", vec![0.1; WAYS])
            .refused(&["rate.linear.bias", "inner.rates=learned"]);
        assert!(!names(folder.path()).contains(&"again".to_string()));
        import("out.safetensors").ok();
        import("out.safetensors").refused(&["already holds a run"]);
    }

    #[test]
    fn import_refuses_counts_that_cannot_be_real_and_writes_nothing() {
        const LARGEST: u64 = 1 << 53;
        let folder = trained(TINY, 1);
        let mut evaluations: Value = serde_json::from_str(&exported(&folder).text["evaluations"]).unwrap();
        evaluations["inner"] = json!(u64::MAX - 1);
        let import_with = |run_dir: &str, key: &str, text: String| {
            write_changed(&folder, |archive| drop(archive.text.insert(key.into(), text)));
            run(folder.path(), &format!("import changed.safetensors --run-dir {run_dir} --backend flex"))
        };
        for (key, text) in [
            ("step", u64::MAX.to_string()),
            ("step", (LARGEST + 1).to_string()),
            ("evaluations", evaluations.to_string()),
        ] {
            let words = ["changed.safetensors", "implausibly large"];
            import_with("again", key, text).refused(&words);
        }
        let words = ["changed.safetensors", "its `step` is not a number"];
        import_with("again", "step", "soon".into()).refused(&words);
        assert!(!names(folder.path()).contains(&"again".to_string()));
        import_with("largest", "step", LARGEST.to_string()).ok();
        assert!(checkpoint(&folder.path().join("largest"), LARGEST).is_file());
    }

    #[test]
    fn import_skips_pytorch_buffers_and_says_so() {
        let folder = trained(TINY, 1);
        let mut archive = exported(&folder);
        archive.set("bn1.running_mean", &[4], Values::F32(vec![0.0; 4]));
        archive.set("bn1.num_batches_tracked", &[], Values::I64(vec![9]));
        archive.write(&folder.path().join("torch.safetensors")).unwrap();
        let ran = run(folder.path(), "import torch.safetensors --run-dir again --backend flex").ok();
        assert!(
            ran.stderr.contains("bn1.running_mean") && ran.stderr.contains("num_batches_tracked"),
            "{}",
            ran.stderr
        );
    }
}

mod pytorch {
    use super::*;

    #[test]
    fn pytorch_loads_adapts_and_gives_the_same_logits() {
        let Some(python) = python_with_pytorch() else { return };
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/load_in_pytorch.py");
        for settings in [
            "",
            "--set data.image_size=20",
            "--set model.batch_norm=support --set inner.proximal=0.5",
            "--set inner.adapts=head",
            "--set inner.rates=learned",
            "--set model.pool=max --set model.bias=true --set model.negative_slope=0.01 --set model.init=xavier",
        ] {
            let folder = trained(&format!("{QUICK} {settings}"), 20);
            exported(&folder);
            for batch_norm in ["support", "transductive"] {
                let asked = format!("--query photos --batch-norm {batch_norm} --json");
                fs::write(folder.path().join("answers.json"), predict(&folder, &asked).ok().stdout).unwrap();
                let mut command = Command::new(&python);
                command.args([script, "out.safetensors", "--support", "shots", "--answers", "answers.json"]);
                let ran = run_command(command.current_dir(folder.path())).ok();
                assert!(ran.stdout.contains("largest difference of 100 logits"), "{}", ran.stdout);
            }
        }
    }

    #[test]
    fn pytorch_sees_the_same_colours_however_images_are_fitted() {
        let Some(python) = python_with_pytorch() else { return };
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/load_in_pytorch.py");
        let folder = coloured_folder(17, 23);
        for fit in ["stretch", "crop", "pad"] {
            let line = format!(
                "train --set data.source=folder --data images --set task.ways=4 --set data.fit={fit} {TINY} --steps 3 \
                 --run-dir {fit}"
            );
            run(folder.path(), &line).ok();
            run(folder.path(), &format!("export {fit} -o {fit}.safetensors")).ok();
            let line = format!("predict {fit} --support shots --query images --backend flex --json");
            fs::write(folder.path().join("answers.json"), run(folder.path(), &line).ok().stdout).unwrap();
            let mut command = Command::new(&python);
            let file = format!("{fit}.safetensors");
            command.args([script, &file, "--support", "shots", "--answers", "answers.json"]);
            let ran = run_command(command.current_dir(folder.path())).ok();
            assert!(ran.stdout.contains("largest difference of"), "{}", ran.stdout);
        }
    }
}
