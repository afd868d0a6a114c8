//! Which classes are taken for which. Episodes have classes of their own, so what is counted is how often a
//! class was mistaken for another where it could have been: both were in the episode.

use super::judged::Judged;
use crate::data::{ImageSet, Picture};
use std::collections::BTreeMap;

/// A class and another it was taken for.
pub struct Mistake {
    /// An image that was mistaken.
    pub image: Picture,
    /// A support image of what it was taken for.
    pub taken_for: Picture,
    /// How often it happened.
    pub count: usize,
    /// How often it could have.
    pub chances: usize,
}

/// The most frequent mistakes, at most `most` of them.
pub fn mistakes(episodes: &[Judged], most: usize) -> Vec<Mistake> {
    let (mut chances, mut found) = (BTreeMap::new(), BTreeMap::<_, Mistake>::new());
    for judged in episodes {
        for answer in judged.answers() {
            let class = |way: usize| judged.example(way).class.class;
            let actual = class(answer.actual);
            for other in (0..judged.ways).filter(|way| *way != answer.actual) {
                *chances.entry((actual, class(other))).or_insert(0) += 1;
            }
            if answer.predicted != answer.actual {
                let taken_for = judged.example(answer.predicted);
                let first = Mistake { image: answer.picture, taken_for, count: 0, chances: 0 };
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

/// How often images of one group were taken for another's, with the groups' names; `None` unless there are a few
/// groups. Of each row's images: `[actual][taken for]`, and wrong classes of the right group apart.
pub struct Groups {
    /// Their names.
    pub names: Vec<String>,
    /// Images that were taken for some class of a group, right or wrong.
    pub taken: Vec<Vec<usize>>,
    /// Images taken for a wrong class of the right group.
    pub astray: Vec<usize>,
}

/// The groups of the classes in `episodes`.
pub fn groups(episodes: &[Judged], set: &ImageSet, most: usize) -> Option<Groups> {
    let group = |picture: Picture| set.classes()[picture.class.class].group.clone();
    let mut numbers = BTreeMap::new();
    for judged in episodes {
        numbers.extend((0..judged.ways).map(|way| (group(judged.example(way)), 0)));
    }
    if !(2..=most).contains(&numbers.len()) {
        return None;
    }
    numbers.values_mut().enumerate().for_each(|(at, number)| *number = at);
    let count = numbers.len();
    let (mut taken, mut astray) = (vec![vec![0; count]; count], vec![0; count]);
    for judged in episodes {
        for answer in judged.answers() {
            let number = |way: usize| numbers[&group(judged.example(way))];
            let (actual, predicted) = (number(answer.actual), number(answer.predicted));
            taken[actual][predicted] += 1;
            astray[actual] += usize::from(actual == predicted && answer.actual != answer.predicted);
        }
    }
    Some(Groups { names: numbers.into_keys().collect(), taken, astray })
}
