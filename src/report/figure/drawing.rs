//! A drawing independent of file format: shapes in points (1/72 inch), y downwards.

use super::palette::Colour;

/// A piece of a path.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Segment {
    Move([f64; 2]),
    Line([f64; 2]),
    /// Control point and end.
    Quad([f64; 2], [f64; 2]),
    Close,
}

/// Which point of a text is placed at its position.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Anchor {
    Start,
    Middle,
    End,
}

/// A shape.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    Filled {
        path: Vec<Segment>,
        colour: Colour,
        opacity: f64,
    },
    Stroked {
        path: Vec<Segment>,
        colour: Colour,
        width: f64,
        dash: Vec<f64>,
    },
    /// One line of text with its anchor on the base line at `at`. Upright text is rotated by 90° to the left.
    Text {
        text: String,
        at: [f64; 2],
        size: f64,
        anchor: Anchor,
        upright: bool,
        colour: Colour,
    },
}

/// Left, top, width, height.
pub type Rectangle = [f64; 4];

/// Shapes that belong together.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// Its kind: `axes`, `grid`, `series`, `marker`, `band`, `level` or `legend`.
    pub kind: &'static str,
    /// The name of the series (also of its markers and its band) or level; empty for other kinds.
    pub name: String,
    /// The visible part; `None` means all.
    pub clip: Option<Rectangle>,
    pub shapes: Vec<Shape>,
}

/// Layers, the first at the bottom.
#[derive(Clone, Debug, PartialEq)]
pub struct Drawing {
    /// Width and height.
    pub size: [f64; 2],
    pub layers: Vec<Layer>,
}

/// A path through `points`.
pub fn line(points: &[[f64; 2]]) -> Vec<Segment> {
    let begin =
        |at: usize, point: [f64; 2]| if at == 0 { Segment::Move(point) } else { Segment::Line(point) };
    points.iter().enumerate().map(|(at, point)| begin(at, *point)).collect()
}

/// A closed path through `points`.
pub fn polygon(points: &[[f64; 2]]) -> Vec<Segment> {
    let mut path = line(points);
    path.push(Segment::Close);
    path
}

/// `path` transformed: each point p becomes `at` + `size`·p, rotated by 90° to the left if `upright`.
pub fn placed(path: &[Segment], at: [f64; 2], size: f64, upright: bool) -> Vec<Segment> {
    let place = |[x, y]: [f64; 2]| {
        let [x, y] = if upright { [y, -x] } else { [x, y] };
        [at[0] + size * x, at[1] + size * y]
    };
    let moved = |segment: &Segment| match *segment {
        Segment::Move(point) => Segment::Move(place(point)),
        Segment::Line(point) => Segment::Line(place(point)),
        Segment::Quad(control, point) => Segment::Quad(place(control), place(point)),
        Segment::Close => Segment::Close,
    };
    path.iter().map(moved).collect()
}
