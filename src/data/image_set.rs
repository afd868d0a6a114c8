//! Square images of one size sorted by class, grey or in colour. Sources load them, samplers draw from them.
//!
//! Values are bytes. Grey images have ink 255 and paper 0; those in colour have red, green and blue. Omniglot at 28×28
//! pixels takes 25 MB, against 100 MB as floats. Sets of more than half a gigabyte stay in a file.

use std::borrow::Cow;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::pixels::Pixels;
use super::warp::{Warp, warped};
use super::{Channels, Error, ImageRef, Part, placement};
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

/// The form of the images of a set.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Format {
    /// Height and width of every image, in pixels.
    pub size: usize,
    /// Values of a pixel.
    pub channels: Channels,
    /// The byte of what an image that is moved leaves behind: 0 for grey images; white or black for those in colour.
    pub paper: u8,
}

impl Format {
    /// Grey images of `size`² pixels.
    pub fn grey(size: usize) -> Self {
        Self { size, channels: Channels::Grey, paper: 0 }
    }

    /// Number of values of an image.
    pub fn values(self) -> usize {
        self.size * self.size * self.channels.count()
    }
}

/// Square images of one size, in order of their classes.
#[derive(Clone, Debug)]
pub struct ImageSet {
    format: Format,
    classes: Vec<Class>,
    pixels: Pixels,
    digest: OnceLock<String>,
}

/// By names, parts and pixels, wherever the pixels are.
impl PartialEq for ImageSet {
    fn eq(&self, other: &Self) -> bool {
        self.format == other.format && self.classes == other.classes && self.pixels == other.pixels
    }
}

impl Eq for ImageSet {}

impl ImageSet {
    /// A set of grey images of `pixels`, `[images, size, size]`, in order of their `classes`, ink 255.
    ///
    /// # Errors
    /// Returns [`Error::Size`] if `size` is 0 or larger than 1024, and [`Error::Shape`] if the number of pixels is
    /// not that of the classes' images.
    pub fn new(size: usize, classes: Vec<Class>, pixels: Vec<u8>) -> Result<Self, Error> {
        Self::of(Format::grey(size), classes, pixels.into())
    }

    /// A set of images of `pixels`, `[images, size, size, channels]`, in order of their `classes`.
    ///
    /// # Errors
    /// As for [`ImageSet::new`].
    pub fn of(format: Format, mut classes: Vec<Class>, pixels: Pixels) -> Result<Self, Error> {
        check_size(format.size)?;
        let mut images = 0_usize;
        for class in &mut classes {
            class.first = images;
            images = images.saturating_add(class.examples);
        }
        if images.checked_mul(format.values()) != Some(pixels.len()) {
            return Err(Error::Shape { images, size: format.size, bytes: pixels.len() });
        }
        Ok(Self { format, classes, pixels, digest: OnceLock::new() })
    }

    /// Size and channels of every image.
    pub fn format(&self) -> Format {
        self.format
    }

    /// A set of `classes` whose images have no pixels, to plan with.
    pub fn without_pixels(classes: Vec<Class>) -> Self {
        Self { format: Format::grey(0), classes, pixels: vec![].into(), digest: OnceLock::new() }
    }

    /// The classes without the pixels of their images.
    #[must_use]
    pub fn outline(&self) -> Self {
        Self::without_pixels(self.classes.clone())
    }

    /// Height and width of every image, in pixels.
    pub fn size(&self) -> usize {
        self.format.size
    }

    /// Values of a pixel.
    pub fn channels(&self) -> Channels {
        self.format.channels
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

    /// Number of images of all classes.
    pub fn images(&self) -> usize {
        self.pixels.len() / self.format.values()
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

    /// One image as it is stored, `[size, size, channels]` in row-major order.
    ///
    /// # Panics
    /// Panics if there is no such class or example, or the pixels are in a file that cannot be read any more.
    pub fn image(&self, class: usize, example: usize) -> Cow<'_, [u8]> {
        let start = self.index(class, example) * self.format.values();
        self.pixels.get(start..start + self.format.values())
    }

    /// The image that `image_ref` refers to as it is shown: rotated, mirrored, shifted and warped; `[size, size, channels]`.
    ///
    /// # Panics
    /// As for [`ImageSet::image`].
    pub fn shown(&self, image_ref: &ImageRef) -> Vec<u8> {
        let ImageRef { class, example, placement } = *image_ref;
        let (stored, Format { size, channels, paper }) = (self.image(class.class, example), self.format);
        let (channels, mut shown) = (channels.count(), Vec::with_capacity(stored.len()));
        for source in placement::sources(size, class.quarter_turns, placement) {
            match source {
                Some(pixel) => shown.extend_from_slice(&stored[pixel * channels..(pixel + 1) * channels]),
                None => shown.extend(std::iter::repeat_n(paper, channels)),
            }
        }
        if placement.warp == Warp::default() {
            shown
        } else {
            warped(&shown, size, channels, paper, placement.warp)
        }
    }

    /// The pixels of all images, `[images, size, size, channels]`, in order of their classes.
    pub fn pixels(&self) -> &Pixels {
        &self.pixels
    }

    /// The start of the SHA-256 of a class's images, in hexadecimal; equal for the same images, whatever the class's name.
    ///
    /// # Panics
    /// Panics if there is no such class.
    pub fn class_digest(&self, class: usize) -> String {
        let mut hash = Sha256::new();
        hash.update((self.format.size as u64).to_le_bytes());
        if self.format.channels != Channels::Grey {
            hash.update([self.format.channels.count() as u8]);
        }
        (0..self.examples(class)).for_each(|example| hash.update(self.image(class, example)));
        hex(&hash.finalize()[..12])
    }

    /// The pixels, and the rest of the set without them.
    pub(super) fn pixels_mut(&mut self) -> &mut Pixels {
        &mut self.pixels
    }

    /// SHA-256 of names, groups, parts and pixels, in hexadecimal; equal for equal data, whatever its source.
    pub fn digest(&self) -> String {
        self.digest.get_or_init(|| self.compute_digest()).clone()
    }

    fn compute_digest(&self) -> String {
        let mut hash = Sha256::new();
        hash.update((self.format.size as u64).to_le_bytes());
        // Grey sets have the digests that they had before there were others.
        if self.format.channels != Channels::Grey {
            hash.update([self.format.channels.count() as u8, self.format.paper]);
        }
        for class in &self.classes {
            for text in [class.name.as_str(), &class.group, class.part.map_or("", Part::name)] {
                hash.update((text.len() as u64).to_le_bytes());
                hash.update(text);
            }
            hash.update((class.examples as u64).to_le_bytes());
        }
        self.pixels.blocks(1).for_each(|block| hash.update(&block));
        hex(&hash.finalize())
    }
}

/// A grey pixel's byte, or one channel's, as a number: ink 1 and paper 0.
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
    use crate::data::{Placement, RotatedClass};

    fn classes() -> Vec<Class> {
        vec![Class::new("a/1", "a", Some(Part::Train), 2), Class::new("a/2", "a", None, 1)]
    }

    #[test]
    fn images_are_stored_class_by_class() -> Result<(), Error> {
        let set = ImageSet::new(2, classes(), (0..12).collect())?;
        assert_eq!(*set.image(0, 1), [4, 5, 6, 7]);
        assert_eq!(*set.image(1, 0), [8, 9, 10, 11]);
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
    fn colours_are_turned_together_and_shifted_onto_the_paper_of_the_set() -> Result<(), Error> {
        let format = Format { size: 2, channels: Channels::Colour, paper: 255 };
        let pixels: Vec<u8> = (0..12).collect();
        let set = ImageSet::of(format, vec![Class::new("a", "a", None, 1)], pixels.into())?;
        let turned = RotatedClass { class: 0, quarter_turns: 1 };
        assert_eq!(set.shown(&ImageRef::new(turned, 0)), [3, 4, 5, 9, 10, 11, 0, 1, 2, 6, 7, 8]);
        let placement = Placement { down: 1, ..Placement::default() };
        let shifted = ImageRef { placement, ..ImageRef::new(RotatedClass::upright(0), 0) };
        assert_eq!(set.shown(&shifted), [255, 255, 255, 255, 255, 255, 0, 1, 2, 3, 4, 5]);
        Ok(())
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
        let in_colour = |paper| {
            let format = Format { size: 2, channels: Channels::Colour, paper };
            ImageSet::of(format, classes(), vec![7; 36].into()).map(|set| set.digest())
        };
        assert_ne!(in_colour(0)?, in_colour(255)?);
        // The digest is in the records of runs, so that of grey sets must stay what it is.
        let digest = "b39c55ec5c7db4d7676981fb83d2d572d634d4a0614a859aba3915c5da688631";
        assert_eq!(set.digest(), digest);
        Ok(())
    }
}
