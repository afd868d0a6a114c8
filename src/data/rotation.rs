//! Rotations by quarter turns. A rotated character counts as another class, which enlarges the training set
//! (Santoro et al., *Meta-learning with memory-augmented neural networks*, 2016).

use serde::{Deserialize, Serialize};

/// A class, perhaps rotated, as a class of its own.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct RotatedClass {
    /// Index of the class in its [`ImageSet`](super::ImageSet).
    pub class: usize,
    /// Counter-clockwise quarter turns, 0 to 3.
    pub quarter_turns: u8,
}

impl RotatedClass {
    /// The class without rotation.
    pub fn upright(class: usize) -> Self {
        Self { class, quarter_turns: 0 }
    }
}

/// The pixels of a square image, `[size·size]`, rotated counter-clockwise by `quarter_turns`.
pub fn rotated<P: Copy>(image: &[P], size: usize, quarter_turns: u8) -> impl Iterator<Item = P> {
    let (side, last) = (size as isize, size as isize - 1);
    // The index of the rotated image's first pixel, and the steps from a pixel to those below and to the right of it.
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
    use super::rotated;

    #[test]
    fn rotations_are_counter_clockwise() {
        let turn = |turns| rotated(&[1, 2, 3, 4], 2, turns).collect::<Vec<_>>();
        assert_eq!(turn(0), [1, 2, 3, 4]);
        assert_eq!(turn(1), [2, 4, 1, 3]);
        assert_eq!(turn(2), [4, 3, 2, 1]);
        assert_eq!(turn(3), [3, 1, 4, 2]);
    }

    #[test]
    fn quarter_turns_compose() {
        for size in 1..=5 {
            let image: Vec<usize> = (0..size * size).collect();
            let mut by_ones = image.clone();
            for turns in 0..=4 {
                assert!(rotated(&image, size, turns).eq(by_ones.iter().copied()), "{size}, {turns}");
                by_ones = rotated(&by_ones, size, 1).collect();
            }
        }
    }
}
