//! Text as outlines of an embedded font, so that a figure looks the same on every machine and text is drawn with
//! the widths measured here.

use super::drawing::Segment;
use std::sync::OnceLock;
use ttf_parser::{Face, GlyphId, OutlineBuilder};

/// DejaVu Sans, which covers mathematical symbols.
fn face() -> &'static Face<'static> {
    static FACE: OnceLock<Face<'static>> = OnceLock::new();
    // The font is embedded, and a test parses it.
    FACE.get_or_init(|| Face::parse(dejavu::sans::regular(), 0).expect("the embedded font is valid"))
}

/// A glyph of a line of text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Glyph {
    pub id: u16,
    /// Left edge, in em from the start of the line.
    pub x: f64,
}

/// The glyphs of `text`, and its width in em. A character missing from the font becomes its empty box.
pub fn set(text: &str) -> (Vec<Glyph>, f64) {
    let em = f64::from(face().units_per_em());
    let mut x = 0.0;
    let glyphs = text
        .chars()
        .map(|letter| {
            let id = face().glyph_index(letter).unwrap_or(GlyphId(0));
            let glyph = Glyph { id: id.0, x };
            x += f64::from(face().glyph_hor_advance(id).unwrap_or_default()) / em;
            glyph
        })
        .collect();
    (glyphs, x)
}

/// The width of `text`, in em.
pub fn width(text: &str) -> f64 {
    set(text).1
}

/// The outline of glyph `id` in em, y downwards from the base line; empty for a space.
pub fn outline(id: u16) -> Vec<Segment> {
    let mut pen = Pen { segments: Vec::new(), em: f64::from(face().units_per_em()) };
    face().outline_glyph(GlyphId(id), &mut pen);
    pen.segments
}

struct Pen {
    segments: Vec<Segment>,
    em: f64,
}

impl Pen {
    fn at(&self, x: f32, y: f32) -> [f64; 2] {
        [f64::from(x) / self.em, -f64::from(y) / self.em]
    }
}

impl OutlineBuilder for Pen {
    fn move_to(&mut self, x: f32, y: f32) {
        self.segments.push(Segment::Move(self.at(x, y)));
    }

    fn line_to(&mut self, x: f32, y: f32) {
        self.segments.push(Segment::Line(self.at(x, y)));
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        self.segments.push(Segment::Quad(self.at(x1, y1), self.at(x, y)));
    }

    /// TrueType outlines have no cubic segments.
    fn curve_to(&mut self, _x1: f32, _y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        self.quad_to(x2, y2, x, y);
    }

    fn close(&mut self) {
        self.segments.push(Segment::Close);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_font_covers_all_characters_in_use() {
        for letter in "aZ09 −·⁻⁰¹²³⁴⁵⁶⁷⁸⁹×±°√∇‖Δθαξβσ𝔻𝕍∈≤≥…÷ⱼᵣ₀’\u{2009}".chars()
        {
            assert!(face().glyph_index(letter).is_some(), "{letter} is not in the font");
        }
        assert!(width("mm") > 2.0 * width("i"));
        assert!(outline(set("A").0[0].id).len() > 5);
    }
}
