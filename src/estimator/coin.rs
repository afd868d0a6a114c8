//! Coins: how much of the exact gradient is taken, task by task or for the whole outer step.

use crate::config::Coin;
use rand::seq::SliceRandom;
use rand::{Rng, RngExt};

/// A number for each of `tasks` tasks, uniform on [0, 1): it is below q with probability q, so q = 1
/// always comes up.
///
/// One number answers every q of its task at once, each level of a telescope's as well as UFOM's.
pub fn uniforms(coin: Coin, coins: &mut dyn Rng, tasks: usize) -> Vec<f64> {
    match coin {
        Coin::Task => (0..tasks).map(|_| coins.random()).collect(),
        Coin::Step => vec![coins.random(); tasks],
        // Systematic sampling: marks at distance 1/tasks around a circle, one random start. Any q of
        // its length holds ⌊q·tasks⌋ or ⌈q·tasks⌉ of them. Shuffled, so that two tosses for the same tasks
        // do not go together task after task.
        Coin::Stratified => {
            let start: f64 = coins.random();
            let mark = |task| (start + task as f64 / tasks as f64).fract();
            let mut marks: Vec<f64> = (0..tasks).map(mark).collect();
            marks.shuffle(coins);
            marks
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
        let thresholds = [0.1, 0.35, 3.0 / 7.0, 0.9, 1.0];
        for coin in [Coin::Task, Coin::Step, Coin::Stratified] {
            let mut counts = [[0; 7]; 5];
            for index in 0..tosses {
                let numbers = uniforms(coin, &mut generator(0, "coin", index), tasks);
                for (q, counts) in thresholds.iter().zip(&mut counts) {
                    let up = numbers.iter().map(|number| number < q);
                    let all = up.clone().filter(|up| *up).count();
                    match coin {
                        Coin::Task => {}
                        Coin::Step => assert!(all == 0 || all == tasks),
                        Coin::Stratified => assert!((all as f64 - q * tasks as f64).abs() < 1.0),
                    }
                    counts.iter_mut().zip(up).for_each(|(count, up)| *count += usize::from(up));
                }
            }
            for (q, counts) in thresholds.iter().zip(counts) {
                let error = (q * (1.0 - q) / tosses as f64).sqrt();
                for count in counts {
                    let share = count as f64 / tosses as f64;
                    assert!((share - q).abs() <= 4.0 * error, "{coin} with q = {q} came up {share}");
                }
            }
        }
    }
}
