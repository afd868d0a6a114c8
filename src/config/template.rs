//! Template of a configuration file: every key with its description, accepted values and default.

use super::error::Error;
use super::key::KeyDoc;
use super::raw::RawConfig;
use super::section::keys;

/// Width of comments, in characters.
const WIDTH: usize = 96;

/// A commented configuration file: `base` with the overrides `assignments` (`key=value`). Loading it gives the same as checking
/// `base` with these overrides. Keys that are not set are commented out if `full`, otherwise left out.
///
/// # Errors
/// Returns an error if an assignment is not of the form `key=value` or the configuration is invalid.
pub fn template(base: RawConfig, assignments: &[String], full: bool) -> Result<String, Error> {
    let mut raw = base;
    assignments.iter().try_for_each(|assignment| raw.set(assignment))?;
    raw.clone().check()?;
    let mut text = String::new();
    let mut section = "";
    for key in keys() {
        let (inside, name) = key.key.split_once('.').unwrap_or(("", key.key));
        let set = raw.entries.iter().find(|entry| entry.key == key.key);
        if set.is_none() && !full {
            continue;
        }
        if inside != section {
            text += &format!("\n[{inside}]\n");
            section = inside;
        }
        text += &comment(key);
        text += &match set {
            Some(entry) => format!("{name} = {}\n", entry.value),
            None if is_toml(&key.default) => format!("# {name} = {}\n", key.default),
            None => format!("# {name} =\n"),
        };
        text.push('\n');
    }
    Ok(text.trim().replace("\n\n\n", "\n\n") + "\n")
}

/// Description, accepted values and default of a key, as comment lines.
fn comment(key: &KeyDoc) -> String {
    let sentence = format!("{} Value: {}; default: {}.", key.doc, key.accepts, key.default);
    let mut lines = vec![String::from("#")];
    for word in sentence.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(format!("# {word}")),
        }
    }
    lines.join("\n") + "\n"
}

/// Whether a default is a TOML value and not words.
fn is_toml(default: &str) -> bool {
    format!("value = {default}").parse::<toml::Table>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TaskKind;

    #[test]
    fn template_loads_as_the_default_and_names_every_key() {
        for (task, assignments) in [
            (TaskKind::Classification, vec![]),
            (TaskKind::Classification, vec!["data.source=omniglot".into()]),
            (TaskKind::Classification, vec!["data={source='folder',path='x'}".into()]),
            (TaskKind::Sinusoid, vec![]),
        ] {
            let base = RawConfig::built_in(task).unwrap();
            let mut wanted = base.clone();
            assignments.iter().try_for_each(|assignment: &String| wanted.set(assignment)).unwrap();
            let wanted = wanted.check().unwrap();
            for full in [false, true] {
                let text = template(base.clone(), &assignments, full).unwrap();
                let read = RawConfig::parse("template", &text).unwrap().check();
                assert_eq!(read.unwrap_or_else(|error| panic!("{error}\n{text}")), wanted);
            }
            let text = template(base, &assignments, true).unwrap();
            let mut section = String::new();
            let mut named = Vec::new();
            for line in text.lines() {
                if let Some(name) = line.strip_prefix('[') {
                    section = format!("{}.", name.trim_end_matches(']'));
                } else if let Some((name, _)) = line.trim_start_matches("# ").split_once(" = ") {
                    named.push(format!("{section}{name}"));
                } else if let Some(name) = line.trim_start_matches("# ").strip_suffix(" =") {
                    named.push(format!("{section}{name}"));
                }
            }
            for key in keys() {
                assert!(named.iter().any(|name| name == key.key), "{} is not in\n{text}", key.key);
            }
        }
    }

    #[test]
    fn template_refuses_invalid_overrides() {
        let base = RawConfig::built_in(TaskKind::Classification).unwrap();
        assert!(template(base, &["inner.steps=0".into()], false).is_err());
    }
}
