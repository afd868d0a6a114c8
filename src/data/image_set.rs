//! Square grey images sorted by class. Sources load them, samplers draw from them.
//!
//! Pixels are bytes, ink 255 and paper 0, and all images share one allocation: Omniglot at 28×28 pixels takes 25 MB,
//! against 100 MB as floats.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Error, ImageRef, Part, placed};
use crate::support::hex::hex;

/// The largest height and width that images may be resized to, in pixels.
pub const MAX_SIZE: usize = 1024;

/// One class of an [`ImageSet`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Class {
    /// Unique within the set, such as `Korean/character07`.
    pub name: String,
    /// The group of related classes it belongs to: its alphabet, such as `Korean`.
    pub group: String,
    /// The part that the source assigns the class to, if it does.
    pub part: Option<Part>,
    /// Number of images.
    pub examples: usize,
    /// Index of the first image; the others follow.
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

/// Square grey images of one size, in order of their classes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ImageSet {
    size: usize,
    classes: Vec<Class>,
    pixels: Vec<u8>,
}

impl ImageSet {
    /// An image set of `pixels`, `[images, size·size]`, in order of their `classes`, ink 255.
    ///
    /// # Errors
    /// Returns [`Error::Size`] if `size` is 0 or larger than 1024, and [`Error::Shape`] if the number of pixels is
    /// not that of the classes' images.
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

    /// A set of `classes` whose images have no pixels, to plan with.
    pub fn without_pixels(classes: Vec<Class>) -> Self {
        Self { size: 0, classes, pixels: vec![] }
    }

    /// The classes without the pixels of their images.
    #[must_use]
    pub fn outline(&self) -> Self {
        Self::without_pixels(self.classes.clone())
    }

    /// Height and width of every image, in pixels.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The classes, in the source's order. Class indices elsewhere index this slice.
    pub fn classes(&self) -> &[Class] {
        &self.classes
    }

    /// Number of images of `class`.
    ///
    /// # Panics
    /// Panics if there is no such class.
    pub fn examples(&self, class: usize) -> usize {
        self.classes[class].examples
    }

    /// The index of an image among all images of the set.
    ///
    /// # Panics
    /// Panics if there is no such class or example.
    pub fn index(&self, class: usize, example: usize) -> usize {
        let class = &self.classes[class];
        assert!(example < class.examples, "class `{}` has no example {example}", class.name);
        class.first + example
    }

    /// One image as it is stored, `[size·size]` in row-major order, ink 255 and paper 0.
    ///
    /// # Panics
    /// Panics if there is no such class or example.
    pub fn image(&self, class: usize, example: usize) -> &[u8] {
        let area = self.size * self.size;
        let start = self.index(class, example) * area;
        &self.pixels[start..start + area]
    }

    /// The image that `image_ref` refers to as it is shown: rotated, mirrored and shifted; `[size·size]`, ink 255 and
    /// paper 0.
    ///
    /// # Panics
    /// Panics if there is no such class or example.
    pub fn shown(&self, image_ref: &ImageRef) -> impl Iterator<Item = u8> {
        let ImageRef { class, example, placement } = *image_ref;
        placed(self.image(class.class, example), self.size, class.quarter_turns, placement)
    }

    /// The images that `refs` refer to as they are [shown](Self::shown), `[refs, size·size]`, ink 1 and paper 0.
    ///
    /// # Panics
    /// Panics if there is no such class or example.
    pub fn ink<'a>(&self, refs: impl Iterator<Item = &'a ImageRef> + Clone) -> Vec<f32> {
        let mut ink = Vec::with_capacity(refs.clone().count() * self.size * self.size);
        for image_ref in refs {
            self.shown(image_ref).for_each(|byte| ink.push(intensity(byte)));
        }
        ink
    }

    /// All images, `[images, size·size]`, in order of their classes.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The start of the SHA-256 of a class's images, in hexadecimal; equal for the same images, whatever the class's name.
    ///
    /// # Panics
    /// Panics if there is no such class.
    pub fn class_digest(&self, class: usize) -> String {
        let mut hash = Sha256::new();
        hash.update((self.size as u64).to_le_bytes());
        (0..self.examples(class)).for_each(|example| hash.update(self.image(class, example)));
        hex(&hash.finalize()[..12])
    }

    /// SHA-256 of names, groups, parts and pixels, in hexadecimal; equal for equal data, whatever its source.
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

/// A pixel's byte as a number: ink 1, paper 0.
pub fn intensity(byte: u8) -> f32 {
    f32::from(byte) / 255.0
}

/// Checks the size of images to load.
///
/// # Errors
/// Returns [`Error::Size`] if `size` is 0 or larger than [`MAX_SIZE`].
pub(super) fn check_size(size: usize) -> Result<(), Error> {
    if (1..=MAX_SIZE).contains(&size) { Ok(()) } else { Err(Error::Size { size, max: MAX_SIZE }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes() -> Vec<Class> {
        vec![Class::new("a/1", "a", Some(Part::Train), 2), Class::new("a/2", "a", None, 1)]
    }

    #[test]
    fn images_are_stored_class_by_class() -> Result<(), Error> {
        let set = ImageSet::new(2, classes(), (0..12).collect())?;
        assert_eq!(set.image(0, 1), [4, 5, 6, 7]);
        assert_eq!(set.image(1, 0), [8, 9, 10, 11]);
        assert_eq!(set.examples(0), 2);
        Ok(())
    }

    #[test]
    fn mismatched_pixels_are_refused() {
        assert!(matches!(ImageSet::new(2, classes(), vec![0; 11]), Err(Error::Shape { images: 3, .. })));
        assert!(matches!(ImageSet::new(0, vec![], vec![]), Err(Error::Size { .. })));
        let huge = vec![Class::new("a", "a", None, usize::MAX), Class::new("b", "b", None, 2)];
        assert!(ImageSet::new(2, huge, vec![0; 4]).is_err());
    }

    #[test]
    fn the_digest_depends_on_pixels_names_and_parts() -> Result<(), Error> {
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
