//! A picture of predictions: which image was taken for which class.

use super::Prediction;
use crate::data::{ImageRef, Request, RotatedClass, render, render_pixels};
use image::imageops::{self, FilterType};
use image::{DynamicImage, Rgb, RgbImage};

/// Smallest side of an image in the picture, in pixels.
const SIDE: u32 = 64;
/// The most support images of a class, and images in a line.
const SUPPORT: usize = 5;
const LINE: usize = 12;
/// Widths in pixels: of frames, between images, and between support and query images.
const FRAME: u32 = 3;
const GAP: u32 = 3;
const MIDDLE: u32 = 18;
/// White paper; frames of right answers, of mistakes, and of images whose class is not known (Okabe and Ito's palette, which
/// people who are colour-blind can tell apart).
const PAPER: Rgb<u8> = Rgb([255; 3]);
const RIGHT: Rgb<u8> = Rgb([0, 158, 115]);
const WRONG: Rgb<u8> = Rgb([230, 118, 0]);
const UNKNOWN: Rgb<u8> = Rgb([170; 3]);

/// Upper bound of the pixels of the [`picture`] of predictions for `request`.
pub fn picture_pixels(request: &Request) -> u64 {
    let set = &request.support;
    let (images, classes) = (request.queries.len(), set.classes().len());
    let lines = classes + images / LINE;
    let side = step(set.size() as u32);
    (lines * (SUPPORT + LINE + 1)) as u64 * u64::from(side).pow(2)
}

/// The side of an image in the picture whose own is `size`.
fn shown_side(size: u32) -> u32 {
    SIDE.div_ceil(size) * size
}

/// From one image to the next.
fn step(size: u32) -> u32 {
    shown_side(size) + 2 * FRAME + GAP
}

/// A picture of `predictions` for the queries of `request`. Each class has a row: its first support images, then the queries taken for
/// it, framed in green if their folder has the name of that class, in orange if it has another one's, and in grey if it has none's.
/// A mistake has an image of its own class in its lower right corner.
pub fn picture(request: &Request, predictions: &[Prediction]) -> RgbImage {
    let set = &request.support;
    let (side, step) = (shown_side(set.size() as u32), step(set.size() as u32));
    let classes = set.classes().len();
    let shown = (0..classes).map(|class| set.examples(class).min(SUPPORT)).max().unwrap_or_default() as u32;
    let taken = |class: usize| {
        let pairs = predictions.iter().enumerate();
        pairs.filter(move |(_, prediction)| prediction.class == class).map(|(query, _)| query)
    };
    let lines = |class: usize| taken(class).count().div_ceil(LINE).max(1) as u32;
    let columns = (0..classes).map(|class| taken(class).count().min(LINE)).max().unwrap_or_default() as u32;
    let height = GAP + step * (0..classes).map(lines).sum::<u32>();
    let left_of_queries = GAP + shown * step + MIDDLE;
    let mut sheet = RgbImage::from_pixel(left_of_queries + columns * step, height, PAPER);

    let support =
        |class: usize, example: usize| render(set, ImageRef::new(RotatedClass::upright(class), example));
    let mut top = GAP;
    for class in 0..classes {
        for example in 0..set.examples(class).min(SUPPORT) {
            let left = GAP + example as u32 * step;
            place(&mut sheet, &support(class, example), [left + FRAME, top + FRAME], side);
        }
        for (number, query) in taken(class).enumerate() {
            let (column, line) = ((number % LINE) as u32, (number / LINE) as u32);
            let [left, top] = [left_of_queries + column * step, top + line * step];
            let own = request.queries[query].class;
            let colour = match own {
                None => UNKNOWN,
                Some(own) if own == class => RIGHT,
                Some(_) => WRONG,
            };
            fill(&mut sheet, [left, top], side + 2 * FRAME, colour);
            let image = render_pixels(set.format(), request.query_pixels(query));
            place(&mut sheet, &image, [left + FRAME, top + FRAME], side);
            if let Some(own) = own.filter(|own| *own != class) {
                let small = side / 3;
                let corner = [left, top].map(|at| at + FRAME + side - small);
                fill(&mut sheet, corner.map(|at| at - FRAME), small + FRAME, WRONG);
                place(&mut sheet, &support(own, 0), corner, small);
            }
        }
        top += lines(class) * step;
    }
    sheet
}

fn fill(sheet: &mut RgbImage, [left, top]: [u32; 2], side: u32, colour: Rgb<u8>) {
    let square = RgbImage::from_pixel(side, side, colour);
    imageops::replace(sheet, &square, i64::from(left), i64::from(top));
}

/// Draws `image` with this side; pixels that are enlarged stay squares.
fn place(sheet: &mut RgbImage, image: &DynamicImage, [left, top]: [u32; 2], side: u32) {
    let filter = if image.width() > side { FilterType::Triangle } else { FilterType::Nearest };
    let image = image.resize_exact(side, side, filter).into_rgb8();
    imageops::replace(sheet, &image, i64::from(left), i64::from(top));
}
