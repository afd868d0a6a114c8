//! The idx file format of MNIST, optionally gzipped: an array's sizes, then its values.
//!
//! ```text
//! 0  0  type (8 for bytes)  N    size_1 … size_N (big-endian, 4 bytes each)    size_1·…·size_N values
//! ```

use std::io;
use std::path::Path;

use flate2::bufread::GzDecoder;

use crate::support::atomic_file;

/// The largest file accepted, before and after decompression; MNIST's largest has 47 MB.
const MAX_BYTES: u64 = 256 << 20;
/// The first bytes of a gzip file (RFC 1952): its signature, and deflate as the method.
const GZIP: [u8; 3] = [0x1f, 0x8b, 8];

/// An array of bytes with N dimensions.
#[derive(Debug, PartialEq)]
pub struct Array<const N: usize> {
    /// Its size in each dimension.
    pub sizes: [usize; N],
    /// Its values; the last dimension is contiguous.
    pub values: Vec<u8>,
}

/// Reads an array from the file at `path`, which may be gzipped.
///
/// # Errors
/// Returns the reason if the file cannot be read, or does not contain exactly one such array.
pub fn read<const N: usize>(path: &Path) -> Result<Array<N>, String> {
    parse(atomic_file::read(path, MAX_BYTES).map_err(|error| error.to_string())?)
}

/// Parses an array from a file's `bytes`, which may be gzipped.
///
/// # Errors
/// Returns the reason if the bytes are not exactly one such array.
pub fn parse<const N: usize>(bytes: Vec<u8>) -> Result<Array<N>, String> {
    let mut bytes = decompress(bytes, MAX_BYTES).map_err(|error| error.to_string())?;
    let head = 4 + 4 * N;
    if bytes.len() < head || !bytes.starts_with(&[0, 0, 8, N as u8]) {
        return Err(format!("it does not start with the header of an idx file of bytes in {N} dimensions"));
    }
    let size = |at: usize| u32::from_be_bytes(std::array::from_fn(|byte| bytes[4 + 4 * at + byte])) as usize;
    let sizes: [usize; N] = std::array::from_fn(size);
    let count = sizes.iter().try_fold(1_usize, |count, size| count.checked_mul(*size));
    let found = bytes.len() - head;
    if count != Some(found) {
        let sizes = sizes.map(|size| size.to_string()).join(" × ");
        return Err(format!("it declares {sizes} values and has {found}"));
    }
    bytes.drain(..head);
    Ok(Array { sizes, values: bytes })
}

/// Decompresses `bytes` to at most `max` bytes if they are gzipped, and returns other bytes unchanged.
///
/// # Errors
/// Returns an error if a gzip file is damaged, has anything after its first member, or is larger than `max` bytes
/// when decompressed.
fn decompress(bytes: Vec<u8>, max: u64) -> io::Result<Vec<u8>> {
    if !bytes.starts_with(&GZIP) {
        return Ok(bytes);
    }
    let mut decoder = GzDecoder::new(bytes.as_slice());
    let decompressed = atomic_file::drain(&mut decoder, max).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => io::Error::new(error.kind(), "the gzip file is cut short"),
        _ => error,
    })?;
    match decoder.into_inner() {
        [] => Ok(decompressed),
        extra => {
            let reason = format!("{} bytes follow the end of the gzip file", extra.len());
            Err(io::Error::new(io::ErrorKind::InvalidData, reason))
        }
    }
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
    fn invalid_arrays_are_refused() {
        let sound = [0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6];
        for length in 0..sound.len() {
            assert!(parse::<2>(sound[..length].to_vec()).is_err(), "cut to {length} bytes");
        }
        assert!(parse::<2>([&sound[..], &[7]].concat()).is_err(), "too long");
        assert!(parse::<1>(sound.to_vec()).is_err(), "other dimensions");
        // An array of floats, and one of more values than any machine can hold.
        assert!(parse::<2>([&[0, 0, 13], &sound[3..]].concat()).is_err());
        let huge = [[0, 0, 8, 3].as_slice(), &[255; 12]].concat();
        let reason = parse::<3>(huge).expect_err("huge");
        assert!(reason.contains("4294967295 × 4294967295 × 4294967295 values and has 0"), "{reason}");
    }

    /// `hello, hello, hello` compressed with deflate, and its CRC-32 and length.
    const DEFLATED: &[u8] = b"\xcb\x48\xcd\xc9\xc9\xd7\x51\xc8\x40\xa2\x00";
    const CRC_AND_LENGTH: &[u8] = b"\x9f\xa1\xca\x09\x13\0\0\0";

    fn decompressed(bytes: &[u8], max: u64) -> Result<Vec<u8>, String> {
        decompress(bytes.to_vec(), max).map_err(|error| error.to_string())
    }

    fn gzip(flags: u8, fields: &[u8]) -> Vec<u8> {
        [&GZIP, [flags].as_slice(), &[0; 6], fields, DEFLATED, CRC_AND_LENGTH].concat()
    }

    #[test]
    fn gzip_files_are_decompressed_whatever_their_header_fields() {
        let hello = Ok(b"hello, hello, hello".to_vec());
        assert_eq!(decompressed(&gzip(0, b""), 100), hello);
        assert_eq!(decompressed(&gzip(8, b"name\0"), 100), hello);
        // Extra field, name, comment and the header's checksum.
        assert_eq!(decompressed(&gzip(30, b"\x03\0abcname\0comment\0\xd0\xf7"), 100), hello);
        assert_eq!(decompressed(b"hello", 100), Ok(b"hello".to_vec()));
        assert_eq!(decompressed(b"", 100), Ok(vec![]));
    }

    #[test]
    fn decompression_is_bounded() {
        // A thousand zeros.
        let tail = b"\x63\x60\x18\x05\xa3\x60\x14\x0c\x77\x00\x00\x80\x17\x0b\x06\xe8\x03\x00\x00";
        let bomb = [&GZIP, [0; 7].as_slice(), tail].concat();
        for max in [2000, 1000] {
            assert_eq!(decompressed(&bomb, max), Ok(vec![0; 1000]));
        }
        for max in [999, 100] {
            assert_eq!(decompressed(&bomb, max), Err(format!("it is larger than {max} bytes")));
        }
    }

    #[test]
    fn damaged_gzip_files_are_refused() {
        let sound = gzip(8, b"name\0");
        for length in 3..sound.len() {
            let error = decompressed(&sound[..length], 100).expect_err("cut short");
            assert_eq!(error, "the gzip file is cut short", "cut to {length} bytes");
        }
        // The deflate stream, the checksum and the length; nothing protects the header's time and name.
        for place in 15..sound.len() {
            let mut damaged = sound.clone();
            damaged[place] ^= 0x10;
            assert!(decompressed(&damaged, 100).is_err(), "byte {place} damaged");
        }
        assert!(decompressed(&gzip(4, b"\xff\xff"), 100).is_err());
        assert!(decompressed(&gzip(8, b"")[..14], 100).is_err());
        let error = decompressed(&[&sound[..], b"more"].concat(), 100).expect_err("too long");
        assert_eq!(error, "4 bytes follow the end of the gzip file");
    }
}
