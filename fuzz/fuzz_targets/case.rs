//! A gradient case as safetensors, read up to where computing would begin.

#![no_main]

use burn::tensor::{DType, Device};
use libfuzzer_sys::fuzz_target;
use metaburn::support::archive::Archive;
use metaburn::gradient_case::Case;
use std::path::Path;

fuzz_target!(|data: &[u8]| {
    let Ok(archive) = Archive::parse(Path::new("case.safetensors"), data) else { return };
    for name in archive.names() {
        let (shape, _) = archive.get(name).expect("it was listed");
        assert!(shape.iter().try_fold(1_usize, |all, size| all.checked_mul(*size)).is_some());
    }
    let _ = Case::read(&archive, &Device::flex(), DType::F32);
});
