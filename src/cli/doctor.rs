//! `metaburn doctor`: whether all that a run needs is here, and what to do where it is not.

use super::{Outcome, exit, output, progress};
use burn::tensor::{Tensor, TensorData};
use clap::Args;
use metaburn::backend;
use metaburn::caught::caught;
use metaburn::config::Backend;
use metaburn::data::{mnist, omniglot};
use metaburn::host::host;
use metaburn::trainer::{self, RunDir, quoted};
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

/// Rows and columns of the product that each backend computes.
const SIDE: usize = 32;
/// Bytes below which a run may not fit into memory, or its checkpoints on the disk.
const LITTLE: u64 = 1 << 30;

/// Check backends, data, memory and run directories, and say what to do
///
/// Each line begins with ok, warning (training works without it) or problem. The exit code is 1 if there is a
/// problem. Nothing is changed: a file is written in datasets/ and checkpoints/ where they exist, and deleted.
///
/// Example: metaburn doctor
///
/// Example: metaburn doctor --json
#[derive(Args)]
pub struct Doctor {
    /// Print one JSON object per check on standard output
    #[arg(long)]
    json: bool,
}

/// What a check came to.
#[derive(Serialize)]
struct Check {
    what: String,
    state: State,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    Warning,
    Problem,
}

impl Doctor {
    /// Runs the command.
    pub fn run(self) -> Outcome {
        let mut problems = 0;
        let mut tell = |check: Check| -> Result<(), Box<dyn std::error::Error>> {
            problems += usize::from(check.state == State::Problem);
            match self.json {
                true => Ok(output::print(serde_json::to_string(&check)?)?),
                false => Ok(output::print(check.line())?),
            }
        };
        let mut all = |checks: Vec<Check>| -> Result<(), Box<dyn std::error::Error>> {
            checks.into_iter().try_for_each(&mut tell)
        };
        all(vec![build(), memory()])?;
        for backend in backend::ALL {
            all(vec![computes(backend)])?;
        }
        all(vec![omniglot_is_here(), mnist_is_here()])?;
        all(["datasets", "checkpoints"].map(Path::new).map(writable).into())?;
        all(runs(Path::new("checkpoints")))?;
        all(vec![terminal()])?;
        Ok(if problems == 0 { ExitCode::SUCCESS } else { ExitCode::from(exit::FAILED) })
    }
}

impl Check {
    fn new(what: impl Into<String>, state: State, found: impl Into<String>, advice: Option<String>) -> Self {
        Self { what: what.into(), state, found: found.into(), advice }
    }

    fn ok(what: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(what, State::Ok, found, None)
    }

    fn line(&self) -> String {
        let state = match self.state {
            State::Ok => "ok",
            State::Warning => "warning",
            State::Problem => "problem",
        };
        let advice = self.advice.iter().map(|advice| format!("; {advice}")).collect::<String>();
        format!("{state:<8} {}: {}{advice}", self.what, self.found)
    }
}

fn build() -> Check {
    let features = [
        ("wgpu", cfg!(feature = "wgpu")),
        ("ndarray", cfg!(feature = "ndarray")),
        ("vulkan", cfg!(feature = "vulkan")),
        ("cuda", cfg!(feature = "cuda")),
        ("dashboard", cfg!(feature = "dashboard")),
    ];
    let built: Vec<&str> = features.iter().filter(|(_, on)| *on).map(|(name, _)| *name).collect();
    let built = if built.is_empty() { "no features".into() } else { format!("with {}", built.join(", ")) };
    Check::ok("metaburn", format!("{}, built {built}", env!("CARGO_PKG_VERSION")))
}

/// Linux says under `/proc` what is free; elsewhere nothing is known.
fn memory() -> Check {
    let free = fs::read_to_string("/proc/meminfo").ok().and_then(|text| available(&text));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let Some(free) = free else {
        return Check::ok("memory", format!("not known here; {threads} threads"));
    };
    let found = format!("{} free, {threads} threads", gibibytes(free));
    match free < LITTLE {
        true => {
            let advice = "close other programs, or lower outer.meta_batch and model.filters";
            Check::new("memory", State::Warning, found, Some(advice.into()))
        }
        false => Check::ok("memory", found),
    }
}

fn gibibytes(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30))
}

/// Bytes that are free on the disk of `folder`, where the system says.
fn free(folder: &Path) -> Option<u64> {
    #[cfg(unix)]
    {
        let disk = rustix::fs::statvfs(folder).ok()?;
        Some(disk.f_bavail.saturating_mul(disk.f_frsize))
    }
    #[cfg(not(unix))]
    {
        let _ = folder;
        None
    }
}

/// Bytes, of the lines of `/proc/meminfo`.
fn available(text: &str) -> Option<u64> {
    let kibibytes = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(1024 * kibibytes.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?)
}

/// A product on `backend`, held against the same made here.
fn computes(backend: Backend) -> Check {
    let what = format!("backend {backend}");
    let opened = match backend::open(backend) {
        Ok(opened) => opened,
        // The rest of them will do; without flex nothing does, and that is always built in.
        Err(error) if backend == Backend::Flex => {
            return Check::new(what, State::Problem, error.reason, None);
        }
        Err(error) => return Check::new(what, State::Warning, error.reason, None),
    };
    let values: Vec<f32> = (0..SIDE * SIDE).map(|place| (place % 7) as f32 - 3.0).collect();
    let began = Instant::now();
    let product = caught(|| {
        let matrix = Tensor::<2>::from_data(TensorData::new(values.clone(), [SIDE, SIDE]), &opened.device);
        host(matrix.clone().matmul(matrix).reshape([SIDE * SIDE]))
    });
    let milliseconds = 1e3 * began.elapsed().as_secs_f64();
    let entry = |place: usize| -> f64 {
        let (row, column) = (place / SIDE, place % SIDE);
        (0..SIDE).map(|k| f64::from(values[row * SIDE + k]) * f64::from(values[k * SIDE + column])).sum()
    };
    let advice = || Some(format!("choose another with --backend; `{backend}` is not to be trusted here"));
    match product {
        // Small whole numbers: even half precision has them exactly.
        Ok(product) if product.iter().enumerate().all(|(place, value)| *value == entry(place)) => {
            Check::ok(what, format!("{}, a product in {milliseconds:.1} ms is right", opened.description))
        }
        Ok(_) => Check::new(what, State::Problem, "a product of two matrices is wrong", advice()),
        Err(reason) => Check::new(what, State::Problem, format!("it fails to compute: {reason}"), advice()),
    }
}

fn omniglot_is_here() -> Check {
    let folder = Path::new("datasets/omniglot");
    data("Omniglot", folder, "omniglot", omniglot::load(folder, 28).map(|set| set.classes().len()))
}

fn mnist_is_here() -> Check {
    let folder = Path::new("datasets/mnist");
    data("MNIST", folder, "mnist", mnist::load(folder).map(|_| 10))
}

/// What reading a dataset whole came to: the number of its classes, or an error.
fn data(name: &str, folder: &Path, fetch: &str, read: Result<usize, metaburn::data::Error>) -> Check {
    let there = folder.display();
    match read {
        Ok(classes) => Check::ok(name, format!("{there} is sound, {classes} classes")),
        Err(_) if !folder.is_dir() => {
            let advice =
                format!("`metaburn data fetch {fetch}` puts it there; the built-in characters need nothing");
            Check::new(name, State::Warning, format!("{there} is not there"), Some(advice))
        }
        Err(error) => Check::new(name, State::Problem, error.to_string(), None),
    }
}

/// Whether files can be made in `folder`, or in the folder that it would be made in.
fn writable(folder: &Path) -> Check {
    let place = if folder.is_dir() { folder } else { Path::new(".") };
    let what = format!("{}/", folder.display());
    match (tempfile::NamedTempFile::new_in(place), free(place)) {
        (Ok(_), Some(bytes)) if bytes < LITTLE => {
            let found = format!("can be written, but only {} are free", gibibytes(bytes));
            Check::new(what, State::Warning, found, Some("make room, or lower checkpoint.keep".into()))
        }
        (Ok(_), Some(bytes)) => Check::ok(what, format!("can be written, {} are free", gibibytes(bytes))),
        (Ok(_), None) => Check::ok(what, "can be written"),
        (Err(error), _) => {
            let advice = "make it writable, or work in another folder";
            Check::new(what, State::Problem, format!("cannot be written: {error}"), Some(advice.into()))
        }
    }
}

/// The runs below `folder`, and those of its sweeps, that want something done.
fn runs(folder: &Path) -> Vec<Check> {
    let below = |folder: &Path| -> Vec<PathBuf> {
        let mut paths: Vec<PathBuf> =
            fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        paths.sort();
        paths
    };
    let is_run = |path: &Path| path.join("config.toml").is_file();
    let found: Vec<PathBuf> = below(folder)
        .into_iter()
        .flat_map(|path| if is_run(&path) { vec![path] } else { below(&path) })
        .filter(|path| is_run(path))
        .collect();
    let checks: Vec<Option<Check>> = found.iter().map(|path| run(path)).collect();
    let sound = checks.iter().filter(|check| check.is_none()).count();
    let summary = Check::ok("runs", format!("{sound} of {} are finished and sound", found.len()));
    std::iter::once(summary).chain(checks.into_iter().flatten()).collect()
}

/// What is to be said of the run in `path`, if anything.
fn run(path: &Path) -> Option<Check> {
    let what = format!("run {}", path.display());
    match looked_at(path) {
        Ok(None) => None,
        Ok(Some(found)) => {
            let advice = format!("`metaburn resume {}` goes on", quoted(path));
            Some(Check::new(what, State::Warning, found, Some(advice)))
        }
        Err(error) => {
            let advice = "delete it, or put back what is damaged";
            Some(Check::new(what, State::Warning, error.to_string(), Some(advice.into())))
        }
    }
}

/// `None` for a run that is finished and sound, else what it lacks.
fn looked_at(path: &Path) -> Result<Option<String>, trainer::Error> {
    let (directory, _) = RunDir::open(path)?;
    let latest = directory.latest()?;
    if let Some(step) = directory.result("diverged")?.and_then(|note| note["step"].as_u64()) {
        return Ok(Some(format!("diverged at outer step {step}")));
    }
    let Some((saved, faults)) = latest else { return Ok(Some("has no checkpoint yet".into())) };
    if let Some(fault) = faults.first() {
        return Ok(Some(fault.clone()));
    }
    let finished = directory.result("test")?.is_some();
    let step = saved.standing.step;
    Ok((!finished)
        .then(|| format!("stands at outer step {step} and is not tested; it is under way, or was stopped")))
}

fn terminal() -> Check {
    Check::ok("progress", progress::usual().described())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_memory_is_read() {
        assert_eq!(available("MemTotal: 9 kB\nMemAvailable:   2 kB\n"), Some(2048));
        assert_eq!(available("MemTotal: 9 kB\n"), None);
    }

    #[test]
    fn a_line_says_state_finding_and_advice() {
        let check = Check::new("MNIST", State::Warning, "is not there", Some("fetch it".into()));
        assert_eq!(check.line(), "warning  MNIST: is not there; fetch it");
        assert_eq!(Check::ok("a", "b").line(), "ok       a: b");
    }
}
