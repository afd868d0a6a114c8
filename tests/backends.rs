//! `metaburn backends`, and on each of them the golden case through `metaburn gradient`, and episodes.

mod common;

use common::{lacks_wgpu, metaburn, ran, relative, run, shared};
use metaburn::archive::{Archive, Values};
use metaburn::backend::open;
use metaburn::config::Backend;
use metaburn::data::{EpisodeShape, Glyphs, Part, Sampler, Split, SplitRule};
use metaburn::trainer::{Gallery, Images};
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

#[test]
fn every_backend_has_a_line_with_its_device_or_what_it_lacks() {
    let listed = run(Path::new("."), "backends").ok().stdout;
    let mut found = Vec::new();
    for line in listed.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        assert!(words.len() > 2 && ["yes", "no"].contains(&words[1]), "{line}");
        found.push(words[0]);
    }
    assert_eq!(found, ["cuda", "vulkan", "wgpu", "flex", "ndarray"]);
    assert_eq!(listed.matches("auto takes this one").count(), 1, "{listed}");
}

#[test]
fn as_json_every_backend_is_an_object_and_auto_is_never_a_gpu_in_software() {
    let listed = run(Path::new("."), "backends --json").ok().stdout;
    let listed: Vec<Value> = listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<&str> = listed.iter().map(|entry| entry["backend"].as_str().unwrap()).collect();
    assert_eq!(names, ["cuda", "vulkan", "wgpu", "flex", "ndarray"]);
    for entry in &listed {
        let what = if entry["available"] == true { "device" } else { "reason" };
        assert!(entry[what].as_str().is_some_and(|text| !text.is_empty()), "{entry}");
        let is_software = entry["device"].as_str().is_some_and(|device| device.contains("software"));
        assert!(!is_software || entry["gpu"] == false, "{entry}");
    }
    let auto: Vec<&Value> = listed.iter().filter(|entry| entry["auto"] == true).collect();
    let [auto] = auto[..] else { panic!("{auto:?}") };
    assert!(auto["gpu"] == true || auto["backend"] == "flex", "{auto}");
    assert!(listed.iter().any(|entry| entry["gpu"] == true) == (auto["gpu"] == true), "{listed:?}");
}

fn values(archive: &Archive, name: &str) -> Vec<f64> {
    match archive.get(name).unwrap().1 {
        Values::F32(values) => values.iter().map(|value| f64::from(*value)).collect(),
        Values::F64(values) => values.clone(),
        Values::I64(_) => panic!("{name} holds integers"),
    }
}

/// That `metaburn gradient` with these `options` finds the golden case's numbers again, all
/// parameters of a kind together.
fn reproduces(golden: &str, options: &str, tolerance: f64) {
    let Some(path) = shared(golden) else { return };
    let folder = TempDir::new().unwrap();
    let golden = Archive::read(&path).unwrap();
    for (estimator, gradient) in [("exact", "exact."), ("first-order", "fo.")] {
        let line = format!("gradient --estimator {estimator} --out ours.safetensors {options} --case");
        let mut command = metaburn(folder.path(), &line);
        ran(command.arg(&path).env("CUBECL_AUTOTUNE_LEVEL", "minimal")).ok();
        let ours = Archive::read(&folder.path().join("ours.safetensors")).unwrap();
        // φ, per-task and mean gradients of 14 parameters, logits and two kinds of losses.
        assert_eq!(ours.names().count(), 3 * 14 + 3);
        let mean = format!("mean_{gradient}");
        for group in ["theta_support_logits", "support_loss", "query_loss", "phi.", gradient, &mean] {
            let of_group: Vec<&str> = golden.names().filter(|name| name.starts_with(group)).collect();
            assert_eq!(of_group.len(), if group.ends_with('.') { 14 } else { 1 }, "{group}");
            let gather = |archive| of_group.iter().flat_map(|name| values(archive, name)).collect::<Vec<_>>();
            let error = relative(&gather(&ours), &gather(&golden));
            assert!(
                error < tolerance,
                "{estimator}, {group}: relative error {error:e} is over {tolerance:e}"
            );
        }
    }
}

#[test]
fn in_double_precision_flex_finds_the_golden_case_to_nine_digits() {
    reproduces("golden/golden.safetensors", "--backend flex --dtype f64", 1e-9);
}

#[test]
fn in_double_precision_ndarray_finds_the_golden_case_to_nine_digits() {
    if cfg!(not(feature = "ndarray")) {
        common::skipped(format_args!("this program was built without ndarray"));
        return;
    }
    reproduces("golden/golden.safetensors", "--backend ndarray --dtype f64", 1e-9);
}

#[test]
fn flex_finds_the_golden_case_to_three_digits() {
    reproduces("golden/golden_f32.safetensors", "--backend flex", 1e-3);
}

#[test]
fn ndarray_finds_the_golden_case_to_three_digits() {
    if cfg!(not(feature = "ndarray")) {
        common::skipped(format_args!("this program was built without ndarray"));
        return;
    }
    reproduces("golden/golden_f32.safetensors", "--backend ndarray", 1e-3);
}

#[test]
fn wgpu_finds_the_golden_case_to_three_digits() {
    if lacks_wgpu() {
        return;
    }
    reproduces("golden/golden_f32.safetensors", "--backend wgpu", 1e-3);
}

#[test]
fn wgpu_gathers_the_pixels_that_flex_is_given() {
    if lacks_wgpu() {
        return;
    }
    let set = Glyphs { alphabets: 2, ..Glyphs::default() }.draw(14).unwrap();
    let split = Split::new(&set, SplitRule::Fraction { train: 0.7 }, 5, true, 1).unwrap();
    let sampler = Sampler::new(Arc::new(set), split, 1);
    let shape = EpisodeShape { ways: 5, shots: 2, queries: 3 };
    let [flex, wgpu] = [Backend::Flex, Backend::Wgpu].map(|backend| {
        let opened = open(backend).unwrap();
        assert_eq!(opened.is_cpu(), backend == Backend::Flex);
        let gallery = Gallery::new(sampler.clone(), &opened);
        let mut feed = gallery.feed(shape, 2, 3);
        let drawn = [feed.take(), feed.take(), gallery.images(Part::Test, 0..3, &shape)];
        drawn.map(|Images { support, query }| {
            [support, query]
                .map(|images| (images.dims(), images.into_data().iter::<f32>().collect::<Vec<_>>()))
        })
    });
    assert!(flex == wgpu);
    assert_eq!(flex[0][0].0, [2, 10, 196]);
    assert!(flex[0][0].1.iter().any(|ink| *ink > 0.5) && flex[0][0].1.contains(&0.0));
}
