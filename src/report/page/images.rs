//! Images of a data set as HTML.

use crate::data::{ImageRef, ImageSet, display_name, render};
use crate::report::html::{data_uri, escaped};
use image::ImageFormat;
use std::io::Cursor;

/// An `img` element that embeds `image`, with the name of its class as alternative text.
pub fn element(set: &ImageSet, image: ImageRef) -> String {
    let mut file = Cursor::new(Vec::new());
    // Writing to memory does not fail; the alternative text would remain.
    let _ = render(set, image).write_to(&mut file, ImageFormat::Png);
    let (name, uri) = (escaped(&display_name(set, image)), data_uri("image/png", file.get_ref()));
    format!("<img class=\"ink\" src=\"{uri}\" alt=\"{name}\" title=\"{name}\"/>")
}
