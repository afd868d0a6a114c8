//! Coins: whether the exact gradient is taken, task by task or for the whole outer step.

use crate::config::Coin;
use rand::{Rng, RngExt};

/// Which of `tasks` tasks come up, each with probability `q`.
pub fn toss(coin: Coin, coins: &mut dyn Rng, tasks: usize, q: f64) -> Vec<bool> {
    // `random` is in [0, 1), so q = 1 always comes up.
    match coin {
        Coin::Task => (0..tasks).map(|_| coins.random::<f64>() < q).collect(),
        Coin::Step => vec![coins.random::<f64>() < q; tasks],
        // Systematic sampling: marks at distance 1 along tasks of length q, one random start.
        Coin::Stratified => {
            let start = coins.random::<f64>();
            let marks = |task: usize| (start + task as f64 * q).floor();
            (0..tasks).map(|task| marks(task + 1) > marks(task)).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::generator;

    #[test]
    fn every_coin_comes_up_as_often_as_it_should() {
        let (tasks, tosses) = (7, 4000);
        for coin in [Coin::Task, Coin::Step, Coin::Stratified] {
            for q in [0.1, 0.35, 0.9, 1.0] {
                let mut counts = vec![0; tasks];
                for index in 0..tosses {
                    let up = toss(coin, &mut generator(0, "coin", index), tasks, q);
                    let all = up.iter().filter(|up| **up).count();
                    match coin {
                        Coin::Task => {}
                        Coin::Step => assert!(all == 0 || all == tasks),
                        Coin::Stratified => assert!((all as f64 - q * tasks as f64).abs() < 1.0),
                    }
                    counts.iter_mut().zip(up).for_each(|(count, up)| *count += usize::from(up));
                }
                let error = (q * (1.0 - q) / tosses as f64).sqrt();
                for count in counts {
                    let share = count as f64 / tosses as f64;
                    assert!((share - q).abs() <= 4.0 * error, "{coin} with q = {q} came up {share}");
                }
            }
        }
    }
}
