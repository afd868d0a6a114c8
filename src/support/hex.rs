//! Hexadecimal text of checksums.

use std::fmt::Write;

/// `bytes` in lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn leading_zeros_are_kept() {
        assert_eq!(super::hex(&[0, 10, 255]), "000aff");
    }
}
