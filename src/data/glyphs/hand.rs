//! How one drawing of a character differs from the next.

use std::f32::consts::PI;

use rand::{Rng, RngExt};
use rand_distr::StandardNormal;

use super::alphabet::Character;
use super::stroke::{Point, Stroke, frame};

/// Strokes on paper.
pub struct Drawing {
    pub strokes: Vec<Stroke>,
    /// The pen's width; the paper's is 1.
    pub width: f32,
}

/// Standard deviations of what differs; lengths are fractions of the paper, angles radians.
const TILT: f32 = 0.08;
const SLANT: f32 = 0.12;
const ASPECT: f32 = 0.10;
const SCALE: f32 = 0.12;
const PLACE: f32 = 0.046;
/// How far proportions shift across the character.
const WARP: f32 = 0.25;
const STROKE_PLACE: f32 = 0.023;
const STROKE_TILT: f32 = 0.12;
const STROKE_SCALE: f32 = 0.12;
/// How far a stroke strays in the middle, and to either side of it.
const STROKE_BOW: f32 = 0.026;
const STROKE_WAVE: f32 = 0.013;
/// Mean and standard deviation of the pen's width.
const WIDTH: [f32; 2] = [0.05, 0.004];

/// One person's way with one character, drawn once.
pub struct Hand {
    tilt: f32,
    slant: f32,
    stretch: [f32; 2],
    place: Point,
    warp: [Point; 3],
    width: f32,
}

impl Hand {
    /// Another person, or the same one another time.
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

    /// The character as this hand draws it, somewhere near the middle of the paper.
    pub fn draw(&self, character: &Character, random: &mut impl Rng) -> Drawing {
        let mut strokes: Vec<Stroke> = character.iter().map(|stroke| wobble(stroke, random)).collect();
        for knot in strokes.iter_mut().flatten() {
            let Point { x, y } = *knot;
            let warped = *knot + self.warp[0] * (x * x) + self.warp[1] * (x * y) + self.warp[2] * (y * y);
            let slanted = Point { x: warped.x - self.slant * warped.y, y: warped.y }.turned(self.tilt);
            *knot = Point { x: slanted.x * self.stretch[0], y: slanted.y * self.stretch[1] };
        }
        // Onto the paper: nobody draws past its edge.
        let (middle, extent) = frame(&strokes);
        let fit = (0.9 / extent).min(1.0);
        for knot in strokes.iter_mut().flatten() {
            *knot = (*knot - middle) * fit + self.place;
        }
        Drawing { strokes, width: self.width }
    }
}

/// One stroke moved, turned, scaled and bent a little.
fn wobble(stroke: &Stroke, random: &mut impl Rng) -> Stroke {
    let (middle, _) = frame(std::slice::from_ref(stroke));
    let place = shift(STROKE_PLACE, random);
    let tilt = STROKE_TILT * normal(random);
    let scale = (STROKE_SCALE * normal(random)).exp();
    let (bow, wave) = (shift(STROKE_BOW, random), shift(STROKE_WAVE, random));
    let last = (stroke.len() - 1) as f32;
    let bent = |(i, knot): (usize, &Point)| {
        let along = PI * i as f32 / last;
        let bend = bow * along.sin() + wave * (2.0 * along).sin();
        middle + (*knot - middle).turned(tilt) * scale + place + bend
    };
    stroke.iter().enumerate().map(bent).collect()
}

fn normal(random: &mut impl Rng) -> f32 {
    random.sample(StandardNormal)
}

fn shift(deviation: f32, random: &mut impl Rng) -> Point {
    Point { x: deviation * normal(random), y: deviation * normal(random) }
}
