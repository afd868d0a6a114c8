//! The pieces of a sweep or study by name or number, for schedulers that start each as a job of its own.

use super::Error;
use serde::Serialize;

/// A piece as it is listed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Listed<S> {
    /// Its number, from 0.
    pub index: usize,
    /// Its name.
    pub name: String,
    /// Its state.
    #[serde(flatten)]
    pub state: S,
}

/// The index of the piece that `chosen` names, by its name or its number from 0.
///
/// # Errors
/// Returns an error if none of the pieces called `names` is meant.
pub fn index(chosen: &str, names: &[String]) -> Result<usize, Error> {
    let named = names.iter().position(|name| name == chosen);
    let numbered = || chosen.parse().ok().filter(|index| *index < names.len());
    named.or_else(numbered).ok_or_else(|| {
        let [first, last] = [names.first(), names.last()].map(|name| name.map_or("", String::as_str));
        Error::Invalid(format!(
            "--only {chosen}: there is no such piece; there are {}, numbered from 0, from {first} to {last} (--list shows all)",
            names.len()
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_found_by_name_and_by_number_from_0() {
        let names = ["exact-seed-0", "exact-seed-1"].map(String::from);
        assert_eq!(index("exact-seed-1", &names).unwrap(), 1);
        assert_eq!(index("0", &names).unwrap(), 0);
        for wrong in ["2", "-1", "exact", ""] {
            let message = index(wrong, &names).unwrap_err().to_string();
            assert!(message.contains("there are 2") && message.contains("--list"), "{message}");
        }
    }
}
