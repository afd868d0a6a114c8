//! Renders strokes as pixels: lines of constant width with smooth edges.

use super::stroke::{Point, smooth};
use super::variation::Drawing;

/// Straight pieces between two knots; at 28×28 pixels each is about one pixel long.
const PIECES: usize = 4;

/// Renders a drawing into `image`, `[size·size]`, paper 0, ink 255.
pub fn draw(drawing: &Drawing, image: &mut [u8], size: usize) {
    let scale = size as f32;
    let radius = 0.5 * drawing.width * scale;
    // A line thinner than a pixel covers no more of it than its width.
    let full = (2.0 * radius).min(1.0);
    for stroke in &drawing.strokes {
        let points = smooth(stroke, PIECES);
        let onto = |point: Point| (point + Point { x: 0.5, y: 0.5 }) * scale;
        for piece in points.windows(2) {
            let (from, to) = (onto(piece[0]), onto(piece[1]));
            let reach = radius + 0.5;
            let pixels = |a: f32, b: f32| {
                let first = (a.min(b) - reach).floor().clamp(0.0, scale) as usize;
                first..(a.max(b) + reach).ceil().clamp(0.0, scale) as usize
            };
            for y in pixels(from.y, to.y) {
                for x in pixels(from.x, to.x) {
                    let centre = Point { x: x as f32 + 0.5, y: y as f32 + 0.5 };
                    let covered = (reach - distance(centre, from, to)).clamp(0.0, full);
                    let pixel = &mut image[y * size + x];
                    *pixel = (*pixel).max((255.0 * covered).round() as u8);
                }
            }
        }
    }
}

/// The distance of `point` from the line segment between `from` and `to`.
fn distance(point: Point, from: Point, to: Point) -> f32 {
    let (along, away) = (to - from, point - from);
    let square = along.x * along.x + along.y * along.y;
    let nearest =
        if square > 0.0 { ((along.x * away.x + along.y * away.y) / square).clamp(0.0, 1.0) } else { 0.0 };
    (away - along * nearest).length()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ink_equals_the_area_of_lines_and_stays_within_the_image() {
        for (size, width) in [(28, 0.03), (28, 0.1), (100, 0.05)] {
            let stroke = vec![Point { x: -0.25, y: 0.03 }, Point { x: 0.25, y: 0.03 }];
            let mut image = vec![0; size * size];
            draw(&Drawing { strokes: vec![stroke], width }, &mut image, size);
            let found = image.iter().map(|ink| f32::from(*ink) / 255.0).sum::<f32>() / (size * size) as f32;
            let area = 0.5 * width;
            // The rounded ends add a little to the rectangle's area.
            assert!(found > 0.95 * area && found < area + 2.5 * width * width, "{found} for {area}");
        }
        let outside =
            vec![Point { x: -3.0, y: -3.0 }, Point { x: 3.0, y: 9.0 }, Point { x: f32::NAN, y: 0.0 }];
        draw(&Drawing { strokes: vec![outside], width: 0.1 }, &mut [0; 49], 7);
    }
}
