//! `metaburn study`: a subcommand for every study in the library's list.

use super::exit;
use super::progress::{BETWEEN_LINES, PARTS, Pace, duration, share_bar};
use super::resume::{arguments, program};
use super::setup::Setup;
use super::{Outcome, launch, output};
use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, Subcommand};
use indicatif::ProgressBar;
use metaburn::config::{self, Config, RawConfig};
use metaburn::study::{
    ALL, ConfigSource, Finished, Listed, Observer, OptionInfo, PieceState, Scale, StudyEntry,
};
use metaburn::support::lock::release_all;
use serde_json::json;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

/// Help of `metaburn study`.
const ABOUT: &str = "Reproduce a study: data, figures and a one-page report";
const LONG_ABOUT: &str = "\
Reproduce a study: data, figures and a one-page report

The exit code is 0 if the study ran, whether or not its claims held; the report states the verdicts. To continue an
interrupted study where it stopped, run the same command again.

Example: metaburn study quadratic --quick";
/// Help of `metaburn study list`.
const LIST: &str = "List the studies, with what they show and how long they take";

/// A study command.
pub enum Study {
    /// `study list`.
    List,
    /// `study NAME`.
    Run(Box<Run>),
}

/// A study with its arguments.
pub struct Run {
    entry: &'static StudyEntry,
    /// Configuration file and overrides, if the study takes them.
    setup: Option<Setup>,
    /// Values of the study's own options.
    values: Vec<(&'static str, OsString)>,
    common: Common,
}

/// Options of every study.
#[derive(Args)]
struct Common {
    /// Folder for records, data, figures and report [default: studies/NAME]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Run a smaller study: fewer repetitions, wider intervals
    #[arg(long)]
    quick: bool,
    /// List the pieces of the study and whether they are done, without running any
    #[arg(long)]
    list: bool,
    /// Run only the piece with this name or number (from 0), and write no report; for schedulers that run each piece as a
    /// separate job. The same command without --only then writes the report
    #[arg(long, value_name = "NAME|INDEX", conflicts_with_all = ["list", "json"])]
    only: Option<String>,
    /// Print the claims as a JSON object; with --list, the pieces
    #[arg(long)]
    json: bool,
}

impl Subcommand for Study {
    fn augment_subcommands(command: Command) -> Command {
        let list =
            Command::new("list").about(LIST).long_about(format!("{LIST}\n\nExample: metaburn study list"));
        let command = command.about(ABOUT).long_about(LONG_ABOUT).subcommand(list);
        command.subcommands(ALL.iter().map(subcommand))
    }

    fn augment_subcommands_for_update(command: Command) -> Command {
        Self::augment_subcommands(command)
    }

    fn has_subcommand(name: &str) -> bool {
        name == "list" || ALL.iter().any(|entry| entry.about.name == name)
    }
}

impl FromArgMatches for Study {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let (name, matches) =
            matches.subcommand().ok_or_else(|| clap::Error::new(ErrorKind::MissingSubcommand))?;
        match ALL.iter().find(|entry| entry.about.name == name) {
            Some(entry) => Ok(Self::Run(Box::new(Run::new(entry, matches)?))),
            None => Ok(Self::List),
        }
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// The subcommand of a study.
fn subcommand(entry: &'static StudyEntry) -> Command {
    let about = entry.about;
    let paragraphs = [about.title, about.description, about.usage];
    let text: Vec<&str> = paragraphs.into_iter().filter(|paragraph| !paragraph.is_empty()).collect();
    let command = Command::new(about.name);
    let command = if entry.takes_configuration { Setup::augment_args(command) } else { command };
    let command = command.args(entry.options().into_iter().map(|option| argument(entry, option)));
    // Described last, because `augment_args` replaces the description with the struct's doc comment.
    Common::augment_args(command).about(about.title).long_about(format!(
        "{}\n\nExample: {}",
        text.join("\n\n"),
        about.example
    ))
}

/// A study's own option.
fn argument(entry: &'static StudyEntry, option: OptionInfo) -> Arg {
    let check = move |value: OsString| entry.check(option.name, &value).map(|()| value);
    let argument = Arg::new(option.name)
        .long(option.name)
        .value_name(option.value_name)
        .help(option.help)
        .conflicts_with_all(option.conflicts)
        .value_parser(OsStringValueParser::new().try_map(check));
    let argument = match option.default {
        Some(default) => argument.default_value(default),
        None => argument,
    };
    if option.is_list { argument.value_delimiter(',').action(ArgAction::Append) } else { argument }
}

impl Study {
    /// Runs the command.
    pub fn run(self) -> Outcome {
        match self {
            Self::List => list(),
            Self::Run(study) if study.common.list || study.common.only.is_some() => study.run(),
            Self::Run(study) => launch::alone("give each process its own piece with --only", || study.run()),
        }
    }
}

impl Run {
    fn new(entry: &'static StudyEntry, matches: &ArgMatches) -> Result<Self, clap::Error> {
        let setup = if entry.takes_configuration { Some(Setup::from_arg_matches(matches)?) } else { None };
        let values = entry.options().into_iter().flat_map(|option| {
            let values = matches.get_many::<OsString>(option.name).into_iter().flatten();
            values.map(move |value| (option.name, value.clone()))
        });
        Ok(Self { entry, setup, values: values.collect(), common: Common::from_arg_matches(matches)? })
    }

    fn run(&self) -> Outcome {
        let (scale, suffix) = if self.common.quick { (Scale::Quick, "-quick") } else { (Scale::Full, "") };
        let default = || Path::new("studies").join(format!("{}{suffix}", self.entry.about.name));
        let folder = self.common.out.clone().unwrap_or_else(default);
        let source: &dyn ConfigSource = match &self.setup {
            Some(setup) => setup,
            None => &(),
        };
        if self.common.list {
            return print_pieces(&self.entry.pieces(&self.values, scale, source, &folder)?, self.common.json);
        }
        let mut terminal = Terminal::new(format!("{} {}", program(), arguments()));
        if let Some(chosen) = &self.common.only {
            let ended = self.entry.run_piece(&self.values, scale, source, &folder, chosen, &mut terminal);
            terminal.bar.finish_and_clear();
            ended?;
            return Ok(ExitCode::SUCCESS);
        }
        let command = format!("metaburn {}", arguments());
        let finished = self.entry.run(&self.values, scale, source, &folder, &command, &mut terminal);
        terminal.bar.finish_and_clear();
        self.print(&finished?)?;
        Ok(ExitCode::SUCCESS)
    }

    fn print(&self, finished: &Finished) -> Result<(), super::CommandError> {
        if self.common.json {
            return Ok(output::print(serde_json::to_string(finished)?)?);
        }
        for claim in &finished.claims {
            let (claim, expected, measured, verdict) =
                (&claim.claim, claim.expected_text(), claim.measured, claim.verdict);
            output::print(format!("{verdict}: {claim}\n    expected {expected}, measured {measured}"))?;
        }
        Ok(output::print(format!("{}; see {}", finished.summary(), finished.report.display()))?)
    }
}

impl ConfigSource for Setup {
    fn config(&self, defaults: &[String], more: &[String]) -> Result<Config, config::Error> {
        self.config_from(defaults, more)
    }

    fn config_over(&self, base: RawConfig, more: &[String]) -> Result<Config, config::Error> {
        Setup::config_over(self, Some(base), more)
    }

    fn over(&self, config: &Config) -> Result<Config, config::Error> {
        self.resources().over(config)
    }

    fn names_data(&self) -> bool {
        self.resources().names_data()
    }

    fn names_file(&self) -> bool {
        Self::names_file(self)
    }
}

fn print_pieces(pieces: &[Listed<PieceState>], json: bool) -> Outcome {
    if json {
        output::print(serde_json::to_string(&json!({ "pieces": pieces }))?)?;
        return Ok(ExitCode::SUCCESS);
    }
    for Listed { index, name, state } in pieces {
        output::print(format!("{index} {name}: {}", if state.done { "done" } else { "to do" }))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn list() -> Outcome {
    for StudyEntry { about, .. } in &ALL {
        let [full, quick] = about.durations;
        output::print(format!("{}: {}\n    {full}; {quick} with --quick\n", about.name, about.description))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Shows a study's progress and messages on standard error.
struct Terminal {
    bar: ProgressBar,
    pace: Pace,
    /// When the first piece of this session started.
    began: Option<Instant>,
    last_line: Instant,
    /// The notes shown so far.
    notes: BTreeSet<String>,
}

impl Terminal {
    /// Sets a handler of Ctrl-C that ends the program and shows `command`, which continues the study.
    fn new(command: String) -> Self {
        // Fails only if a handler is set already, which is this one.
        let _ = ctrlc::set_handler(move || {
            output::say(format_args!("\nfinished work is kept; to continue:\n  {command}"));
            release_all();
            std::process::exit(i32::from(exit::INTERRUPTED));
        });
        let bar = if std::io::stderr().is_terminal() { share_bar() } else { ProgressBar::hidden() };
        Self { bar, pace: Pace::default(), began: None, last_line: Instant::now(), notes: BTreeSet::new() }
    }

    /// Shows that the piece called `key` is running, and the time left.
    fn show_piece(&mut self, key: &str) {
        let began = *self.began.get_or_insert_with(Instant::now);
        let left = self.pace.seconds_left(began.elapsed().as_secs_f64());
        self.show(format!("{key}, {} left", left.map_or_else(|| "?".into(), duration)));
    }

    /// Shows `text` beside the bar, or without a terminal in a line every ten seconds.
    fn show(&mut self, text: String) {
        let done = self.pace.done();
        if self.bar.is_hidden() && self.last_line.elapsed() >= BETWEEN_LINES {
            self.last_line = Instant::now();
            output::say(format_args!("{:.0} % done: {text}", 100.0 * done));
        }
        self.bar.set_position((done * PARTS as f64) as u64);
        self.bar.set_message(text);
    }
}

impl Observer for Terminal {
    fn starts(&mut self, key: &str, done: f64) {
        self.pace.starts_at(done);
        self.show_piece(key);
    }

    fn progress(&mut self, key: &str, done: f64) {
        self.pace.moves_to(done);
        self.show_piece(key);
    }

    fn loading(&mut self, done: usize, all: usize) {
        self.show(format!("{done}/{all} images decoded"));
    }

    fn note(&mut self, text: &str) {
        // Each run of a study says the same of its images.
        if self.notes.insert(text.into()) {
            self.bar.suspend(|| output::say(text));
        }
    }
}
