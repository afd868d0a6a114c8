//! Images of a set as people see them: dark ink on white paper.

use super::{EpisodeShape, Error, ImageSet, Picture, Selection, turned};
use image::{GrayImage, Luma};
use std::fs;
use std::path::Path;

const PAPER: u8 = 255;

/// `picture` of `set`, dark on white.
pub fn drawing(set: &ImageSet, Picture { class, example }: Picture) -> GrayImage {
    let side = set.size() as u32;
    let mut ink = turned(set.image(class.class, example), set.size(), class.quarter_turns);
    GrayImage::from_fn(side, side, |_, _| Luma([PAPER - ink.next().unwrap_or_default()]))
}

/// The name of `picture`'s class, with its turn.
pub fn called(set: &ImageSet, picture: Picture) -> String {
    let name = &set.classes()[picture.class.class].name;
    match picture.class.quarter_turns % 4 {
        0 => name.clone(),
        turns => format!("{name} ({}°)", 90 * u32::from(turns)),
    }
}

/// Writes an episode of `shape` into `folder`, which must not exist: `support/CLASS/1.png` … and `query/CLASS/1.png` ….
///
/// # Errors
/// If a folder or a file cannot be made.
pub fn write_episode(
    set: &ImageSet,
    selection: &Selection,
    shape: &EpisodeShape,
    folder: &Path,
) -> Result<(), Error> {
    fs::create_dir(folder).map_err(Error::io("create", folder))?;
    for (part, pictures, each) in
        [("support", &selection.support, shape.shots), ("query", &selection.query, shape.queries)]
    {
        for of_class in pictures.chunks(each) {
            // A class's name may have its group's in it, as a folder.
            let class = folder.join(part).join(called(set, of_class[0]).replace(['/', '\\'], "-"));
            fs::create_dir_all(&class).map_err(Error::io("create", &class))?;
            for (number, picture) in of_class.iter().enumerate() {
                let file = class.join(format!("{}.png", number + 1));
                let saved = drawing(set, *picture).save(&file).map_err(std::io::Error::other);
                saved.map_err(Error::io("write", &file))?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Glyphs, Turned};

    #[test]
    fn a_turned_drawing_is_the_turned_ink_on_white() {
        let set = Glyphs { alphabets: 1, ..Glyphs::default() }.draw(9).unwrap();
        let class = Turned { class: 3, quarter_turns: 1 };
        let picture = Picture { class, example: 2 };
        let drawn = drawing(&set, picture);
        let ink = set.image(3, 2);
        // A quarter turn counter-clockwise brings the last column to the top.
        (0..9).for_each(|at| assert_eq!(255 - drawn.get_pixel(at, 0)[0], ink[at as usize * 9 + 8]));
        assert!(called(&set, picture).ends_with(" (90°)"));
    }
}
