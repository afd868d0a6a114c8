//! Generated characters: a stand-in for Omniglot that needs no files.
//!
//! Each alphabet has a style and a few motifs of its own. A character joins one to four strokes made from them, and each
//! drawing of a character varies position, shape and line width at random. The task is about as hard as Omniglot: the
//! nearest neighbour of pixels ([`nearest_neighbour`](super::nearest_neighbour)) classifies about 44 % correctly at
//! 5-way 1-shot and 23 % at 20-way 1-shot, and drawings have about as much ink.
//!
//! In colour, each drawing has ink and paper of random colours. They say nothing of the character, and the nearest
//! neighbour of pixels, which goes by them, does little better than chance.

mod alphabet;
mod colours;
mod raster;
mod stroke;
mod variation;

use std::iter::repeat_n;

use rayon::prelude::*;

use self::alphabet::Alphabet;
use self::colours::Colours;
use self::variation::Variation;
use super::image_set::{Format, check_size};
use super::{
    Channels, Class, Defaults, Error, Findings, ImageSet, LoadOptions, Loaded, Location, Offer, Rotations,
    Source, SplitRule,
};
use bilevel::rng::generator;

/// The glyphs' entry in the registry.
pub static SOURCE: Source = Source {
    name: "glyphs",
    summary: "characters that this program draws; nothing to download",
    location: Location::Generated,
    splits: &[Offer { rule: SplitRule::FRACTION, rotations: Rotations::None }],
    defaults: Defaults::Fixed { validation: 100 },
    channels: &[Channels::Grey, Channels::Colour],
    own_images: false,
    loader,
    dataset: None,
};

/// The largest number of pixels in a set: 4 GiB of memory.
const MAX_PIXELS: usize = 1 << 32;
/// What an image in colour that is moved leaves behind: grey, for papers of any colour.
const PAPER: u8 = 128;

fn loader(options: &LoadOptions) -> Result<Loaded, Error> {
    let glyphs = Glyphs { seed: options.seed, ..Glyphs::default() };
    let set = match options.channels {
        Some(Channels::Colour) => glyphs.draw_in_colour(options.size)?,
        _ => glyphs.draw(options.size)?,
    };
    Ok(Loaded { set, findings: Findings::default(), warning: None })
}

/// Generated characters. Equal values give equal drawings.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Glyphs {
    /// Number of alphabets; each is a group of classes.
    pub alphabets: usize,
    /// Characters per alphabet.
    pub characters: usize,
    /// Drawings per character.
    pub drawings: usize,
    /// Seed of all drawings.
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
    /// Returns an error if a number is 0 or far too large.
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
        check("pixels", alphabets * characters * drawings * size * size, MAX_PIXELS)?;

        let mut pixels = vec![0; alphabets * characters * drawings * size * size];
        let alphabet_pixels = characters * drawings * size * size;
        pixels.par_chunks_exact_mut(alphabet_pixels).enumerate().for_each(|(number, pixels)| {
            let mut random = generator(seed, "glyphs/alphabet", number as u64);
            let characters = Alphabet::invent(&mut random).characters(characters, &mut random);
            let drawn = characters.iter().flat_map(|character| repeat_n(character, drawings));
            for ((image, character), index) in pixels.chunks_exact_mut(size * size).zip(drawn).zip(0..) {
                let mut random = generator(seed, "glyphs/drawing", (number as u64) << 32 | index);
                raster::draw(&Variation::new(&mut random).apply(character, &mut random), image, size);
            }
        });
        let class = |index: usize| {
            let group = format!("glyphs{:02}", index / characters + 1);
            Class::new(format!("{group}/character{:02}", index % characters + 1), group, None, drawings)
        };
        ImageSet::new(size, (0..alphabets * characters).map(class).collect(), pixels)
    }

    /// The same drawings with ink and paper of random colours, different ones in each drawing.
    ///
    /// # Errors
    /// As for [`Glyphs::draw`].
    pub fn draw_in_colour(&self, size: usize) -> Result<ImageSet, Error> {
        let grey = self.draw(size)?;
        let values = 3 * grey.format().values();
        check("pixels", grey.images() * values, MAX_PIXELS)?;
        let mut pixels = vec![0; grey.images() * values];
        pixels.par_chunks_exact_mut(values).enumerate().for_each(|(index, image)| {
            let colours = Colours::new(&mut generator(self.seed, "glyphs/colours", index as u64));
            let drawing = grey.pixels().get(index * values / 3..(index + 1) * values / 3);
            for (pixel, covered) in image.chunks_exact_mut(3).zip(drawing.iter()) {
                pixel.copy_from_slice(&colours.mix(*covered));
            }
        });
        let format = Format { size, channels: Channels::Colour, paper: PAPER };
        ImageSet::of(format, grey.classes().to_vec(), pixels.into())
    }
}

fn check(what: &'static str, value: usize, max: usize) -> Result<(), Error> {
    if (1..=max).contains(&value) { Ok(()) } else { Err(Error::Glyphs { what, value, max }) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::data::{EpisodeShape, Part, Sampler, Split, SplitRule, nearest_neighbour};

    #[test]
    fn drawings_depend_on_the_seed_and_not_on_threads() -> Result<(), Error> {
        let glyphs = Glyphs { alphabets: 4, characters: 3, drawings: 2, seed: 7 };
        let set = glyphs.draw(28)?;
        let colours = glyphs.draw_in_colour(28)?;
        for threads in [1, 3] {
            let pool =
                rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool of threads");
            assert_eq!(set, pool.install(|| glyphs.draw(28))?);
            assert_eq!(colours, pool.install(|| glyphs.draw_in_colour(28))?);
        }
        assert_ne!(set.digest(), Glyphs { seed: 8, ..glyphs }.draw(28)?.digest());
        assert_eq!(set.classes()[5].name, "glyphs02/character03");
        assert_eq!(set.pixels().len(), 4 * 3 * 2 * 784);
        // A further alphabet does not change the others.
        let more = Glyphs { alphabets: 5, ..glyphs }.draw(28)?;
        assert_eq!(set.image(11, 1), more.image(11, 1));
        Ok(())
    }

    #[test]
    fn every_drawing_has_ink_and_all_differ() -> Result<(), Error> {
        let set = Glyphs { alphabets: 5, ..Glyphs::default() }.draw(28)?;
        let pixels = set.pixels().get(0..set.pixels().len());
        let mut images: Vec<&[u8]> = pixels.chunks_exact(784).collect();
        assert!(images.iter().all(|image| image.iter().filter(|ink| **ink > 200).count() > 10));
        let count = images.len();
        images.sort();
        images.dedup();
        assert_eq!(images.len(), count);
        Ok(())
    }

    #[test]
    fn colours_say_nothing_of_the_class() -> Result<(), Error> {
        let glyphs = Glyphs { alphabets: 10, ..Glyphs::default() };
        let set = glyphs.draw_in_colour(14)?;
        assert_eq!((set.channels(), set.images()), (Channels::Colour, 10 * 24 * 20));
        // The mean colour of an image is about that of its paper.
        let mean = |image: &[u8], channel: usize| -> f64 {
            image.iter().skip(channel).step_by(3).map(|value| f64::from(*value)).sum::<f64>() / 196.0
        };
        for channel in 0..3 {
            let of = |class, example| mean(&set.image(class, example), channel);
            let pairs = (0..240).flat_map(|class| (0..20).step_by(2).map(move |example| (class, example)));
            let [same, other] = pairs.fold([0.0, 0.0], |[same, other], (class, example)| {
                let here = of(class, example);
                [
                    same + (here - of(class, example + 1)).abs(),
                    other + (here - of((class + 1) % 240, example)).abs(),
                ]
            });
            // Means over 2400 pairs, whose standard error is about 1.3 % of them.
            assert!((same / other - 1.0).abs() < 0.08, "channel {channel}: {same} and {other}");
        }
        let sampler =
            Sampler::new(Arc::new(set.clone()), Split::new(&set, SplitRule::FRACTION, 0, false, 0)?, 0);
        let shape = EpisodeShape { ways: 5, shots: 1, queries: 1 };
        let (mean, ci95) = nearest_neighbour(&sampler, Part::Test, &shape, 1500)?;
        assert!((mean - 22.0).abs() < 4.0, "{mean:.1} ± {ci95:.1} %");
        Ok(())
    }

    #[test]
    fn invalid_sizes_are_refused() {
        let refusal = |glyphs: Glyphs, size| glyphs.draw(size).err().map(|error| error.to_string());
        let none = refusal(Glyphs { alphabets: 0, ..Glyphs::default() }, 28);
        assert!(none.is_some_and(|text| text.contains("alphabets = 0")));
        let vast = Glyphs { alphabets: 9999, characters: 9999, drawings: 9999, seed: 0 };
        assert!(refusal(vast, 1024).is_some_and(|text| text.contains("pixels")));
        assert!(refusal(Glyphs::default(), 0).is_some());
    }

    #[test]
    fn glyphs_are_as_hard_as_omniglot_for_the_nearest_neighbour() -> Result<(), Error> {
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
