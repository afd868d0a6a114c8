//! Evaluated episodes.

use crate::data::{ImageRef, Selection};
use bilevel::stats::mean_and_ci95;

/// An episode with the predicted probability of each way for each query image.
pub struct EvaluatedEpisode {
    /// Its images.
    pub selection: Selection,
    /// Probabilities `[ways·queries·ways]`, those of one query image adjacent.
    pub probabilities: Vec<f64>,
    /// Number of classes.
    pub ways: usize,
}

/// The prediction for a query image.
pub struct Prediction {
    /// The image.
    pub image_ref: ImageRef,
    /// Its true way.
    pub actual: usize,
    /// The predicted way.
    pub predicted: usize,
    /// The probability of the predicted way.
    pub probability: f64,
}

impl EvaluatedEpisode {
    /// Whether its probabilities are numbers: whether it did not diverge.
    pub fn has_answers(&self) -> bool {
        self.probabilities.iter().all(|probability| probability.is_finite())
    }

    /// The predictions for all query images, class after class; none if the episode diverged.
    pub fn predictions(&self) -> impl Iterator<Item = Prediction> {
        let has_answers = self.has_answers();
        let queries = self.selection.query.len() / self.ways;
        let each = self.selection.query.iter().zip(self.probabilities.chunks(self.ways)).enumerate();
        each.take_while(move |_| has_answers).map(move |(at, (image_ref, probabilities))| {
            let first = (0, f64::NEG_INFINITY);
            let better =
                |best: (usize, f64), (way, p): (usize, &f64)| if *p > best.1 { (way, *p) } else { best };
            let (predicted, probability) = probabilities.iter().enumerate().fold(first, better);
            Prediction { image_ref: *image_ref, actual: at / queries, predicted, probability }
        })
    }

    /// The first support image of `way`.
    pub fn example(&self, way: usize) -> ImageRef {
        self.selection.support[way * (self.selection.support.len() / self.ways)]
    }
}

/// Mean accuracy over episodes and the half-width of its 95 % confidence interval, percent. An episode that diverged counts as
/// wrong.
pub fn accuracy(episodes: &[EvaluatedEpisode]) -> (f64, f64) {
    let share = |episode: &EvaluatedEpisode| {
        let right =
            episode.predictions().filter(|prediction| prediction.predicted == prediction.actual).count();
        100.0 * right as f64 / episode.selection.query.len() as f64
    };
    mean_and_ci95(&episodes.iter().map(share).collect::<Vec<_>>())
}

/// Two episodes with the classes 3 and 8, for tests: one with a mistake, 3 taken for 8, in four answers; one that diverged.
#[cfg(test)]
pub fn samples() -> [EvaluatedEpisode; 2] {
    use crate::data::RotatedClass;
    let image_ref = |class| ImageRef::new(RotatedClass::upright(class), 0);
    let (support, query) = ([3, 8].map(image_ref).to_vec(), [3, 3, 8, 8].map(image_ref).to_vec());
    let selection = Selection { support, query };
    let answers = [vec![0.9, 0.1, 0.4, 0.6, 0.2, 0.8, 0.3, 0.7], vec![f64::NAN; 8]];
    let evaluated = |probabilities| EvaluatedEpisode { selection: selection.clone(), probabilities, ways: 2 };
    answers.map(evaluated)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_probable_way_is_predicted() {
        let episodes = samples();
        let [episode, diverged] = &episodes;
        let predicted: Vec<_> =
            episode.predictions().map(|prediction| (prediction.actual, prediction.predicted)).collect();
        assert_eq!(predicted, [(0, 0), (0, 1), (1, 1), (1, 1)]);
        assert_eq!(episode.example(1), episode.selection.query[3]);
        assert_eq!(accuracy(&episodes[..1]), (75.0, 0.0));
        assert!(!diverged.has_answers() && diverged.predictions().count() == 0);
        assert_eq!(accuracy(&episodes).0, 37.5);
    }
}
