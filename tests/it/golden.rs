//! The golden case (`tests/golden/README.md`), computed in float64 by JAX and by PyTorch, is reproduced.

use crate::common::{floats, relative_error};
use burn::tensor::{DType, Device};
use metaburn::gradient_case::{Case, Which};
use metaburn::support::archive::Archive;
use std::path::Path;

fn golden(name: &str) -> Archive {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    Archive::read(&path).unwrap()
}

/// Compares every array of our results with the golden one of the same name, the arrays of one kind together; returns how
/// many were compared.
fn compare(golden: &Archive, device: &Device, dtype: DType, tolerance: f64) -> usize {
    let case = Case::read(golden, device, dtype).unwrap();
    let mut compared = 0;
    for (which, gradient) in [(Which::Exact, "exact"), (Which::FirstOrder, "fo")] {
        let ours = case.run(which);
        let groups = ["theta_support_logits", "support_loss", "query_loss", "phi.", gradient, "mean_"];
        for group in groups {
            let of_group: Vec<&str> = ours.names().filter(|name| name.starts_with(group)).collect();
            let gather = |archive| of_group.iter().flat_map(|name| floats(archive, name)).collect::<Vec<_>>();
            let error = relative_error(&gather(&ours), &gather(golden));
            assert!(error < tolerance, "{group}: relative error {error:e} is over {tolerance:e}");
            compared += of_group.len();
        }
    }
    compared
}

#[test]
fn flex_in_float64_matches_to_nine_digits() {
    let golden = golden("golden.safetensors");
    // Twice: 3 arrays, and φ, per-task and mean gradients of 14 parameters.
    assert_eq!(compare(&golden, &Device::flex(), DType::F64, 1e-9), 2 * (3 + 3 * 14));
}

#[test]
fn the_whole_recipe_of_mamlpp_matches_to_nine_digits() {
    let golden = golden("recipe.safetensors");
    let ours = Case::read(&golden, &Device::flex(), DType::F64).unwrap().run(Which::Exact);
    // Of 18 parameters, γ and β of four batch norms do not adapt; the other 10 have rates.
    for (kind, count) in [("query_loss", 1), ("phi.", 10), ("exact.", 28), ("mean_exact.", 28)] {
        let names: Vec<&str> = ours.names().filter(|name| name.starts_with(kind)).collect();
        assert_eq!(names.len(), count, "{kind}");
        // All together: the gradient of a bias before batch norm is zero, up to rounding.
        let gather = |archive| names.iter().flat_map(|name| floats(archive, name)).collect::<Vec<_>>();
        let error = relative_error(&gather(&ours), &gather(&golden));
        assert!(error < 1e-9, "{kind}: relative error {error:e}");
    }
}

#[test]
fn flex_in_float32_matches_to_three_digits() {
    compare(&golden("golden_f32.safetensors"), &Device::flex(), DType::F32, 1e-3);
}
