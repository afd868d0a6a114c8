//! A split as a run keeps it: which class is in which part, by name and by content, so that neither a seed nor a rule
//! that changes later can move a class from training to test.

use std::collections::{HashMap, HashSet};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Error, ImageSet, Part, RotatedClass, Split, SplitRule};
use bilevel::Choice;

/// Quarter turns of a class that counts once for each.
const TURNS: u8 = 4;

/// The classes of each part of a run's data.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct KeptSplit {
    /// The name of the rule that divided the classes.
    pub rule: String,
    /// Training classes, without rotations.
    pub train: Vec<KeptClass>,
    /// Validation classes.
    pub validation: Vec<KeptClass>,
    /// Test classes.
    pub test: Vec<KeptClass>,
    /// Classes that imported weights were trained on before, where these are other data.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trained_before: Vec<KeptClass>,
}

/// A class of a [`KeptSplit`].
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct KeptClass {
    /// Its name.
    pub name: String,
    /// The digest of its images ([`ImageSet::class_digest`]).
    pub images: String,
}

impl KeptSplit {
    /// The `split` of `set`, made by `rule`.
    pub fn new(set: &ImageSet, split: &Split, rule: SplitRule) -> Self {
        let kept = |part: Part| {
            let upright = split.part(part).par_iter().filter(|turned| turned.quarter_turns == 0);
            upright.map(|turned| KeptClass::new(set, turned.class)).collect()
        };
        let [train, validation, test] = [Part::Train, Part::Validation, Part::Test].map(kept);
        Self { rule: rule.name().into(), train, validation, test, trained_before: vec![] }
    }

    /// The same, for weights that were trained on the training classes of `before`.
    #[must_use]
    pub fn after(self, before: &Self) -> Self {
        let trained = before.train.iter().chain(&before.trained_before);
        let new = trained.filter(|class| !self.train.contains(class));
        Self { trained_before: new.cloned().collect(), ..self }
    }

    /// The split of `set` into these parts, with the rotations of training classes as classes if `rotations`; `None` if these
    /// are not the classes of `set`.
    pub fn of(&self, set: &ImageSet, rotations: bool) -> Option<Split> {
        let classes = set.classes().len();
        let parts = [&self.train, &self.validation, &self.test];
        if parts.iter().map(|part| part.len()).sum::<usize>() != classes {
            return None;
        }
        let kept = || (0..parts.len()).flat_map(|part| parts[part].iter().map(move |class| (class, part)));
        let exactly: HashMap<&KeptClass, usize> = kept().collect();
        let by_images: HashMap<&str, usize> =
            kept().map(|(class, part)| (class.images.as_str(), part)).collect();
        let mut split = Split::default();
        for class in 0..classes {
            let here = KeptClass::new(set, class);
            let part = exactly.get(&here).or_else(|| by_images.get(here.images.as_str()))?;
            let (part, turns) = match part {
                0 => (&mut split.train, if rotations { TURNS } else { 1 }),
                1 => (&mut split.validation, 1),
                _ => (&mut split.test, 1),
            };
            part.extend((0..turns).map(|quarter_turns| RotatedClass { class, quarter_turns }));
        }
        Some(split)
    }

    /// Checks that no class that was trained on is in the validation or test part of `split`. A class is known by its images,
    /// or by its name if the images of some class show that these are the same data with changes.
    ///
    /// # Errors
    /// Returns [`Error::Leak`] with the classes that are.
    pub fn check(&self, set: &ImageSet, split: &Split) -> Result<(), Error> {
        self.check_data(set, split, false)
    }

    /// The same for a `set` that is known to be the same data with changes, even if no class has the same images: it is read from
    /// the run's own folder.
    ///
    /// # Errors
    /// As for [`Self::check`].
    pub fn check_changed(&self, set: &ImageSet, split: &Split) -> Result<(), Error> {
        self.check_data(set, split, true)
    }

    /// A warning if validation or test classes of `split` have other images than all training classes, but the name of one: they may
    /// be the same classes with other images, such as the same images at another size.
    pub fn same_names(&self, set: &ImageSet, split: &Split) -> Option<String> {
        let (images, names) = self.trained();
        let held_out = split.validation.iter().chain(&split.test).map(|turned| turned.class);
        let name = |class: usize| set.classes()[class].name.as_str();
        let same: Vec<&str> = held_out
            .clone()
            .filter(|class| names.contains(name(*class)) && !images.contains(&*set.class_digest(*class)))
            .map(name)
            .collect();
        let first = same.first()?;
        Some(format!(
            "{} of {} validation and test classes, such as `{first}`, have names of classes that these weights were trained on; if \
             they are the same classes with other images, their accuracy is not that of new classes",
            same.len(),
            held_out.count()
        ))
    }

    /// The images and the names of all classes that were trained on.
    fn trained(&self) -> (HashSet<&str>, HashSet<&str>) {
        let trained = self.train.iter().chain(&self.trained_before);
        trained.map(|class| (class.images.as_str(), class.name.as_str())).unzip()
    }

    fn check_data(&self, set: &ImageSet, split: &Split, is_same_data: bool) -> Result<(), Error> {
        let all = [&self.train, &self.validation, &self.test, &self.trained_before];
        let known: HashSet<&str> =
            all.iter().flat_map(|part| part.iter()).map(|class| class.images.as_str()).collect();
        let here: Vec<KeptClass> = (0..set.classes().len()).map(|class| KeptClass::new(set, class)).collect();
        let is_same_data = is_same_data || here.iter().any(|class| known.contains(class.images.as_str()));
        let (images, names) = self.trained();
        let was_trained = |class: &KeptClass| {
            images.contains(class.images.as_str()) || is_same_data && names.contains(class.name.as_str())
        };
        let held_out = split.validation.iter().chain(&split.test).map(|turned| &here[turned.class]);
        let leaked: Vec<String> =
            held_out.clone().filter(|class| was_trained(class)).map(|class| class.name.clone()).collect();
        if leaked.is_empty() { Ok(()) } else { Err(Error::Leak { leaked, of: held_out.count() }) }
    }
}

impl KeptClass {
    fn new(set: &ImageSet, class: usize) -> Self {
        Self { name: set.classes()[class].name.clone(), images: set.class_digest(class) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Class;

    /// Classes of one image of one pixel: names and pixels.
    fn set(classes: &[(&str, u8)]) -> ImageSet {
        let named = classes.iter().map(|(name, _)| Class::new(*name, "", None, 1)).collect();
        ImageSet::new(1, named, classes.iter().map(|(_, pixel)| *pixel).collect()).expect("one pixel a class")
    }

    const CLASSES: [(&str, u8); 8] =
        [("a", 1), ("b", 2), ("c", 3), ("d", 4), ("e", 5), ("f", 6), ("g", 7), ("h", 8)];

    fn split(set: &ImageSet, seed: u64) -> Split {
        Split::new(set, SplitRule::FRACTION, 1, false, seed).expect("eight classes")
    }

    fn kept(seed: u64) -> KeptSplit {
        let set = set(&CLASSES);
        KeptSplit::new(&set, &split(&set, seed), SplitRule::FRACTION)
    }

    #[test]
    fn the_same_classes_have_the_same_parts_whatever_their_names() {
        let kept = kept(3);
        assert_eq!((kept.train.len(), kept.validation.len(), kept.test.len()), (5, 1, 2));
        assert_eq!(kept.of(&set(&CLASSES), false), Some(split(&set(&CLASSES), 3)));
        let renamed =
            set(&CLASSES
                .map(|(_, pixel)| (["p", "q", "r", "s", "t", "u", "v", "w"][pixel as usize - 1], pixel)));
        assert_eq!(kept.of(&renamed, false), Some(split(&renamed, 3)));
        assert_eq!(kept.of(&set(&CLASSES), true).map(|split| split.train.len()), Some(20));
        assert_eq!(kept.of(&set(&CLASSES[1..]), false), None);
        let text = serde_json::to_string(&kept).expect("JSON");
        assert_eq!(serde_json::from_str::<KeptSplit>(&text).expect("JSON"), kept);
    }

    #[test]
    fn classes_that_were_trained_on_are_not_tested_on() {
        let (kept, whole) = (kept(3), set(&CLASSES));
        assert!(kept.check(&whole, &split(&whole, 3)).is_ok());
        let others = (4..40).map(|seed| kept.check(&whole, &split(&whole, seed)));
        assert!(others.into_iter().any(|checked| matches!(checked, Err(Error::Leak { .. }))));
        // Other data may have the same names, which a warning says.
        let other = set(&CLASSES.map(|(name, pixel)| (name, pixel + 100)));
        assert!((0..40).all(|seed| kept.check(&other, &split(&other, seed)).is_ok()));
        let warned = (0..40).filter_map(|seed| kept.same_names(&other, &split(&other, seed)));
        assert!(warned.clone().count() > 20 && warned.last().is_some_and(|text| text.contains(" of 3 ")));
        assert_eq!(kept.same_names(&other, &split(&other, 3)), None);
        assert_eq!(kept.same_names(&whole, &split(&whole, 3)), None);
        // In the run's own folder, they are the same classes.
        assert!(kept.check_changed(&other, &split(&other, 3)).is_ok());
        assert!((0..40).any(|seed| kept.check_changed(&other, &split(&other, seed)).is_err()));
        // Weights trained further on other data are not forgetful.
        let later = KeptSplit::new(&other, &split(&other, 0), SplitRule::FRACTION).after(&kept);
        assert!((0..40).any(|seed| later.check(&whole, &split(&whole, seed)).is_err()));
    }
}
