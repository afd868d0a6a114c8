//! Quarter turns: a character on its side is, to a few-shot learner, another character.

use serde::{Deserialize, Serialize};

/// A class, perhaps turned, as a class of its own.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct Turned {
    /// Index of the class in its [`ImageSet`](super::ImageSet).
    pub class: usize,
    /// Counter-clockwise quarter turns, 0 to 3.
    pub quarter_turns: u8,
}

impl Turned {
    /// The class as it was drawn.
    pub fn upright(class: usize) -> Self {
        Self { class, quarter_turns: 0 }
    }
}

/// The pixels of a square image `[size·size]` in the order in which its turned version shows them.
pub fn turned<P: Copy>(image: &[P], size: usize, quarter_turns: u8) -> impl Iterator<Item = P> {
    let (side, last) = (size as isize, size as isize - 1);
    // Where the turned image's first pixel lies, and how far it is from one to that below and to the right.
    let (first, down, right) = match quarter_turns % 4 {
        0 => (0, side, 1),
        1 => (last, -1, side),
        2 => (last * side + last, -side, -1),
        _ => (last * side, 1, -side),
    };
    (0..side).flat_map(move |row| {
        (0..side).map(move |column| image[(first + row * down + column * right) as usize])
    })
}

#[cfg(test)]
mod tests {
    use super::turned;

    #[test]
    fn turns_go_counter_clockwise() {
        let turn = |turns| turned(&[1, 2, 3, 4], 2, turns).collect::<Vec<_>>();
        assert_eq!(turn(0), [1, 2, 3, 4]);
        assert_eq!(turn(1), [2, 4, 1, 3]);
        assert_eq!(turn(2), [4, 3, 2, 1]);
        assert_eq!(turn(3), [3, 1, 4, 2]);
    }

    #[test]
    fn turning_once_more_is_one_turn_more() {
        for size in 1..=5 {
            let image: Vec<usize> = (0..size * size).collect();
            let mut by_ones = image.clone();
            for turns in 0..=4 {
                assert!(turned(&image, size, turns).eq(by_ones.iter().copied()), "{size}, {turns}");
                by_ones = turned(&by_ones, size, 1).collect();
            }
        }
    }
}
