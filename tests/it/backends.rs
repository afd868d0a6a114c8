//! `metaburn backends`, and on each backend the golden case by `metaburn gradient`, and the pixels of episodes.

use crate::common::optional::{lacks_ndarray, lacks_wgpu};
use crate::common::{floats, metaburn, relative_error, run, run_command};
use bilevel::device::{Backend, open};
use burn::tensor::DType;
use metaburn::data::{Augmentation, EpisodeShape, Glyphs, Part, Sampler, Split, SplitRule};
use metaburn::gradient_case::{Case, Which};
use metaburn::support::archive::{Archive, Values};
use metaburn::train::{EpisodeLoader, Images};
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

#[test]
fn every_backend_is_listed_with_its_device_or_the_reason_it_is_unavailable() {
    let listed = run(Path::new("."), "backends").ok().stdout;
    let mut found = Vec::new();
    for line in listed.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        assert!(words.len() > 2 && ["yes", "no"].contains(&words[1]), "{line}");
        found.push(words[0]);
    }
    assert_eq!(found, ["cuda", "vulkan", "wgpu", "flex", "ndarray"]);
    assert_eq!(listed.matches("used by auto").count(), 1, "{listed}");
}

#[test]
fn json_lists_every_backend_and_auto_is_never_a_software_gpu() {
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

/// Asserts that `metaburn gradient` with these `options` computes the values of the golden case; the arrays of one kind
/// are compared together.
fn gradient_command_matches(golden: &str, options: &str, tolerance: f64) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(golden);
    let folder = TempDir::new().unwrap();
    let golden = Archive::read(&path).unwrap();
    for (estimator, gradient) in [("exact", "exact."), ("first-order", "fo.")] {
        let line = format!("gradient --estimator {estimator} --out ours.safetensors {options} --case");
        let mut command = metaburn(folder.path(), &line);
        run_command(command.arg(&path).env("CUBECL_AUTOTUNE_LEVEL", "minimal")).ok();
        let ours = Archive::read(&folder.path().join("ours.safetensors")).unwrap();
        // φ, per-task and mean gradients of 14 parameters, logits and two kinds of losses.
        assert_eq!(ours.names().count(), 3 * 14 + 3);
        let mean = format!("mean_{gradient}");
        for group in ["theta_support_logits", "support_loss", "query_loss", "phi.", gradient, &mean] {
            let of_group: Vec<&str> = golden.names().filter(|name| name.starts_with(group)).collect();
            assert_eq!(of_group.len(), if group.ends_with('.') { 14 } else { 1 }, "{group}");
            let gather = |archive| of_group.iter().flat_map(|name| floats(archive, name)).collect::<Vec<_>>();
            let error = relative_error(&gather(&ours), &gather(&golden));
            assert!(
                error < tolerance,
                "{estimator}, {group}: relative error {error:e} is over {tolerance:e}"
            );
        }
    }
}

#[test]
fn flex_in_float64_matches_the_golden_case_to_nine_digits() {
    gradient_command_matches("golden.safetensors", "--backend flex --dtype f64", 1e-9);
}

#[test]
fn ndarray_in_float64_matches_the_golden_case_to_nine_digits() {
    if lacks_ndarray() {
        return;
    }
    gradient_command_matches("golden.safetensors", "--backend ndarray --dtype f64", 1e-9);
}

#[test]
fn flex_in_float32_matches_the_golden_case_to_three_digits() {
    gradient_command_matches("golden_f32.safetensors", "--backend flex", 1e-3);
}

#[test]
fn ndarray_in_float32_matches_the_golden_case_to_three_digits() {
    if lacks_ndarray() {
        return;
    }
    gradient_command_matches("golden_f32.safetensors", "--backend ndarray", 1e-3);
}

#[test]
fn wgpu_matches_the_golden_case_to_three_digits() {
    if lacks_wgpu() {
        return;
    }
    gradient_command_matches("golden_f32.safetensors", "--backend wgpu", 1e-3);
}

/// The golden case with max-pooling, biases of the convolutions, and leaky ReLU.
fn max_pooling_case() -> Archive {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/golden.safetensors");
    let mut case = Archive::read(&path).unwrap();
    case.text
        .extend([("pool", "max"), ("negative_slope", "0.1")].map(|(key, value)| (key.into(), value.into())));
    // Four blocks leave one pixel, not four.
    let [ways, features] = case.get("theta.linear.weight").unwrap().0[..] else { panic!("a matrix") };
    let weight = floats(&case, "theta.linear.weight")[..ways * features / 4].to_vec();
    case.set("theta.linear.weight", &[ways, features / 4], Values::F64(weight));
    for block in 1..=4 {
        let filters = case.get(&format!("theta.bn{block}.bias")).unwrap().0[0];
        let bias = (0..filters).map(|filter| 0.1 * filter as f64).collect();
        case.set(format!("theta.conv{block}.bias"), &[filters], Values::F64(bias));
    }
    case
}

#[test]
fn max_pooling_biases_and_leaky_relu_have_the_same_gradient_on_every_backend() {
    let case = max_pooling_case();
    let run = |backend, dtype| {
        let opened = open(backend).unwrap();
        Case::read(&case, &opened.device, dtype).unwrap().run(Which::Exact)
    };
    let expected = run(Backend::Flex, DType::F64);
    assert!(expected.contains("exact.conv1.bias"));
    let mut others = vec![(Backend::Flex, DType::F32, 1e-3)];
    if !lacks_ndarray() {
        others.extend([(Backend::Ndarray, DType::F64, 1e-9), (Backend::Ndarray, DType::F32, 1e-3)]);
    }
    if !lacks_wgpu() {
        others.push((Backend::Wgpu, DType::F32, 1e-3));
    }
    for (backend, dtype, tolerance) in others {
        let found = run(backend, dtype);
        for group in ["theta_support_logits", "query_loss", "phi.", "mean_exact."] {
            let gather = |archive: &Archive| -> Vec<f64> {
                let own = expected.names().filter(|name| name.starts_with(group));
                own.flat_map(|name| floats(archive, name)).collect()
            };
            let error = relative_error(&gather(&found), &gather(&expected));
            assert!(error < tolerance, "{backend}, {dtype:?}, {group}: relative error {error:e}");
        }
    }
}

#[test]
fn wgpu_and_flex_draw_the_same_pixels() {
    if lacks_wgpu() {
        return;
    }
    let set = Glyphs { alphabets: 2, ..Glyphs::default() }.draw(14).unwrap();
    let split = Split::new(&set, SplitRule::Fraction { train: 0.7 }, 5, true, 1).unwrap();
    let plain = Sampler::new(Arc::new(set), split, 1);
    let augmented =
        plain.clone().with_augmentation(Augmentation { turns: true, flips: true, shift: 3, warp: 0.0 });
    let shape = EpisodeShape { ways: 5, shots: 2, queries: 3 };
    for sampler in [plain, augmented] {
        let [flex, wgpu] = [Backend::Flex, Backend::Wgpu].map(|backend| {
            let opened = open(backend).unwrap();
            assert_eq!(opened.is_cpu(), backend == Backend::Flex);
            let loader = EpisodeLoader::new(sampler.clone(), &opened);
            let mut feed = loader.batches(shape, 2, 3);
            let drawn = [feed.take(), feed.take(), loader.images(Part::Test, 0..3, &shape)];
            drawn.map(|Images { support, query }| {
                [support, query]
                    .map(|images| (images.dims(), images.into_data().iter::<f32>().collect::<Vec<_>>()))
            })
        });
        assert!(flex == wgpu);
        assert_eq!(flex[0][0].0, [2, 10, 196]);
        assert!(flex[0][0].1.iter().any(|ink| *ink > 0.5) && flex[0][0].1.contains(&0.0));
    }
}
