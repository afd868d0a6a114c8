//! Which classes are learned from, which are chosen by, and which are reported on.

use std::collections::BTreeSet;

use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::{Error, ImageSet, Part, Turned};
use crate::random::generator;

/// How classes are divided into training and test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SplitRule {
    /// This many classes at random for training, the rest for test (Omniglot's usual split: 1200).
    Random {
        /// How many.
        train: usize,
    },
    /// This fraction of the classes at random for training, the rest for test.
    Fraction {
        /// Between 0 and 1.
        train: f64,
    },
    /// Whole alphabets: the source's own division where it has one (Omniglot's background and
    /// evaluation sets), otherwise three fifths of the groups at random for training.
    Alphabets,
    /// As the source's own folders list the classes.
    Listed,
}

/// The classes of each part; no class is in two of them, turned or not.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Split {
    /// Classes to learn from, perhaps with their quarter turns.
    pub train: Vec<Turned>,
    /// Classes to choose by.
    pub validation: Vec<Turned>,
    /// Classes to report on.
    pub test: Vec<Turned>,
}

impl Split {
    /// Divides the classes of `set` by `rule`, the same way for the same `seed`.
    ///
    /// `validation` classes are carved at random from the training classes, unless the source
    /// lists some itself. With `rotations` each training class counts four times, once for every
    /// quarter turn.
    ///
    /// # Errors
    /// If the rule does not fit the data or leaves the training or the test part empty.
    pub fn new(
        set: &ImageSet,
        rule: SplitRule,
        validation: usize,
        rotations: bool,
        seed: u64,
    ) -> Result<Self, Error> {
        let [mut train, mut chosen, test] = divide(set, rule, seed)?;
        for (part, classes) in [(Part::Train, &train), (Part::Test, &test)] {
            if classes.is_empty() {
                return Err(Error::EmptyPart { part });
            }
        }
        if chosen.is_empty() {
            if validation >= train.len() {
                return Err(Error::ValidationClasses { asked: validation, train: train.len() });
            }
            train.shuffle(&mut generator(seed, "split/validation", 0));
            chosen = train.split_off(train.len() - validation);
        }
        let sorted = |mut classes: Vec<usize>, turns: u8| -> Vec<Turned> {
            classes.sort_unstable();
            let turned = |class| (0..turns).map(move |quarter_turns| Turned { class, quarter_turns });
            classes.into_iter().flat_map(turned).collect()
        };
        Ok(Self {
            train: sorted(train, if rotations { 4 } else { 1 }),
            validation: sorted(chosen, 1),
            test: sorted(test, 1),
        })
    }

    /// The classes of one part.
    pub fn part(&self, part: Part) -> &[Turned] {
        match part {
            Part::Train => &self.train,
            Part::Validation => &self.validation,
            Part::Test => &self.test,
        }
    }
}

/// The class indices of training, listed validation and test.
fn divide(set: &ImageSet, rule: SplitRule, seed: u64) -> Result<[Vec<usize>; 3], Error> {
    let classes = set.classes().len();
    match rule {
        SplitRule::Random { train } => at_random(classes, train, seed),
        SplitRule::Fraction { train } if (0.0..=1.0).contains(&train) => {
            at_random(classes, (train * classes as f64).round() as usize, seed)
        }
        SplitRule::Fraction { train } => Err(Error::Fraction(train)),
        SplitRule::Alphabets if set.classes().iter().all(|class| class.part.is_none()) => {
            by_groups(set, seed)
        }
        SplitRule::Alphabets | SplitRule::Listed => as_listed(set),
    }
}

fn at_random(classes: usize, train: usize, seed: u64) -> Result<[Vec<usize>; 3], Error> {
    if train == 0 || train >= classes {
        let lacking = if train == 0 { "training" } else { "test" };
        return Err(Error::TrainClasses { asked: train, classes, lacking });
    }
    let mut order: Vec<usize> = (0..classes).collect();
    order.shuffle(&mut generator(seed, "split", 0));
    let test = order.split_off(train);
    Ok([order, vec![], test])
}

fn by_groups(set: &ImageSet, seed: u64) -> Result<[Vec<usize>; 3], Error> {
    let names: BTreeSet<&str> = set.classes().iter().map(|class| class.group.as_str()).collect();
    let groups = names.len();
    if groups < 2 {
        return Err(Error::Groups { groups });
    }
    let mut order: Vec<&str> = names.into_iter().collect();
    order.shuffle(&mut generator(seed, "split", 0));
    order.truncate((groups * 3 / 5).max(1));
    let (train, test) =
        (0..set.classes().len()).partition(|class| order.contains(&set.classes()[*class].group.as_str()));
    Ok([train, vec![], test])
}

fn as_listed(set: &ImageSet) -> Result<[Vec<usize>; 3], Error> {
    let mut parts = [vec![], vec![], vec![]];
    for (index, class) in set.classes().iter().enumerate() {
        let part = class.part.ok_or_else(|| Error::Unlisted { class: class.name.clone() })?;
        parts[part as usize].push(index);
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Class;

    /// Twenty classes of one image in five alphabets; `part` sees the class's number.
    fn set(part: impl Fn(usize) -> Option<Part>) -> ImageSet {
        let class = |i| Class::new(format!("a{}/{i}", i % 5), format!("a{}", i % 5), part(i), 1);
        ImageSet::new(1, (0..20).map(class).collect(), vec![0; 20]).expect("one pixel a class")
    }

    fn classes(part: &[Turned]) -> BTreeSet<usize> {
        part.iter().map(|turned| turned.class).collect()
    }

    #[test]
    fn parts_cover_all_classes_once_and_only_training_turns() -> Result<(), Error> {
        let set = set(|_| None);
        let split = Split::new(&set, SplitRule::Random { train: 12 }, 3, true, 1)?;
        assert_eq!((split.train.len(), split.validation.len(), split.test.len()), (36, 3, 8));
        let all: Vec<_> = [Part::Train, Part::Validation, Part::Test]
            .iter()
            .flat_map(|part| classes(split.part(*part)))
            .collect();
        assert_eq!((all.len(), all.iter().collect::<BTreeSet<_>>().len()), (20, 20));
        assert!(split.test.iter().chain(&split.validation).all(|turned| turned.quarter_turns == 0));
        Ok(())
    }

    #[test]
    fn the_seed_decides_and_validation_leaves_the_test_classes_alone() -> Result<(), Error> {
        let set = set(|_| None);
        let split =
            |validation, seed| Split::new(&set, SplitRule::Fraction { train: 0.6 }, validation, false, seed);
        assert_eq!(split(3, 1)?, split(3, 1)?);
        assert_ne!(split(3, 1)?, split(3, 2)?);
        assert_eq!(split(3, 1)?.test, split(0, 1)?.test);
        Ok(())
    }

    #[test]
    fn alphabets_stay_whole() -> Result<(), Error> {
        let set = set(|_| None);
        let split = Split::new(&set, SplitRule::Alphabets, 0, false, 4)?;
        let groups = |part: &[Turned]| -> BTreeSet<&str> {
            part.iter().map(|turned| set.classes()[turned.class].group.as_str()).collect()
        };
        assert_eq!((groups(&split.train).len(), groups(&split.test).len()), (3, 2));
        assert!(groups(&split.train).is_disjoint(&groups(&split.test)));
        Ok(())
    }

    #[test]
    fn listed_parts_are_kept() -> Result<(), Error> {
        let part = |i| Some([Part::Train, Part::Train, Part::Validation, Part::Test][i % 4]);
        let split = Split::new(&set(part), SplitRule::Listed, 2, false, 0)?;
        assert_eq!(classes(&split.validation), (2..20).step_by(4).collect());
        assert_eq!(classes(&split.test), (3..20).step_by(4).collect());
        Ok(())
    }

    #[test]
    fn rules_that_do_not_fit_say_so() {
        let set = set(|i| (i > 0).then_some(Part::Train));
        let refusal = |rule, validation| match Split::new(&set, rule, validation, false, 0) {
            Ok(split) => panic!("{split:?}"),
            Err(error) => error.to_string(),
        };
        assert!(refusal(SplitRule::Random { train: 20 }, 0).contains("between 1 and 19"));
        assert!(refusal(SplitRule::Random { train: 5 }, 5).contains("5 validation classes"));
        assert!(refusal(SplitRule::Fraction { train: f64::NAN }, 0).contains("NaN"));
        assert!(refusal(SplitRule::Listed, 0).contains("a0/0"));
        let all_train = self::set(|_| Some(Part::Train));
        assert!(matches!(
            Split::new(&all_train, SplitRule::Alphabets, 0, false, 0),
            Err(Error::EmptyPart { part: Part::Test })
        ));
    }
}
