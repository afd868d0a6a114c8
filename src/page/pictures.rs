//! Images of a set as HTML.

use crate::data::{ImageSet, Picture, called, drawing};
use crate::report::html::{data_uri, escaped};
use image::ImageFormat;
use std::io::Cursor;

/// `picture` as an element with the image in it, and its class's name to be read aloud.
pub fn element(set: &ImageSet, picture: Picture) -> String {
    let mut file = Cursor::new(Vec::new());
    // Writing to memory does not fail; without an image its name is still there.
    let _ = drawing(set, picture).write_to(&mut file, ImageFormat::Png);
    let (name, uri) = (escaped(&called(set, picture)), data_uri("image/png", file.get_ref()));
    format!("<img class=\"ink\" src=\"{uri}\" alt=\"{name}\" title=\"{name}\"/>")
}
