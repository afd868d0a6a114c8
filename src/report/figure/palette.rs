//! Series looks that differ in colour, dash and marker at once, so that any one of the three distinguishes them.
//!
//! The colours are those of Okabe and Ito (*Color universal design*, 2008), which colour-blind readers can tell
//! apart, without yellow, which is hard to see on white.

/// Red, green, blue.
pub type Colour = [u8; 3];

pub const BLACK: Colour = [0, 0, 0];
pub const WHITE: Colour = [255, 255, 255];
/// Axes and tick labels.
pub const INK: Colour = [60, 60, 60];
/// Grid lines.
pub const FAINT: Colour = [228, 228, 228];
/// Reference levels.
pub const GREY: Colour = [115, 115, 115];

const COLOURS: [Colour; 7] =
    [[0, 114, 178], [213, 94, 0], [0, 158, 115], [204, 121, 167], [230, 159, 0], [86, 180, 233], BLACK];

/// Lengths of dashes and gaps in points; empty means solid.
const DASHES: [&[f64]; 5] = [&[], &[6.0, 2.5], &[1.5, 2.0], &[7.0, 2.0, 1.5, 2.0], &[3.5, 1.5]];

/// A marker's shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marker {
    Circle,
    Square,
    Triangle,
    Diamond,
    Reversed,
}

const MARKERS: [Marker; 5] =
    [Marker::Circle, Marker::Square, Marker::Triangle, Marker::Diamond, Marker::Reversed];

/// The appearance of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Look {
    pub colour: Colour,
    pub dash: &'static [f64],
    pub marker: Marker,
}

/// The number of the solid black look.
pub const PLAIN: usize = 20;

/// The look numbered `number`; 35 of them differ.
pub fn look(number: usize) -> Look {
    Look {
        colour: COLOURS[number % COLOURS.len()],
        dash: DASHES[number % DASHES.len()],
        marker: MARKERS[number % MARKERS.len()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_differ() {
        let looks: Vec<_> = (0..35).map(look).collect();
        for (at, one) in looks.iter().enumerate() {
            assert!(looks[..at].iter().all(|other| other != one));
        }
        assert!(look(PLAIN).colour == BLACK && look(PLAIN).dash.is_empty());
    }
}
