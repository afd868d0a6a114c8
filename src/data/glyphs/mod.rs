//! Made-up characters: Omniglot's shape without its files.
//!
//! Each alphabet has a style and a few motifs of its own, each character joins one to four curved
//! strokes made from them, and each drawing is by a hand that never draws twice alike. As on
//! Omniglot, the pixel baseline ([`nearest_neighbour`](super::nearest_neighbour)) names about 44 %
//! at 5-way 1-shot and 23 % at 20-way 1-shot, and pages hold as much ink.

mod alphabet;
mod hand;
mod pen;
mod stroke;

use std::iter::repeat_n;

use rayon::prelude::*;

use self::alphabet::Alphabet;
use self::hand::Hand;
use super::image_set::check_size;
use super::{Class, Error, ImageSet};
use crate::random::generator;

/// Most pixels that a set may have in all: 4 GiB.
const MOST_PIXELS: usize = 1 << 32;

/// What to make up; the same numbers make the same drawings.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Glyphs {
    /// Alphabets, each a group of classes.
    pub alphabets: usize,
    /// Characters of each alphabet.
    pub characters: usize,
    /// Drawings of each character.
    pub drawings: usize,
    /// Decides every line.
    pub seed: u64,
}

impl Default for Glyphs {
    /// 50 alphabets of 24 characters, drawn 20 times: 24 000 drawings.
    fn default() -> Self {
        Self { alphabets: 50, characters: 24, drawings: 20, seed: 0 }
    }
}

impl Glyphs {
    /// Draws everything at `size`×`size` pixels; classes are named like `glyphs07/character03`.
    ///
    /// # Errors
    /// If a number is 0 or enormous.
    ///
    /// # Example
    /// ```
    /// use metaburn::data::Glyphs;
    ///
    /// let set = Glyphs { alphabets: 2, ..Glyphs::default() }.draw(28)?;
    /// assert_eq!(set.image(0, 0).len(), 28 * 28);
    /// # Ok::<(), metaburn::data::Error>(())
    /// ```
    pub fn draw(&self, size: usize) -> Result<ImageSet, Error> {
        check_size(size)?;
        let Self { alphabets, characters, drawings, seed } = *self;
        for (what, value) in [("alphabets", alphabets), ("characters", characters), ("drawings", drawings)] {
            check(what, value, 10_000)?;
        }
        check("pixels", alphabets * characters * drawings * size * size, MOST_PIXELS)?;

        let mut pixels = vec![0; alphabets * characters * drawings * size * size];
        let alphabet_pixels = characters * drawings * size * size;
        pixels.par_chunks_exact_mut(alphabet_pixels).enumerate().for_each(|(number, pixels)| {
            let mut random = generator(seed, "glyphs/alphabet", number as u64);
            let characters = Alphabet::invent(&mut random).characters(characters, &mut random);
            let drawn = characters.iter().flat_map(|character| repeat_n(character, drawings));
            for ((image, character), index) in pixels.chunks_exact_mut(size * size).zip(drawn).zip(0..) {
                let mut random = generator(seed, "glyphs/drawing", (number as u64) << 32 | index);
                pen::ink(&Hand::new(&mut random).draw(character, &mut random), image, size);
            }
        });
        let class = |index: usize| {
            let group = format!("glyphs{:02}", index / characters + 1);
            Class::new(format!("{group}/character{:02}", index % characters + 1), group, None, drawings)
        };
        ImageSet::new(size, (0..alphabets * characters).map(class).collect(), pixels)
    }
}

fn check(what: &'static str, value: usize, most: usize) -> Result<(), Error> {
    if (1..=most).contains(&value) { Ok(()) } else { Err(Error::Glyphs { what, value, most }) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::data::{EpisodeShape, Part, Sampler, Split, SplitRule, nearest_neighbour};

    #[test]
    fn the_seed_decides_the_drawings_whatever_the_thread() -> Result<(), Error> {
        let glyphs = Glyphs { alphabets: 4, characters: 3, drawings: 2, seed: 7 };
        let set = glyphs.draw(28)?;
        assert_eq!(set, glyphs.draw(28)?);
        assert_ne!(set.digest(), Glyphs { seed: 8, ..glyphs }.draw(28)?.digest());
        assert_eq!(set.classes()[5].name, "glyphs02/character03");
        assert_eq!(set.pixels().len(), 4 * 3 * 2 * 784);
        // Another alphabet more leaves those before it as they were.
        let more = Glyphs { alphabets: 5, ..glyphs }.draw(28)?;
        assert_eq!(set.image(11, 1), more.image(11, 1));
        Ok(())
    }

    #[test]
    fn every_drawing_has_ink_and_no_two_are_alike() -> Result<(), Error> {
        let set = Glyphs { alphabets: 5, ..Glyphs::default() }.draw(28)?;
        let mut images: Vec<&[u8]> = set.pixels().chunks_exact(784).collect();
        assert!(images.iter().all(|image| image.iter().filter(|ink| **ink > 200).count() > 10));
        let count = images.len();
        images.sort();
        images.dedup();
        assert_eq!(images.len(), count);
        Ok(())
    }

    #[test]
    fn impossible_numbers_are_refused() {
        let refusal = |glyphs: Glyphs, size| glyphs.draw(size).err().map(|error| error.to_string());
        let none = refusal(Glyphs { alphabets: 0, ..Glyphs::default() }, 28);
        assert!(none.is_some_and(|text| text.contains("alphabets = 0")));
        let vast = Glyphs { alphabets: 9999, characters: 9999, drawings: 9999, seed: 0 };
        assert!(refusal(vast, 1024).is_some_and(|text| text.contains("pixels")));
        assert!(refusal(Glyphs::default(), 0).is_some());
    }

    #[test]
    fn pixels_tell_glyphs_apart_as_badly_as_omniglot() -> Result<(), Error> {
        let set = Arc::new(Glyphs::default().draw(28)?);
        for rule in [SplitRule::Alphabets, SplitRule::Fraction { train: 0.75 }] {
            let sampler = Sampler::new(set.clone(), Split::new(&set, rule, 0, false, 0)?, 0);
            for (ways, expected) in [(5, 38.0..48.0), (20, 20.0..28.0)] {
                let shape = EpisodeShape { ways, shots: 1, queries: 1 };
                let (mean, ci95) = nearest_neighbour(&sampler, Part::Test, &shape, 1500)?;
                println!("{rule:?} {ways}-way 1-shot: {mean:.1} ± {ci95:.1} %");
                assert!(expected.contains(&mean), "{ways}-way: {mean:.1} ± {ci95:.1} %");
            }
        }
        Ok(())
    }
}
