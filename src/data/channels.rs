//! The number of values of a pixel: grey images have one, colour images three.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The values of a pixel.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Channels {
    /// One: brightness, or ink.
    Grey,
    /// Three: red, green and blue.
    Colour,
}

impl Channels {
    /// Their number.
    pub fn count(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::Colour => 3,
        }
    }

    /// The channels of this `number`, 1 or 3.
    pub fn from_count(number: usize) -> Option<Self> {
        [Self::Grey, Self::Colour].into_iter().find(|channels| channels.count() == number)
    }
}

/// As their number.
impl Serialize for Channels {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_u8(self.count() as u8)
    }
}

impl<'de> Deserialize<'de> for Channels {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let number = usize::deserialize(input)?;
        Self::from_count(number).ok_or_else(|| D::Error::custom("the number of channels is neither 1 nor 3"))
    }
}
