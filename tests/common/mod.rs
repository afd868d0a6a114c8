//! What the tests share: where the real data lies, and how to say that a test was skipped.
#![allow(dead_code)] // each test file uses its own share of this

pub mod problems;

use std::path::PathBuf;

/// A file or folder of the data kept beside the checkout; `None`, said aloud, if it is not there.
pub fn shared(path: &str) -> Option<PathBuf> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared")).join(path);
    if !path.exists() {
        eprintln!("SKIPPED: {} is not there; this test needs it", path.display());
        return None;
    }
    Some(path)
}

/// ‖a − b‖ / ‖b‖.
pub fn relative(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
    norm(&mut a.iter().zip(b).map(|(a, b)| a - b)) / norm(&mut b.iter().copied())
}
