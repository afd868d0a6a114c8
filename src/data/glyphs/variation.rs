//! Random variation between drawings of the same character.

use std::f32::consts::PI;

use rand::{Rng, RngExt};
use rand_distr::StandardNormal;

use super::alphabet::Character;
use super::stroke::{Point, Stroke, bounding_box};

/// The strokes of one drawing.
pub struct Drawing {
    pub strokes: Vec<Stroke>,
    /// Width of the line, as a fraction of the image's width.
    pub width: f32,
}

/// Standard deviations. Lengths are fractions of the image's width, angles are in radians.
const TILT: f32 = 0.08;
const SLANT: f32 = 0.12;
const ASPECT: f32 = 0.10;
const SCALE: f32 = 0.12;
const PLACE: f32 = 0.046;
/// Standard deviation of the coefficients of the quadratic warp.
const WARP: f32 = 0.25;
const STROKE_PLACE: f32 = 0.023;
const STROKE_TILT: f32 = 0.12;
const STROKE_SCALE: f32 = 0.12;
/// Standard deviations of a stroke's deflection in the middle (bow) and, in opposite directions, to either side of it (wave).
const STROKE_BOW: f32 = 0.026;
const STROKE_WAVE: f32 = 0.013;
/// Mean and standard deviation of the line's width.
const WIDTH: [f32; 2] = [0.05, 0.004];

/// The variation that all strokes of one drawing share.
pub struct Variation {
    tilt: f32,
    slant: f32,
    stretch: [f32; 2],
    place: Point,
    warp: [Point; 3],
    width: f32,
}

impl Variation {
    /// A random variation.
    pub fn new(random: &mut impl Rng) -> Self {
        let scale = (SCALE * normal(random)).exp();
        let aspect = (ASPECT * normal(random)).exp();
        Self {
            tilt: TILT * normal(random),
            slant: SLANT * normal(random),
            stretch: [scale * aspect, scale / aspect],
            place: shift(PLACE, random),
            warp: [(); 3].map(|()| shift(WARP, random)),
            width: WIDTH[0] + WIDTH[1] * normal(random).clamp(-2.0, 2.0),
        }
    }

    /// A drawing of `character` with this variation and a further one per stroke, near the middle of the image.
    pub fn apply(&self, character: &Character, random: &mut impl Rng) -> Drawing {
        let mut strokes: Vec<Stroke> = character.iter().map(|stroke| perturb(stroke, random)).collect();
        for knot in strokes.iter_mut().flatten() {
            let Point { x, y } = *knot;
            let warped = *knot + self.warp[0] * (x * x) + self.warp[1] * (x * y) + self.warp[2] * (y * y);
            let slanted = Point { x: warped.x - self.slant * warped.y, y: warped.y }.rotated(self.tilt);
            *knot = Point { x: slanted.x * self.stretch[0], y: slanted.y * self.stretch[1] };
        }
        // Fit it into the image.
        let (middle, extent) = bounding_box(&strokes);
        let fit = (0.9 / extent).min(1.0);
        for knot in strokes.iter_mut().flatten() {
            *knot = (*knot - middle) * fit + self.place;
        }
        Drawing { strokes, width: self.width }
    }
}

/// The stroke, slightly moved, rotated, scaled and bent.
fn perturb(stroke: &Stroke, random: &mut impl Rng) -> Stroke {
    let (middle, _) = bounding_box(std::slice::from_ref(stroke));
    let place = shift(STROKE_PLACE, random);
    let tilt = STROKE_TILT * normal(random);
    let scale = (STROKE_SCALE * normal(random)).exp();
    let (bow, wave) = (shift(STROKE_BOW, random), shift(STROKE_WAVE, random));
    let last = (stroke.len() - 1) as f32;
    let bent = |(i, knot): (usize, &Point)| {
        let along = PI * i as f32 / last;
        let bend = bow * along.sin() + wave * (2.0 * along).sin();
        middle + (*knot - middle).rotated(tilt) * scale + place + bend
    };
    stroke.iter().enumerate().map(bent).collect()
}

fn normal(random: &mut impl Rng) -> f32 {
    random.sample(StandardNormal)
}

fn shift(deviation: f32, random: &mut impl Rng) -> Point {
    Point { x: deviation * normal(random), y: deviation * normal(random) }
}
