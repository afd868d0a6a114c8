//! Renders a drawing as PNG with tiny-skia.

use super::drawing::{Drawing, Layer, Segment, Shape, placed};
use super::font;
use super::palette::Colour;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use tiny_skia::{
    FillRule, LineJoin, Mask, Paint, Path, PathBuilder, Pixmap, Rect, Stroke, StrokeDash, Transform,
};

/// Points per inch.
const POINTS: f64 = 72.0;
/// The longest side, in pixels.
const LARGEST: f64 = 16_384.0;

/// `dpi` dots per inch, or as many as a drawing of `size` points can have if its longest side is to have at most [`LARGEST`] pixels.
fn resolution(size: [f64; 2], dpi: f64) -> f64 {
    dpi.min(LARGEST * POINTS / size[0].max(size[1]))
}

/// The size in pixels of a drawing of `size` points at `dpi` dots per inch, or fewer if it is large.
pub fn pixels(size: [f64; 2], dpi: f64) -> [u32; 2] {
    let dpi = resolution(size, dpi);
    size.map(|points| (points * dpi / POINTS).round().clamp(1.0, LARGEST) as u32)
}

/// The PNG file at `dpi` dots per inch, or fewer if it is large.
pub fn render(drawing: &Drawing, dpi: f64) -> Result<Vec<u8>, image::ImageError> {
    let [width, height] = pixels(drawing.size, dpi);
    // `pixels` bounds the size on both sides.
    let mut canvas = Pixmap::new(width, height).expect("a size within bounds");
    canvas.fill(tiny_skia::Color::WHITE);
    let scale = (resolution(drawing.size, dpi) / POINTS) as f32;
    drawing.layers.iter().for_each(|layer| paint(&mut canvas, layer, Transform::from_scale(scale, scale)));
    // The background is opaque, so premultiplied colours are the plain colours.
    let rgb: Vec<u8> =
        canvas.pixels().iter().flat_map(|pixel| [pixel.red(), pixel.green(), pixel.blue()]).collect();
    let mut file = Vec::new();
    PngEncoder::new(&mut file).write_image(&rgb, width, height, ExtendedColorType::Rgb8)?;
    Ok(file)
}

fn paint(canvas: &mut Pixmap, layer: &Layer, scale: Transform) {
    let mask = layer.clip.and_then(|[x, y, width, height]| {
        let mut mask = Mask::new(canvas.width(), canvas.height())?;
        let seen = Rect::from_xywh(x as f32, y as f32, width as f32, height as f32)?;
        mask.fill_path(&PathBuilder::from_rect(seen), FillRule::Winding, true, scale);
        Some(mask)
    });
    for shape in &layer.shapes {
        match shape {
            Shape::Filled { path, colour, opacity } => {
                fill(canvas, path, ink(*colour, *opacity), scale, mask.as_ref());
            }
            Shape::Stroked { path, colour, width, dash } => {
                let Some(path) = built(path) else { continue };
                let dash = dash.iter().map(|length| *length as f32).collect();
                let stroke = Stroke {
                    width: *width as f32,
                    line_join: LineJoin::Round,
                    dash: StrokeDash::new(dash, 0.0),
                    ..Stroke::default()
                };
                canvas.stroke_path(&path, &ink(*colour, 1.0), &stroke, scale, mask.as_ref());
            }
            Shape::Text { text, at: [x, y], size, anchor, upright, colour } => {
                let (glyphs, width) = font::set(text);
                for glyph in glyphs {
                    let along = size * (glyph.x - anchor.share() * width);
                    let at = if *upright { [*x, y - along] } else { [x + along, *y] };
                    let outline = placed(&font::outline(glyph.id), at, *size, *upright);
                    fill(canvas, &outline, ink(*colour, 1.0), scale, mask.as_ref());
                }
            }
        }
    }
}

fn fill(canvas: &mut Pixmap, path: &[Segment], ink: Paint, scale: Transform, mask: Option<&Mask>) {
    if let Some(path) = built(path) {
        canvas.fill_path(&path, &ink, FillRule::Winding, scale, mask);
    }
}

fn ink([red, green, blue]: Colour, opacity: f64) -> Paint<'static> {
    let mut paint = Paint { anti_alias: true, ..Paint::default() };
    paint.set_color_rgba8(red, green, blue, (255.0 * opacity).round() as u8);
    paint
}

/// `None` for an empty path.
fn built(path: &[Segment]) -> Option<Path> {
    let mut builder = PathBuilder::new();
    for segment in path {
        match *segment {
            Segment::Move([x, y]) => builder.move_to(x as f32, y as f32),
            Segment::Line([x, y]) => builder.line_to(x as f32, y as f32),
            Segment::Quad([x1, y1], [x, y]) => builder.quad_to(x1 as f32, y1 as f32, x as f32, y as f32),
            Segment::Close => builder.close(),
        }
    }
    builder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_drawing_is_scaled_as_a_whole() {
        assert_eq!(pixels([720.0, 360.0], 144.0), [1440, 720]);
        assert_eq!(pixels([72_000.0, 7_200.0], 144.0), [16_384, 1_638]);
    }
}
