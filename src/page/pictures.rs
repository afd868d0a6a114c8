//! Images of a set as HTML.

use crate::data::{ImageSet, Picture, turned};
use crate::report::html::{data_uri, escaped};
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};

/// `picture` as an element with the image in it, dark ink on white paper, and its class's name to be read aloud.
pub fn element(set: &ImageSet, picture: Picture) -> String {
    let Picture { class, example } = picture;
    let ink = turned(set.image(class.class, example), set.size(), class.quarter_turns);
    let pixels: Vec<u8> = ink.map(|ink| 255 - ink).collect();
    let (mut file, side) = (Vec::new(), set.size() as u32);
    // Writing to memory does not fail; without an image its name is still there.
    let _ = PngEncoder::new(&mut file).write_image(&pixels, side, side, ExtendedColorType::L8);
    let name = escaped(&name(set, picture));
    format!("<img class=\"ink\" src=\"{}\" alt=\"{name}\" title=\"{name}\"/>", data_uri("image/png", &file))
}

/// The class's name, with its turn.
pub fn name(set: &ImageSet, picture: Picture) -> String {
    let name = &set.classes()[picture.class.class].name;
    match picture.class.quarter_turns % 4 {
        0 => name.clone(),
        turns => format!("{name} ({}°)", 90 * u32::from(turns)),
    }
}
