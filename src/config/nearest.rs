//! Suggestions for mistyped keys.

use std::cmp::Ordering;
use strsim::normalized_damerau_levenshtein as similarity;

/// Smallest similarity of a suggestion, 0 to 1.
const MIN_SIMILARITY: f64 = 0.65;

/// The most suggestions.
const MAX_SUGGESTIONS: usize = 3;

/// The keys of `known` most similar to `wrong`: several if they are equally similar, none if no key is similar enough.
pub fn nearest(wrong: &str, known: impl Iterator<Item = &'static str>) -> Vec<&'static str> {
    let mut best = Vec::new();
    let mut best_score = MIN_SIMILARITY;
    for key in known {
        let score = score(wrong, key);
        match score.total_cmp(&best_score) {
            Ordering::Greater => (best, best_score) = (vec![key], score),
            Ordering::Equal => best.push(key),
            Ordering::Less => {}
        }
    }
    best.truncate(MAX_SUGGESTIONS);
    best
}

/// Similarity of a mistyped and a known key: of the whole keys, or of their sections and names separately. The name
/// has more weight, because a wrong or missing section is a common mistake.
fn score(wrong: &str, key: &str) -> f64 {
    let (wrong_section, wrong_name) = parts(wrong);
    let (section, name) = parts(key);
    let by_parts = 0.25 * similarity(wrong_section, section) + 0.75 * similarity(wrong_name, name);
    by_parts.max(0.9 * similarity(wrong, key))
}

fn parts(key: &str) -> (&str, &str) {
    key.rsplit_once('.').unwrap_or(("", key))
}
