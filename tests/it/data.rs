//! `metaburn data` and training on each kind of source.

use crate::common::optional::{data_set, skip, succeeds};
use crate::common::{IMAGES, TINY, folder_with_images, metaburn, names, run, run_command};
use image::{DynamicImage, GrayImage, RgbImage};
use metaburn::data::{EpisodeShape, Part, Sampler, Split, SplitRule, nearest_neighbour, omniglot};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use tempfile::TempDir;

#[test]
fn preview_writes_a_sheet_of_dark_ink_on_light_paper() {
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
fn predict_reads_the_folders_that_data_episode_writes() {
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
fn data_episode_shows_training_episodes_as_they_are_augmented() {
    let folder = TempDir::new().unwrap();
    let augmented =
        "--set data.rotations=episode --set data.flips=true --set data.shift=3 --set data.warp=0.1";
    for split in ["train", "test"] {
        let line = format!("data episode --set data.image_size=14 --split {split}");
        run(folder.path(), &format!("{line} --out {split}")).ok();
        run(folder.path(), &format!("{line} {augmented} --out {split}-augmented")).ok();
    }
    // The class folders of an episode, with the support image in each.
    let support = |out: &str| {
        let support = folder.path().join(out).join("support");
        let image = |class: String| (fs::read(support.join(&class).join("1.png")).unwrap(), class);
        names(&support).into_iter().map(image).collect::<Vec<_>>()
    };
    assert_eq!(support("test"), support("test-augmented"));
    let (plain, augmented) = (support("train"), support("train-augmented"));
    for ((image, class), (changed, turned)) in plain.iter().zip(&augmented) {
        assert_eq!(turned.split(" (").next(), Some(class.as_str()));
        assert_ne!(image, changed, "{class}");
    }
    assert!(augmented.iter().any(|(_, class)| class.ends_with("°)")), "no class is turned");
    // They have the size of training episodes.
    let sizes = "--set inner.head=shared --set eval.ways=2 --set task.ways=4";
    for (split, ways) in [("train", 4), ("test", 2)] {
        let line =
            format!("data episode --set data.image_size=14 --split {split} {sizes} --out {split}-of-{ways}");
        run(folder.path(), &line).ok();
        assert_eq!(support(&format!("{split}-of-{ways}")).len(), ways, "{split}");
    }
}

#[test]
fn info_counts_the_classes_and_images_of_a_folder() {
    let folder = folder_with_images();
    let line = format!("data info {IMAGES} {TINY} --episodes 20");
    let stdout = run(folder.path(), &line).ok().stdout;
    for words in [
        "folder: 10 classes, 60 images of 14×14 pixels",
        "train: 8 classes",
        "validation: 0 classes",
        "test: 2 classes",
        "augmentation of training episodes: none",
        "2-way 1-shot",
        "(20 test episodes)",
    ] {
        assert!(stdout.contains(words), "{stdout}");
    }
    let augmented = run(
        folder.path(),
        &format!("{line} --set data.rotations=episode --set data.shift=2 --set data.warp=0.15 --json"),
    );
    let expected = serde_json::json!({ "turns": true, "flips": false, "shift": 2, "warp": 0.15 });
    assert_eq!(augmented.json()["augmentation"], expected);
}

#[test]
fn omniglot_has_its_published_counts() {
    let Some(folder) = data_set("omniglot") else { return };
    let set = omniglot::load(&folder, 28).unwrap();
    assert_eq!((set.classes().len(), set.pixels().len()), (1623, 1623 * 20 * 784));
    let alphabets: BTreeSet<_> = set.classes().iter().map(|class| &class.group).collect();
    assert_eq!(alphabets.len(), 50);
    let braille = set.classes().iter().position(|class| class.name == "Braille/character01").unwrap();
    // A known property of the data: these two drawings are the same image.
    assert_eq!(set.image(braille, 2), set.image(braille, 18));
}

#[test]
fn the_nearest_neighbour_of_pixels_has_its_documented_accuracy_on_omniglot() {
    let Some(folder) = data_set("omniglot") else { return };
    let set = omniglot::load(&folder, 28).unwrap();
    let split = Split::new(&set, SplitRule::Alphabets, 0, false, 0).unwrap();
    let sampler = Sampler::new(Arc::new(set), split, 0);
    for (ways, expected, error) in [(5, 43.0, 1.3), (20, 23.5, 0.6)] {
        let shape = EpisodeShape { ways, shots: 1, queries: 1 };
        let (mean, ci95) = nearest_neighbour(&sampler, Part::Test, &shape, 2000).unwrap();
        assert!((mean - expected).abs() < error, "{ways}-way: {mean:.2} ± {ci95:.2}");
    }
}

#[test]
fn omniglot_split_by_alphabets_has_964_and_659_characters_and_trains() {
    let Some(omniglot) = data_set("omniglot") else { return };
    let folder = TempDir::new().unwrap();
    let by_alphabets = "--set data.source=omniglot --set data.split=alphabets";
    let omniglot_with =
        |line: String| run_command(metaburn(folder.path(), &line).arg("--data").arg(&omniglot)).ok();
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
    // The run directory holds the path of the data, so --data is not needed.
    assert_eq!(run(folder.path(), "eval run --json").json()["steps"], 2);
}

#[test]
fn omniglot_split_at_random_adds_rotated_characters_to_training() {
    let Some(omniglot) = data_set("omniglot") else { return };
    let folder = TempDir::new().unwrap();
    let line = format!("data info --set data.source=omniglot {TINY} --episodes 2 --data");
    let stdout = run_command(metaburn(folder.path(), &line).arg(&omniglot)).ok().stdout;
    // 1200 characters minus 100, each in four rotations.
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
fn a_folder_with_train_val_and_test_folders_is_split_by_them() {
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
    // Their number is not a matter of settings. The run keeps it.
    let line = format!("train {listed} {TINY} --steps 1 --run-dir run");
    run(folder.path(), &format!("{line} --set data.validation=2")).refused(&[
        "data.validation = 2",
        "lists 3 validation classes",
        "set it to 3",
    ]);
    run(folder.path(), &format!("{line} --set data.validation=3")).ok();
    for command in ["eval run", "resume run --steps 2", "data info run"] {
        run(folder.path(), command).ok();
    }
    let validating = "--set eval.every=1 --set eval.episodes=2";
    run(folder.path(), &format!("train run/config.toml --run-dir again {validating}")).ok();
}

#[test]
#[cfg(unix)]
fn links_that_lead_nowhere_do_not_stop_training() {
    let folder = folder_with_images();
    for link in ["images/class0/notes", "images/class11"] {
        std::os::unix::fs::symlink("nowhere", folder.path().join(link)).unwrap();
    }
    let line = format!("train {IMAGES} {TINY} --steps 1 --run-dir run");
    let stderr = run(folder.path(), &line).ok().stderr;
    assert!(stderr.contains("2 links that lead nowhere left out"), "{stderr}");
    // One that should be an image is named.
    std::os::unix::fs::symlink("nowhere", folder.path().join("images/class0/9.png")).unwrap();
    run(folder.path(), "eval run").refused(&["class0/9.png", "replace or remove it"]);
}

/// The `metrics.jsonl` of a run called `name`, started by `command`.
fn record(folder: &Path, name: &str, command: &mut Command) -> String {
    let line = format!(
        "train {IMAGES} {TINY} --steps 5 --set outer.meta_batch=5 --set eval.every=2 --run-dir {name} --json \
         --set data.cache={name}-cache"
    );
    run_command(command.args(line.split_whitespace())).ok();
    fs::read_to_string(folder.join(name).join("metrics.jsonl")).unwrap()
}

#[test]
fn the_number_of_rayon_threads_does_not_change_a_run() {
    let folder = folder_with_images();
    let usual = record(folder.path(), "usual", &mut metaburn(folder.path(), ""));
    assert_eq!(usual.lines().count(), 5 + 2);
    for threads in ["1", "2", "7"] {
        let mut command = metaburn(folder.path(), "");
        assert_eq!(record(folder.path(), threads, command.env("RAYON_NUM_THREADS", threads)), usual);
    }
}

#[test]
fn pinning_to_one_processor_does_not_change_a_run() {
    let pinned = ["--cpu-list", "0"];
    if !succeeds(Command::new("taskset").args(pinned).arg("true")) {
        skip("taskset", "taskset, which pins a program to one processor, does not work here");
        return;
    }
    let folder = folder_with_images();
    let usual = record(folder.path(), "usual", &mut metaburn(folder.path(), ""));
    let mut command = Command::new("taskset");
    command.args(pinned).arg(env!("CARGO_BIN_EXE_metaburn")).current_dir(folder.path());
    assert_eq!(record(folder.path(), "pinned", &mut command), usual);
}
