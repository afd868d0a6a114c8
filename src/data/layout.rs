//! What the folders or lists of a set of images were taken to mean.

use std::collections::BTreeSet;
use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};

use super::{Class, Part};

/// A folder or list at the top, and the part that its classes are in.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Place {
    /// Its name; with a slash at the end if it is a folder.
    pub name: String,
    /// The part; `None` if it assigns none, or one for each class.
    pub part: Option<Part>,
}

/// Where the classes of a set are, and how many there are.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Layout {
    /// Folders of parts, or lists; none for class folders without parts.
    pub places: Vec<Place>,
    /// Each part that classes are in, and their number. Classes in no part come first.
    pub parts: Vec<(Option<Part>, usize)>,
    /// Number of classes in groups.
    pub grouped: usize,
    /// Number of groups of classes.
    pub groups: usize,
}

impl Layout {
    /// The layout of `classes` that are in these `places`.
    pub fn new(places: Vec<Place>, classes: &[Class]) -> Self {
        let parts = [None, Some(Part::Train), Some(Part::Validation), Some(Part::Test)];
        let count = |part| classes.iter().filter(|class| class.part == part).count();
        let grouped = || classes.iter().map(|class| class.group.as_str()).filter(|group| !group.is_empty());
        Self {
            places,
            parts: parts
                .map(|part| (part, count(part)))
                .into_iter()
                .filter(|(_, count)| *count > 0)
                .collect(),
            grouped: grouped().count(),
            groups: grouped().collect::<BTreeSet<_>>().len(),
        }
    }
}

impl Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let classes = |count: usize| format!("{count} {}", if count == 1 { "class" } else { "classes" });
        let of = |part: Option<Part>| {
            self.parts.iter().find(|(found, _)| *found == part).map_or(0, |(_, count)| *count)
        };
        let places: Vec<String> = self
            .places
            .iter()
            .filter_map(|place| {
                Some(format!("`{}` ({} part, {})", place.name, place.part?, classes(of(place.part))))
            })
            .collect();
        let of_each = || {
            let named = |(part, count): &(Option<Part>, usize)| match part {
                Some(part) => format!("{} in the {part} part", classes(*count)),
                None => classes(*count),
            };
            self.parts.iter().map(named).collect::<Vec<_>>().join(", ")
        };
        match self.places.first() {
            None => write!(f, "a folder for each class: {}", of_each())?,
            Some(place) if place.part.is_none() => write!(f, "the list `{}`: {}", place.name, of_each())?,
            Some(place) if place.name.ends_with('/') => write!(f, "class folders in {}", places.join(", "))?,
            Some(_) => write!(f, "the lists {}", places.join(", "))?,
        }
        let between = if self.places.first().is_some_and(|place| place.part.is_some()) { ";" } else { "," };
        match self.groups {
            0 => Ok(()),
            1 => write!(f, "{between} {} of them in 1 group", self.grouped),
            groups => write!(f, "{between} {} of them in {groups} groups", self.grouped),
        }
    }
}
