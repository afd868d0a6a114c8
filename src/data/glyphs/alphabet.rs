//! What the characters of one alphabet have in common, and the characters themselves.

use std::f32::consts::{FRAC_PI_2, FRAC_PI_4, TAU};

use rand::{Rng, RngExt};
use rand_distr::StandardNormal;

use super::stroke::{Point, Stroke, frame};

/// The strokes of a character as it is meant to look, within the paper.
pub type Character = Vec<Stroke>;

/// Knots of each stroke: few enough to stay smooth, enough for a loop or a zigzag.
const KNOTS: usize = 10;
/// Motifs that the characters of an alphabet share.
const MOTIFS: usize = 7;
/// Attempts at a character that no stroke runs along another of, and that is unlike the others.
const ATTEMPTS: usize = 12;
/// Nearer than this, two strokes count as one.
const TOUCHING: f32 = 0.07;
/// The length of line, in units of its extent, that a character wants at least.
const LENGTH: f32 = 2.0;
/// The mean distance below which two characters look alike.
const ALIKE: f32 = 0.07;

/// A way of writing.
pub struct Alphabet {
    /// How likely a character has one, two, three or four strokes, relative to each other.
    counts: [f32; 4],
    /// How likely a new stroke bends rather than runs straight, 0 to 1.
    roundness: f32,
    /// The direction in which its lines like to run, and at right angles to it; radians.
    tilt: f32,
    /// How likely a stroke starts where another ends rather than somewhere along it, 0 to 1.
    flow: f32,
    motifs: Vec<Stroke>,
}

impl Alphabet {
    /// A new style.
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

    /// So many characters, each unlike those before it as far as a few attempts can make it.
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

    /// A line of one to three bows or straights, one unit in extent, from the origin.
    fn motif(&self, random: &mut impl Rng) -> Stroke {
        // To the right and downwards, as most people start; rarely aslant.
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
        let (_, extent) = frame(std::slice::from_ref(&knots));
        knots.into_iter().map(|knot| knot * (1.0 / extent)).collect()
    }

    /// A stroke of a character: mostly a motif, now and then a new one, in its own size and place.
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
        stroke.iter().map(|knot| Point { x: knot.x * mirror, y: knot.y }.turned(turn) * size).collect()
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
            // One in six stays apart, as a dot or an accent does.
            let apart = if random.random::<f32>() < 0.16 {
                Point::towards(random.random_range(0.0..TAU), random.random_range(0.2..0.35))
            } else {
                Point::default()
            };
            strokes.push(stroke.iter().map(|knot| *knot + (onto - own) + apart).collect());
        }
        let (middle, extent) = frame(&strokes);
        let size = random.random_range(0.5..0.68) / extent;
        strokes.iter().map(|stroke| stroke.iter().map(|knot| (*knot - middle) * size).collect()).collect()
    }

    /// The knot at which strokes meet: an end or somewhere between.
    fn joint(&self, random: &mut impl Rng) -> usize {
        if random.random::<f32>() < self.flow {
            [0, KNOTS - 1][random.random_range(0..2)]
        } else {
            random.random_range(2..KNOTS - 2)
        }
    }
}

/// [`KNOTS`] points at equal distances along a path of many.
fn evenly(path: &[Point]) -> Stroke {
    let last = path.len() - 1;
    let at = |i: usize| path[(i * last + (KNOTS - 1) / 2) / (KNOTS - 1)];
    (0..KNOTS).map(at).collect()
}

/// The largest fraction of a stroke's knots that lie on the character's other strokes.
fn overlap(character: &Character) -> f32 {
    let others =
        |i| character.iter().enumerate().filter(move |(j, _)| *j != i).flat_map(|(_, stroke)| stroke);
    let lost = |(i, stroke): (usize, &Stroke)| {
        let on = stroke.iter().filter(|knot| others(i).any(|other| (**knot - *other).length() < TOUCHING));
        on.count() as f32 / stroke.len() as f32
    };
    // Strokes may meet and cross; what counts is running along.
    character.iter().enumerate().map(lost).fold(0.3, f32::max) - 0.3
}

/// How much a character falls short of the length of line that makes it worth telling from others.
fn plainness(character: &Character) -> f32 {
    let length = |stroke: &Stroke| stroke.windows(2).map(|knots| (knots[1] - knots[0]).length()).sum::<f32>();
    let (_, extent) = frame(character);
    (LENGTH - character.iter().map(length).sum::<f32>() / extent).max(0.0)
}

/// How far apart the lines of two characters are: the mean distance from a knot of one to the
/// nearest of the other, either way.
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
