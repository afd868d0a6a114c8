//! Help cannot rot: every command has an example, and every example is one that it takes.

use super::Cli;
use clap::{Command, CommandFactory};

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

#[test]
fn every_command_has_an_example_that_it_takes() {
    let commands = commands(&Cli::command(), "metaburn");
    assert!(commands.len() > 15, "{}", commands.len());
    for (words, command) in commands {
        let examples = examples(&command);
        assert!(!examples.is_empty(), "`{words} --help` has no line that begins with `Example: `");
        for example in examples {
            assert!(example.starts_with(&words), "`{example}` is no example of `{words}`");
            // A shell would have opened the star, and taken what comes after `>`.
            let words = example.split_whitespace().take_while(|word| *word != ">");
            let parsed = Cli::command().try_get_matches_from(words);
            assert!(
                parsed.is_ok(),
                "`{example}`: {}",
                parsed.err().map(|error| error.to_string()).unwrap_or_default()
            );
        }
    }
}

#[test]
fn the_first_session_can_be_typed() {
    let lines = super::FIRST_SESSION.lines().filter_map(|line| line.strip_prefix("  metaburn "));
    let sessions: Vec<&str> = lines.map(|line| line.split("  ").next().unwrap_or_default()).collect();
    assert_eq!(sessions.len(), 3);
    for line in sessions {
        let words = std::iter::once("metaburn").chain(line.split_whitespace());
        assert!(Cli::command().try_get_matches_from(words).is_ok(), "{line}");
    }
}

#[test]
fn the_program_is_put_together_soundly() {
    Cli::command().debug_assert();
}
