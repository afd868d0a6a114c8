//! What tests share: running the program, small configurations and images, optional things, and small problems.

pub mod optional;
pub mod problems;
pub mod program;
pub mod runs;

pub use program::{Outcome, Running, advised, metaburn, run, run_command, run_in_shell};
pub use runs::{best_checkpoints, checkpoint, json_lines, last_saved_step, names, run_state};

use image::{GrayImage, Luma, Rgb, RgbImage};
use metaburn::support::archive::{Archive, Values};
use metaburn::train::Watcher;
use std::fs;
use tempfile::TempDir;

/// A network, episodes and images so small that a step takes milliseconds.
pub const TINY: &str = "--set model.filters=4 --set outer.meta_batch=2 --set data.image_size=14 \
                        --set task.queries=2 --set eval.every=0 --set eval.test_episodes=4 --backend flex";

/// Learning from the class folders in `images` instead of the built-in characters, two classes an episode.
pub const IMAGES: &str = "--set data.source=folder --data images --set task.ways=2";

/// A perceptron so small that a step takes about a millisecond, learning from the class folders in `images`.
pub const SMALL: &str = "--set data.source=folder --data images --set model.kind=mlp --set model.hidden=[4] \
                         --set data.image_size=8 --set task.ways=2 --set task.queries=1 --set outer.meta_batch=2 \
                         --set eval.episodes=2 --set eval.test_episodes=2 --backend flex --threads 1";

/// Whether the long versions of tests are wanted: whether METABURN_LONG is set.
pub fn wants_long_tests() -> bool {
    std::env::var_os("METABURN_LONG").is_some()
}

/// ‖a − b‖ / ‖b‖.
pub fn relative_error(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
    norm(&mut a.iter().zip(b).map(|(a, b)| a - b)) / norm(&mut b.iter().copied())
}

/// The array called `name`, of either float type.
pub fn floats(archive: &Archive, name: &str) -> Vec<f64> {
    match archive.get(name).expect("the array").1 {
        Values::F32(values) => values.iter().map(|value| f64::from(*value)).collect(),
        Values::F64(values) => values.clone(),
        Values::I64(_) => panic!("{name} holds integers"),
    }
}

/// A watcher of nothing.
pub struct Silent;

impl Watcher for Silent {}

/// A new folder with an `images` folder of ten classes of six images; each class has its own shade and stripe.
pub fn folder_with_images() -> TempDir {
    let folder = TempDir::new().expect("a folder");
    for class in 0..10_u32 {
        let path = folder.path().join(format!("images/class{class}"));
        fs::create_dir_all(&path).expect("a class folder");
        for image in 0..6_u32 {
            let stripe = |x, y| {
                let ink = x == class || (y + image) % 7 == class % 3;
                Luma([if ink { 20 * class as u8 } else { 255 }])
            };
            GrayImage::from_fn(14, 14, stripe).save(path.join(format!("{image}.png"))).expect("an image");
        }
    }
    folder
}

/// A new folder with an `images` folder of sixteen classes of six images, `width` × `height` pixels in colour, and a `shots`
/// folder of two images each of four of them. All images have the same brightness everywhere: only colour tells classes
/// apart.
pub fn coloured_folder(width: u32, height: u32) -> TempDir {
    let folder = TempDir::new().expect("a folder");
    for class in 0..16_u8 {
        for image in 0..6_u8 {
            let pixel = |x: u32, y: u32| {
                let red = 14 * class + ((x * 7 + y * 3 + u32::from(image)) % 20) as u8;
                // 2126·red + 7152·green is constant up to rounding.
                let green = ((2126 * 230 + 7152 * 90 - 2126 * u32::from(red)) / 7152) as u8;
                Rgb([red, green, 50])
            };
            let drawn = RgbImage::from_fn(width, height, pixel);
            let save = |part: &str| {
                let path = folder.path().join(format!("{part}/class{class}"));
                fs::create_dir_all(&path).expect("a class folder");
                drawn.save(path.join(format!("{image}.png"))).expect("an image");
            };
            save("images");
            if class % 4 == 0 && image < 2 {
                save("shots");
            }
        }
    }
    folder
}
