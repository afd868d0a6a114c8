//! A zip as half of Omniglot: its drawings listed, inflated and decoded.

#![no_main]

use libfuzzer_sys::fuzz_target;
use metaburn::data::container::Container;
use metaburn::data::decode::{DRAWING, decode};
use std::path::Path;

fuzz_target!(|data: &[u8]| {
    let Ok(half) = Container::zip("half.zip".into(), "half", data.to_vec()) else { return };
    let drawings = half.drawings().expect("a zip's list is in memory");
    assert!(drawings.is_sorted());
    for drawing in drawings.iter().take(20) {
        let Ok(bytes) = half.read(drawing) else { continue };
        if let Ok(grey) = decode(&bytes, Path::new("drawing.png"), DRAWING) {
            assert_eq!(grey.width * grey.height, grey.pixels.len());
        }
    }
});
