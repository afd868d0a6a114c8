//! A file as it is, or as it was before gzip.
//!
//! A gzip member (RFC 1952) is a zip entry with another frame around it: the same deflate stream and the same
//! CRC-32. So it is given a zip entry's frame, and whoever reads the zips reads it.

use std::io::{self, Cursor, Read};

use zip::read::read_zipfile_from_stream;

use crate::whole;

/// What a gzip file begins with: the format, and deflate, its only method.
const MAGIC: [u8; 3] = [0x1f, 0x8b, 8];
/// Bytes of the head before its optional fields, and of the tail: CRC-32 and length.
const HEAD: usize = 10;
const TAIL: usize = 8;

/// A file's `bytes`, inflated if they are gzipped, to at most `most` of them.
///
/// # Errors
/// If they are damaged, or inflate to more.
pub fn inflated(bytes: Vec<u8>, most: u64) -> io::Result<Vec<u8>> {
    if !bytes.starts_with(&MAGIC) {
        return Ok(bytes);
    }
    let cut = || io::Error::new(io::ErrorKind::UnexpectedEof, "the gzip file is cut short");
    let mut entry = entry(&bytes).ok_or_else(cut)?;
    let file = read_zipfile_from_stream(&mut entry)?.ok_or_else(cut)?;
    whole::drain(file, most)
}

/// The zip entry with `gzip`'s content; `None` if that ends before its end.
fn entry(gzip: &[u8]) -> Option<impl Read> {
    let (content, tail) =
        gzip.split_last_chunk::<TAIL>().map(|(content, tail)| (content, tail.as_slice()))?;
    let flags = *content.get(3)?;
    let mut deflated = content.get(HEAD..)?;
    let is_set = |bit: u8| flags & (1 << bit) != 0;
    if is_set(2) {
        let (length, rest) = deflated.split_first_chunk::<2>()?;
        deflated = rest.get(usize::from(u16::from_le_bytes(*length))..)?;
    }
    // The file's name and a comment, each ended by a zero.
    for _ in [3, 4].into_iter().filter(|bit| is_set(*bit)) {
        deflated = deflated.get(deflated.iter().position(|byte| *byte == 0)? + 1..)?;
    }
    if is_set(1) {
        deflated = deflated.get(2..)?;
    }
    let (crc, length) = tail.split_at(4);
    let compressed = u32::try_from(deflated.len()).ok()?.to_le_bytes();
    // Signature, version 2.0, no flags, deflate; no time; CRC-32 and lengths; no name and nothing extra.
    let frame = [b"PK\x03\x04\x14\0\0\0\x08\0\0\0\0\0".as_slice(), crc, &compressed, length, &[0; 4]];
    Some(Cursor::new(frame.concat()).chain(deflated))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `hello, hello, hello` deflated, and its CRC-32 and length.
    const DEFLATED: &[u8] = b"\xcb\x48\xcd\xc9\xc9\xd7\x51\xc8\x40\xa2\x00";
    const CRC_AND_LENGTH: &[u8] = b"\x9f\xa1\xca\x09\x13\0\0\0";

    fn read_back(bytes: &[u8], most: u64) -> Result<Vec<u8>, String> {
        inflated(bytes.to_vec(), most).map_err(|error| error.to_string())
    }

    fn gzip(flags: u8, fields: &[u8]) -> Vec<u8> {
        [&MAGIC, [flags].as_slice(), &[0; 6], fields, DEFLATED, CRC_AND_LENGTH].concat()
    }

    #[test]
    fn what_is_gzipped_is_inflated_whatever_its_head_holds() {
        let whole = Ok(b"hello, hello, hello".to_vec());
        assert_eq!(read_back(&gzip(0, b""), 100), whole);
        assert_eq!(read_back(&gzip(8, b"name\0"), 100), whole);
        assert_eq!(read_back(&gzip(30, b"\x03\0abcname\0comment\0\x12\x34"), 100), whole);
        assert_eq!(read_back(b"hello", 100), Ok(b"hello".to_vec()));
        assert_eq!(read_back(b"", 100), Ok(vec![]));
    }

    #[test]
    fn no_more_is_inflated_than_was_asked_for() {
        // A thousand zeros.
        let tail = b"\x63\x60\x18\x05\xa3\x60\x14\x0c\x77\x00\x00\x80\x17\x0b\x06\xe8\x03\x00\x00";
        let bomb = [&MAGIC, [0; 7].as_slice(), tail].concat();
        for most in [2000, 1000] {
            assert_eq!(read_back(&bomb, most), Ok(vec![0; 1000]));
        }
        for most in [999, 100] {
            assert_eq!(read_back(&bomb, most), Err(format!("it is larger than {most} bytes")));
        }
    }

    #[test]
    fn damage_is_an_error() {
        let sound = gzip(8, b"name\0");
        for length in 3..sound.len() {
            assert!(read_back(&sound[..length], 100).is_err(), "cut to {length} bytes");
        }
        // The deflate stream, the checksum and the length; a head's time and name are anybody's.
        for place in 15..sound.len() - 4 {
            let mut damaged = sound.clone();
            damaged[place] ^= 0x10;
            assert!(read_back(&damaged, 100).is_err(), "byte {place} damaged");
        }
        assert!(read_back(&gzip(4, b"\xff\xff"), 100).is_err());
        assert!(read_back(&gzip(8, b"")[..14], 100).is_err());
    }
}
