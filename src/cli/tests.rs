//! Help cannot rot: every command has an example, and every example is one that it takes.

use super::Cli;
use clap::{Command, CommandFactory};
use std::fs;
use std::path::Path;

/// Every command that does something, with the words that call it.
fn commands(command: &Command, words: &str) -> Vec<(String, Command)> {
    let below: Vec<&Command> = command.get_subcommands().filter(|below| below.get_name() != "help").collect();
    if below.is_empty() {
        return vec![(words.into(), command.clone())];
    }
    below.iter().flat_map(|below| commands(below, &format!("{words} {}", below.get_name()))).collect()
}

/// The command lines that a command's help gives.
fn examples(command: &Command) -> Vec<String> {
    let about = command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
    about.lines().filter_map(|line| line.strip_prefix("Example: ")).map(String::from).collect()
}

/// That the program takes what a shell makes of `line`, but for stars, which a shell would open.
fn can_be_typed(line: &str) {
    let words = line.split_whitespace().take_while(|word| ![">", "#", "||"].contains(word));
    let parsed = Cli::command().try_get_matches_from(words);
    assert!(parsed.is_ok(), "`{line}`: {}", parsed.err().map(|error| error.to_string()).unwrap_or_default());
}

#[test]
fn every_command_has_an_example_that_it_takes() {
    let commands = commands(&Cli::command(), "metaburn");
    assert!(commands.len() > 15, "{}", commands.len());
    for (words, command) in commands {
        let examples = examples(&command);
        assert!(!examples.is_empty(), "`{words} --help` has no line that begins with `Example: `");
        for example in examples {
            assert!(example.starts_with(&words), "`{example}` is no example of `{words}`");
            can_be_typed(&example);
        }
    }
}

#[test]
fn the_first_session_can_be_typed() {
    let lines = super::FIRST_SESSION.lines().filter_map(|line| line.strip_prefix("  metaburn "));
    let sessions: Vec<&str> = lines.map(|line| line.split("  ").next().unwrap_or_default()).collect();
    assert_eq!(sessions.len(), 3);
    sessions.into_iter().for_each(|line| can_be_typed(&format!("metaburn {line}")));
}

#[test]
fn what_the_documentation_says_can_be_typed() {
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
                can_be_typed(line);
                typed += 1;
            }
        }
    }
    assert!(typed > 40, "{typed}");
}

#[test]
fn the_program_is_put_together_soundly() {
    Cli::command().debug_assert();
}
