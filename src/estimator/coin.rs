//! Coins: whether the exact gradient is taken, task by task or for the whole outer step.

use crate::config::Coin;
use rand::{Rng, RngExt};

/// Which of `tasks` tasks come up, each with probability `q`.
pub fn toss(coin: Coin, coins: &mut dyn Rng, tasks: usize, q: f64) -> Vec<bool> {
    // `random` is in [0, 1), so q = 1 always comes up.
    match coin {
        Coin::Task => (0..tasks).map(|_| coins.random::<f64>() < q).collect(),
        Coin::Step => vec![coins.random::<f64>() < q; tasks],
    }
}
