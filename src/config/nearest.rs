//! "Did you mean": the known keys nearest to a mistyped one.

use std::cmp::Ordering;
use strsim::normalized_damerau_levenshtein as likeness;

/// Below this likeness (0 to 1) a suggestion would only puzzle.
const ENOUGH: f64 = 0.65;

/// The most suggestions worth reading.
const MOST: usize = 3;

/// The keys of `known` nearest to `wrong`: several where equally near, none where nothing is near.
pub fn nearest(wrong: &str, known: impl Iterator<Item = &'static str>) -> Vec<&'static str> {
    let mut best = Vec::new();
    let mut best_score = ENOUGH;
    for key in known {
        let score = score(wrong, key);
        match score.total_cmp(&best_score) {
            Ordering::Greater => (best, best_score) = (vec![key], score),
            Ordering::Equal => best.push(key),
            Ordering::Less => {}
        }
    }
    best.truncate(MOST);
    best
}

/// How alike a wrong and a right key are: as they stand, or section by section and name by name, where
/// the name says more, since a wrong or missing section is a common slip.
fn score(wrong: &str, key: &str) -> f64 {
    let (wrong_section, wrong_name) = parts(wrong);
    let (section, name) = parts(key);
    let by_parts = 0.25 * likeness(wrong_section, section) + 0.75 * likeness(wrong_name, name);
    by_parts.max(0.9 * likeness(wrong, key))
}

fn parts(key: &str) -> (&str, &str) {
    key.rsplit_once('.').unwrap_or(("", key))
}
