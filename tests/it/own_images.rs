//! Folders of images as people have them: of many formats, with leftovers of systems, damaged, huge, or laid out in unusual
//! ways. Nothing is left out without a count and a reason, and what is decided from the images is decided once.

use crate::common::optional::{skip, succeeds};
use crate::common::{IMAGES, Outcome, TINY, checkpoint, folder_with_images, names, run};
use image::{DynamicImage, GrayImage, ImageFormat, Luma, Rgb, RgbImage};
use metaburn::support::archive::Archive;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::io::Cursor;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// A drawing of class `class`: a dark bar on light paper, or what `paper` and `ink` are.
fn drawing(class: u32, example: u32, paper: u8, ink: u8) -> GrayImage {
    GrayImage::from_fn(16, 16, |x, y| {
        let inside = (3..13).contains(&x) && (3..13).contains(&y);
        Luma([if inside && (x + y * (1 + class % 3) + example).is_multiple_of(2 + class % 5) {
            ink
        } else {
            paper
        }])
    })
}

/// `count` class folders in `folder`, each with `examples` drawings, of which the first has the number `first`.
fn classes(folder: &Path, first: u32, count: u32, examples: u32) {
    for class in first..first + count {
        let path = folder.join(format!("c{class:02}"));
        fs::create_dir_all(&path).unwrap();
        for example in 0..examples {
            drawing(class, example, 255, 20).save(path.join(format!("{example}.png"))).unwrap();
        }
    }
}

/// A folder with `count` class folders of `examples` drawings in `images`.
fn images(count: u32, examples: u32) -> TempDir {
    let folder = TempDir::new().unwrap();
    classes(&folder.path().join("images"), 0, count, examples);
    folder
}

fn info(folder: &TempDir) -> Value {
    run(folder.path(), &format!("data info {IMAGES} {TINY} --episodes 2 --json")).json()
}

/// Trains a run called `name` for a step, on the images in `images`.
fn train(folder: &TempDir, name: &str, more: &str) -> Outcome {
    let line =
        format!("train {IMAGES} {TINY} --steps 1 --set model.batch_norm=support --run-dir {name} {more}");
    run(folder.path(), &line)
}

fn count(info: &Value, reason: &str) -> u64 {
    let groups = info["left_out"].as_array().unwrap();
    groups
        .iter()
        .filter(|group| group["reason"] == reason)
        .map(|group| group["count"].as_u64().unwrap())
        .sum()
}

fn config(folder: &TempDir, name: &str) -> String {
    fs::read_to_string(folder.path().join(name).join("config.toml")).unwrap()
}

fn logits(answers: &Value, file: &str) -> Vec<f64> {
    let predictions = answers["predictions"].as_array().unwrap();
    let prediction = predictions.iter().find(|prediction| prediction["file"] == file).expect("this file");
    prediction["logits"].as_array().unwrap().iter().map(|logit| logit.as_f64().unwrap()).collect()
}

fn largest_difference(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

fn jpeg(image: impl Into<DynamicImage>) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, ImageFormat::Jpeg).unwrap();
    bytes.into_inner()
}

mod ink {
    use super::*;

    /// A folder whose images have paper of brightness `paper` and ink half as bright.
    fn lamp(folder: &Path, paper: u8, count: u32) {
        for class in 0..count {
            fs::create_dir_all(folder.join(format!("c{class:02}"))).unwrap();
            for example in 0..4 {
                let path = folder.join(format!("c{class:02}/{example}.png"));
                drawing(class, example, paper, paper / 2).save(path).unwrap();
            }
        }
    }

    #[test]
    fn the_decision_is_made_once_kept_with_the_run_and_said_when_it_is_close() {
        let folder = TempDir::new().unwrap();
        lamp(&folder.path().join("images"), 124, 8);
        let trained = train(&folder, "run", "").ok();
        assert!(
            trained.stderr.contains("light pixels were taken as ink, but the decision was close"),
            "{}",
            trained.stderr
        );
        assert!(trained.stderr.contains("124 of 255"), "{}", trained.stderr);
        assert!(config(&folder, "run").contains("invert = false"), "{}", config(&folder, "run"));
        let info = info(&folder);
        assert_eq!(
            (info["ink"]["inverted"].as_bool(), info["ink"]["border"].as_f64()),
            (Some(false), Some(124.0))
        );

        // By its own borders, a slightly brighter photograph would be turned to its negative.
        lamp(&folder.path().join("shots"), 132, 2);
        let asked = "predict run --support shots --query shots --json";
        let answered = run(folder.path(), asked).ok();
        assert!(answered.stderr.contains("strokes are light, as in training"), "{}", answered.stderr);
        let answers: Value = serde_json::from_str(&answered.stdout).unwrap();
        assert_eq!(answers["inverted"], false);
        assert_eq!(run(folder.path(), &format!("{asked} --invert true")).json()["inverted"], true);

        // The decision goes where the weights go.
        run(folder.path(), "export run -o out.safetensors").ok();
        run(folder.path(), "import out.safetensors --data images --run-dir copy --backend flex").ok();
        assert!(config(&folder, "copy").contains("invert = false"));
        assert_eq!(run(folder.path(), &asked.replace("run", "copy")).json()["inverted"], false);
    }

    #[test]
    fn images_that_look_otherwise_than_those_of_training_are_pointed_out() {
        let folder = images(8, 4);
        train(&folder, "run", "").ok();
        assert!(config(&folder, "run").contains("invert = true"));
        for class in 0..2 {
            fs::create_dir_all(folder.path().join(format!("shots/c{class}"))).unwrap();
            drawing(class, 0, 0, 255).save(folder.path().join(format!("shots/c{class}/1.png"))).unwrap();
        }
        let answered = run(folder.path(), "predict run --support shots --query shots").ok();
        let advice = "if their background is dark, give --invert false";
        assert!(
            answered.stderr.contains("borders of these images are dark (0 of 255)"),
            "{}",
            answered.stderr
        );
        assert!(answered.stderr.contains(advice), "{}", answered.stderr);
        let followed = run(folder.path(), "predict run --support shots --query shots --invert false").ok();
        assert!(!followed.stderr.contains(advice), "{}", followed.stderr);
    }
}

mod split {
    use super::*;

    /// The classes of test episodes that `data episode` writes for `setup`.
    fn test_classes(folder: &TempDir, setup: &str) -> BTreeSet<String> {
        let episode = |number| {
            let out = folder.path().join("episode");
            let line = format!("data episode {setup} --number {number} --out episode");
            run(folder.path(), &line).ok();
            let classes = names(&out.join("support"));
            fs::remove_dir_all(out).unwrap();
            classes
        };
        (0..12).flat_map(episode).collect()
    }

    fn kept(folder: &TempDir, name: &str) -> Value {
        serde_json::from_str(&fs::read_to_string(folder.path().join(name).join("split.json")).unwrap())
            .unwrap()
    }

    fn part(split: &Value, part: &str) -> BTreeSet<String> {
        let classes = split[part].as_array().unwrap();
        classes.iter().map(|class| class["name"].as_str().unwrap().to_string()).collect()
    }

    #[test]
    fn another_seed_moves_no_class_from_training_to_test() {
        let folder = images(20, 4);
        let trained = train(&folder, "run", "--set data.validation=3").ok();
        assert!(
            trained.stderr.contains("split fraction: 12 training, 3 validation and 5 test classes"),
            "{}",
            trained.stderr
        );
        let split = kept(&folder, "run");
        assert_eq!(test_classes(&folder, "run"), part(&split, "test"));

        // The seed is edited in the run.
        let text = config(&folder, "run").replace("seed = 0", "seed = 1");
        fs::write(folder.path().join("run/config.toml"), &text).unwrap();
        assert_eq!(test_classes(&folder, "run"), part(&split, "test"));
        fs::write(folder.path().join("run/config.toml"), text.replace("seed = 1", "seed = 0")).unwrap();

        // Weights are imported under another seed.
        run(folder.path(), "export run -o out.safetensors").ok();
        let import = "import out.safetensors --data images --backend flex --set seed=1";
        run(folder.path(), &format!("{import} --run-dir copy")).ok();
        assert_eq!(kept(&folder, "copy"), split);
        run(folder.path(), "eval copy --episodes 2").ok();
        assert_eq!(test_classes(&folder, "copy"), part(&split, "test"));

        // Another split would test on classes that were trained on.
        let refused = run(folder.path(), &format!("{import} --set data.validation=2 --run-dir leak"));
        refused.refused(&["validation and test classes", "the network was trained on", "train/"]);
        assert!(!folder.path().join("leak").exists());
    }

    #[test]
    fn imported_weights_are_not_tested_on_what_they_were_trained_on_in_other_folders() {
        let folder = images(12, 4);
        train(&folder, "run", "").ok();
        run(folder.path(), "export run -o out.safetensors").ok();
        let split = kept(&folder, "run");
        // All classes again under other names, sorted into parts: training classes in test/, then where they belong.
        for (layout, [first, second]) in [("wrong", ["test", "train"]), ("right", ["train", "test"])] {
            for (part_name, part_folder) in [("train", first), ("test", second)] {
                for class in part(&split, part_name) {
                    let to = folder.path().join(layout).join(part_folder).join(format!("new-{class}"));
                    fs::create_dir_all(&to).unwrap();
                    for image in names(&folder.path().join("images").join(&class)) {
                        fs::copy(folder.path().join("images").join(&class).join(&image), to.join(&image))
                            .unwrap();
                    }
                }
            }
        }
        let import = |layout: &str| {
            let line = format!(
                "import out.safetensors --data {layout} --set data.split=listed --run-dir {layout}-run --backend flex"
            );
            run(folder.path(), &line)
        };
        import("wrong").refused(&["of the 9 validation and test classes", "new-c"]);
        import("right").ok();
    }

    #[test]
    fn weights_of_another_program_keep_what_their_first_images_decided() {
        let folder = images(12, 4);
        let at = |name: &str| folder.path().join(name);
        train(&folder, "run", "").ok();
        run(folder.path(), "export run -o out.safetensors").ok();
        let mut archive = Archive::read(&at("out.safetensors")).unwrap();
        archive.text.clear();
        archive.write(&at("foreign.safetensors")).unwrap();

        // When they are imported, their images are not there.
        fs::rename(at("images"), at("away")).unwrap();
        let source = "--set data.source=folder --set data.path=images --set task.ways=2";
        let import = format!("import foreign.safetensors {source} {TINY} --run-dir copy");
        run(folder.path(), &import).ok();
        assert!(!at("copy/split.json").exists() && !config(&folder, "copy").contains("invert"));
        fs::rename(at("away"), at("images")).unwrap();
        let resumed = run(folder.path(), "resume copy --steps 1").ok();
        assert!(resumed.stderr.contains("split fraction: 9 training"), "{}", resumed.stderr);
        let split = kept(&folder, "copy");
        assert_eq!((part(&split, "train").len(), part(&split, "test").len()), (9, 3));
        let decided = config(&folder, "copy");
        for words in ["split = \"fraction\"", "validation = 0", "invert = true"] {
            assert!(decided.contains(words), "{decided}");
        }
        // The checkpoint that was imported knew nothing of it, and can be continued from.
        fs::remove_file(checkpoint(&at("copy"), 1)).unwrap();
        let resumed = run(folder.path(), "resume copy").ok();
        assert!(!resumed.stderr.contains("split fraction"), "{}", resumed.stderr);
        assert_eq!((config(&folder, "copy"), kept(&folder, "copy")), (decided, split));
        run(folder.path(), "eval copy --episodes 2").ok();
    }

    #[test]
    fn folders_are_parts_by_their_usual_names_and_others_beside_them_are_refused() {
        let folder = TempDir::new().unwrap();
        let info = |data: &str| {
            let line = format!(
                "data info {TINY} --set data.source=folder --set task.ways=2 --data {data} --episodes 2"
            );
            run(folder.path(), &line)
        };
        for (first, (part, count)) in
            [("novel/base", 8), ("novel/val", 3), ("novel/novel", 4)].iter().enumerate()
        {
            classes(&folder.path().join(part), 10 * first as u32, *count, 4);
        }
        let said = info("novel").ok().stdout;
        for words in ["split: listed", "train: 8 classes", "validation: 3 classes", "test: 4 classes"] {
            assert!(said.contains(words), "{said}");
        }
        for (first, (part, count)) in
            [("more/train", 8), ("more/test", 4), ("more/extra", 2)].iter().enumerate()
        {
            classes(&folder.path().join(part), 10 * first as u32, *count, 4);
        }
        info("more").refused(&["the folder `extra` beside `test`, `train`", "move it away"]);
        fs::rename(folder.path().join("more/extra"), folder.path().join("more/dev")).unwrap();
        assert!(info("more").ok().stdout.contains("validation: 2 classes"));
        // Parts of the same classes, as for ordinary classification.
        classes(&folder.path().join("same/train"), 0, 10, 4);
        classes(&folder.path().join("same/test"), 0, 10, 4);
        let message = info("same").refused(&[
            "10 faults",
            "class `c00` is in both",
            "give --data one of these folders",
        ]);
        assert!(message.contains("same/train"), "{message}");
        assert!(info("same/train").ok().stdout.contains("split: fraction"));
    }
}

mod content {
    use super::*;

    #[test]
    fn the_data_folder_may_be_renamed() {
        let folder = images(8, 4);
        train(&folder, "run", "").ok();
        let first = run(folder.path(), "eval run --json").json();
        fs::rename(folder.path().join("images"), folder.path().join("renamed")).unwrap();
        assert_eq!(run(folder.path(), "eval run --data renamed --json").json(), first);
        run(folder.path(), "resume run --data renamed --progress none").ok();
        fs::remove_file(folder.path().join("renamed/c00/0.png")).unwrap();
        run(folder.path(), "eval run --data renamed").refused(&[
            "6 of the 8",
            "among those that the network was trained on",
            "settings that change the split or the images",
        ]);
    }

    #[test]
    fn a_photograph_turned_by_its_exif_data_is_the_same_as_one_turned_in_its_pixels() {
        let folder = images(8, 4);
        train(&folder, "run", "").ok();
        let blocks = |x: u32, y: u32| Luma([if (x / 16 + 2 * (y / 16)).is_multiple_of(3) { 0 } else { 255 }]);
        let upright = GrayImage::from_fn(96, 64, blocks);
        // Viewers turn it by 90 degrees clockwise.
        let turned = GrayImage::from_fn(64, 96, |x, y| *upright.get_pixel(95 - y, x));
        let directory = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
        let plain = jpeg(turned);
        let length = (directory.len() as u16 + 2).to_be_bytes();
        let oriented = [&plain[..2], &[0xff, 0xe1], &length, directory, &plain[2..]].concat();
        fs::create_dir(folder.path().join("q")).unwrap();
        for (name, bytes) in [("upright", jpeg(upright)), ("exif", oriented), ("plain", plain)] {
            fs::write(folder.path().join(format!("q/{name}.jpg")), bytes).unwrap();
        }
        for class in ["c02", "c05"] {
            fs::create_dir_all(folder.path().join("shots").join(class)).unwrap();
            let image = format!("{class}/0.png");
            fs::copy(folder.path().join("images").join(&image), folder.path().join("shots").join(&image))
                .unwrap();
        }
        let answers = run(folder.path(), "predict run --support shots --query q --json").json();
        let [upright, exif, plain] =
            ["upright", "exif", "plain"].map(|name| logits(&answers, &format!("q/{name}.jpg")));
        assert!(largest_difference(&upright, &exif) < 1e-3, "{upright:?}, {exif:?}");
        assert!(largest_difference(&upright, &plain) > 1e-3, "{upright:?}, {plain:?}");
    }

    #[test]
    fn all_usual_formats_are_read_and_others_are_counted_and_named() {
        let folder = images(8, 2);
        for class in 0..8_u32 {
            let path = folder.path().join(format!("images/c{class:02}"));
            let image = drawing(class, 7, 255, 20);
            for (name, format) in [
                ("x.bmp", ImageFormat::Bmp),
                ("x.webp", ImageFormat::WebP),
                ("x.gif", ImageFormat::Gif),
                ("x.jfif", ImageFormat::Jpeg),
                ("x.JPE", ImageFormat::Jpeg),
            ] {
                let image = DynamicImage::from(image.clone()).into_rgb8();
                image.save_with_format(path.join(name), format).unwrap();
            }
            fs::write(path.join("IMG_0001.HEIC"), b"\0\0\0\x18ftypheic\0\0\0\0").unwrap();
        }
        let info = info(&folder);
        assert_eq!(info["images"], 8 * 7);
        let heic = &info["left_out"][0];
        assert_eq!((&heic["reason"]["format"], &heic["count"]), (&"HEIC".into(), &8.into()));
        let trained = train(&folder, "run", "").ok();
        assert!(
            trained.stderr.contains("8 HEIC images left out (`c00/IMG_0001.HEIC`, "),
            "{}",
            trained.stderr
        );

        fs::create_dir(folder.path().join("shots")).unwrap();
        for class in ["c02", "c05"] {
            fs::rename(folder.path().join("images").join(class), folder.path().join("shots").join(class))
                .unwrap();
        }
        let answered = run(folder.path(), "predict run --support shots --query shots/c02 --json").ok();
        let answers: Value = serde_json::from_str(&answered.stdout).unwrap();
        assert_eq!(answers["predictions"].as_array().unwrap().len(), 7);
        assert!(answered.stderr.contains("3 HEIC images left out"), "{}", answered.stderr);
        let same: Vec<_> =
            ["x.bmp", "x.webp", "x.gif"].map(|name| logits(&answers, &format!("shots/c02/{name}"))).into();
        assert!(same.iter().all(|logits| *logits == same[0]), "{same:?}");
        let named = "predict run --support shots --query shots/c02/IMG_0001.HEIC";
        run(folder.path(), named).refused(&[
            "shots/c02/IMG_0001.HEIC",
            "HEIC file, which is not read",
            "convert",
        ]);
        fs::create_dir(folder.path().join("only")).unwrap();
        fs::copy(folder.path().join("shots/c02/IMG_0001.HEIC"), folder.path().join("only/a.heic")).unwrap();
        run(folder.path(), "predict run --support shots --query only").refused(&["`only`", "1 HEIC image"]);
    }

    #[test]
    fn every_damaged_file_is_named_at_once_and_can_be_left_out() {
        let folder = images(8, 6);
        let at = |file: &str| folder.path().join("images").join(file);
        let whole = jpeg(drawing(1, 9, 255, 20));
        fs::write(at("c00/empty.png"), "").unwrap();
        fs::write(at("c01/cut.jpg"), &whole[..whole.len() / 2]).unwrap();
        fs::write(at("c03/page.jpg"), "<html>404</html>").unwrap();
        fs::write(at("c04/heic.jpg"), b"\0\0\0\x18ftypheic\0\0\0\0").unwrap();
        let mut two = jpeg(drawing(1, 9, 255, 20));
        let frame = two.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
        two[frame + 9] = 2;
        fs::write(at("c05/two.jpg"), two).unwrap();
        let message = train(&folder, "run", "").refused(&[
            "5 images",
            "c00/empty.png`: it is empty",
            "c01/cut.jpg`: the JPEG file is cut short",
            "c03/page.jpg`: it is not PNG, JPEG",
            "c04/heic.jpg`: it is a HEIC file",
            "c05/two.jpg`: it has 2 colour components",
            "replace or remove them",
        ]);
        assert!(!folder.path().join("run").exists());
        let flags = super::advice::flags(&message);
        assert_eq!(flags, ["--set data.skip_damaged=true"]);
        let trained = train(&folder, "run", &flags[0]).ok();
        assert!(trained.stderr.contains("5 damaged images left out"), "{}", trained.stderr);
        // The run keeps the setting, and what is read from the cache is counted too.
        let resumed = run(folder.path(), "eval run").ok();
        assert!(resumed.stderr.contains("5 damaged images left out"), "{}", resumed.stderr);
    }

    #[test]
    fn what_systems_leave_behind_is_neither_class_nor_image() {
        let folder = folder_with_images();
        let at = |file: &str| folder.path().join("images").join(file);
        for file in [".DS_Store", "class0/._0.png", "class0/Thumbs.db", "desktop.ini"] {
            fs::write(at(file), "x").unwrap();
        }
        for dir in
            ["__MACOSX/class0", "class0/@eaDir/0.png", "lost+found", ".ipynb_checkpoints", "class0/.thumbs"]
        {
            fs::create_dir_all(at(dir)).unwrap();
        }
        fs::write(at("README.txt"), "x").unwrap();
        let before = info(&folder);
        assert_eq!((&before["classes"], &before["images"]), (&10.into(), &60.into()));
        assert_eq!((count(&before, "system"), count(&before, "other")), (9, 1));
        fs::create_dir(at("empty")).unwrap();
        fs::copy(at("class0/0.png"), at("overview.png")).unwrap();
        let after = info(&folder);
        assert_eq!(after["digest"], before["digest"]);
        assert_eq!((count(&after, "empty"), count(&after, "loose")), (1, 1));
        let said = train(&folder, "run", "").ok().stderr;
        for words in ["1 class folder without images left out (`empty`)", "(`overview.png`)"] {
            assert!(said.contains(words), "{said}");
        }
    }

    #[test]
    fn photographs_of_the_sizes_that_telephones_make_are_read() {
        let folder = images(8, 4);
        train(&folder, "run", "").ok();
        fs::create_dir(folder.path().join("q")).unwrap();
        for (name, width, height) in [("108mp", 12_000, 9_000), ("panorama", 17_000, 1_200)] {
            let image = GrayImage::from_pixel(width, height, Luma([200]));
            fs::write(folder.path().join(format!("q/{name}.jpg")), jpeg(image)).unwrap();
        }
        for class in ["c02", "c05"] {
            fs::create_dir_all(folder.path().join("shots").join(class)).unwrap();
            drawing(2, 0, 255, 20).save(folder.path().join("shots").join(class).join("0.png")).unwrap();
        }
        let answers = run(folder.path(), "predict run --support shots --query q --json").json();
        assert_eq!(logits(&answers, "q/108mp.jpg"), logits(&answers, "q/panorama.jpg"));
    }

    #[test]
    fn dropped_colours_are_said() {
        let folder = images(8, 4);
        let red = |class: u8| {
            let image = RgbImage::from_pixel(16, 16, Rgb([200, 10 * class, 30]));
            image.save(folder.path().join(format!("images/c{class:02}/red.png"))).unwrap();
        };
        red(0);
        let found = info(&folder);
        assert_eq!((&found["coloured"], &found["channels"]), (&1.into(), &1.into()));
        let said = train(&folder, "few", "").ok().stderr;
        let dropped = "1 image is in colour; only its brightness is used; data.channels=3 keeps colours";
        assert!(said.contains(dropped), "{said}");
        (1..8).for_each(red);
        let found = info(&folder);
        assert_eq!((&found["coloured"], &found["channels"]), (&8.into(), &3.into()));
        let said = train(&folder, "colour", "").ok().stderr;
        assert!(said.contains("; images in colour") && !said.contains("brightness"), "{said}");
        let said = train(&folder, "grey", "--set data.channels=1").ok().stderr;
        assert!(said.contains("8 images are in colour; only their brightness is used\n"), "{said}");
    }

    #[test]
    fn the_example_in_python_has_the_same_rule_for_brightness() {
        let example = include_str!("../../examples/load_in_pytorch.py");
        let rule =
            example.lines().find(|line| line.trim_start().starts_with("grey = (2126")).expect("the rule");
        let rule = rule.trim();
        if !succeeds(Command::new("python3").args(["-c", "pass"])) {
            skip("python3", "there is no python3, in which the example's rule for brightness is tried");
            return;
        }
        let colours: Vec<[u8; 3]> =
            (0..1000_u32).map(|n| [n * 7, n * 31, n * 101].map(|value| (value % 256) as u8)).collect();
        let script = format!(
            "for red, green, blue in {}:\n    {rule}\n    print(grey)",
            serde_json::to_string(&colours).unwrap()
        );
        let printed = Command::new("python3").args(["-c", &script]).output().unwrap().stdout;
        let printed = String::from_utf8(printed).unwrap();
        let theirs: Vec<u8> = printed.lines().map(|line| line.parse().unwrap()).collect();
        let ours: Vec<u8> = colours.into_iter().map(metaburn::data::decode::brightness).collect();
        assert_eq!(theirs, ours);
    }
}

mod place {
    use super::*;

    #[test]
    fn a_run_among_listed_images_is_refused_for_another_reason() {
        let folder = images(8, 4);
        let files =
            (0..8).flat_map(|class| (0..4).map(move |image| format!("c{class:02}/{image}.png,{class}\n")));
        let list: String = ["filename,label\n".to_string()].into_iter().chain(files).collect();
        fs::write(folder.path().join("list.csv"), list).unwrap();
        let line = format!("train {IMAGES} {TINY} --set data.list=list.csv --steps 1 --run-dir");
        let message = run(folder.path(), &format!("{line} images/run")).refused(&[
            "inside the image folder",
            "decode all images again",
            "--run-dir",
        ]);
        assert!(!message.contains("taken for classes"), "{message}");
        run(folder.path(), &format!("{line} run")).ok();
    }

    #[test]
    fn nothing_is_written_among_the_images() {
        let folder = images(8, 4);
        let inside = folder.path().join("images");
        let here = format!("{TINY} --set data.source=folder --set task.ways=2 --data . --steps 1");
        let before = names(&inside);
        for name in ["first", "second"] {
            let trained = run(&inside, &format!("train {here} --run-dir ../{name}")).ok();
            assert!(trained.stderr.contains("decoded images are not cached"), "{}", trained.stderr);
            assert!(trained.stderr.contains("set data.cache to a folder elsewhere"), "{}", trained.stderr);
            assert_eq!(names(&inside), before);
        }
        let cached = run(&inside, &format!("train {here} --set data.cache=../cache --run-dir ../third")).ok();
        assert!(!cached.stderr.contains("not cached"), "{}", cached.stderr);
        // The images, and whether they are in colour.
        assert_eq!(names(&folder.path().join("cache")).len(), 2);
        run(&inside, "eval ../third").ok();

        // A run directory among the images would be taken for a class.
        let among = run(&inside, &format!("train {here} --run-dir run"));
        among.refused(&["inside the image folder", "choose another with --run-dir"]);
        run(&inside, &format!("train {here}")).refused(&["inside the image folder", "--run-dir"]);
        assert_eq!(names(&inside), before);
    }
}

/// Messages whose advice is followed as it is printed.
mod advice {
    use super::*;

    /// The settings that a message names in backquotes, each alternative a string of flags.
    pub fn flags(message: &str) -> Vec<String> {
        message.split('`').filter(|quoted| quoted.starts_with("--set ")).map(String::from).collect()
    }

    /// Follows each alternative in `message`, of a run called `name` that was refused with the flags `given`; returns how many
    /// there were. Later flags win.
    fn follow(folder: &TempDir, message: &str, given: &str) -> usize {
        let flags = flags(message);
        for (number, flags) in flags.iter().enumerate() {
            train(folder, &format!("followed-{number}"), &format!("{given} {flags}")).ok();
            fs::remove_dir_all(folder.path().join(format!("followed-{number}"))).unwrap();
        }
        flags.len()
    }

    #[test]
    fn too_many_queries_for_the_images() {
        let folder = images(8, 4);
        let given = "--set eval.queries=4";
        let message =
            train(&folder, "run", given).refused(&["fewer images than the 5 of each class", "add images"]);
        assert_eq!(follow(&folder, &message, given), 1, "{message}");
        let given = "--set task.queries=2 --set task.shots=3 --set eval.queries=2";
        let message = train(&folder, "run", given).refused(&["fewer images than the 5"]);
        assert_eq!(follow(&folder, &message, given), 2, "{message}");
    }

    #[test]
    fn too_many_ways_for_the_classes() {
        let folder = images(8, 4);
        let given = "--set task.ways=3";
        let message = train(&folder, "run", given).refused(&["the test part has 2 classes", "task.ways = 3"]);
        assert_eq!(follow(&folder, &message, given), 1, "{message}");
        // So many that not every smaller number can be tried.
        let given = "--set task.ways=1000000";
        let message =
            train(&folder, "run", given).refused(&["use fewer classes per episode (`--set task.ways=2`)"]);
        assert_eq!(follow(&folder, &message, given), 1, "{message}");
        // The test needs more classes than training.
        let given = "--set task.ways=2 --set eval.ways=3 --set inner.head=shared";
        let message = train(&folder, "run", given).refused(&["the test part has 2 classes", "eval.ways"]);
        assert_eq!(follow(&folder, &message, given), 1, "{message}");
        // With validation, which takes classes too.
        let given = "--set task.ways=4 --set eval.every=10";
        let message = train(&folder, "run", given).refused(&["class folders instead of 8"]);
        assert!(follow(&folder, &message, given) >= 1, "{message}");
    }

    #[test]
    fn too_few_classes_are_told_how_many_suffice() {
        for count in 1..6 {
            let folder = images(count, 12);
            for given in
                ["--set eval.every=10", "--set eval.every=10 --set data.validation=0 --set eval.every=0"]
            {
                let ran = train(&folder, "run", given);
                if ran.code == Some(0) {
                    assert!(count >= 4, "{count} classes cannot fill two parts of two");
                    fs::remove_dir_all(folder.path().join("run")).unwrap();
                    continue;
                }
                let message = ran.refused(&["have at least ", "class folders instead of"]);
                follow(&folder, &message, given);
                let needed = message.split("have at least ").nth(1).unwrap().split(' ').next().unwrap();
                classes(&folder.path().join("images"), 0, needed.parse().unwrap(), 12);
                train(&folder, "enough", given).ok();
                fs::remove_dir_all(folder.path().join("enough")).unwrap();
                for class in count..needed.parse().unwrap() {
                    fs::remove_dir_all(folder.path().join(format!("images/c{class:02}"))).unwrap();
                }
            }
        }
    }

    #[test]
    fn all_small_classes_are_named_and_can_be_moved_away() {
        let folder = images(10, 6);
        let small = ["c02", "c05", "c07"];
        for class in small {
            (1..6).for_each(|image| {
                fs::remove_file(folder.path().join(format!("images/{class}/{image}.png"))).unwrap();
            });
        }
        // Which classes are in which part is random, so the classes of each part are named in turn.
        let mut named = BTreeSet::new();
        loop {
            let ran = train(&folder, "run", "");
            if ran.code == Some(0) {
                break;
            }
            let message =
                ran.refused(&["than the 3 of each class", "has 1 image", "move their folders away"]);
            assert!(flags(&message).is_empty(), "no setting makes 1 image suffice: {message}");
            let classes: Vec<_> =
                message.split('`').filter(|name| small.contains(name)).map(String::from).collect();
            assert!(!classes.is_empty());
            for class in classes {
                fs::rename(folder.path().join("images").join(&class), folder.path().join(&class)).unwrap();
                named.insert(class);
            }
        }
        assert_eq!(named.len(), 3);
    }

    #[test]
    fn other_layouts_are_told_which_one_is_wanted() {
        let folder = TempDir::new().unwrap();
        let refused = |data: &str, words: &[&str]| {
            let line = format!(
                "train {TINY} --set data.source=folder --set task.ways=2 --data {data} --run-dir run"
            );
            run(folder.path(), &line).refused(words)
        };
        // As miniImageNet is published: images side by side, and lists of them.
        let flat = folder.path().join("mini/images");
        fs::create_dir_all(&flat).unwrap();
        for class in 0..6 {
            drawing(class, 0, 255, 20).save(flat.join(format!("n{class}.png"))).unwrap();
        }
        fs::write(folder.path().join("mini/train.csv"), "filename,label\n").unwrap();
        let wanted = ["put the images of each class in a folder of its own", "train/, validation/ and test/"];
        refused("mini/images", &[&["no class folders, but 6 images"], &wanted[..]].concat());
        fs::create_dir(folder.path().join("lists")).unwrap();
        fs::rename(folder.path().join("mini/train.csv"), folder.path().join("lists/train.csv")).unwrap();
        refused("lists", &[&["train.csv", "set data.list to it"], &wanted[..]].concat());
        fs::create_dir(folder.path().join("cifar")).unwrap();
        fs::write(folder.path().join("cifar/CIFAR_FS_train.pickle"), "x").unwrap();
        refused("cifar", &[&["CIFAR_FS_train.pickle", "unpack them"], &wanted[..]].concat());
        fs::write(folder.path().join("mini.zip"), "x").unwrap();
        refused("mini.zip", &["mini.zip`", "is a file: unpack it", "--data PATH"]);
    }

    #[test]
    fn the_first_things_that_people_type_name_the_next() {
        let folder = images(8, 4);
        let train = |line: &str| run(folder.path(), &format!("train --backend flex --run-dir run {line}"));
        // Each message names `data.source=folder`, which is then given.
        let with_images = ["--data images", "--set data.source=omniglot --data images"];
        for line in with_images {
            train(line).refused(&["data.source=folder"]);
        }
        train("images").refused(&["`--set data.source=folder --data images`"]);
        train("--set source=folder --data images").refused(&["did you mean `data.source`?"]);
        train("--set data.source=folder").refused(&["`data.path` is missing", "--data PATH"]);
        train("--set data.source=omniglot").refused(&[
            "datasets/omniglot",
            "`metaburn data fetch omniglot`",
            "--data PATH",
        ]);
        let given = train("--set data.source=omniglot --data elsewhere");
        given.refused(&["elsewhere`", "`metaburn data fetch omniglot --to "]);
        let message = train("--set data.source=folder --data images").refused(&["task.ways = 5"]);
        let ways = flags(&message);
        assert!(!ways.is_empty(), "{message}");
        for flags in ways {
            let line = "train --set data.source=folder --data images --steps 1 --run-dir run";
            run(folder.path(), &format!("{line} {TINY} {flags}")).ok();
            fs::remove_dir_all(folder.path().join("run")).unwrap();
        }
    }

    #[test]
    fn other_numbers_of_classes_to_predict_have_a_way() {
        let folder = images(20, 5);
        train(&folder, "run", "--set task.ways=3").ok();
        let shots = |count: u32| {
            let _ = fs::remove_dir_all(folder.path().join("shots"));
            classes(&folder.path().join("shots"), 0, count, 2);
        };
        let predict =
            |name: &str| run(folder.path(), &format!("predict {name} --support shots --query images/c01"));
        for count in [1, 2, 4] {
            shots(count);
            let message = predict("run").refused(&["exactly 3", "Give 3 class folders"]);
            let ways: Vec<String> = flags(&message);
            assert_eq!(ways.len(), if count == 1 { 1 } else { 2 }, "{message}");
            for (number, flags) in ways.iter().enumerate().filter(|_| count > 1) {
                let name = format!("run-{count}-{number}");
                let validation = "--set data.validation=0 --set eval.every=0";
                train(&folder, &name, &format!("{validation} --set task.ways=3 {flags}")).ok();
                predict(&name).ok();
            }
        }
        // An empty folder is no class, and is said to be left out.
        shots(2);
        fs::create_dir(folder.path().join("shots/c09")).unwrap();
        let message = predict("run");
        assert!(
            message.stderr.contains("1 class folder without images left out (`shots/c09`)"),
            "{}",
            message.stderr
        );
        // The names of parts may be those of classes.
        let _ = fs::remove_dir_all(folder.path().join("shots"));
        for (class, name) in ["train", "test", "val"].iter().enumerate() {
            classes(&folder.path().join("all"), class as u32, 1, 2);
            fs::create_dir_all(folder.path().join("shots")).unwrap();
            fs::rename(
                folder.path().join(format!("all/c{class:02}")),
                folder.path().join("shots").join(name),
            )
            .unwrap();
        }
        predict("run").ok();
        run(folder.path(), "predict run --support images/c01 --query images/c02")
            .refused(&["no class folders, but 5 images", "folder of its own"]);
        run(folder.path(), "predict run --support images/c01/0.png --query images/c02")
            .refused(&["0.png` is not a folder", "--support"]);
    }
}
