//! A file of MNIST, gzipped or not.

#![no_main]

use libfuzzer_sys::fuzz_target;
use metaburn::data::mnist::idx;

fuzz_target!(|data: &[u8]| {
    if let Ok(array) = idx::parse::<1>(data.to_vec()) {
        assert_eq!(array.sizes, [array.values.len()]);
    }
    if let Ok(array) = idx::parse::<3>(data.to_vec()) {
        assert_eq!(array.sizes.iter().product::<usize>(), array.values.len());
    }
});
