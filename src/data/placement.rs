//! Square images turned, mirrored and shifted, in this order.
//!
//! A turned and mirrored image reads the pixels of the stored one in steps of constant length: its pixel at
//! (row, column) is the stored pixel number first + row·down + column·right. Shifted by (d, r), it reads (row − d,
//! column − r) instead, and what lies outside is paper.

use super::warp::Warp;

/// How one training image is mirrored, shifted and warped. The default leaves it as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Placement {
    /// Whether left and right are exchanged.
    pub mirrored: bool,
    /// Pixels by which the image is then moved down; negative moves it up.
    pub down: i32,
    /// Pixels by which it is moved to the right; negative moves it to the left.
    pub right: i32,
    /// How it is then rotated, stretched and sheared.
    pub warp: Warp,
}

/// The order in which a turned and mirrored square image reads the pixels of the stored one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PixelOrder {
    /// Index of the stored pixel that becomes the upper left one.
    pub first: isize,
    /// Step from a pixel's index to that of the pixel below.
    pub down: isize,
    /// Step from a pixel's index to that of its neighbour to the right.
    pub right: isize,
}

impl PixelOrder {
    /// The order for an image with `size` pixels a side, turned counter-clockwise by `quarter_turns`, then mirrored.
    pub fn new(size: usize, quarter_turns: u8, mirrored: bool) -> Self {
        let (side, last) = (size as isize, size as isize - 1);
        let (first, down, right) = match quarter_turns % 4 {
            0 => (0, side, 1),
            1 => (last, -1, side),
            2 => (last * side + last, -side, -1),
            _ => (last * side, 1, -side),
        };
        if mirrored {
            Self { first: first + last * right, down, right: -right }
        } else {
            Self { first, down, right }
        }
    }

    /// The index of the stored pixel that is seen at (`row`, `column`).
    pub fn index(&self, row: isize, column: isize) -> isize {
        self.first + row * self.down + column * self.right
    }
}

/// For each pixel of a square image of `size`² pixels, turned counter-clockwise by `quarter_turns`, then mirrored and shifted
/// by `placement`, but not warped: the number of the stored pixel that is seen there, in row-major order; `None` for paper, which moves in.
pub fn sources(size: usize, quarter_turns: u8, placement: Placement) -> impl Iterator<Item = Option<usize>> {
    let Placement { mirrored, down, right, .. } = placement;
    let order = PixelOrder::new(size, quarter_turns, mirrored);
    let (inside, down, right) = (0..size as isize, down as isize, right as isize);
    inside.clone().flat_map(move |row| {
        let inside = inside.clone();
        inside.clone().map(move |column| {
            let (row, column) = (row - down, column - right);
            let is_inside = inside.contains(&row) && inside.contains(&column);
            is_inside.then(|| order.index(row, column) as usize)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const UPRIGHT: Placement = Placement { mirrored: false, down: 0, right: 0, warp: [0.0; 4] };

    fn placed(image: &[u8], size: usize, quarter_turns: u8, placement: Placement) -> Vec<u8> {
        let sources = sources(size, quarter_turns, placement);
        sources.map(|source| source.map_or(0, |pixel| image[pixel])).collect()
    }

    #[test]
    fn turns_are_counter_clockwise() {
        let turn = |turns| placed(&[1, 2, 3, 4], 2, turns, UPRIGHT);
        assert_eq!(turn(0), [1, 2, 3, 4]);
        assert_eq!(turn(1), [2, 4, 1, 3]);
        assert_eq!(turn(2), [4, 3, 2, 1]);
        assert_eq!(turn(3), [3, 1, 4, 2]);
    }

    #[test]
    fn turns_compose() {
        for size in 1..=5 {
            let image: Vec<u8> = (0..size * size).map(|pixel| pixel as u8).collect();
            let mut by_ones = image.clone();
            for turns in 0..=4 {
                assert_eq!(placed(&image, size, turns, UPRIGHT), by_ones, "{size}, {turns}");
                by_ones = placed(&by_ones, size, 1, UPRIGHT);
            }
        }
    }

    #[test]
    fn mirrored_images_are_turned_first() {
        let mirror = Placement { mirrored: true, ..UPRIGHT };
        assert_eq!(placed(&[1, 2, 3, 4, 5, 6, 7, 8, 9], 3, 0, mirror), [3, 2, 1, 6, 5, 4, 9, 8, 7]);
        for size in 1..=5 {
            let image: Vec<u8> = (0..size * size).map(|pixel| pixel as u8).collect();
            for turns in 0..4 {
                let turned = placed(&image, size, turns, UPRIGHT);
                let rows = turned.chunks(size).flat_map(|row| row.iter().rev().copied());
                assert!(rows.eq(placed(&image, size, turns, mirror)), "{size}, {turns}");
            }
        }
    }

    #[test]
    fn shifted_images_move_by_their_offset_and_are_filled_with_paper() {
        let image = [1, 2, 3, 4, 5, 6, 7, 8, 9];
        let shift = |down, right| placed(&image, 3, 0, Placement { down, right, ..UPRIGHT });
        assert_eq!(shift(1, 0), [0, 0, 0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(shift(0, 1), [0, 1, 2, 0, 4, 5, 0, 7, 8]);
        assert_eq!(shift(-2, -1), [8, 9, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(shift(3, 0), [0; 9]);
    }

    #[test]
    fn images_are_shifted_after_they_are_turned_and_mirrored() {
        let image: Vec<u8> = (1..=16).collect();
        for turns in 0..4 {
            for mirrored in [false, true] {
                let whole = placed(&image, 4, turns, Placement { mirrored, ..UPRIGHT });
                let then = placed(&whole, 4, 0, Placement { down: -1, right: 2, ..UPRIGHT });
                let at_once = placed(&image, 4, turns, Placement { mirrored, down: -1, right: 2, ..UPRIGHT });
                assert_eq!(at_once, then, "{turns}, {mirrored}");
            }
        }
    }
}
