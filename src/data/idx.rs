//! idx, MNIST's file format: the sizes of an array, then its values.
//!
//! ```text
//! 0  0  type (8 for bytes)  N    size_1 … size_N (big-endian, 4 bytes each)    size_1·…·size_N values
//! ```

use std::path::Path;

use super::{Error, gzip};
use crate::whole;

/// MNIST's largest file has 47 MB, once inflated.
const MOST_BYTES: u64 = 256 << 20;

/// An array of bytes with N dimensions.
#[derive(Debug, PartialEq)]
pub struct Array<const N: usize> {
    /// How long it is in each dimension.
    pub sizes: [usize; N],
    /// Its values, the last dimension's side by side.
    pub values: Vec<u8>,
}

/// Reads the array in the file at `path`, which may be gzipped.
///
/// # Errors
/// If the file cannot be read, or is no such array from its first byte to its last.
pub fn read<const N: usize>(path: &Path) -> Result<Array<N>, Error> {
    let damaged = |reason: String| Error::Idx { path: path.to_path_buf(), reason };
    let bytes = whole::read(path, MOST_BYTES).map_err(|error| damaged(error.to_string()))?;
    parse(bytes).map_err(damaged)
}

/// The array in a file's `bytes`, which may be gzipped.
///
/// # Errors
/// If they are no such array from the first to the last.
pub fn parse<const N: usize>(bytes: Vec<u8>) -> Result<Array<N>, String> {
    let mut bytes = gzip::inflated(bytes, MOST_BYTES).map_err(|error| error.to_string())?;
    let head = 4 + 4 * N;
    if bytes.len() < head || !bytes.starts_with(&[0, 0, 8, N as u8]) {
        return Err(format!("it does not begin as an idx file of bytes in {N} dimensions does"));
    }
    let size = |at: usize| u32::from_be_bytes(std::array::from_fn(|byte| bytes[4 + 4 * at + byte])) as usize;
    let sizes: [usize; N] = std::array::from_fn(size);
    let count = sizes.iter().try_fold(1_usize, |count, size| count.checked_mul(*size));
    let found = bytes.len() - head;
    if count != Some(found) {
        let sizes = sizes.map(|size| size.to_string()).join(" × ");
        return Err(format!("it announces {sizes} values and holds {found}"));
    }
    bytes.drain(..head);
    Ok(Array { sizes, values: bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_values_are_read() {
        let bytes = [0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6];
        assert_eq!(parse(bytes.to_vec()), Ok(Array { sizes: [2, 3], values: vec![1, 2, 3, 4, 5, 6] }));
        assert_eq!(parse(vec![0, 0, 8, 1, 0, 0, 0, 0]), Ok(Array { sizes: [0], values: vec![] }));
    }

    #[test]
    fn what_is_no_such_array_is_refused() {
        let sound = [0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6];
        for length in 0..sound.len() {
            assert!(parse::<2>(sound[..length].to_vec()).is_err(), "cut to {length} bytes");
        }
        assert!(parse::<2>([&sound[..], &[7]].concat()).is_err(), "too long");
        assert!(parse::<1>(sound.to_vec()).is_err(), "other dimensions");
        // Of floats, and of more values than any machine can hold.
        assert!(parse::<2>([&[0, 0, 13], &sound[3..]].concat()).is_err());
        let endless = [[0, 0, 8, 3].as_slice(), &[255; 12]].concat();
        let reason = parse::<3>(endless).expect_err("endless");
        assert!(reason.contains("4294967295 × 4294967295 × 4294967295 values and holds 0"), "{reason}");
    }
}
