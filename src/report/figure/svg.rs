//! Renders a drawing as SVG. Text is drawn as outlines, so that no font is needed; the text itself is in
//! `aria-label`.

use super::drawing::{Anchor, Drawing, Layer, Segment, Shape};
use super::font;
use super::palette::Colour;
use crate::report::html::escaped;
use std::collections::BTreeSet;
use std::fmt::Write;

/// The SVG file.
pub fn render(drawing: &Drawing) -> String {
    let [width, height] = drawing.size.map(number);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}pt\" height=\"{height}pt\" \
         viewBox=\"0 0 {width} {height}\">\n<defs>\n"
    );
    for id in glyphs(drawing) {
        let _ = writeln!(svg, "<path id=\"g{id}\" d=\"{}\"/>", path(&font::outline(id), 1000.0));
    }
    for (at, layer) in drawing.layers.iter().enumerate() {
        if let Some([x, y, width, height]) = layer.clip.map(|clip| clip.map(number)) {
            let _ = writeln!(
                svg,
                "<clipPath id=\"c{at}\"><rect x=\"{x}\" y=\"{y}\" width=\"{width}\" \
                height=\"{height}\"/></clipPath>"
            );
        }
    }
    let _ = writeln!(svg, "</defs>\n<rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>");
    drawing.layers.iter().enumerate().for_each(|(at, layer)| group(&mut svg, at, layer));
    svg.push_str("</svg>\n");
    svg
}

fn group(svg: &mut String, at: usize, layer: &Layer) {
    let _ = write!(svg, "<g class=\"{}\"", layer.kind);
    if !layer.name.is_empty() {
        let _ = write!(svg, " aria-label=\"{}\"", escaped(&layer.name));
    }
    if layer.clip.is_some() {
        let _ = write!(svg, " clip-path=\"url(#c{at})\"");
    }
    svg.push_str(">\n");
    layer.shapes.iter().for_each(|shape| draw(svg, shape));
    svg.push_str("</g>\n");
}

fn draw(svg: &mut String, shape: &Shape) {
    let _ = match shape {
        Shape::Filled { path: segments, colour, opacity } => writeln!(
            svg,
            "<path d=\"{}\" fill=\"{}\" fill-opacity=\"{}\"/>",
            path(segments, 1.0),
            hex(*colour),
            number(*opacity)
        ),
        Shape::Stroked { path: segments, colour, width, dash } => {
            let dash: Vec<String> = dash.iter().map(|length| number(*length)).collect();
            let dash = match dash.is_empty() {
                true => String::new(),
                false => format!(" stroke-dasharray=\"{}\"", dash.join(" ")),
            };
            writeln!(
                svg,
                "<path d=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{}\" \
                stroke-linejoin=\"round\"{dash}/>",
                path(segments, 1.0),
                hex(*colour),
                number(*width)
            )
        }
        Shape::Text { text, at: [x, y], size, anchor, upright, colour } => {
            let (glyphs, width) = font::set(text);
            let turn = if *upright { " rotate(-90)" } else { "" };
            let scale = size / 1000.0;
            let _ = write!(
                svg,
                "<g class=\"text\" role=\"img\" aria-label=\"{}\" fill=\"{}\" \
                 transform=\"translate({} {}){turn} scale({scale:.5})\">",
                escaped(text),
                hex(*colour),
                number(*x),
                number(*y)
            );
            let from = anchor.share() * width;
            for glyph in glyphs {
                let _ =
                    write!(svg, "<use href=\"#g{}\" x=\"{}\"/>", glyph.id, number(1000.0 * (glyph.x - from)));
            }
            writeln!(svg, "</g>")
        }
    };
}

impl Anchor {
    /// The share of the text's width before its anchor.
    pub fn share(self) -> f64 {
        match self {
            Self::Start => 0.0,
            Self::Middle => 0.5,
            Self::End => 1.0,
        }
    }
}

/// All glyphs in use.
fn glyphs(drawing: &Drawing) -> BTreeSet<u16> {
    let shapes = drawing.layers.iter().flat_map(|layer| &layer.shapes);
    let texts = shapes.filter_map(|shape| match shape {
        Shape::Text { text, .. } => Some(font::set(text).0),
        _ => None,
    });
    texts.flatten().map(|glyph| glyph.id).collect()
}

fn path(segments: &[Segment], scale: f64) -> String {
    let at = |[x, y]: [f64; 2]| format!("{} {}", number(scale * x), number(scale * y));
    let word = |segment: &Segment| match *segment {
        Segment::Move(point) => format!("M{}", at(point)),
        Segment::Line(point) => format!("L{}", at(point)),
        Segment::Quad(control, point) => format!("Q{} {}", at(control), at(point)),
        Segment::Close => "Z".into(),
    };
    segments.iter().map(word).collect()
}

/// Rounded to hundredths of a point, which is finer than any printer.
fn number(value: f64) -> String {
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".into() } else { text.into() }
}

fn hex([red, green, blue]: Colour) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}
