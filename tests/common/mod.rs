//! What the tests share: where the real data lies, and how to say that a test was skipped.
#![allow(dead_code)] // each test file uses its own share of this

pub mod problems;

use image::{GrayImage, Luma};
use metaburn::archive::Archive;
use serde_json::Value;
use std::fmt::Display;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// Says aloud that a test was skipped, and why: past the harness, which hides what passing tests print.
pub fn skipped(why: impl Display) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
}

/// A file or folder of the data kept beside the checkout; `None`, said aloud, if it is not there.
pub fn shared(path: &str) -> Option<PathBuf> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared")).join(path);
    if !path.exists() {
        skipped(format_args!("{} is not there; this test needs it", path.display()));
        return None;
    }
    Some(path)
}

/// ‖a − b‖ / ‖b‖.
pub fn relative(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
    norm(&mut a.iter().zip(b).map(|(a, b)| a - b)) / norm(&mut b.iter().copied())
}

/// A network, episodes and images so small that a step takes milliseconds.
pub const TINY: &str = "--set model.filters=4 --set outer.meta_batch=2 --set data.image_size=14 \
                        --set task.queries=2 --set eval.every=0 --set eval.test_episodes=4 --backend flex";

/// A perceptron so small that a step takes about a millisecond, learning from the class folders in `images`.
pub const SMALL: &str = "--set data.source=folder --data images --set model.kind=mlp --set model.hidden=[4] \
                         --set data.image_size=8 --set task.ways=2 --set task.queries=1 --set outer.meta_batch=2 \
                         --set eval.episodes=2 --set eval.test_episodes=2 --backend flex --threads 1";

/// Whether tests that can take long are to take long: whether METABURN_LONG is set.
pub fn is_long() -> bool {
    std::env::var_os("METABURN_LONG").is_some()
}

/// Learning from the class folders in `images` instead of the built-in characters, two at a time.
pub const IMAGES: &str = "--set data.source=folder --data images --set task.ways=2";

/// The program, about to run in `folder` with the words of `line` for arguments.
pub fn metaburn(folder: &Path, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_metaburn"));
    command.args(line.split_whitespace()).current_dir(folder).stdin(Stdio::null());
    command
}

/// What became of a run of the program.
#[derive(Debug)]
pub struct Ran {
    /// The exit code; none after a signal.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// What a run left: its record, line by line but for times, and the name and the content of its last checkpoint.
#[derive(Debug, PartialEq)]
pub struct Left {
    metrics: String,
    clock: Vec<u64>,
    last: (String, String),
}

/// What the run in `path` left.
pub fn left(path: &Path) -> Left {
    let last = names(&path.join("checkpoints")).pop().expect("a checkpoint");
    let arrays = Archive::read(&path.join("checkpoints").join(&last)).expect("a sound checkpoint");
    let steps = lines(&path.join("clock.jsonl"));
    Left {
        metrics: fs::read_to_string(path.join("metrics.jsonl")).expect("a record"),
        clock: steps.iter().map(|line| line["step"].as_u64().expect("a step")).collect(),
        last: (last, arrays.digest()),
    }
}

/// The last step that a checkpoint of `run` knows of.
pub fn saved(run: &Path) -> Option<u64> {
    let entries = fs::read_dir(run.join("checkpoints")).ok()?;
    let step = |name: String| name.strip_prefix("step-")?.strip_suffix(".safetensors")?.parse().ok();
    entries.filter_map(|entry| step(entry.ok()?.file_name().into_string().ok()?)).max()
}

/// Runs the program to its end.
pub fn run(folder: &Path, line: &str) -> Ran {
    ran(&mut metaburn(folder, line))
}

/// Runs a command to its end.
pub fn ran(command: &mut Command) -> Ran {
    command.output().expect("the program starts").into()
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("the program prints text");
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

impl Ran {
    /// That it succeeded.
    pub fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self
    }

    /// That it succeeded and printed one JSON object, alone on its line, and nothing else.
    pub fn json(self) -> Value {
        let ran = self.ok();
        assert_eq!(ran.stdout.lines().count(), 1, "{}", ran.stdout);
        let value: Value = serde_json::from_str(&ran.stdout).expect("JSON");
        assert!(value.is_object(), "{value}");
        value
    }

    /// That it was refused for what the user must mend, and wrote nothing on standard output, with a message that
    /// has all these `words`; gives the message.
    pub fn refused(self, words: &[&str]) -> String {
        self.ended(2, words)
    }

    /// That something failed in it, with a message that has all these `words`; gives the message.
    pub fn failed(self, words: &[&str]) -> String {
        self.ended(1, words)
    }

    fn ended(self, code: i32, words: &[&str]) -> String {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert!(self.stderr.starts_with("error: ") && !self.stderr.contains("panicked"), "{self:?}");
        assert_eq!(self.stdout, "");
        for word in words {
            assert!(self.stderr.contains(word), "`{word}` is not in: {}", self.stderr);
        }
        self.stderr
    }
}

/// A program that still runs; killed when the test is done with it, however that ends.
pub struct Running(Option<Child>);

impl Running {
    /// Starts `command`.
    pub fn start(command: &mut Command) -> Self {
        let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(Some(piped.spawn().expect("the program starts")))
    }

    /// Starts `command`, whose messages go to the file `log`.
    pub fn logging(command: &mut Command, log: &Path) -> Self {
        let log = fs::File::create(log).expect("a log");
        Self(Some(command.stdout(Stdio::piped()).stderr(log).spawn().expect("the program starts")))
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        let child = self.0.as_mut().expect("it was not ended yet");
        child.try_wait().expect("it is our child").is_some()
    }

    /// Waits for its end.
    pub fn end(mut self) -> Ran {
        self.0.take().expect("it was not ended yet").wait_with_output().expect("it is our child").into()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.0.as_ref().expect("it was not ended yet").id()
    }

    /// Waits until `condition` holds, which must be before the program ends by itself.
    pub fn until(&mut self, condition: impl Fn() -> bool) {
        let child = self.0.as_mut().expect("it was not ended yet");
        while !condition() {
            let ended = child.try_wait().expect("it is our child");
            assert!(ended.is_none() || condition(), "the program ended ({ended:?}) before its time");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Presses Ctrl-C and waits for the end.
    pub fn interrupt(mut self) -> Ran {
        let child = self.0.take().expect("it was not ended yet");
        let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()));
        child.wait_with_output().expect("it is our child").into()
    }
}

impl Drop for Running {
    /// SIGKILL: the program is not asked.
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let killed = child.kill().and_then(|()| child.wait());
            assert!(killed.is_ok() || std::thread::panicking(), "{killed:?}");
        }
    }
}

/// A new folder with an `images` folder of ten classes of six images in it, each class in a shade and
/// with a stripe of its own.
pub fn folder_with_images() -> TempDir {
    let folder = TempDir::new().expect("a folder");
    for class in 0..10_u32 {
        let path = folder.path().join(format!("images/class{class}"));
        fs::create_dir_all(&path).expect("a class folder");
        for image in 0..6_u32 {
            let stripe = |x, y| {
                let ink = x == class || (y + image) % 7 == class % 3;
                Luma([if ink { 20 * class as u8 } else { 255 }])
            };
            GrayImage::from_fn(14, 14, stripe).save(path.join(format!("{image}.png"))).expect("an image");
        }
    }
    folder
}

/// The JSON lines of a file.
pub fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).expect("a file of lines");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// The names in a folder, sorted.
pub fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text")).collect();
    names.sort();
    names
}

/// The checkpoint of `run` after outer step `step`.
pub fn checkpoint(run: &Path, step: u64) -> PathBuf {
    run.join(format!("checkpoints/step-{step:08}.safetensors"))
}

/// Whether there is no wgpu here; the reason is then said aloud.
pub fn lacks_wgpu() -> bool {
    let listed = run(Path::new("."), "backends").ok().stdout;
    let line = listed.lines().find(|line| line.starts_with("wgpu")).expect("wgpu is always listed");
    let lacks = line.split_whitespace().nth(1) == Some("no");
    if lacks {
        skipped(format_args!("{line}"));
    }
    lacks
}
