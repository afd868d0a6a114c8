//! An archive of Omniglot: its drawings are listed, decompressed and decoded.

#![no_main]

use libfuzzer_sys::fuzz_target;
use metaburn::data::Channels;
use metaburn::data::decode::{DRAWING, decode};
use metaburn::data::omniglot::container::Container;
use std::path::Path;

fuzz_target!(|data: &[u8]| {
    let Ok(archive) = Container::zip("half.zip".into(), "half", data.to_vec()) else { return };
    let drawings = archive.drawings().expect("a zip's list is in memory");
    assert!(drawings.is_sorted());
    for drawing in drawings.iter().take(20) {
        let Ok(bytes) = archive.read(drawing) else { continue };
        if let Ok(raster) = decode(&bytes, Path::new("drawing.png"), DRAWING, Channels::Grey) {
            assert_eq!(raster.width * raster.height * raster.channels.count(), raster.pixels.len());
        }
    }
});
