//! Random alphabets and their characters.

use std::f32::consts::{FRAC_PI_2, FRAC_PI_4, TAU};

use rand::{Rng, RngExt};
use rand_distr::StandardNormal;

use super::stroke::{Point, Stroke, bounding_box};

/// The strokes of a character without variation.
pub type Character = Vec<Stroke>;

/// Knots per stroke: few enough for smooth curves, enough for a loop or a zigzag.
const KNOTS: usize = 10;
/// Number of motifs that the characters of an alphabet share.
const MOTIFS: usize = 7;
/// Attempts at a character without overlapping strokes that differs from the others.
const ATTEMPTS: usize = 12;
/// Distance below which two strokes count as overlapping.
const TOUCHING: f32 = 0.07;
/// Minimum total length of a character's strokes, relative to its extent.
const LENGTH: f32 = 2.0;
/// Mean distance below which two characters count as alike.
const ALIKE: f32 = 0.07;

/// The style of an alphabet.
pub struct Alphabet {
    /// Relative probabilities of one, two, three or four strokes per character.
    counts: [f32; 4],
    /// Probability that a new stroke is curved rather than straight.
    roundness: f32,
    /// Preferred direction of lines (and of those at right angles to it), in radians.
    tilt: f32,
    /// Probability that strokes join at their ends rather than somewhere along them.
    flow: f32,
    motifs: Vec<Stroke>,
}

impl Alphabet {
    /// A random style.
    pub fn invent(random: &mut impl Rng) -> Self {
        let mut alphabet = Self {
            counts: [0.6, 2.0, 2.0, 1.2].map(|weight| weight * random.random_range(0.1..1.0)),
            roundness: random.random_range(0.15..0.85),
            tilt: 0.12 * random.sample::<f32, _>(StandardNormal),
            flow: random.random_range(0.2..0.8),
            motifs: vec![],
        };
        alphabet.motifs = (0..MOTIFS).map(|_| alphabet.motif(random)).collect();
        alphabet
    }

    /// `count` characters. Each differs from those before it as far as a few attempts achieve.
    pub fn characters(&self, count: usize, random: &mut impl Rng) -> Vec<Character> {
        let mut characters: Vec<Character> = vec![];
        for _ in 0..count {
            let mut best = (f32::NEG_INFINITY, vec![]);
            for _ in 0..ATTEMPTS {
                let character = self.character(random);
                let nearest =
                    characters.iter().map(|other| difference(&character, other)).fold(ALIKE, f32::min);
                let merit = nearest - overlap(&character) - plainness(&character);
                if merit > best.0 {
                    best = (merit, character);
                }
                if best.0 >= ALIKE {
                    break;
                }
            }
            characters.push(best.1);
        }
        characters
    }

    /// A line of one to three arcs or straight pieces from the origin, with extent 1.
    fn motif(&self, random: &mut impl Rng) -> Stroke {
        // Mostly to the right or downwards, as most people write; rarely diagonal.
        let mut heading =
            self.tilt + FRAC_PI_4 * [0, 0, 0, 1, 2, 2, 2, 3, 4][random.random_range(0..9)] as f32;
        let mut path = vec![Point::default()];
        let mut end = Point::default();
        let pieces = [1, 1, 1, 2, 2, 3][random.random_range(0..6)];
        for piece in 0..pieces {
            let round = random.random::<f32>() < self.roundness;
            let side = if random.random() { 1.0 } else { -1.0 };
            if piece > 0 && !round {
                heading += side * random.random_range(1.0..2.4);
            }
            let bend = if round { side * random.random_range(1.2..4.4) } else { 0.0 };
            let length = random.random_range(0.4..1.0) * if round { 1.3 } else { 1.0 };
            for _ in 0..16 {
                heading += bend / 16.0;
                end = end + Point::towards(heading, length / 16.0);
                path.push(end);
            }
        }
        let knots = evenly(&path);
        let (_, extent) = bounding_box(std::slice::from_ref(&knots));
        knots.into_iter().map(|knot| knot * (1.0 / extent)).collect()
    }

    /// A stroke of a character: usually a motif of the alphabet, sometimes a new one, of random size and orientation.
    fn stroke(&self, first: bool, random: &mut impl Rng) -> Stroke {
        let stroke = if random.random::<f32>() < 0.8 {
            self.motifs[random.random_range(0..MOTIFS)].clone()
        } else {
            self.motif(random)
        };
        let size = if first { 1.0 } else { random.random_range(0.45..1.0) };
        let turn =
            if random.random::<f32>() < 0.35 { FRAC_PI_2 * random.random_range(1..4) as f32 } else { 0.0 };
        let mirror = if random.random::<f32>() < 0.25 { -1.0 } else { 1.0 };
        stroke.iter().map(|knot| Point { x: knot.x * mirror, y: knot.y }.rotated(turn) * size).collect()
    }

    fn character(&self, random: &mut impl Rng) -> Character {
        let mut choice = random.random::<f32>() * self.counts.iter().sum::<f32>();
        let mut strokes = vec![self.stroke(true, random)];
        for weight in &self.counts[..3] {
            choice -= weight;
            if choice < 0.0 {
                break;
            }
            let stroke = self.stroke(false, random);
            let host = &strokes[random.random_range(0..strokes.len())];
            let onto = host[self.joint(random)];
            let own = stroke[self.joint(random)];
            // One in six stays apart, like a dot or an accent.
            let apart = if random.random::<f32>() < 0.16 {
                Point::towards(random.random_range(0.0..TAU), random.random_range(0.2..0.35))
            } else {
                Point::default()
            };
            strokes.push(stroke.iter().map(|knot| *knot + (onto - own) + apart).collect());
        }
        let (middle, extent) = bounding_box(&strokes);
        let size = random.random_range(0.5..0.68) / extent;
        strokes.iter().map(|stroke| stroke.iter().map(|knot| (*knot - middle) * size).collect()).collect()
    }

    /// The index of a knot at which strokes join: an end or one in between.
    fn joint(&self, random: &mut impl Rng) -> usize {
        if random.random::<f32>() < self.flow {
            [0, KNOTS - 1][random.random_range(0..2)]
        } else {
            random.random_range(2..KNOTS - 2)
        }
    }
}

/// [`KNOTS`] points at equal distances along a path.
fn evenly(path: &[Point]) -> Stroke {
    let last = path.len() - 1;
    let at = |i: usize| path[(i * last + (KNOTS - 1) / 2) / (KNOTS - 1)];
    (0..KNOTS).map(at).collect()
}

/// The largest fraction, above 0.3, of a stroke's knots that lie on the character's other strokes.
fn overlap(character: &Character) -> f32 {
    let others =
        |i| character.iter().enumerate().filter(move |(j, _)| *j != i).flat_map(|(_, stroke)| stroke);
    let lost = |(i, stroke): (usize, &Stroke)| {
        let on = stroke.iter().filter(|knot| others(i).any(|other| (**knot - *other).length() < TOUCHING));
        on.count() as f32 / stroke.len() as f32
    };
    // Strokes may meet and cross, but should not run along each other.
    character.iter().enumerate().map(lost).fold(0.3, f32::max) - 0.3
}

/// By how much a character falls short of the minimum length.
fn plainness(character: &Character) -> f32 {
    let length = |stroke: &Stroke| stroke.windows(2).map(|knots| (knots[1] - knots[0]).length()).sum::<f32>();
    let (_, extent) = bounding_box(character);
    (LENGTH - character.iter().map(length).sum::<f32>() / extent).max(0.0)
}

/// The distance between two characters: the mean distance from a knot of one to the nearest knot of the other, the larger
/// of both directions.
fn difference(a: &Character, b: &Character) -> f32 {
    let away = |from: &Character, to: &Character| {
        let nearest = |knot: &Point| {
            to.iter().flatten().map(|other| (*knot - *other).length()).fold(f32::INFINITY, f32::min)
        };
        let (sum, count) =
            from.iter().flatten().fold((0.0, 0.0), |(sum, n), knot| (sum + nearest(knot), n + 1.0));
        sum / count
    };
    away(a, b).max(away(b, a))
}
