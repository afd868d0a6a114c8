//! Images of a set rendered for people: grey ones as dark ink on white paper, those in colour as they are.

use super::{Channels, EpisodeShape, Error, Format, ImageRef, ImageSet, Selection};
use image::{DynamicImage, GrayImage, Luma, Rgb, RgbImage};
use std::fs;
use std::path::{Path, PathBuf};

const PAPER: u8 = 255;

/// The image that `image` refers to: dark on white if it is grey.
pub fn render(set: &ImageSet, image: ImageRef) -> DynamicImage {
    render_pixels(set.format(), &set.shown(&image))
}

/// The image with these stored pixels, `[size, size, channels]`: dark on white if it is grey.
pub fn render_pixels(format: Format, pixels: &[u8]) -> DynamicImage {
    let side = format.size as u32;
    let mut pixels = pixels.iter().copied();
    let mut next = || pixels.next().unwrap_or_default();
    match format.channels {
        Channels::Grey => GrayImage::from_fn(side, side, |_, _| Luma([PAPER - next()])).into(),
        Channels::Colour => RgbImage::from_fn(side, side, |_, _| Rgb([(); 3].map(|()| next()))).into(),
    }
}

/// The name of the class of `image`, with its rotation in degrees.
pub fn display_name(set: &ImageSet, image: ImageRef) -> String {
    let name = &set.classes()[image.class.class].name;
    match image.class.quarter_turns % 4 {
        0 => name.clone(),
        turns => format!("{name} ({}°)", 90 * u32::from(turns)),
    }
}

/// Writes an episode of `shape` into `folder`, which must not exist: `support/CLASS/1.png` … and `query/CLASS/1.png` ….
///
/// # Errors
/// Returns an error if `folder` exists, or a folder or file cannot be written.
pub fn write_episode(
    set: &ImageSet,
    selection: &Selection,
    shape: &EpisodeShape,
    folder: &Path,
) -> Result<(), Error> {
    fs::create_dir(folder).map_err(Error::io("create", folder))?;
    for (part, refs, each) in
        [("support", &selection.support, shape.shots), ("query", &selection.query, shape.queries)]
    {
        for of_class in refs.chunks(each) {
            let class = free(&folder.join(part), &display_name(set, of_class[0]));
            fs::create_dir_all(&class).map_err(Error::io("create", &class))?;
            for (number, image) in of_class.iter().enumerate() {
                let file = class.join(format!("{}.png", number + 1));
                let saved = render(set, *image).save(&file).map_err(std::io::Error::other);
                saved.map_err(Error::io("write", &file))?;
            }
        }
    }
    Ok(())
}

/// A folder in `parent` that does not exist yet, for the class `name`. Slashes, which separate a group's name, become dashes; if that
/// gives two classes one name, the second has a number.
fn free(parent: &Path, name: &str) -> PathBuf {
    let name = name.replace(['/', '\\'], "-");
    let numbered = |number: usize| match number {
        1 => parent.join(&name),
        _ => parent.join(format!("{name} ({number})")),
    };
    let mut number = 1;
    while numbered(number).exists() {
        number += 1;
    }
    numbered(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Class, Format, Glyphs, Placement, RotatedClass};

    #[test]
    fn classes_of_one_name_have_folders_of_their_own() {
        let parent = tempfile::tempdir().unwrap();
        for expected in ["a-b-c", "a-b-c (2)", "a-b-c (3)"] {
            let folder = free(parent.path(), "a/b-c");
            assert_eq!(folder, parent.path().join(expected));
            fs::create_dir(folder).unwrap();
        }
    }

    #[test]
    fn images_are_shown_as_drawn_and_dark_on_white() {
        let set = Glyphs { alphabets: 1, ..Glyphs::default() }.draw(9).unwrap();
        let class = RotatedClass { class: 3, quarter_turns: 1 };
        let image = ImageRef::new(class, 2);
        let drawn = render(&set, image).into_luma8();
        let ink = set.image(3, 2);
        // A counter-clockwise quarter turn moves the last column to the first row.
        (0..9).for_each(|at| assert_eq!(255 - drawn.get_pixel(at, 0)[0], ink[at as usize * 9 + 8]));
        assert!(display_name(&set, image).ends_with(" (90°)"));
        let placement = Placement { mirrored: true, down: 1, ..Placement::default() };
        let changed = render(&set, ImageRef { placement, ..image }).into_luma8();
        (0..9).for_each(|at| assert_eq!(changed.get_pixel(at, 0)[0], PAPER));
        (0..9).for_each(|at| assert_eq!(changed.get_pixel(at, 1), drawn.get_pixel(8 - at, 0)));
    }

    #[test]
    fn colours_are_shown_as_they_are() {
        let format = Format { size: 1, channels: Channels::Colour, paper: 255 };
        let set = ImageSet::of(format, vec![Class::new("a", "a", None, 1)], vec![200, 30, 7].into()).unwrap();
        let drawn = render(&set, ImageRef::new(RotatedClass::upright(0), 0));
        assert_eq!(drawn, DynamicImage::from(RgbImage::from_pixel(1, 1, Rgb([200, 30, 7]))));
    }
}
