//! `metaburn data` and training on each kind of source.

mod common;

use common::{IMAGES, TINY, folder_with_images, metaburn, names, ran, run, shared};
use image::{DynamicImage, GrayImage, RgbImage};
use std::fs;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

#[test]
fn preview_writes_a_sheet_with_ink_on_paper() {
    let folder = TempDir::new().unwrap();
    let line = "data preview --classes 3 --drawings 4 --scale 2 --set data.image_size=20 --out sheet.png";
    let stdout = run(folder.path(), line).ok().stdout;
    assert!(stdout.starts_with("sheet.png: 3 classes of 800"), "{stdout}");
    let sheet = image::open(folder.path().join("sheet.png")).unwrap().into_luma8();
    // Four drawings of 20 pixels with gaps of 2 around them, everything twice as large.
    assert_eq!(sheet.width(), 2 * (2 + 4 * (20 + 2)));
    assert!(sheet.height() >= 2 * (2 + 3 * (20 + 2)));
    let of = |wanted: fn(u8) -> bool| sheet.pixels().filter(|pixel| wanted(pixel.0[0])).count();
    assert!(of(|grey| grey < 64) > 300 && of(|grey| grey > 192) > sheet.len() / 2);
}

#[test]
fn an_episode_as_folders_is_what_predict_takes() {
    let folder = TempDir::new().unwrap();
    let said = run(folder.path(), "data episode --set task.shots=2 --out sample").ok().stdout;
    assert!(
        said.contains("metaburn predict RUN_DIR --support sample/support --query sample/query"),
        "{said}"
    );
    for (part, each) in [("support", 2), ("query", 5)] {
        let classes = names(&folder.path().join("sample").join(part));
        assert_eq!(classes.len(), 5, "{classes:?}");
        let counts =
            classes.iter().map(|class| names(&folder.path().join("sample").join(part).join(class)).len());
        assert!(counts.into_iter().all(|count| count == each), "{part}");
    }
    run(folder.path(), "data episode --out sample").refused(&["sample"]);
    run(folder.path(), &format!("train {TINY} --set data.image_size=28 --steps 2 --run-dir run")).ok();
    let answers =
        run(folder.path(), "predict run --support sample/support --query sample/query --json").json();
    assert_eq!(answers["predictions"].as_array().unwrap().len(), 25);
    assert!(answers["accuracy"].as_f64().is_some() && answers["inverted"] == true, "{answers}");
}

#[test]
fn info_counts_what_a_folder_holds() {
    let folder = folder_with_images();
    let line = format!("data info {IMAGES} {TINY} --episodes 20");
    let stdout = run(folder.path(), &line).ok().stdout;
    for words in [
        "folder: 10 classes, 60 images of 14×14 pixels",
        "train: 8 classes",
        "validation: 0 classes",
        "test: 2 classes",
        "2-way 1-shot",
        "(20 test episodes)",
    ] {
        assert!(stdout.contains(words), "{stdout}");
    }
}

#[test]
fn omniglot_by_alphabets_has_its_964_and_659_characters_and_trains() {
    let Some(omniglot) = shared("datasets/omniglot") else { return };
    let folder = TempDir::new().unwrap();
    let by_alphabets = "--set data.source=omniglot --set data.split=alphabets";
    let omniglot_with = |line: String| ran(metaburn(folder.path(), &line).arg("--data").arg(&omniglot)).ok();
    let stdout = omniglot_with(format!("data info {by_alphabets} {TINY} --episodes 2")).stdout;
    for words in [
        "omniglot: 1623 classes, 32460 images of 14×14 pixels",
        "train: 864 classes",
        "validation: 100 classes",
        "test: 659 classes",
    ] {
        assert!(stdout.contains(words), "{stdout}");
    }
    assert_eq!(names(&folder.path().join("datasets/.cache")).len(), 1, "decoded images are kept");

    let line = format!("train {by_alphabets} {TINY} --steps 2 --run-dir run --json");
    assert_eq!(omniglot_with(line).json()["steps"], 2);
    // The run knows where its data lies: no --data.
    assert_eq!(run(folder.path(), "eval run --json").json()["steps"], 2);
}

#[test]
fn omniglot_at_random_trains_on_turned_characters_too() {
    let Some(omniglot) = shared("datasets/omniglot") else { return };
    let folder = TempDir::new().unwrap();
    let line = format!("data info --set data.source=omniglot {TINY} --episodes 2 --data");
    let stdout = ran(metaburn(folder.path(), &line).arg(&omniglot)).ok().stdout;
    // 1200 characters less 100, each in four turns.
    for words in ["train: 4400 classes", "validation: 100 classes", "test: 423 classes"] {
        assert!(stdout.contains(words), "{stdout}");
    }
}

/// Replaces the first image of a class.
fn replace(folder: &Path, class: u32, name: &str, image: impl Into<DynamicImage>) {
    let class = folder.join(format!("images/class{class}"));
    fs::remove_file(class.join("0.png")).unwrap();
    image.into().save(class.join(name)).unwrap();
}

#[test]
fn a_folder_of_png_and_jpeg_in_colour_and_grey_of_any_size_trains() {
    let folder = folder_with_images();
    let stripe = |x: u32, y: u32| if (x + y).is_multiple_of(3) { [200, 30, 30] } else { [255, 255, 255] };
    let colour = RgbImage::from_fn(23, 31, |x, y| image::Rgb(stripe(x, y)));
    let grey = GrayImage::from_fn(9, 40, |x, y| image::Luma([stripe(x, y)[1]]));
    replace(folder.path(), 0, "0.jpg", colour.clone());
    replace(folder.path(), 1, "0.jpeg", grey);
    replace(folder.path(), 2, "colour.png", colour);
    fs::write(folder.path().join("images/class3/notes.txt"), "no image").unwrap();
    let stdout = run(folder.path(), &format!("data info {IMAGES} {TINY} --episodes 2")).ok().stdout;
    assert!(stdout.contains("10 classes, 60 images"), "{stdout}");
    let result = run(folder.path(), &format!("train {IMAGES} {TINY} --steps 3 --json")).json();
    assert_eq!(result["steps"], 3);
}

#[test]
fn a_folder_that_lists_its_parts_is_split_so() {
    let folder = folder_with_images();
    for (part, classes) in [("train", 0..4), ("val", 4..7), ("test", 7..10)] {
        fs::create_dir_all(folder.path().join("listed").join(part)).unwrap();
        for class in classes {
            let name = format!("class{class}");
            let to = folder.path().join("listed").join(part).join(&name);
            fs::rename(folder.path().join("images").join(name), to).unwrap();
        }
    }
    let listed = IMAGES.replace("--data images", "--data listed");
    let stdout = run(folder.path(), &format!("data info {listed} {TINY} --episodes 2")).ok().stdout;
    for words in ["train: 4 classes", "validation: 3 classes", "test: 3 classes"] {
        assert!(stdout.contains(words), "{stdout}");
    }
}

/// What a run in a process that `command` starts leaves in `metrics.jsonl`.
fn record(folder: &Path, name: &str, command: &mut Command) -> String {
    let line = format!(
        "train {IMAGES} {TINY} --steps 5 --set outer.meta_batch=5 --set eval.every=2 --run-dir {name} --json"
    );
    ran(command.args(line.split_whitespace())).ok();
    fs::read_to_string(folder.join(name).join("metrics.jsonl")).unwrap()
}

#[test]
fn threads_do_not_change_a_run() {
    let folder = folder_with_images();
    let usual = record(folder.path(), "usual", &mut metaburn(folder.path(), ""));
    assert_eq!(usual.lines().count(), 5 + 2);
    for threads in ["1", "2", "7"] {
        let mut command = metaburn(folder.path(), "");
        assert_eq!(record(folder.path(), threads, command.env("RAYON_NUM_THREADS", threads)), usual);
    }
}

#[test]
fn processors_do_not_change_a_run() {
    let pinned = ["--cpu-list", "0"];
    if !Command::new("taskset").args(pinned).arg("true").status().is_ok_and(|status| status.success()) {
        common::skipped(format_args!("taskset, which pins a program to one processor, does not work here"));
        return;
    }
    let folder = folder_with_images();
    let usual = record(folder.path(), "usual", &mut metaburn(folder.path(), ""));
    let mut command = Command::new("taskset");
    command.args(pinned).arg(env!("CARGO_BIN_EXE_metaburn")).current_dir(folder.path());
    assert_eq!(record(folder.path(), "pinned", &mut command), usual);
}
