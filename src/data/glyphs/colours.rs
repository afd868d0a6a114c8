//! Colours of ink and paper. Each drawing has its own, whatever its class, so that they say nothing of it.

use rand::{Rng, RngExt};

/// The smallest Euclidean distance between ink and paper; the largest possible is 442.
const CONTRAST: i32 = 160;

/// The colours of a drawing.
pub struct Colours {
    ink: [u8; 3],
    paper: [u8; 3],
}

impl Colours {
    /// Random ink and paper, uniform among the pairs with enough contrast.
    pub fn new(random: &mut impl Rng) -> Self {
        loop {
            let colours = Self { ink: random.random(), paper: random.random() };
            if colours.squared_distance() >= CONTRAST * CONTRAST {
                return colours;
            }
        }
    }

    fn squared_distance(&self) -> i32 {
        let squares = self.ink.iter().zip(self.paper).map(|(a, b)| (i32::from(*a) - i32::from(b)).pow(2));
        squares.sum()
    }

    /// The colour of a pixel of which ink covers `covered`/255.
    pub fn mix(&self, covered: u8) -> [u8; 3] {
        let covered = u32::from(covered);
        let mixed = |at: usize| {
            let [ink, paper] = [self.ink, self.paper].map(|colour| u32::from(colour[at]));
            ((ink * covered + paper * (255 - covered) + 127) / 255) as u8
        };
        [mixed(0), mixed(1), mixed(2)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bilevel::rng::generator;

    #[test]
    fn ink_and_paper_differ_and_pixels_are_between_them() {
        let mut random = generator(0, "test", 0);
        for _ in 0..1000 {
            let colours = Colours::new(&mut random);
            assert!(colours.squared_distance() >= CONTRAST * CONTRAST);
            assert_eq!((colours.mix(0), colours.mix(255)), (colours.paper, colours.ink));
            let middle = colours.mix(128);
            for ((ink, paper), mixed) in colours.ink.into_iter().zip(colours.paper).zip(middle) {
                assert!((ink.min(paper)..=ink.max(paper)).contains(&mixed));
            }
        }
    }
}
