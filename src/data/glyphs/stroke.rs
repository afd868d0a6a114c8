//! Points and strokes, which are smooth curves through points.

use std::ops::{Add, Mul, Sub};

/// A point of the plane: x to the right, y downwards. The image spans −½ to ½.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Point {
    pub x: f32,
    pub y: f32,
}

impl Point {
    /// The point at distance `length` from the origin in the direction `angle` (radians).
    pub fn towards(angle: f32, length: f32) -> Self {
        Self { x: length * angle.cos(), y: length * angle.sin() }
    }

    /// This point rotated about the origin by `angle` (radians).
    pub fn rotated(self, angle: f32) -> Self {
        let (sin, cos) = angle.sin_cos();
        Self { x: cos * self.x - sin * self.y, y: sin * self.x + cos * self.y }
    }

    /// Distance from the origin.
    pub fn length(self) -> f32 {
        self.x.hypot(self.y)
    }
}

impl Add for Point {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self { x: self.x + other.x, y: self.y + other.y }
    }
}

impl Sub for Point {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self { x: self.x - other.x, y: self.y - other.y }
    }
}

impl Mul<f32> for Point {
    type Output = Self;
    fn mul(self, factor: f32) -> Self {
        Self { x: self.x * factor, y: self.y * factor }
    }
}

/// The knots of one stroke, in order.
pub type Stroke = Vec<Point>;

/// The centre of the bounding box of all `strokes` and its longer side.
pub fn bounding_box(strokes: &[Stroke]) -> (Point, f32) {
    let mut low = Point { x: f32::INFINITY, y: f32::INFINITY };
    let mut high = low * -1.0;
    for point in strokes.iter().flatten() {
        low = Point { x: low.x.min(point.x), y: low.y.min(point.y) };
        high = Point { x: high.x.max(point.x), y: high.y.max(point.y) };
    }
    ((low + high) * 0.5, (high.x - low.x).max(high.y - low.y))
}

/// Points along the Catmull–Rom spline through a stroke's knots, `pieces` from knot to knot.
pub fn smooth(stroke: &[Point], pieces: usize) -> Vec<Point> {
    let knot = |i: isize| stroke[i.clamp(0, stroke.len() as isize - 1) as usize];
    let mut points = vec![];
    for i in 0..stroke.len() as isize - 1 {
        let [a, b, c, d] = [knot(i - 1), knot(i), knot(i + 1), knot(i + 2)];
        for piece in 0..pieces {
            let t = piece as f32 / pieces as f32;
            let bend = (a * 2.0 - b * 5.0 + c * 4.0 - d) + (b * 3.0 - a - c * 3.0 + d) * t;
            points.push(b + ((c - a) + bend * t) * (0.5 * t));
        }
    }
    points.extend(stroke.last());
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spline_passes_through_its_knots_and_keeps_lines_straight() {
        let line: Stroke = (0..4).map(|i| Point { x: i as f32, y: 2.0 * i as f32 }).collect();
        let points = smooth(&line, 3);
        assert_eq!(points.len(), 10);
        assert!(points.iter().all(|point| (point.y - 2.0 * point.x).abs() < 1e-5));
        assert!(line.iter().zip(points.iter().step_by(3)).all(|(a, b)| (*a - *b).length() < 1e-5));
    }

    #[test]
    fn the_bounding_box_surrounds_all_strokes() {
        let strokes =
            [vec![Point { x: -1.0, y: 0.0 }, Point { x: 1.0, y: 1.0 }], vec![Point { x: 0.0, y: 5.0 }]];
        assert_eq!(bounding_box(&strokes), (Point { x: 0.0, y: 2.5 }, 5.0));
    }
}
