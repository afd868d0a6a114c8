//! Encodes events as TensorBoard's protocol buffers (`event.proto`, `summary.proto`); only the few fields that
//! are needed.

/// An event.
pub enum Event<'a> {
    /// The start of the file, with its format.
    Version,
    /// Discards earlier values of this step and later ones.
    Start,
    /// Tags and values.
    Scalars(&'a [(String, f64)]),
}

/// The format version, the first in which readers understand `Start`.
const VERSION: &[u8] = b"brain.Event:2";

// Wire types.
const VARINT: u8 = 0;
const EIGHT_BYTES: u8 = 1;
const LENGTH_AND_BYTES: u8 = 2;
const FOUR_BYTES: u8 = 5;

impl Event<'_> {
    /// The encoded event, at `wall_time` (seconds since 1970) and outer step `step`.
    pub fn encoded(&self, wall_time: f64, step: u64) -> Vec<u8> {
        let mut event = vec![key(1, EIGHT_BYTES)];
        event.extend(wall_time.to_le_bytes());
        event.push(key(2, VARINT));
        varint(&mut event, step);
        match self {
            Self::Version => field(&mut event, 3, VERSION),
            Self::Start => field(&mut event, 7, &[key(1, VARINT), 1]),
            Self::Scalars(scalars) => {
                let mut summary = Vec::new();
                for (tag, value) in *scalars {
                    let mut scalar = Vec::new();
                    field(&mut scalar, 1, tag.as_bytes());
                    scalar.push(key(2, FOUR_BYTES));
                    scalar.extend((*value as f32).to_le_bytes());
                    field(&mut summary, 1, &scalar);
                }
                field(&mut event, 5, &summary);
            }
        }
        event
    }
}

/// The key before a field; `number` is below 16.
fn key(number: u8, wire: u8) -> u8 {
    (number << 3) | wire
}

fn field(message: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    message.push(key(number, LENGTH_AND_BYTES));
    varint(message, bytes.len() as u64);
    message.extend(bytes);
}

/// Appends a varint: seven bits per byte, lowest first.
fn varint(message: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        message.push((value as u8) | 0x80);
        value >>= 7;
    }
    message.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_encoded_as_protocol_buffers() {
        let time = 1.0_f64.to_le_bytes();
        let head = |step: &[u8]| [&[0x09][..], &time, &[0x10], step].concat();
        assert_eq!(Event::Start.encoded(1.0, 300), [&head(&[0xac, 0x02])[..], &[0x3a, 2, 8, 1]].concat());
        let version = [&head(&[0])[..], &[0x1a, 13], b"brain.Event:2"].concat();
        assert_eq!(Event::Version.encoded(1.0, 0), version);
        let scalar = [&[0x2a, 10, 0x0a, 8, 0x0a, 1, b'x', 0x15][..], &0.5_f32.to_le_bytes()].concat();
        let scalars = [("x".to_string(), 0.5)];
        assert_eq!(Event::Scalars(&scalars).encoded(1.0, 7), [&head(&[7])[..], &scalar].concat());
    }
}
