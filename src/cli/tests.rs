//! Every command's help has an example, and every example in the help and the documentation parses.

use super::Cli;
use clap::error::ErrorKind;
use clap::{Command, CommandFactory};
use std::fs;
use std::path::Path;

/// Every command without subcommands, with its full name.
fn commands(command: &Command, words: &str) -> Vec<(String, Command)> {
    let below: Vec<&Command> = command.get_subcommands().filter(|below| below.get_name() != "help").collect();
    if below.is_empty() {
        return vec![(words.into(), command.clone())];
    }
    below.iter().flat_map(|below| commands(below, &format!("{words} {}", below.get_name()))).collect()
}

/// The examples in a command's help.
fn examples(command: &Command) -> Vec<String> {
    let about = command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
    about.lines().filter_map(|line| line.strip_prefix("Example: ")).map(String::from).collect()
}

/// Asserts that the command line `line` parses or asks for help, without expanding wildcards.
fn assert_parses(line: &str) {
    let words = line.split_whitespace().take_while(|word| ![">", "#", "|", "||"].contains(word));
    if let Err(error) = Cli::command().try_get_matches_from(words) {
        assert!(error.kind() == ErrorKind::DisplayHelp, "`{line}`: {error}");
    }
}

#[test]
fn every_command_has_an_example_that_parses() {
    let commands = commands(&Cli::command(), "metaburn");
    assert!(commands.len() > 15, "{}", commands.len());
    for (words, command) in commands {
        let examples = examples(&command);
        assert!(!examples.is_empty(), "`{words} --help` has no line that begins with `Example: `");
        for example in examples {
            assert!(example.starts_with(&words), "`{example}` is not an example of `{words}`");
            assert_parses(&example);
        }
    }
}

#[test]
fn first_session_parses() {
    let lines = super::FIRST_SESSION.lines().filter_map(|line| line.strip_prefix("  metaburn "));
    let sessions: Vec<&str> = lines.map(|line| line.split("  ").next().unwrap_or_default()).collect();
    assert_eq!(sessions.len(), 3);
    sessions.into_iter().for_each(|line| assert_parses(&format!("metaburn {line}")));
}

#[test]
fn commands_in_the_documentation_parse() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pages = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let mut typed = 0;
    for page in pages
        .filter(|page| page.extension().is_some_and(|ending| ending == "md"))
        .chain([root.join("README.md")])
    {
        let text = fs::read_to_string(&page).unwrap().replace("\\\n", " ");
        let mut fenced = false;
        for line in text.lines() {
            fenced ^= line.starts_with("```");
            if line.trim_start().starts_with("metaburn ") && (fenced || line.starts_with("    ")) {
                assert_parses(line);
                typed += 1;
            }
        }
    }
    assert!(typed > 40, "{typed}");
}

#[test]
fn command_definitions_are_consistent() {
    Cli::command().debug_assert();
}
