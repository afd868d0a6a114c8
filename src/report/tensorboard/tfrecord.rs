//! The TFRecord format of event files: length, its checksum, bytes, their checksum.

/// The CRC-32C (Castagnoli) polynomial, bit-reversed.
const POLYNOMIAL: u32 = 0x82f6_3b78;
/// CRC lookup table, one entry per byte.
const TABLE: [u32; 256] = table();

/// Appends `bytes` to `file` as one record.
pub fn append(file: &mut Vec<u8>, bytes: &[u8]) {
    let length = (bytes.len() as u64).to_le_bytes();
    file.extend(length);
    file.extend(masked(&length).to_le_bytes());
    file.extend(bytes);
    file.extend(masked(bytes).to_le_bytes());
}

/// The masked CRC of the TFRecord format: rotated and offset, so that a CRC of data that contains CRCs is sound.
fn masked(bytes: &[u8]) -> u32 {
    crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| (crc >> 8) ^ TABLE[usize::from((crc as u8) ^ byte)])
}

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut crc, mut bit) = (byte as u32, 0);
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
}

/// The records of `file`; `None` if a length or a checksum is wrong.
#[cfg(test)]
pub fn records(mut file: &[u8]) -> Option<Vec<&[u8]>> {
    let mut records = Vec::new();
    while !file.is_empty() {
        let (length, rest) = file.split_at_checked(8)?;
        let (check, rest) = rest.split_at_checked(4)?;
        let (bytes, rest) = rest.split_at_checked(u64::from_le_bytes(length.try_into().ok()?) as usize)?;
        let (bytes_check, rest) = rest.split_at_checked(4)?;
        let sound = check == masked(length).to_le_bytes() && bytes_check == masked(bytes).to_le_bytes();
        records.push(sound.then_some(bytes)?);
        file = rest;
    }
    Some(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc32c_matches_its_check_value() {
        // The check value in catalogues of CRCs.
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn records_are_read_back_and_damage_is_detected() {
        let mut file = Vec::new();
        append(&mut file, b"one");
        append(&mut file, b"");
        assert_eq!(records(&file), Some(vec![&b"one"[..], b""]));
        for at in 0..file.len() {
            let mut damaged = file.clone();
            damaged[at] ^= 4;
            assert_eq!(records(&damaged), None, "byte {at}");
        }
        assert_eq!(records(&file[..file.len() - 1]), None);
    }
}
