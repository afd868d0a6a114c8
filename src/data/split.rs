//! The division of classes into training, validation and test classes.

use std::collections::BTreeSet;

use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize, Serializer, ser};

use super::cifar100::splits::{CIFAR_FS, FC100};
use super::class_table::ClassTable;
use super::{Class, Error, ImageSet, Part, RotatedClass};
use bilevel::Choice;
use bilevel::rng::generator;
use std::fmt;

/// Fraction of the classes that [`SplitRule::FRACTION`] trains on.
pub const TRAINING_FRACTION: f64 = 0.75;

/// How classes are divided into training and test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SplitRule {
    /// This many classes at random for training, the rest for test.
    Random {
        /// Number of training classes.
        train: usize,
    },
    /// This fraction of the classes at random for training, the rest for test.
    Fraction {
        /// The fraction, between 0 and 1.
        train: f64,
    },
    /// Whole alphabets: the source's own division if it has one (Omniglot's background and evaluation sets), otherwise
    /// three fifths of the groups at random for training.
    Alphabets,
    /// As the source's own folders list the classes.
    Listed,
    /// As a published table lists the classes.
    Table(&'static ClassTable),
}

impl SplitRule {
    /// Omniglot's usual split: 1200 random classes for training, the other 423 for test.
    pub const RANDOM_1200: Self = Self::Random { train: 1200 };
    /// Eighty random classes for training: of CIFAR-100, the other 20 for test.
    pub const RANDOM_80: Self = Self::Random { train: 80 };
    /// CIFAR-100's classes as in CIFAR-FS.
    pub const CIFAR_FS: Self = Self::Table(&CIFAR_FS);
    /// CIFAR-100's classes as in FC100.
    pub const FC100: Self = Self::Table(&FC100);
    /// A split by [`TRAINING_FRACTION`].
    pub const FRACTION: Self = Self::Fraction { train: TRAINING_FRACTION };

    /// The rule for images whose source leaves it open: as listed if they list any parts, else by fraction.
    pub fn for_images(set: &ImageSet) -> Self {
        let is_listed = set.classes().iter().any(|class| class.part.is_some());
        if is_listed { Self::Listed } else { Self::FRACTION }
    }
}

/// The rules that a configuration can name (`data.split`).
impl Choice for SplitRule {
    const ALL: &'static [Self] = &[
        Self::RANDOM_1200,
        Self::Alphabets,
        Self::Listed,
        Self::FRACTION,
        Self::CIFAR_FS,
        Self::FC100,
        Self::RANDOM_80,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::RANDOM_1200 => "random-1200",
            Self::RANDOM_80 => "random-80",
            Self::Random { .. } => "random",
            Self::Fraction { .. } => "fraction",
            Self::Alphabets => "alphabets",
            Self::Listed => "listed",
            Self::Table(table) => table.name,
        }
    }
}

impl fmt::Display for SplitRule {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Only the rules that a configuration can name, so that what is written can be read back.
impl Serialize for SplitRule {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        if Self::ALL.contains(self) {
            out.serialize_str(self.name())
        } else {
            Err(ser::Error::custom(format!("a configuration has no name for the split {self:?}")))
        }
    }
}

/// The classes of each part. No class is in two parts, rotated or not.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Split {
    /// Training classes, with their rotations if those count as classes.
    pub train: Vec<RotatedClass>,
    /// Validation classes, by which settings and checkpoints are chosen.
    pub validation: Vec<RotatedClass>,
    /// Test classes, whose accuracy is reported.
    pub test: Vec<RotatedClass>,
}

impl Split {
    /// Divides the classes of `set` by `rule`, the same way for the same `seed`.
    ///
    /// `validation` classes are taken at random from the training classes, unless the source lists validation classes.
    /// With `rotations` each training class counts four times, once per quarter turn.
    ///
    /// # Errors
    /// Returns an error if the rule does not fit the data or leaves the training or the test part empty.
    pub fn new(
        set: &ImageSet,
        rule: SplitRule,
        validation: usize,
        rotations: bool,
        seed: u64,
    ) -> Result<Self, Error> {
        let [mut train, mut validation_classes, test] = divide(set, rule, seed)?;
        for (part, classes) in [(Part::Train, &train), (Part::Test, &test)] {
            if classes.is_empty() {
                return Err(Error::EmptyPart { part });
            }
        }
        if validation_classes.is_empty() {
            if validation >= train.len() {
                return Err(Error::ValidationClasses { asked: validation, train: train.len() });
            }
            train.shuffle(&mut generator(seed, "split/validation", 0));
            validation_classes = train.split_off(train.len() - validation);
        }
        let sorted = |mut classes: Vec<usize>, turns: u8| -> Vec<RotatedClass> {
            classes.sort_unstable();
            let rotations =
                |class| (0..turns).map(move |quarter_turns| RotatedClass { class, quarter_turns });
            classes.into_iter().flat_map(rotations).collect()
        };
        Ok(Self {
            train: sorted(train, if rotations { 4 } else { 1 }),
            validation: sorted(validation_classes, 1),
            test: sorted(test, 1),
        })
    }

    /// The classes of `set` in the parts that its source lists, which may be empty.
    ///
    /// # Errors
    /// Returns an error if a class is in no part.
    pub fn listed(set: &ImageSet) -> Result<Self, Error> {
        let upright = |classes: Vec<usize>| {
            classes.into_iter().map(|class| RotatedClass { class, quarter_turns: 0 }).collect()
        };
        let [train, validation, test] = as_listed(set, |class| class.part)?.map(upright);
        Ok(Self { train, validation, test })
    }

    /// The classes of one part.
    pub fn part(&self, part: Part) -> &[RotatedClass] {
        match part {
            Part::Train => &self.train,
            Part::Validation => &self.validation,
            Part::Test => &self.test,
        }
    }
}

/// The indices of the training classes, the listed validation classes and the test classes.
fn divide(set: &ImageSet, rule: SplitRule, seed: u64) -> Result<[Vec<usize>; 3], Error> {
    let classes = set.classes().len();
    match rule {
        SplitRule::Random { train } => at_random(classes, train, seed),
        SplitRule::Fraction { train } if (0.0..=1.0).contains(&train) => {
            let rounded = (train * classes as f64).round() as usize;
            // Of two classes, one is left for test.
            at_random(
                classes,
                if train < 1.0 { rounded.min(classes.saturating_sub(1)) } else { rounded },
                seed,
            )
        }
        SplitRule::Fraction { train } => Err(Error::Fraction(train)),
        SplitRule::Alphabets if set.classes().iter().all(|class| class.part.is_none()) => {
            by_groups(set, seed)
        }
        SplitRule::Alphabets | SplitRule::Listed => as_listed(set, |class| class.part),
        SplitRule::Table(table) => as_listed(set, |class| table.part(class)),
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

fn as_listed(set: &ImageSet, part: impl Fn(&Class) -> Option<Part>) -> Result<[Vec<usize>; 3], Error> {
    let mut parts = [vec![], vec![], vec![]];
    for (index, class) in set.classes().iter().enumerate() {
        let part = part(class).ok_or_else(|| Error::Unlisted { class: class.name.clone() })?;
        parts[part as usize].push(index);
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Twenty classes of one image in five alphabets; `part` maps a class's index to its part.
    fn set(part: impl Fn(usize) -> Option<Part>) -> ImageSet {
        let class = |i| Class::new(format!("a{}/{i}", i % 5), format!("a{}", i % 5), part(i), 1);
        ImageSet::new(1, (0..20).map(class).collect(), vec![0; 20]).expect("one pixel a class")
    }

    fn classes(part: &[RotatedClass]) -> BTreeSet<usize> {
        part.iter().map(|turned| turned.class).collect()
    }

    #[test]
    fn parts_are_disjoint_and_only_training_classes_rotate() -> Result<(), Error> {
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
    fn test_classes_depend_on_the_seed_and_not_on_validation() -> Result<(), Error> {
        let set = set(|_| None);
        let split =
            |validation, seed| Split::new(&set, SplitRule::Fraction { train: 0.6 }, validation, false, seed);
        assert_eq!(split(3, 1)?, split(3, 1)?);
        assert_ne!(split(3, 1)?, split(3, 2)?);
        assert_eq!(split(3, 1)?.test, split(0, 1)?.test);
        Ok(())
    }

    #[test]
    fn alphabets_are_not_divided() -> Result<(), Error> {
        let set = set(|_| None);
        let split = Split::new(&set, SplitRule::Alphabets, 0, false, 4)?;
        let groups = |part: &[RotatedClass]| -> BTreeSet<&str> {
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
    fn unsuitable_rules_are_refused() {
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

    #[test]
    fn only_rules_with_a_name_of_their_own_are_written() {
        let names: BTreeSet<_> = SplitRule::ALL.iter().map(|rule| rule.name()).collect();
        assert_eq!(names.len(), SplitRule::ALL.len());
        assert_eq!(serde_json::to_string(&SplitRule::RANDOM_1200).expect("named"), r#""random-1200""#);
        for unnamed in [SplitRule::Random { train: 12 }, SplitRule::Fraction { train: 0.6 }] {
            let error = serde_json::to_string(&unnamed).expect_err("unnamed").to_string();
            assert!(error.contains("no name for the split"), "{error}");
        }
    }
}
