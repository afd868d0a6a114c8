//! Contact sheets: an overview of a dataset's images.

use super::{Channels, ImageRef, ImageSet, RotatedClass, render};
use image::imageops::{self, FilterType};
use image::{DynamicImage, GrayImage, Luma, Rgb, RgbImage};

/// Gap between neighbouring images, in image pixels.
const GAP: u32 = 2;
/// Gap between groups, in image pixels.
const GROUP_GAP: u32 = 8;
const PAPER: u8 = 255;

/// A contact sheet, dark on white or in colour: a row for each of `classes` with its first `drawings` images, enlarged by `scale`
/// (1 to 16). The gap is wider where the group changes.
pub fn contact_sheet(set: &ImageSet, classes: &[RotatedClass], drawings: usize, scale: u32) -> DynamicImage {
    let scale = scale.clamp(1, 16);
    let most = classes.iter().map(|class| set.examples(class.class)).max().unwrap_or(0);
    let columns = drawings.min(most);
    let side = set.size() as u32;
    let mut tops = vec![];
    let mut height = GAP;
    for (i, class) in classes.iter().enumerate() {
        let group = |class: &RotatedClass| &set.classes()[class.class].group;
        if i > 0 && group(class) != group(&classes[i - 1]) {
            height += GROUP_GAP - GAP;
        }
        tops.push(height);
        height += side + GAP;
    }
    let width = GAP + columns as u32 * (side + GAP);
    let [width, height] = [width * scale, height * scale];
    let mut sheet: DynamicImage = match set.channels() {
        Channels::Grey => GrayImage::from_pixel(width, height, Luma([PAPER])).into(),
        Channels::Colour => RgbImage::from_pixel(width, height, Rgb([PAPER; 3])).into(),
    };
    for (class, top) in classes.iter().zip(tops) {
        for example in 0..columns.min(set.examples(class.class)) as u32 {
            let left = GAP + example * (side + GAP);
            let drawn = render(set, ImageRef::new(*class, example as usize));
            let large = drawn.resize_exact(side * scale, side * scale, FilterType::Nearest);
            imageops::replace(&mut sheet, &large, i64::from(left * scale), i64::from(top * scale));
        }
    }
    sheet
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Class, Error};

    #[test]
    fn rows_are_classes_and_ink_is_dark() -> Result<(), Error> {
        let classes = vec![Class::new("a/1", "a", None, 2), Class::new("b/1", "b", None, 1)];
        let set = ImageSet::new(1, classes, vec![255, 100, 50])?;
        let sheet =
            contact_sheet(&set, &[RotatedClass::upright(0), RotatedClass::upright(1)], 5, 2).into_luma8();
        assert_eq!(sheet.dimensions(), (2 * (2 + 2 * 3), 2 * (2 + 1 + 8 + 1 + 2)));
        assert_eq!(sheet.get_pixel(5, 5).0, [0]);
        assert_eq!(sheet.get_pixel(10, 4).0, [155]);
        assert_eq!(sheet.get_pixel(4, 2 * 11).0, [205]);
        assert_eq!(sheet.get_pixel(0, 0).0, [PAPER]);
        assert_eq!(contact_sheet(&set, &[], 5, 0).into_luma8().dimensions(), (GAP, GAP));
        Ok(())
    }
}
