//! Entries of the list of studies, and the options that each study declares.
//!
//! A study declares its options as data ([`StudyOption`]) beside its own code. The command line builds a subcommand
//! from every entry of [`super::ALL`]; this module knows nothing of its parser.

use super::{About, Error, Finished, Listed, Observer, PieceState, Study, pieces, run, run_piece};
use crate::config::{self, Config, RawConfig};
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::str::FromStr;

/// Size of a study.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// The published size.
    Full,
    /// Fewer repetitions, wider intervals.
    Quick,
}

/// Options of a study, and the study that they describe.
pub trait StudyOptions: Default + 'static {
    /// The study.
    type Study: Study;

    /// Whether it takes a configuration file and overrides of it.
    const TAKES_CONFIGURATION: bool = false;

    /// The options specific to this study.
    const OPTIONS: &'static [StudyOption<Self>] = &[];

    /// The study with these options; `source` is the configuration given on the command line.
    ///
    /// # Errors
    /// Returns an error if an option or the configuration is invalid, or its data or backend is missing.
    fn build(self, scale: Scale, source: &dyn ConfigSource) -> Result<Self::Study, Error>;
}

/// An option of a study, and how its value is stored in the options `O`.
pub struct StudyOption<O> {
    /// Its description for the command line.
    pub info: OptionInfo,
    /// Parses a value (of a list, each of its values) and stores it.
    pub set: fn(&mut O, &OsStr) -> Result<(), String>,
}

/// The description of an option for the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OptionInfo {
    /// Name, without hyphens.
    pub name: &'static str,
    /// Placeholder of the value.
    pub value_name: &'static str,
    /// One line of help.
    pub help: &'static str,
    /// Value if the option is not given.
    pub default: Option<&'static str>,
    /// Whether it takes several values, separated by commas.
    pub is_list: bool,
    /// Options that it cannot be combined with.
    pub conflicts: &'static [&'static str],
}

impl OptionInfo {
    /// An option that takes one value and has no default.
    pub const fn new(name: &'static str, value_name: &'static str, help: &'static str) -> Self {
        Self { name, value_name, help, default: None, is_list: false, conflicts: &[] }
    }
}

/// A configuration given on the command line: a file, and overrides of its keys.
pub trait ConfigSource {
    /// The checked configuration. `defaults` stand in for the file if there is none; `more` overrides everything.
    /// Both are assignments such as `inner.steps=5`.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read, or a key or a value is invalid.
    fn config(&self, defaults: &[String], more: &[String]) -> Result<Config, config::Error>;

    /// The checked configuration. `base` stands in for the file if there is none; `more` overrides everything.
    ///
    /// # Errors
    /// Returns an error in the cases of [`Self::config`].
    fn config_over(&self, base: RawConfig, more: &[String]) -> Result<Config, config::Error>;

    /// `config`, a run's own, with the overrides of backend, threads and data folder.
    ///
    /// # Errors
    /// Returns an error if a value is invalid.
    fn over(&self, config: &Config) -> Result<Config, config::Error>;

    /// Whether it names the data folder.
    fn names_data(&self) -> bool;

    /// Whether it names a configuration file.
    fn names_file(&self) -> bool;
}

/// No file and no overrides.
impl ConfigSource for () {
    fn config(&self, defaults: &[String], more: &[String]) -> Result<Config, config::Error> {
        Config::load(None, &[defaults, more].concat())
    }

    fn config_over(&self, mut base: RawConfig, more: &[String]) -> Result<Config, config::Error> {
        more.iter().try_for_each(|assignment| base.set(assignment))?;
        base.check()
    }

    fn over(&self, config: &Config) -> Result<Config, config::Error> {
        Ok(config.clone())
    }

    fn names_data(&self) -> bool {
        false
    }

    fn names_file(&self) -> bool {
        false
    }
}

/// A study as the list has it.
pub struct StudyEntry {
    /// Name, title and description.
    pub about: About,
    /// Whether it takes a configuration file and overrides of it.
    pub takes_configuration: bool,
    options: fn() -> Vec<OptionInfo>,
    check: fn(&str, &OsStr) -> Result<(), String>,
    run: RunFn,
    pieces: PiecesFn,
    run_piece: RunPieceFn,
}

/// Sets the option values, builds the study, and runs it as [`run`] does.
type RunFn =
    fn(&[OptionValue], Scale, &dyn ConfigSource, &Path, &str, &mut dyn Observer) -> Result<Finished, Error>;

/// The same for [`pieces`].
type PiecesFn = fn(&[OptionValue], Scale, &dyn ConfigSource, &Path) -> Result<Vec<Listed<PieceState>>, Error>;

/// The same for [`run_piece`].
type RunPieceFn =
    fn(&[OptionValue], Scale, &dyn ConfigSource, &Path, &str, &mut dyn Observer) -> Result<(), Error>;

/// An option's name and one of its values.
pub type OptionValue = (&'static str, OsString);

impl StudyEntry {
    /// The entry of the study that `O` describes.
    pub const fn of<O: StudyOptions>() -> Self {
        Self {
            about: O::Study::ABOUT,
            takes_configuration: O::TAKES_CONFIGURATION,
            options: || O::OPTIONS.iter().map(|option| option.info).collect(),
            check: |name, value| set(&mut O::default(), name, value),
            run: |values, scale, source, folder, command, observer| {
                run(&built::<O>(values, scale, source)?, folder, command, observer)
            },
            pieces: |values, scale, source, folder| Ok(pieces(&built::<O>(values, scale, source)?, folder)),
            run_piece: |values, scale, source, folder, chosen, observer| {
                run_piece(&built::<O>(values, scale, source)?, folder, chosen, observer)
            },
        }
    }

    /// Its own options, in the order of `--help`.
    pub fn options(&self) -> Vec<OptionInfo> {
        (self.options)()
    }

    /// Checks `value` of the option called `name`.
    ///
    /// # Errors
    /// Returns what is wrong with the value.
    pub fn check(&self, name: &str, value: &OsStr) -> Result<(), String> {
        (self.check)(name, value)
    }

    /// Builds the study from option `values`, and runs what is left of it in `folder`; see [`run`].
    ///
    /// # Errors
    /// Returns an error if an option is invalid or the study fails.
    pub fn run(
        &self,
        values: &[OptionValue],
        scale: Scale,
        source: &dyn ConfigSource,
        folder: &Path,
        command: &str,
        observer: &mut dyn Observer,
    ) -> Result<Finished, Error> {
        (self.run)(values, scale, source, folder, command, observer)
    }

    /// Builds the study from option `values`, and lists its pieces; see [`pieces`].
    ///
    /// # Errors
    /// Returns an error if an option is invalid.
    pub fn pieces(
        &self,
        values: &[OptionValue],
        scale: Scale,
        source: &dyn ConfigSource,
        folder: &Path,
    ) -> Result<Vec<Listed<PieceState>>, Error> {
        (self.pieces)(values, scale, source, folder)
    }

    /// Builds the study from option `values`, and runs the `chosen` piece of it in `folder`; see [`run_piece`].
    ///
    /// # Errors
    /// Returns an error if an option is invalid or the piece fails.
    pub fn run_piece(
        &self,
        values: &[OptionValue],
        scale: Scale,
        source: &dyn ConfigSource,
        folder: &Path,
        chosen: &str,
        observer: &mut dyn Observer,
    ) -> Result<(), Error> {
        (self.run_piece)(values, scale, source, folder, chosen, observer)
    }
}

/// The study that option `values` describe.
fn built<O: StudyOptions>(
    values: &[OptionValue],
    scale: Scale,
    source: &dyn ConfigSource,
) -> Result<O::Study, Error> {
    let mut options = O::default();
    for (name, value) in values {
        set(&mut options, name, value).map_err(|reason| Error::Invalid(format!("--{name}: {reason}")))?;
    }
    options.build(scale, source)
}

fn set<O: StudyOptions>(options: &mut O, name: &str, value: &OsStr) -> Result<(), String> {
    let option = O::OPTIONS.iter().find(|option| option.info.name == name);
    (option.ok_or("the study has no such option")?.set)(options, value)
}

/// Adds `value` to `list` unless it is there.
pub fn add<T: PartialEq>(list: &mut Vec<T>, value: T) {
    if !list.contains(&value) {
        list.push(value);
    }
}

/// `value` as text, parsed.
pub fn parsed<T: FromStr<Err: ToString>>(value: &OsStr) -> Result<T, String> {
    let text = value.to_str().ok_or("it is not valid UTF-8")?;
    text.parse().map_err(|error: T::Err| error.to_string())
}

/// `value` as a whole number from `least` to `most`.
pub fn whole(value: &OsStr, least: u64, most: u64) -> Result<u64, String> {
    let number = parsed(value).ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| match most {
        u64::MAX => format!("it must be a whole number of at least {least}"),
        _ => format!("it must be a whole number from {least} to {most}"),
    })
}

/// `assignments` as a default configuration: on Omniglot if `source` names a data folder, otherwise on the built-in
/// characters.
pub fn default_config(source: &dyn ConfigSource, assignments: &[&str]) -> Vec<String> {
    let data = if source.names_data() { "omniglot" } else { "glyphs" };
    let data = format!("data.source=\"{data}\"");
    assignments.iter().copied().map(String::from).chain([data]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::ALL;

    #[test]
    fn defaults_of_all_options_are_valid() {
        for entry in &ALL {
            for option in entry.options() {
                if let Some(default) = option.default {
                    let checked = entry.check(option.name, default.as_ref());
                    assert_eq!(checked, Ok(()), "{} --{}", entry.about.name, option.name);
                }
            }
        }
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        assert_eq!(whole("2".as_ref(), 2, 9), Ok(2));
        assert_eq!(whole("1".as_ref(), 2, 9), Err("it must be a whole number from 2 to 9".into()));
        assert!(whole("many".as_ref(), 2, u64::MAX).unwrap_err().contains("at least 2"));
        assert!(ALL[0].check("nothing", "1".as_ref()).is_err());
    }
}
