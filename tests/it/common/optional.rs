//! Things that a machine may lack, such as data sets, a GPU driver or PyTorch. A test that needs one of them asks for
//! it here and returns where it is missing.
//!
//! Every skip is reported on standard error. Where the environment variable `CI` is set, a skip fails the test, unless
//! `METABURN_ALLOWED_SKIPS` names the missing thing; `.ci/run` puts names there, separated by spaces.

use super::run;
use std::fmt::Display;
use std::io::Write;
use std::path::{Path, PathBuf, absolute};
use std::process::Command;

/// Reports that a test is skipped since `thing` is missing, and `why`: past the harness, which hides what passing tests
/// print.
///
/// # Panics
/// Where `CI` is set and `METABURN_ALLOWED_SKIPS` does not name `thing`.
pub fn skip(thing: &str, why: impl Display) {
    // One write a line, so that lines of tests that run side by side do not mix.
    let _ = std::io::stderr().write_all(format!("SKIPPED ({thing}): {why}\n").as_bytes());
    let allowed = std::env::var("METABURN_ALLOWED_SKIPS").unwrap_or_default();
    let is_allowed = allowed.split_whitespace().any(|name| name == thing);
    assert!(
        std::env::var_os("CI").is_none() || is_allowed,
        "CI is set and METABURN_ALLOWED_SKIPS does not name {thing}, but {why}"
    );
}

/// The folder of a data set, `omniglot` or `mnist`: in the folder that METABURN_TEST_DATA names, else in `datasets/`.
pub fn data_set(name: &str) -> Option<PathBuf> {
    let given = std::env::var_os("METABURN_TEST_DATA").map(PathBuf::from);
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("datasets");
    let folders: Vec<PathBuf> = given.into_iter().chain([own]).map(|folder| folder.join(name)).collect();
    let found = folders.iter().find(|folder| folder.is_dir());
    if found.is_none() {
        let places: Vec<_> = folders.iter().map(|folder| folder.display().to_string()).collect();
        skip(
            name,
            format_args!("there is no folder {}; METABURN_TEST_DATA names another", places.join(" or ")),
        );
    }
    // The program runs in other folders.
    found.map(|folder| absolute(folder).expect("a path"))
}

/// Whether the program lacks wgpu: it was built without it, or finds no device.
pub fn lacks_wgpu() -> bool {
    let listed = run(Path::new("."), "backends").ok().stdout;
    let line = listed.lines().find(|line| line.starts_with("wgpu")).expect("wgpu is always listed");
    let lacks = line.split_whitespace().nth(1) == Some("no");
    if lacks {
        skip("wgpu", format_args!("`metaburn backends` says: {line}"));
    }
    lacks
}

/// Whether this program was built without ndarray.
pub fn lacks_ndarray() -> bool {
    let lacks = cfg!(not(feature = "ndarray"));
    if lacks {
        skip("ndarray", "the program was built without ndarray");
    }
    lacks
}

/// A Python with TensorBoard: METABURN_TENSORBOARD_PYTHON, or `python3`.
pub fn python_with_tensorboard() -> Option<PathBuf> {
    python("tensorboard", "METABURN_TENSORBOARD_PYTHON", "tensorboard")
}

/// A Python with PyTorch and what `examples/load_in_pytorch.py` needs besides: METABURN_PYTHON, or `python3`.
pub fn python_with_pytorch() -> Option<PathBuf> {
    python("pytorch", "METABURN_PYTHON", "torch, safetensors, numpy, PIL")
}

/// The Python that `variable` names, or `python3`, if it has `modules`; where it lacks one, `thing` is missing.
fn python(thing: &str, variable: &str, modules: &str) -> Option<PathBuf> {
    let python = std::env::var_os(variable).map_or_else(|| "python3".into(), PathBuf::from);
    let has = succeeds(Command::new(&python).args(["-c", &format!("import {modules}")]));
    if !has {
        let python = python.display();
        skip(thing, format_args!("{python} cannot import {modules}; {variable} names another Python"));
    }
    has.then_some(python)
}

/// Whether `command` starts and succeeds; what it prints is dropped.
pub fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}
