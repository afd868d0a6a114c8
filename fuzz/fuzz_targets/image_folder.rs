//! A file as the only image of a class folder.

#![no_main]

use libfuzzer_sys::fuzz_target;
use metaburn::data::{Fit, Form, folder};
use std::fs;
use std::path::Path;

const SIZE: usize = 28;

fuzz_target!(|data: &[u8]| {
    let memory = Path::new("/dev/shm");
    let place = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
    let dir = tempfile::tempdir_in(place).expect("a folder");
    let class = dir.path().join("class");
    fs::create_dir(&class).expect("a folder");
    fs::write(class.join("image.png"), data).expect("a file");
    for fit in [Fit::Stretch, Fit::Crop, Fit::Pad] {
        for form in [Form { fit, ..Form::grey(SIZE) }, Form { fit, ..Form::colour(SIZE) }] {
            if let Ok(set) = folder::load(dir.path(), form, None) {
                assert_eq!(set.image(0, 0).len(), SIZE * SIZE * form.channels.count());
            }
        }
    }
});
