//! Running the program as a child process.

use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// The program, about to run in `folder` with the words of `line` as arguments.
pub fn metaburn(folder: &Path, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_metaburn"));
    command.args(line.split_whitespace()).current_dir(folder).stdin(Stdio::null());
    command
}

/// Runs the program and waits for its end.
pub fn run(folder: &Path, line: &str) -> Outcome {
    run_command(&mut metaburn(folder, line))
}

/// Runs a command and waits for its end.
pub fn run_command(command: &mut Command) -> Outcome {
    command.output().expect("the program starts").into()
}

/// The command that a message advises: indented, on a line of its own.
pub fn advised(message: &str) -> &str {
    message.lines().rev().find_map(|line| line.strip_prefix("  ")).expect("a command")
}

/// Runs `command` in a shell that has metaburn on its path.
pub fn run_in_shell(folder: &Path, command: &str) -> Outcome {
    let program = Path::new(env!("CARGO_BIN_EXE_metaburn"));
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{path}", program.parent().unwrap().display());
    run_command(Command::new("sh").args(["-c", command]).env("PATH", path).current_dir(folder))
}

/// How a run of a program ended, and what it printed.
#[derive(Debug)]
pub struct Outcome {
    /// The exit code; none after a signal.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for Outcome {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("the program prints text");
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

impl Outcome {
    /// Asserts success.
    pub fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self
    }

    /// Asserts success and that standard output is one JSON object on one line; returns the object.
    pub fn json(self) -> Value {
        let outcome = self.ok();
        assert_eq!(outcome.stdout.lines().count(), 1, "{}", outcome.stdout);
        let value: Value = serde_json::from_str(&outcome.stdout).expect("JSON");
        assert!(value.is_object(), "{value}");
        value
    }

    /// Asserts exit code 2 (the user must change something), nothing on standard output, and an error message that
    /// contains all `words`; returns the message.
    pub fn refused(self, words: &[&str]) -> String {
        self.error(2, words)
    }

    /// Asserts exit code 1 (something failed), nothing on standard output, and an error message that contains all
    /// `words`; returns the message.
    pub fn failed(self, words: &[&str]) -> String {
        self.error(1, words)
    }

    fn error(self, code: i32, words: &[&str]) -> String {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert!(self.stderr.starts_with("error: ") && !self.stderr.contains("panicked"), "{self:?}");
        assert_eq!(self.stdout, "");
        for word in words {
            assert!(self.stderr.contains(word), "`{word}` is not in: {}", self.stderr);
        }
        self.stderr
    }
}

/// A running program; killed when dropped.
pub struct Running(Option<Child>);

impl Running {
    /// Starts `command`.
    pub fn start(command: &mut Command) -> Self {
        let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(Some(piped.spawn().expect("the program starts")))
    }

    /// Starts `command`, with standard error written to the file `log`.
    pub fn start_with_log(command: &mut Command, log: &Path) -> Self {
        let log = fs::File::create(log).expect("a log");
        Self(Some(command.stdout(Stdio::piped()).stderr(log).spawn().expect("the program starts")))
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child().try_wait().expect("it is our child").is_some()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.0.as_ref().expect("it was not waited for").id()
    }

    /// Waits until `condition` holds. The program must not end before.
    pub fn wait_until(&mut self, condition: impl Fn() -> bool) {
        while !condition() {
            let ended = self.child().try_wait().expect("it is our child");
            assert!(
                ended.is_none() || condition(),
                "the program ended ({ended:?}) before the condition held"
            );
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Sends a signal, such as `-TERM`.
    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()));
    }

    /// Waits for its end.
    pub fn wait(mut self) -> Outcome {
        self.0.take().expect("it was not waited for").wait_with_output().expect("it is our child").into()
    }

    /// Sends SIGINT, as Ctrl-C does, and waits for the end.
    pub fn interrupt(self) -> Outcome {
        self.signal("-INT");
        self.wait()
    }

    fn child(&mut self) -> &mut Child {
        self.0.as_mut().expect("it was not waited for")
    }
}

impl Drop for Running {
    /// Sends SIGKILL.
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let killed = child.kill().and_then(|()| child.wait());
            assert!(killed.is_ok() || std::thread::panicking(), "{killed:?}");
        }
    }
}
