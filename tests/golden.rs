//! The golden case, computed independently in float64 by JAX and PyTorch, reproduced.

mod common;

use burn::tensor::{DType, Device};
use metaburn::archive::{Archive, Values};
use metaburn::case::{Case, Which};

fn values(archive: &Archive, name: &str) -> Vec<f64> {
    match archive.get(name).unwrap().1 {
        Values::F32(values) => values.iter().map(|value| f64::from(*value)).collect(),
        Values::F64(values) => values.clone(),
        Values::I64(_) => panic!("{name} holds integers"),
    }
}

/// Every array of our results against the golden one of the same name, all parameters of a kind
/// together; returns how many arrays were compared.
fn compare(golden: &Archive, device: &Device, dtype: DType, tolerance: f64) -> usize {
    let case = Case::read(golden, device, dtype).unwrap();
    let mut compared = 0;
    for (which, gradient) in [(Which::Exact, "exact"), (Which::FirstOrder, "fo")] {
        let ours = case.run(which);
        let groups = ["theta_support_logits", "support_loss", "query_loss", "phi.", gradient, "mean_"];
        for group in groups {
            let of_group: Vec<&str> = ours.names().filter(|name| name.starts_with(group)).collect();
            let gather = |archive| of_group.iter().flat_map(|name| values(archive, name)).collect::<Vec<_>>();
            let error = common::relative(&gather(&ours), &gather(golden));
            assert!(error < tolerance, "{group}: relative error {error:e} is over {tolerance:e}");
            compared += of_group.len();
        }
    }
    compared
}

#[test]
fn float64_on_flex_to_nine_digits() {
    let Some(path) = common::shared("golden/golden.safetensors") else { return };
    let golden = Archive::read(&path).unwrap();
    // Twice 3 arrays, and φ, per-task and mean gradients of 14 parameters.
    assert_eq!(compare(&golden, &Device::flex(), DType::F64, 1e-9), 2 * (3 + 3 * 14));
}

#[test]
fn float32_on_flex_to_three_digits() {
    let Some(path) = common::shared("golden/golden_f32.safetensors") else { return };
    compare(&Archive::read(&path).unwrap(), &Device::flex(), DType::F32, 1e-3);
}
