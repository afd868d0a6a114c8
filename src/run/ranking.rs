//! The best validations of a run. A run keeps the checkpoint of each.

use serde::{Deserialize, Serialize};

/// One of the best validations so far.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// The outer step after which it was measured.
    pub step: u64,
    /// Its accuracy in percent.
    pub accuracy: f64,
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
        let place = self.0.iter().take_while(|best| best.accuracy >= new.accuracy).count();
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

    /// The ranked steps after validations with these accuracies at steps 1, 2, …
    fn ranked(accuracies: &[f64], most: usize) -> Vec<u64> {
        let mut ranking = Ranking::default();
        for (step, accuracy) in (1..).zip(accuracies) {
            ranking = ranking.with(Best { step, accuracy: *accuracy }, most).unwrap_or(ranking);
        }
        ranking.validations().iter().map(|best| best.step).collect()
    }

    #[test]
    fn the_most_accurate_come_first_and_of_equal_ones_the_earlier() {
        assert_eq!(ranked(&[50.0, 70.0, 60.0, 70.0, 40.0], 10), [2, 4, 3, 1, 5]);
        assert_eq!(ranked(&[50.0, 70.0, 60.0, 70.0, 40.0], 3), [2, 4, 3]);
        assert_eq!(ranked(&[50.0, 70.0, 60.0, 70.0, 40.0], 1), [2]);
        assert_eq!(ranked(&[60.0, 60.0, 60.0], 2), [1, 2], "a later one that is equal does not replace");
        assert_eq!(ranked(&[], 2), [0; 0]);
    }
}
