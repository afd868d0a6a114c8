//! Images in colour, of any shape, in lists, and CIFAR-100: from files to predictions and reports.

use crate::common::{TINY, coloured_folder, folder_with_images, json_lines, names, run};
use flate2::Compression;
use flate2::write::GzEncoder;
use image::{GrayImage, Luma, RgbImage};
use metaburn::data::cifar100::splits::CIFAR_FS;
use metaburn::support::archive::Archive;
use std::fs;
use std::path::Path;
use tempfile::TempDir;
use toml::Table;

/// Episodes of four classes from the class folders in `images`.
const FOUR: &str = "--set data.source=folder --data images --set task.ways=4 --set data.validation=0";

/// The `[data]` of a run.
fn data_of(run: &Path) -> Table {
    let config: Table = fs::read_to_string(run.join("config.toml")).unwrap().parse().unwrap();
    config["data"].as_table().unwrap().clone()
}

fn metrics(run: &Path) -> String {
    fs::read_to_string(run.join("metrics.jsonl")).unwrap()
}

#[test]
fn built_in_characters_in_colour_train_and_are_shown_in_colour() {
    let folder = TempDir::new().unwrap();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/configs/glyphs-colour.toml");
    let tiny = TINY.replace("image_size=14", "image_size=16");
    run(folder.path(), &format!("train {file} {tiny} --steps 3 --run-dir run")).ok();
    let data = data_of(&folder.path().join("run"));
    assert_eq!(data["channels"].as_integer(), Some(3));
    assert_eq!((data["mean"].as_array().unwrap().len(), data["deviation"].as_array().unwrap().len()), (3, 3));
    assert_eq!(run(folder.path(), "eval run --json").json()["steps"], 3);
    run(folder.path(), "report run --episodes 3 --out report.html").ok();
    let page = fs::read_to_string(folder.path().join("report.html")).unwrap();
    assert!(page.contains("data:image/png;base64,"));

    run(folder.path(), "data preview --set data.channels=3 --set data.image_size=16 --out sheet.png").ok();
    let sheet = image::open(folder.path().join("sheet.png")).unwrap().into_rgb8();
    let coloured = sheet.pixels().filter(|pixel| pixel.0[0].abs_diff(pixel.0[1]) > 40).count();
    assert!(coloured > sheet.len() / 12, "{coloured}");

    run(folder.path(), "data episode --set data.channels=3 --set data.image_size=16 --out sample").ok();
    let answers =
        run(folder.path(), "predict run --support sample/support --query sample/query --json").json();
    assert_eq!(answers["predictions"].as_array().unwrap().len(), 25);
    assert_eq!(answers["inverted"], false);
    let words = ["--invert", "colour"];
    run(folder.path(), "predict run --support sample/support --query sample/query --invert true")
        .refused(&words);
}

#[test]
fn weights_of_a_network_for_colours_are_exported_and_imported_to_the_bit() {
    let folder = coloured_folder(14, 14);
    run(folder.path(), &format!("train {TINY} {FOUR} --steps 3 --run-dir run")).ok();
    run(folder.path(), "export run -o out.safetensors").ok();
    let exported = Archive::read(&folder.path().join("out.safetensors")).unwrap();
    assert_eq!(exported.get("conv1.weight").unwrap().0, [4, 3, 3, 3]);
    run(folder.path(), "import out.safetensors --data images --run-dir copy").ok();
    let [run_data, copy] = ["run", "copy"].map(|name| data_of(&folder.path().join(name)));
    for key in ["channels", "mean", "deviation"] {
        assert_eq!(run_data[key], copy[key], "{key}");
    }
    let predicted = ["run", "copy"].map(|name| {
        run(folder.path(), &format!("predict {name} --support shots --query images --json")).json()["predictions"]
            .clone()
    });
    assert_eq!(predicted[0], predicted[1]);
    // A network for grey images has other weights.
    let grey = "import out.safetensors --data images --run-dir grey --set data.channels=1";
    run(folder.path(), grey).refused(&["conv1.weight", "data.channels"]);
}

#[test]
fn colours_are_kept_where_there_are_some_and_make_a_difference() {
    let folder = coloured_folder(14, 14);
    let said = run(folder.path(), &format!("data info {TINY} {FOUR}")).ok().stdout;
    assert!(said.contains("16 classes, 96 images of 14×14 pixels in colour"), "{said}");
    let accuracy = |channels: &str| {
        let line = format!(
            "data info {TINY} {FOUR} --set task.ways=2 --set data.channels={channels} --episodes 200 --json"
        );
        let found = run(folder.path(), &line).json();
        (found["channels"].as_u64().unwrap(), found["nearest_neighbour_accuracy"].as_f64().unwrap())
    };
    let [auto, colour, grey] = ["auto", "3", "1"].map(accuracy);
    assert_eq!(auto, colour);
    assert_eq!((colour.0, grey.0), (3, 1));
    assert!(colour.1 == 100.0 && grey.1 < 95.0, "{colour:?} and {grey:?}");
    // What the images decide is written down, and used again.
    run(folder.path(), &format!("train {TINY} {FOUR} --steps 2 --run-dir run")).ok();
    assert_eq!(data_of(&folder.path().join("run"))["channels"].as_integer(), Some(3));
    run(folder.path(), "resume run --set outer.steps=4").ok();
    assert_eq!(json_lines(&folder.path().join("run/metrics.jsonl")).len(), 4);
}

#[test]
fn grey_images_give_the_same_run_whether_they_are_detected_or_said_to_be_grey() {
    let folder = folder_with_images();
    let line = |more: &str, name: &str| {
        let ways = "--set data.source=folder --data images --set task.ways=2";
        run(folder.path(), &format!("train {TINY} {ways} {more} --steps 4 --run-dir {name}")).ok();
        metrics(&folder.path().join(name))
    };
    let plain = line("", "plain");
    assert_eq!(plain, line("--set data.channels=1", "grey"));
    let data = data_of(&folder.path().join("plain"));
    assert_eq!(data["channels"].as_integer(), Some(1));
    assert!(!data.contains_key("mean") && !data.contains_key("deviation"));
    // Stored in colour without having any, the images are the same.
    for class in names(&folder.path().join("images")) {
        for file in names(&folder.path().join("images").join(&class)) {
            let path = folder.path().join("images").join(&class).join(file);
            let image = image::open(&path).unwrap().into_rgb8();
            image.save(path).unwrap();
        }
    }
    assert_eq!(plain, line("", "stored-in-colour"));
    assert_ne!(plain, line("--set data.mean=[0.5]", "centred"));
}

#[test]
fn images_that_are_not_square_are_fitted_as_asked() {
    let folder = TempDir::new().unwrap();
    for class in 0..8_u8 {
        let path = folder.path().join(format!("images/class{class}"));
        fs::create_dir_all(&path).unwrap();
        for image in 0..2_u8 {
            // Light, with a dark column at the left end.
            let column = |x, _| Luma([if x < 8 { 5 * class + image } else { 250 }]);
            GrayImage::from_fn(32, 16, column).save(path.join(format!("{image}.png"))).unwrap();
        }
    }
    let sheet = |fit: &str| {
        let line = format!(
            "data preview --set data.source=folder --data images --set data.image_size=16 --set task.ways=2 \
             --set task.queries=1 --set eval.every=0 --set data.fit={fit} --classes 1 --drawings 1 --scale 1 --out {fit}.png"
        );
        run(folder.path(), &line).ok();
        let image = image::open(folder.path().join(format!("{fit}.png"))).unwrap().into_luma8();
        // Without the gaps of two pixels.
        GrayImage::from_fn(16, 16, |x, y| *image.get_pixel(x + 2, y + 2))
    };
    let dark = |image: &GrayImage| image.pixels().filter(|pixel| pixel.0[0] < 64).count();
    let [stretch, crop, pad] = ["stretch", "crop", "pad"].map(sheet);
    assert_eq!((dark(&stretch), dark(&crop), dark(&pad)), (4 * 16, 0, 4 * 8));
    let line = "data preview --set data.fit=pad --out glyphs.png";
    run(folder.path(), line).refused(&["data.fit", "square"]);
    let line = "data preview --set data.source=folder --data images --set data.fit=squeeze";
    run(folder.path(), line).refused(&["\"stretch\"", "\"crop\"", "\"pad\""]);
}

#[test]
fn channels_that_a_source_does_not_have_are_refused() {
    let folder = coloured_folder(8, 8);
    let refused = |line: &str, words: &[&str]| run(folder.path(), line).refused(words);
    refused(
        "train --set data.source=omniglot --set data.channels=3",
        &["`data.channels` must be 1", "omniglot"],
    );
    refused("train --set data.channels=2", &["1, 3 or \"auto\"", "got 2"]);
    refused(
        "train --set data.channels=3 --set data.mean=[0.5]",
        &["`data.mean`", "a number for each channel"],
    );
    refused("train --set data.mean=[0.5,0.5]", &["a list of 1 or 3 numbers"]);
    refused("train --set data.deviation=[0]", &["data.deviation"]);
    let four = format!("train {TINY} {FOUR}");
    refused(&format!("{four} --set data.invert=true"), &["data.invert", "in colour", "data.channels = 1"]);
    refused(
        &format!("{four} --set data.channels=3 --set data.invert=true"),
        &["data.invert", "data.channels"],
    );
    // Only once they are loaded do images say how many channels they have.
    refused(&format!("{four} --set data.mean=[0.5]"), &["`data.mean` has 1 numbers", "3 channels"]);
}

/// Lists over one folder `all` of images: four classes in `train.csv`, two each in `val.csv` and `test.csv`.
fn listed() -> TempDir {
    let folder = coloured_folder(10, 10);
    let (all, lists) = (folder.path().join("all"), folder.path().join("lists"));
    fs::create_dir(&all).unwrap();
    fs::create_dir(&lists).unwrap();
    for (part, classes) in [("train", 0..4), ("val", 4..6), ("test", 6..8)] {
        let mut list = String::from("filename,label\n");
        for class in classes {
            for image in 0..6 {
                let file = format!("{class}-{image}.png");
                fs::copy(folder.path().join(format!("images/class{class}/{image}.png")), all.join(&file))
                    .unwrap();
                list += &format!("{file},n{class}\n");
            }
        }
        fs::write(lists.join(format!("{part}.csv")), list).unwrap();
    }
    folder
}

const LISTED: &str = "--set data.source=folder --data all --set data.list=lists --set task.ways=2";

#[test]
fn lists_of_images_assign_classes_to_parts_and_train() {
    let folder = listed();
    let said = run(folder.path(), &format!("data info {TINY} {LISTED} --episodes 4")).ok().stdout;
    for words in ["8 classes, 48 images", "train: 4 classes", "validation: 2 classes", "test: 2 classes"] {
        assert!(said.contains(words), "{said}");
    }
    run(folder.path(), &format!("train {TINY} {LISTED} --steps 2 --run-dir run")).ok();
    assert_eq!(run(folder.path(), "eval run --json").json()["steps"], 2);
    // Another list means other classes, although the images are the same.
    let list = folder.path().join("lists/test.csv");
    let text = fs::read_to_string(&list).unwrap().replace("n6", "n9");
    fs::write(&list, text).unwrap();
    run(folder.path(), "eval run").refused(&["not what this run was trained on"]);
}

#[test]
fn what_is_wrong_with_a_list_is_said_with_its_line() {
    let folder = listed();
    let line = format!("train {TINY} {LISTED} --steps 1 --run-dir run");
    fs::remove_file(folder.path().join("all/2-3.png")).unwrap();
    run(folder.path(), &line).refused(&["lists/train.csv", "line 17", "2-3.png"]);
    fs::write(folder.path().join("lists/val.csv"), "a,b\n").unwrap();
    fs::write(folder.path().join("lists/train.csv"), "filename,label\n0-0.png,n0\n").unwrap();
    run(folder.path(), &line).refused(&["lists/val.csv", "line 1", "`filename`"]);
    run(folder.path(), &line.replace("lists", "all")).refused(&["all` holds no lists", "train.csv"]);
    let words = ["data.list", "data.source"];
    run(folder.path(), "train --set data.list=lists --run-dir run").refused(&words);
}

/// An archive in CIFAR-100's format with three images of each class, in `cifar-100-binary.tar.gz`.
fn small_cifar100(folder: &Path) {
    let mut names: Vec<&str> = [CIFAR_FS.train, CIFAR_FS.validation, CIFAR_FS.test].concat();
    names.sort_unstable();
    let records = |examples: std::ops::Range<u8>| -> Vec<u8> {
        let record = |(class, example): (u8, u8)| {
            let planes = [class, 255 - class, 80 * example];
            [class / 5, class].into_iter().chain(planes.into_iter().flat_map(|value| [value; 1024]))
        };
        (0..100)
            .flat_map(|class| examples.clone().map(move |example| (class, example)))
            .flat_map(record)
            .collect()
    };
    let groups: Vec<String> = (0..20).map(|group| format!("group{group}")).collect();
    let mut builder = tar::Builder::new(GzEncoder::new(vec![], Compression::fast()));
    for (name, content) in [
        ("train.bin", records(0..2)),
        ("test.bin", records(2..3)),
        ("fine_label_names.txt", names.join("\n").into_bytes()),
        ("coarse_label_names.txt", groups.join("\n").into_bytes()),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, format!("cifar-100-binary/{name}"), content.as_slice()).unwrap();
    }
    let packed = builder.into_inner().unwrap().finish().unwrap();
    fs::write(folder.join("cifar-100-binary.tar.gz"), packed).unwrap();
}

#[test]
fn cifar100_has_its_published_splits_and_trains_in_colour() {
    let folder = TempDir::new().unwrap();
    fs::create_dir_all(folder.path().join("datasets/cifar100")).unwrap();
    let line = format!("data info --set data.source=cifar100 {TINY} --episodes 2");
    run(folder.path(), &line).refused(&["datasets/cifar100", "metaburn data fetch cifar100"]);
    small_cifar100(&folder.path().join("datasets/cifar100"));
    for (split, sizes) in [("cifar-fs", [64, 16, 20]), ("random-80", [64, 16, 20])] {
        let said =
            run(folder.path(), &format!("{line} --set task.queries=1 --set data.split={split}")).ok().stdout;
        assert!(said.contains("cifar100: 100 classes, 300 images of 14×14 pixels in colour"), "{said}");
        let parts = ["train", "validation", "test"].into_iter().zip(sizes);
        for (part, classes) in parts {
            assert!(said.contains(&format!("{part}: {classes} classes")), "{split}: {said}");
        }
    }
    // The sample's superclasses are not CIFAR-100's.
    run(folder.path(), &format!("{line} --set data.split=fc100")).refused(&["belongs to no listed part"]);
    run(folder.path(), &format!("{line} --set data.split=alphabets")).refused(&[
        "cifar-fs",
        "fc100",
        "random-80",
    ]);
    let train =
        format!("train --set data.source=cifar100 {TINY} --set task.queries=1 --steps 2 --run-dir run");
    run(folder.path(), &train).ok();
    assert_eq!(run(folder.path(), "eval run --json").json()["steps"], 2);
}

#[test]
fn what_folders_are_taken_to_mean_is_said_with_counts() {
    let folder = coloured_folder(14, 14);
    let images = folder.path().join("images");
    let layout = || {
        let said =
            run(folder.path(), &format!("data info {TINY} {FOUR} --set task.ways=2 --episodes 4")).ok();
        said.stdout.lines().find_map(|line| line.strip_prefix("layout: ")).unwrap().to_string()
    };
    assert_eq!(layout(), "a folder for each class: 16 classes");
    let to = |class: usize, group: &str| {
        let group = images.join(group);
        fs::create_dir_all(&group).unwrap();
        fs::rename(images.join(format!("class{class}")), group.join(format!("class{class}"))).unwrap();
    };
    (0..4).for_each(|class| to(class, "a/b/c"));
    (4..6).for_each(|class| to(class, "a/d"));
    assert_eq!(layout(), "a folder for each class: 16 classes, 6 of them in 2 groups");
    fs::create_dir(images.join("novel")).unwrap();
    fs::rename(images.join("a"), images.join("novel/a")).unwrap();
    (6..12).for_each(|class| to(class, "base"));
    (12..16).for_each(|class| to(class, "val"));
    let expected = "class folders in `base/` (train part, 6 classes), `novel/` (test part, 6 classes), `val/` (validation part, \
                    4 classes); 6 of them in 2 groups";
    assert_eq!(layout(), expected);
    let folder = listed();
    let said = run(folder.path(), &format!("data info {TINY} {LISTED} --episodes 4")).ok().stdout;
    let lists = "layout: the lists `test.csv` (test part, 2 classes), `train.csv` (train part, 4 classes), `val.csv` \
                 (validation part, 2 classes)\n";
    assert!(said.contains(lists), "{said}");
    let mut list = String::from("filename,label,part\n");
    for (class, label, part) in [(0, "x/0", "train"), (1, "1", "train"), (2, "2", "test"), (3, "3", "test")] {
        (0..3).for_each(|image| list += &format!("{class}-{image}.png,{label},{part}\n"));
    }
    fs::write(folder.path().join("one.csv"), list).unwrap();
    let line =
        format!("data info {TINY} {} --set task.queries=1 --episodes 4", LISTED.replace("lists", "one.csv"));
    let said = run(folder.path(), &line).ok().stdout;
    let one = "layout: the list `one.csv`: 2 classes in the train part, 2 classes in the test part, 1 of them in 1 group\n";
    assert!(said.contains(one), "{said}");
}

/// The bound is that of `data::pixels`: 512 MiB.
#[test]
fn a_set_larger_than_the_bound_is_not_held_in_memory() {
    const IMAGES: u32 = 3800;
    let folder = TempDir::new().unwrap();
    let photograph = folder.path().join("photograph.png");
    RgbImage::from_fn(56, 56, |x, y| image::Rgb([x as u8, y as u8, 200])).save(&photograph).unwrap();
    for number in 0..IMAGES {
        let class = folder.path().join(format!("images/class{:02}", number % 20));
        fs::create_dir_all(&class).unwrap();
        fs::hard_link(&photograph, class.join(format!("{number}.png"))).unwrap();
    }
    let pixels = f64::from(IMAGES) * 3.0 * 224.0 * 224.0 / 1e6;
    assert!(pixels > 1.05 * f64::from(512 << 20) / 1e6);
    let line = "bench --config A --estimator fo --reps 1 --json --set data.source=folder --set data.path=images \
                --set data.image_size=224 --set model.filters=2 --set outer.meta_batch=1 --set task.queries=1 \
                --set task.ways=2 --set eval.every=0";
    // Decoded into the cache, then read from it.
    for _ in 0..2 {
        let row = run(folder.path(), line).json();
        if cfg!(target_os = "linux") {
            let peak = row["peak_rss_mb"].as_f64().unwrap();
            assert!(peak < 0.6 * pixels, "{peak} MB for {pixels} MB of pixels: {row}");
        }
    }
}

#[test]
fn a_photograph_of_224_pixels_trains_a_network() {
    let folder = TempDir::new().unwrap();
    for class in 0..8_u8 {
        let path = folder.path().join(format!("images/class{class}"));
        fs::create_dir_all(&path).unwrap();
        for image in 0..3_u8 {
            let pixel = |x: u32, y: u32| image::Rgb([30 * class, (x / 2) as u8, (y / 2) as u8 + image]);
            RgbImage::from_fn(300, 240, pixel).save(path.join(format!("{image}.jpg"))).unwrap();
        }
    }
    let line = format!(
        "train {} --set data.source=folder --data images --set task.ways=2 --set data.fit=crop --steps 1 --run-dir run",
        TINY.replace("image_size=14", "image_size=224")
    );
    run(folder.path(), &line).ok();
    assert_eq!(data_of(&folder.path().join("run"))["image_size"].as_integer(), Some(224));
}
