//! Episodes with what the learner made of them.

use crate::data::{Picture, Selection};
use crate::interval::mean_and_ci95;

/// An episode, and the probability of every way at every query image.
pub struct Judged {
    /// Its images.
    pub selection: Selection,
    /// `[ways·queries·ways]`, way by way within a query image.
    pub probabilities: Vec<f64>,
    /// Classes to tell apart.
    pub ways: usize,
}

/// What the learner said of one query image.
pub struct Answer {
    /// The image.
    pub picture: Picture,
    /// Its way.
    pub actual: usize,
    /// The way it was taken for.
    pub predicted: usize,
    /// With which probability.
    pub probability: f64,
}

impl Judged {
    /// Every query image's, class after class.
    pub fn answers(&self) -> impl Iterator<Item = Answer> {
        let queries = self.selection.query.len() / self.ways;
        let each = self.selection.query.iter().zip(self.probabilities.chunks(self.ways)).enumerate();
        each.map(move |(at, (picture, probabilities))| {
            let first = (0, f64::NEG_INFINITY);
            let better =
                |best: (usize, f64), (way, p): (usize, &f64)| if *p > best.1 { (way, *p) } else { best };
            let (predicted, probability) = probabilities.iter().enumerate().fold(first, better);
            Answer { picture: *picture, actual: at / queries, predicted, probability }
        })
    }

    /// A support image of `way`.
    pub fn example(&self, way: usize) -> Picture {
        self.selection.support[way * (self.selection.support.len() / self.ways)]
    }
}

/// Accuracy over episodes and half of its 95 % interval, percent.
pub fn accuracy(episodes: &[Judged]) -> (f64, f64) {
    let share = |judged: &Judged| {
        let right = judged.answers().filter(|answer| answer.predicted == answer.actual).count();
        100.0 * right as f64 / judged.selection.query.len() as f64
    };
    mean_and_ci95(&episodes.iter().map(share).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Turned;

    #[test]
    fn an_answer_is_the_likeliest_way() {
        let picture = |class| Picture { class: Turned::upright(class), example: 0 };
        let selection =
            Selection { support: [3, 8].map(picture).to_vec(), query: [3, 3, 8, 8].map(picture).to_vec() };
        let probabilities = vec![0.9, 0.1, 0.4, 0.6, 0.2, 0.8, 0.3, 0.7];
        let judged = Judged { selection, probabilities, ways: 2 };
        let said: Vec<_> = judged.answers().map(|answer| (answer.actual, answer.predicted)).collect();
        assert_eq!(said, [(0, 0), (0, 1), (1, 1), (1, 1)]);
        assert_eq!(judged.example(1), picture(8));
        assert_eq!(accuracy(&[judged]), (75.0, 0.0));
    }
}
