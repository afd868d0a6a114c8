//! `metaburn doctor`: checks that everything a run needs is available, and suggests fixes.

use super::{Outcome, exit, output, progress};
use bilevel::device;
use bilevel::device::Backend;
use bilevel::panics::catch;
use bilevel::readback::read;
use burn::tensor::{Tensor, TensorData};
use clap::Args;
use metaburn::data::{Dataset, registry};
use metaburn::run::{self, RunDir, quoted};
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

/// Rows and columns of the matrices that each backend multiplies.
const SIDE: usize = 32;
/// The file by which programs talk to NVIDIA's driver (Linux).
const NVIDIA: &str = "/dev/nvidiactl";
/// Free bytes of memory or disk below which a warning is given.
const LOW_SPACE: u64 = 1 << 30;

/// Check backends, data, memory and run directories, and suggest fixes
///
/// Each line begins with ok, warning (training still works) or problem. The exit code is 1 if there is any problem.
/// Nothing is changed, except that a temporary file is created in each of datasets/ and checkpoints/, or in the working
/// directory if the folder does not exist, and deleted again.
///
/// Example: metaburn doctor
///
/// Example: metaburn doctor --json
#[derive(Args)]
pub struct Doctor {
    /// Print each check as a JSON object
    #[arg(long)]
    json: bool,
}

/// The result of a check.
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
        let mut report = |check: Check| -> Result<(), super::CommandError> {
            problems += usize::from(check.state == State::Problem);
            match self.json {
                true => Ok(output::print(serde_json::to_string(&check)?)?),
                false => Ok(output::print(check.line())?),
            }
        };
        let mut all = |checks: Vec<Check>| -> Result<(), super::CommandError> {
            checks.into_iter().try_for_each(&mut report)
        };
        all(vec![build(), memory()])?;
        all(vec![gpu()])?;
        for backend in device::ALL.into_iter().filter(|backend| is_checked(*backend)) {
            all(vec![computes(backend)])?;
        }
        all(registry::datasets().map(data).collect())?;
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

/// The program's version and features.
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

/// Free memory, known on Linux only (from `/proc/meminfo`), and threads.
fn memory() -> Check {
    let free = fs::read_to_string("/proc/meminfo").ok().and_then(|text| available(&text));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let Some(free) = free else {
        return Check::ok("memory", format!("free memory is unknown on this system; {threads} threads"));
    };
    let found = format!("{} free, {threads} threads", gibibytes(free));
    match free < LOW_SPACE {
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

/// Free bytes on the disk of `folder`; `None` if unknown.
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

/// Available bytes, parsed from the text of `/proc/meminfo`.
fn available(text: &str) -> Option<u64> {
    let kibibytes = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(1024 * kibibytes.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?)
}

/// Whether `backend` is checked: flex always, and of the others, those that can be used here.
fn is_checked(backend: Backend) -> bool {
    backend == Backend::Flex || device::open(backend).is_ok()
}

/// Whether there is a GPU that this program can use. A machine without one is in order.
fn gpu() -> Check {
    let opened: Vec<_> = device::ALL.into_iter().map(|backend| (backend, device::open(backend))).collect();
    let usable = opened.iter().filter_map(|(_, opened)| opened.as_ref().ok()).find(|opened| opened.is_gpu);
    if let Some(usable) = usable {
        return Check::ok("GPU", format!("{} ({})", usable.description, usable.backend));
    }
    match Path::new(NVIDIA).exists() {
        false => Check::ok("GPU", "none that this program can use; training runs on the CPU (docs/gpu.md)"),
        true => {
            let reasons = opened
                .into_iter()
                .filter_map(|(backend, opened)| Some(format!("{backend}: {}", opened.err()?.reason)));
            let found = format!(
                "an NVIDIA driver is installed, but no backend can use it ({})",
                reasons.collect::<Vec<_>>().join("; ")
            );
            Check::new(
                "GPU",
                State::Warning,
                found,
                Some("until this is fixed, training runs on the CPU".into()),
            )
        }
    }
}

/// Multiplies two matrices on `backend` and compares the product with one computed by plain loops.
fn computes(backend: Backend) -> Check {
    let what = format!("backend {backend}");
    let opened = match device::open(backend) {
        Ok(opened) => opened,
        Err(error) => return Check::new(what, State::Problem, error.reason, None),
    };
    let values: Vec<f32> = (0..SIDE * SIDE).map(|place| (place % 7) as f32 - 3.0).collect();
    let began = Instant::now();
    let product = catch(|| {
        let matrix = Tensor::<2>::from_data(TensorData::new(values.clone(), [SIDE, SIDE]), &opened.device);
        read(matrix.clone().matmul(matrix).reshape([SIDE * SIDE]))
    });
    let milliseconds = 1e3 * began.elapsed().as_secs_f64();
    let entry = |place: usize| -> f64 {
        let (row, column) = (place / SIDE, place % SIDE);
        (0..SIDE).map(|k| f64::from(values[row * SIDE + k]) * f64::from(values[k * SIDE + column])).sum()
    };
    let advice = || {
        Some(format!("choose another with --backend; `{backend}` does not work correctly on this machine"))
    };
    match product {
        // Small integers, exact even in half precision.
        Ok(product) if product.iter().enumerate().all(|(place, value)| *value == entry(place)) => Check::ok(
            what,
            format!("{}, a matrix product is correct ({milliseconds:.1} ms)", opened.description),
        ),
        Ok(_) => Check::new(what, State::Problem, "a matrix product is wrong", advice()),
        Err(reason) => {
            Check::new(what, State::Problem, format!("a matrix product failed: {reason}"), advice())
        }
    }
}

/// Checks that the dataset in its default folder is complete.
fn data(dataset: &Dataset) -> Check {
    let Dataset { name, title, folder, .. } = *dataset;
    match (dataset.check)(Path::new(folder)) {
        Ok(classes) => Check::ok(title, format!("{folder} is complete, {classes} classes")),
        Err(_) if !Path::new(folder).is_dir() => {
            let advice =
                format!("`metaburn data fetch {name}` downloads it; the built-in glyphs need no files");
            Check::new(title, State::Warning, format!("{folder} is missing"), Some(advice))
        }
        Err(error) => Check::new(title, State::Problem, error.to_string(), None),
    }
}

/// Whether files can be created in `folder`, or in its parent if it does not exist.
fn writable(folder: &Path) -> Check {
    let place = if folder.is_dir() { folder } else { Path::new(".") };
    let what = format!("{}/", folder.display());
    match (tempfile::NamedTempFile::new_in(place), free(place)) {
        (Ok(_), Some(bytes)) if bytes < LOW_SPACE => {
            let found = format!("writable, but only {} free", gibibytes(bytes));
            Check::new(what, State::Warning, found, Some("free some space, or lower checkpoint.keep".into()))
        }
        (Ok(_), Some(bytes)) => Check::ok(what, format!("writable, {} free", gibibytes(bytes))),
        (Ok(_), None) => Check::ok(what, "writable"),
        (Err(error), _) => {
            let advice = "change its permissions, or work in another folder";
            Check::new(what, State::Problem, format!("not writable: {error}"), Some(advice.into()))
        }
    }
}

/// A summary of the runs in `folder` and its sweeps, and a check for each that is unfinished or damaged.
fn runs(folder: &Path) -> Vec<Check> {
    let below = |folder: &Path| -> Vec<PathBuf> {
        let mut paths: Vec<PathBuf> =
            fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        paths.sort();
        paths
    };
    let is_run = |path: &Path| RunDir::find(path).is_ok();
    let found: Vec<PathBuf> = below(folder)
        .into_iter()
        .flat_map(|path| if is_run(&path) { vec![path] } else { below(&path) })
        .filter(|path| is_run(path))
        .collect();
    let checks: Vec<Option<Check>> = found.iter().map(|path| run(path)).collect();
    let good = checks.iter().filter(|check| check.is_none()).count();
    let summary = Check::ok("runs", format!("{good} of {} finished and undamaged", found.len()));
    std::iter::once(summary).chain(checks.into_iter().flatten()).collect()
}

/// Checks the run in `path`; `None` if it is finished and undamaged.
fn run(path: &Path) -> Option<Check> {
    let what = format!("run {}", path.display());
    match problem_of(path) {
        Ok(None) => None,
        Ok(Some(found)) => {
            let resume = format!("metaburn resume {}", quoted(path));
            let advice = match found.diverged {
                true => format!(
                    "`{resume}` would repeat this step; add `--set outer.rate=RATE` with a lower rate, `--set outer.clip=10` or \
                     `--set divergence.action=skip`"
                ),
                false => format!("`{resume}` continues it"),
            };
            Some(Check::new(what, State::Warning, found.text, Some(advice)))
        }
        Err(error) => {
            let advice = "delete it, or restore the damaged files";
            Some(Check::new(what, State::Warning, error.to_string(), Some(advice.into())))
        }
    }
}

/// What is wrong with a run.
struct Problem {
    text: String,
    diverged: bool,
}

/// `None` for a run that is finished and undamaged, else what is wrong with it.
fn problem_of(path: &Path) -> Result<Option<Problem>, run::Error> {
    let not_finished = |text: String| Some(Problem { text, diverged: false });
    let (directory, config) = RunDir::open(path)?;
    let latest = directory.latest()?;
    let tested = directory.test_result()?.map(|test| test.tested().steps);
    if let Some(step) = directory.diverged_at()?.filter(|_| tested.is_none()) {
        return Ok(Some(Problem { text: format!("diverged at outer step {step}"), diverged: true }));
    }
    let Some((saved, faults)) = latest else { return Ok(not_finished("has no checkpoint yet".into())) };
    if let Some(fault) = faults.first() {
        return Ok(not_finished(fault.clone()));
    }
    let (step, evaluations) = (saved.training_state.step, saved.training_state.evaluations.total());
    // A run that is trained longer than planned has the test of its earlier budget.
    let lacks = if config.outer.budget.progress(step, evaluations) < 1.0 {
        Some("its budget is not used up")
    } else {
        tested.is_none_or(|tested| tested < step).then_some("not tested yet")
    };
    let text = |lacks| format!("at outer step {step}, {lacks}; it is still running or was stopped");
    Ok(lacks.and_then(|lacks| not_finished(text(lacks))))
}

/// How training progress is shown in this terminal.
fn terminal() -> Check {
    Check::ok("progress", progress::default_progress().description())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn available_memory_is_parsed() {
        assert_eq!(available("MemTotal: 9 kB\nMemAvailable:   2 kB\n"), Some(2048));
        assert_eq!(available("MemTotal: 9 kB\n"), None);
    }

    #[test]
    fn line_shows_state_finding_and_advice() {
        let check = Check::new("MNIST", State::Warning, "is not there", Some("fetch it".into()));
        assert_eq!(check.line(), "warning  MNIST: is not there; fetch it");
        assert_eq!(Check::ok("a", "b").line(), "ok       a: b");
    }
}
