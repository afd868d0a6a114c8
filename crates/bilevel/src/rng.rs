//! Keyed random generators: every draw comes from a generator identified by (seed, purpose, index).
//!
//! No random state is carried from one step to the next, so resuming a run, or changing the number of threads or the
//! evaluation schedule, cannot change an episode, a coin or an initial weight.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// The generator for draw number `index` of `purpose` under `seed`.
///
/// The 32-byte key is `seed ‖ purpose ‖ index` (8, 16 and 8 bytes), so different identifiers never share a stream.
///
/// # Panics
/// Panics if `purpose` is longer than 16 bytes; purposes are string literals, never input.
pub fn generator(seed: u64, purpose: &str, index: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..8 + purpose.len()].copy_from_slice(purpose.as_bytes());
    assert!(purpose.len() <= 16, "purpose `{purpose}` is longer than 16 bytes");
    key[24..].copy_from_slice(&index.to_le_bytes());
    ChaCha8Rng::from_seed(key)
}

#[cfg(test)]
mod tests {
    use super::generator;
    use rand::RngExt;

    #[test]
    fn draws_depend_on_seed_purpose_and_index_only() {
        let draw = |seed, purpose, index| generator(seed, purpose, index).random::<u64>();
        assert_eq!(draw(1, "episode", 2), draw(1, "episode", 2));
        let others = [draw(2, "episode", 2), draw(1, "coin", 2), draw(1, "episode", 3)];
        assert!(others.iter().all(|other| *other != draw(1, "episode", 2)));
    }
}
