//! Published divisions of a dataset's classes into parts.

use super::{Class, Part};

/// A published division of a dataset's classes.
#[derive(Debug)]
pub struct ClassTable {
    /// Its name in configurations.
    pub name: &'static str,
    /// The names of the validation classes or groups.
    pub validation: &'static [&'static str],
    /// The names of the test classes or groups.
    pub test: &'static [&'static str],
    /// The names of the training classes or groups.
    pub train: &'static [&'static str],
    /// Whether the names are those of groups, all of whose classes are in the same part.
    pub by_group: bool,
}

impl ClassTable {
    /// The part of `class`; `None` if the table does not list it.
    pub fn part(&self, class: &Class) -> Option<Part> {
        let name = if self.by_group { &class.group } else { &class.name };
        [(Part::Train, self.train), (Part::Validation, self.validation), (Part::Test, self.test)]
            .into_iter()
            .find_map(|(part, names)| names.contains(&name.as_str()).then_some(part))
    }
}

/// By name; each table has its own.
impl PartialEq for ClassTable {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}
