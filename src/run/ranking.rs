//! The best validations of a run. A run keeps the checkpoint of each.

use serde::{Deserialize, Serialize};
use std::cmp::Ordering;

/// One of the best validations so far.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// The outer step after which it was measured.
    pub step: u64,
    /// What it measured.
    #[serde(flatten)]
    pub score: Score,
}

/// A mean over episodes by which validations are ranked.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Score {
    /// Accuracy in percent.
    Accuracy(f64),
    /// Mean squared error.
    Error(f64),
}

impl Score {
    /// Whether it is better than `other`, which measures the same.
    pub fn is_better_than(self, other: Self) -> bool {
        self.order(other) == Ordering::Less
    }

    /// The order in which the better one comes first.
    pub fn order(self, other: Self) -> Ordering {
        match (self, other) {
            (Self::Error(own), Self::Error(other)) => own.total_cmp(&other),
            (Self::Accuracy(own) | Self::Error(own), Self::Accuracy(other) | Self::Error(other)) => {
                other.total_cmp(&own)
            }
        }
    }
}

/// The best validations so far, best first. Of equal ones the earlier comes first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ranking(Vec<Best>);

impl Ranking {
    /// The ranking of `validations`, which are listed best first.
    pub fn new(validations: impl IntoIterator<Item = Best>) -> Self {
        Self(validations.into_iter().collect())
    }

    /// The ranking with `new` at its place and at most `most` validations; `None` if `new` is not among them.
    pub fn with(&self, new: Best, most: usize) -> Option<Self> {
        let place = self.0.iter().take_while(|best| !new.score.is_better_than(best.score)).count();
        if place >= most {
            return None;
        }
        let mut best = self.0.clone();
        best.insert(place, new);
        best.truncate(most);
        Some(Self(best))
    }

    /// The validations, best first.
    pub fn validations(&self) -> &[Best] {
        &self.0
    }

    /// The best validation; `None` if there is none.
    pub fn first(&self) -> Option<Best> {
        self.0.first().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ranked steps after validations with these scores at steps 1, 2, …
    fn ranked(scores: &[f64], score: fn(f64) -> Score, most: usize) -> Vec<u64> {
        let mut ranking = Ranking::default();
        for (step, value) in (1..).zip(scores) {
            ranking = ranking.with(Best { step, score: score(*value) }, most).unwrap_or(ranking);
        }
        ranking.validations().iter().map(|best| best.step).collect()
    }

    #[test]
    fn the_most_accurate_come_first_and_of_equal_ones_the_earlier() {
        let ranked = |accuracies: &[f64], most| ranked(accuracies, Score::Accuracy, most);
        assert_eq!(ranked(&[50.0, 70.0, 60.0, 70.0, 40.0], 10), [2, 4, 3, 1, 5]);
        assert_eq!(ranked(&[50.0, 70.0, 60.0, 70.0, 40.0], 3), [2, 4, 3]);
        assert_eq!(ranked(&[50.0, 70.0, 60.0, 70.0, 40.0], 1), [2]);
        assert_eq!(ranked(&[60.0, 60.0, 60.0], 2), [1, 2], "a later one that is equal does not replace");
        assert_eq!(ranked(&[], 2), [0; 0]);
    }

    #[test]
    fn the_smallest_error_comes_first_and_of_equal_ones_the_earlier() {
        assert_eq!(ranked(&[0.5, 0.2, 0.3, 0.2, 0.9, f64::NAN], Score::Error, 10), [2, 4, 3, 1, 5, 6]);
        assert_eq!(ranked(&[0.5, 0.2, 0.3], Score::Error, 1), [2]);
    }

    #[test]
    fn scores_are_written_by_name() {
        let best = |score| serde_json::to_string(&Best { step: 3, score }).unwrap();
        assert_eq!(best(Score::Accuracy(97.5)), r#"{"step":3,"accuracy":97.5}"#);
        assert_eq!(best(Score::Error(0.125)), r#"{"step":3,"error":0.125}"#);
        let read: Best = serde_json::from_str(r#"{"step":3,"accuracy":0.30000000000000004}"#).unwrap();
        assert_eq!(read, Best { step: 3, score: Score::Accuracy(0.1 + 0.2) });
    }
}
