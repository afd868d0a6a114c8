//! Square grey images sorted into classes: what every source yields and every sampler draws from.
//!
//! One byte a pixel, ink 255 and paper 0, all images in one allocation: Omniglot at 28×28 takes
//! 25 MB, against 100 MB as floats.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::turn::turned;
use super::{Error, Part, Picture};
use crate::hex::hex;

/// The largest side an image may be resized to, in pixels.
pub const MOST_PIXELS: usize = 1024;

/// One class of an [`ImageSet`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Class {
    /// Unique within the set, such as `Korean/character07`.
    pub name: String,
    /// What the class shares with its relatives: its alphabet, such as `Korean`.
    pub group: String,
    /// The part that the source itself puts the class in, if it does.
    pub part: Option<Part>,
    /// How many images the class has.
    pub examples: usize,
    /// Index of the first of them; the rest follow.
    #[serde(skip)]
    first: usize,
}

impl Class {
    /// A class whose `examples` images follow those of the classes before it.
    pub fn new(
        name: impl Into<String>,
        group: impl Into<String>,
        part: Option<Part>,
        examples: usize,
    ) -> Self {
        Self { name: name.into(), group: group.into(), part, examples, first: 0 }
    }
}

/// Square grey images of one size, class after class.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ImageSet {
    size: usize,
    classes: Vec<Class>,
    pixels: Vec<u8>,
}

impl ImageSet {
    /// Puts `pixels` (`[images, size·size]`, class after class, ink 255) under their `classes`.
    ///
    /// # Errors
    /// [`Error::Size`] if `size` is 0 or beyond `MOST_PIXELS`; [`Error::Shape`] if the classes'
    /// images do not add up to the pixels.
    pub fn new(size: usize, mut classes: Vec<Class>, pixels: Vec<u8>) -> Result<Self, Error> {
        check_size(size)?;
        let mut images = 0_usize;
        for class in &mut classes {
            class.first = images;
            images = images.saturating_add(class.examples);
        }
        if images.checked_mul(size * size) != Some(pixels.len()) {
            return Err(Error::Shape { images, size, bytes: pixels.len() });
        }
        Ok(Self { size, classes, pixels })
    }

    /// Side of every image, in pixels.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The classes, in the source's order; indices into this slice name classes everywhere else.
    pub fn classes(&self) -> &[Class] {
        &self.classes
    }

    /// How many images `class` has.
    ///
    /// # Panics
    /// If there is no such class.
    pub fn examples(&self, class: usize) -> usize {
        self.classes[class].examples
    }

    /// The number of an image among all of the set.
    ///
    /// # Panics
    /// If there is no such class or example.
    pub fn index(&self, class: usize, example: usize) -> usize {
        let class = &self.classes[class];
        assert!(example < class.examples, "class `{}` has no example {example}", class.name);
        class.first + example
    }

    /// One image, `[size·size]` row by row, ink 255 and paper 0.
    ///
    /// # Panics
    /// If there is no such class or example.
    pub fn image(&self, class: usize, example: usize) -> &[u8] {
        let area = self.size * self.size;
        let start = self.index(class, example) * area;
        &self.pixels[start..start + area]
    }

    /// The images of `pictures`, `[pictures, size·size]`, each turned as its class is: ink 1 and paper 0.
    ///
    /// # Panics
    /// If there is no such class or example.
    pub fn ink<'a>(&self, pictures: impl Iterator<Item = &'a Picture> + Clone) -> Vec<f32> {
        let mut ink = Vec::with_capacity(pictures.clone().count() * self.size * self.size);
        for Picture { class, example } in pictures {
            let image = self.image(class.class, *example);
            turned(image, self.size, class.quarter_turns).for_each(|byte| ink.push(shade(byte)));
        }
        ink
    }

    /// All images, `[images, size·size]`, class after class.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// SHA-256 of names, groups, parts and pixels in hexadecimal: equal for equal data, wherever it
    /// came from.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        hash.update((self.size as u64).to_le_bytes());
        for class in &self.classes {
            for text in [class.name.as_str(), &class.group, class.part.map_or("", Part::name)] {
                hash.update((text.len() as u64).to_le_bytes());
                hash.update(text);
            }
            hash.update((class.examples as u64).to_le_bytes());
        }
        hash.update(&self.pixels);
        hex(&hash.finalize())
    }
}

/// A byte of ink as a number: ink 1, paper 0.
pub fn shade(byte: u8) -> f32 {
    f32::from(byte) / 255.0
}

/// Refuses an image side that no source should try to make.
///
/// # Errors
/// [`Error::Size`] if `size` is 0 or beyond [`MOST_PIXELS`].
pub(super) fn check_size(size: usize) -> Result<(), Error> {
    if (1..=MOST_PIXELS).contains(&size) { Ok(()) } else { Err(Error::Size { size, most: MOST_PIXELS }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes() -> Vec<Class> {
        vec![Class::new("a/1", "a", Some(Part::Train), 2), Class::new("a/2", "a", None, 1)]
    }

    #[test]
    fn images_lie_class_after_class() -> Result<(), Error> {
        let set = ImageSet::new(2, classes(), (0..12).collect())?;
        assert_eq!(set.image(0, 1), [4, 5, 6, 7]);
        assert_eq!(set.image(1, 0), [8, 9, 10, 11]);
        assert_eq!(set.examples(0), 2);
        Ok(())
    }

    #[test]
    fn pixels_that_do_not_add_up_are_refused() {
        assert!(matches!(ImageSet::new(2, classes(), vec![0; 11]), Err(Error::Shape { images: 3, .. })));
        assert!(matches!(ImageSet::new(0, vec![], vec![]), Err(Error::Size { .. })));
        let endless = vec![Class::new("a", "a", None, usize::MAX), Class::new("b", "b", None, 2)];
        assert!(ImageSet::new(2, endless, vec![0; 4]).is_err());
    }

    #[test]
    fn the_digest_sees_pixels_names_and_parts() -> Result<(), Error> {
        let set = ImageSet::new(2, classes(), vec![7; 12])?;
        assert_eq!(set.digest(), ImageSet::new(2, classes(), vec![7; 12])?.digest());
        let mut renamed = classes();
        renamed[0].name.push('x');
        let mut moved = classes();
        moved[0].part = Some(Part::Test);
        for other in [(renamed, 7), (moved, 7), (classes(), 8)] {
            assert_ne!(set.digest(), ImageSet::new(2, other.0, vec![other.1; 12])?.digest());
        }
        Ok(())
    }
}
