//! Which classes are confused. Each episode has other classes, so a confusion is counted relative to the query images
//! of episodes that contain both classes.

use super::episode::EvaluatedEpisode;
use crate::data::{ImageRef, ImageSet};
use std::collections::BTreeMap;

/// A class that was classified as another.
pub struct Mistake {
    /// A misclassified image.
    pub image: ImageRef,
    /// A support image of the predicted class.
    pub taken_for: ImageRef,
    /// Number of query images with this mistake.
    pub count: usize,
    /// Number of query images for which it was possible.
    pub chances: usize,
}

/// The most frequent mistakes, at most `most`.
pub fn mistakes(episodes: &[EvaluatedEpisode], most: usize) -> Vec<Mistake> {
    let (mut chances, mut found) = (BTreeMap::new(), BTreeMap::<_, Mistake>::new());
    for episode in episodes {
        for prediction in episode.predictions() {
            let class = |way: usize| episode.example(way).class.class;
            let actual = class(prediction.actual);
            for other in (0..episode.ways).filter(|way| *way != prediction.actual) {
                *chances.entry((actual, class(other))).or_insert(0) += 1;
            }
            if prediction.predicted != prediction.actual {
                let taken_for = episode.example(prediction.predicted);
                let first = Mistake { image: prediction.image_ref, taken_for, count: 0, chances: 0 };
                found.entry((actual, taken_for.class.class)).or_insert(first).count += 1;
            }
        }
    }
    let counted = found.into_iter().map(|(pair, mistake)| Mistake { chances: chances[&pair], ..mistake });
    let mut counted: Vec<Mistake> = counted.collect();
    let share = |mistake: &Mistake| mistake.count as f64 / mistake.chances as f64;
    counted.sort_by(|a, b| b.count.cmp(&a.count).then(share(b).total_cmp(&share(a))));
    counted.truncate(most);
    counted
}

/// The confusion of groups of classes.
pub struct Groups {
    /// The groups' names.
    pub names: Vec<String>,
    /// Number of images by true and predicted group, `[actual][predicted]`.
    pub taken: Vec<Vec<usize>>,
    /// Number of images of each group that were classified as another class of the group.
    pub within: Vec<usize>,
}

/// The confusion of the groups in `episodes`; `None` unless there are 2 to `most` groups.
pub fn groups(episodes: &[EvaluatedEpisode], set: &ImageSet, most: usize) -> Option<Groups> {
    let group = |image: ImageRef| set.classes()[image.class.class].group.clone();
    let mut numbers = BTreeMap::new();
    for episode in episodes {
        numbers.extend((0..episode.ways).map(|way| (group(episode.example(way)), 0)));
    }
    if !(2..=most).contains(&numbers.len()) {
        return None;
    }
    numbers.values_mut().enumerate().for_each(|(at, number)| *number = at);
    let count = numbers.len();
    let (mut taken, mut within) = (vec![vec![0; count]; count], vec![0; count]);
    for episode in episodes {
        for prediction in episode.predictions() {
            let number = |way: usize| numbers[&group(episode.example(way))];
            let (actual, predicted) = (number(prediction.actual), number(prediction.predicted));
            taken[actual][predicted] += 1;
            within[actual] += usize::from(actual == predicted && prediction.actual != prediction.predicted);
        }
    }
    Some(Groups { names: numbers.into_keys().collect(), taken, within })
}
