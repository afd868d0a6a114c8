//! A configuration as written: keys and values with their places. Only the syntax is checked.

use super::checked::Config;
use super::checker::Checker;
use super::error::{Error, Place};
use super::{TaskKind, file, shown};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::path::Path;
use toml::de::{DeTable, DeValue, ValueDeserializer};
use toml::{Spanned, Value};

/// The default configuration, and that of sinusoids.
const BUILT_IN: &str = include_str!("../../configs/glyphs.toml");
const SINUSOID: &str = include_str!("../../configs/sinusoid.toml");

/// An unchecked configuration; [`RawConfig::check`] converts it to a [`Config`].
#[derive(Clone, Debug)]
pub struct RawConfig {
    /// Name of the file in messages.
    pub(super) name: String,
    /// At most one entry per key.
    pub(super) entries: Vec<Entry>,
    /// Whether the folder of the images may be missing.
    pub(super) without_data: bool,
}

/// One key and its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Shortened if it is longer than all known keys.
    pub key: String,
    pub value: Value,
    pub place: Place,
}

impl Entry {
    /// Whether the value is an override: from `--set` or a sweep file.
    pub fn is_override(&self) -> bool {
        matches!(self.place, Place::Override { .. } | Place::Sweep { .. })
    }
}

impl RawConfig {
    /// Reads the file at `path`, or the built-in default `configs/glyphs.toml` if there is no path.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read, is larger than 1 MiB, or is not UTF-8 or not TOML.
    pub fn read(path: Option<&Path>) -> Result<Self, Error> {
        match path {
            Some(path) => Self::parse(path.display().to_string(), &file::read(path)?),
            None => Self::built_in(TaskKind::Classification),
        }
    }

    /// The built-in configuration of a kind of task: `configs/glyphs.toml` or `configs/sinusoid.toml`.
    ///
    /// # Errors
    /// Returns an error if it is not TOML, which a test rules out.
    pub fn built_in(task: TaskKind) -> Result<Self, Error> {
        let text = match task {
            TaskKind::Classification => BUILT_IN,
            TaskKind::Sinusoid => SINUSOID,
        };
        Self::parse("built-in configuration", text)
    }

    /// Parses the TOML in `text`. Messages call it `name`.
    ///
    /// # Errors
    /// Returns an error if the text is not TOML.
    pub fn parse(name: impl Into<String>, text: &str) -> Result<Self, Error> {
        let name = name.into();
        let lines = file::Lines::of(text);
        let place = |offset| Place::File { name: name.clone(), line: Some(lines.number(offset)) };

        let mut leaves = Vec::new();
        flatten("", table(&name, text)?, &mut leaves);
        let entry = |(key, value, offset)| Entry { key, value, place: place(offset) };
        let entries = leaves.into_iter().map(entry).collect();
        Ok(Self { name, entries, without_data: false })
    }

    /// The same, for a use without the images, such as prediction: their folder need not be named.
    #[must_use]
    pub fn without_data(self) -> Self {
        Self { without_data: true, ..self }
    }

    /// Overrides a key by `key=value`. The value is TOML; if it is not valid TOML, it is a string, so that
    /// `outer.optimizer=adam` needs no quotes.
    ///
    /// If the override makes a choice (`estimator.name`, `outer.optimizer`, a budget, …), keys of the file that
    /// belong to the other choice are ignored instead of refused.
    ///
    /// # Errors
    /// Returns an error if `assignment` is not of the form `key=value`.
    pub fn set(&mut self, assignment: &str) -> Result<(), Error> {
        let malformed = || Error::Override { text: shown::line(assignment) };
        let (key, text) = assignment.split_once('=').ok_or_else(malformed)?;
        let (key, text) = (key.trim(), text.trim());
        if key.is_empty() {
            return Err(malformed());
        }

        let key = shown::short(&key.split('.').map(shown::key_part).collect::<Vec<_>>().join("."));
        let place = Place::Override { text: shown::line(assignment) };
        let mut leaves = Vec::new();
        match DeValue::parse(text).map(Spanned::into_inner) {
            Ok(DeValue::Table(table)) if !table.is_empty() => flatten(&key, table, &mut leaves),
            Ok(plain) => leaves.push((key, to_value(plain), 0)),
            Err(_) => leaves.push((key, Value::String(text.to_owned()), 0)),
        }
        let entry = |(key, value, _)| Entry { key, value, place: place.clone() };
        self.put(leaves.into_iter().map(entry).collect());
        Ok(())
    }

    /// Adds `entries`, which replace entries with the same keys.
    pub(super) fn put(&mut self, entries: Vec<Entry>) {
        let replaced: BTreeSet<&str> = entries.iter().map(|entry| &*entry.key).collect();
        self.entries.retain(|entry| !replaced.contains(&*entry.key));
        self.entries.extend(entries);
    }

    /// Checks the configuration.
    ///
    /// # Errors
    /// Returns [`Error::Invalid`] with all faults: unknown keys (at most a hundred), wrong types, values out of range,
    /// and settings that cannot be combined.
    pub fn check(self) -> Result<Config, Error> {
        let mut checker = Checker::new(self);
        let config = Config::check(&mut checker);
        checker.finish().map(|()| config)
    }
}

/// Parses the TOML in `text`; keys and values keep their offsets. Messages call it `name`.
///
/// # Errors
/// Returns an error if the text is not TOML.
pub(super) fn table<'a>(name: &str, text: &'a str) -> Result<DeTable<'a>, Error> {
    DeTable::parse(text).map(Spanned::into_inner).map_err(|error| {
        let line = file::Lines::of(text).number(error.span().map_or(0, |span| span.start));
        let place = Place::File { name: name.into(), line: Some(line) };
        Error::Syntax { place, reason: error.message().replace('\n', "; ") }
    })
}

/// Adds all values in `table` to `leaves`, with their dotted keys and the byte offsets of the keys. An empty table
/// counts as a value, so that a mistyped empty section is reported. Keys are shortened here, because the name of a
/// table is repeated in each key below it.
pub(super) fn flatten(prefix: &str, table: DeTable<'_>, leaves: &mut Vec<(String, Value, usize)>) {
    for (part, value) in table {
        let offset = part.span().start;
        let part = shown::key_part(part.get_ref());
        let key = shown::short(&if prefix.is_empty() { part } else { format!("{prefix}.{part}") });
        match value.into_inner() {
            DeValue::Table(table) if !table.is_empty() => flatten(&key, table, leaves),
            plain => leaves.push((key, to_value(plain), offset)),
        }
    }
}

/// Converts to an ordinary TOML value. An integer beyond 64 bits becomes a float, which messages can show and no key
/// for whole numbers accepts.
pub(super) fn to_value(value: DeValue<'_>) -> Value {
    let written = match &value {
        DeValue::Integer(digits) => digits.as_str().to_owned(),
        _ => String::new(),
    };
    Value::deserialize(ValueDeserializer::from(Spanned::new(0..0, value)))
        .unwrap_or_else(|_| written.parse().map_or(Value::String(written), Value::Float))
}
