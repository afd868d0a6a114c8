//! A disk that fails: at any one call, at all from one on, full, read-only, gone. Training goes on where it can
//! and says what it could not save, and what lies on the disk is always a run that resumes to the same bits.
#![cfg(target_os = "linux")] // elsewhere there is no such way to make a disk fail

mod common;

use common::{Left, Ran, Running, SMALL, folder_with_images, left, metaburn, ran, run, saved, skipped};
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::TempDir;

/// Each step leaves a checkpoint.
const OFTEN: &str = "--set checkpoint.every=1 --set checkpoint.keep=2";

/// The library that makes calls fail, built once; the compiler that built this test is there.
fn shim() -> &'static Path {
    static BUILT: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = BUILT.get_or_init(|| {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("libfaulty.so");
        let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/faults/shim.rs");
        let mut build = Command::new(compiler);
        build.args(["--edition", "2024", "--crate-type", "cdylib", "-O", source, "-o"]).arg(&path);
        let built = build.output().expect("rustc is there");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        (folder, path)
    });
    path
}

/// Which of the program's calls on its run directory fail.
#[derive(Clone, Copy, Debug)]
enum Fails {
    None,
    Once(usize),
    From(usize),
}

/// `metaburn` with the words of `line` in `folder`, where such calls fail; also what calls it made.
fn faulty(folder: &Path, line: &str, fails: Fails) -> (Ran, String) {
    let log = folder.join("calls.log");
    let _ = fs::remove_file(&log);
    let (call, mode) = match fails {
        Fails::None => (usize::MAX, "once"),
        Fails::Once(call) => (call, "once"),
        Fails::From(call) => (call, "ever"),
    };
    let mut command = metaburn(folder, line);
    command.env("LD_PRELOAD", shim()).env("FAULTY_FOLDER", "torn").env("FAULTY_LOG", &log);
    let ran = ran(command.env("FAULTY_CALL", call.to_string()).env("FAULTY_MODE", mode));
    (ran, fs::read_to_string(&log).unwrap_or_default())
}

/// The options of a short run, with validations and momentum.
fn short() -> String {
    format!("train {SMALL} {OFTEN} --steps 4 --set eval.every=2 --run-dir")
}

/// What an undisturbed short run leaves.
fn undisturbed() -> Left {
    let folder = folder_with_images();
    run(folder.path(), &format!("{} whole", short())).ok();
    left(&folder.path().join("whole"))
}

/// That a short run with these faults ends as it should, and its resumption as `whole`.
fn survives(fails: Fails, whole: &Left) {
    let folder = folder_with_images();
    let torn = folder.path().join("torn");
    let (ran, calls) = faulty(folder.path(), &format!("{} torn", short()), fails);
    let failing = calls.lines().find(|line| line.ends_with(" FAILS")).unwrap_or("none").to_string();
    let what = format!("{fails:?} ({failing}): {ran:?}");
    assert!(!ran.stderr.contains("panicked"), "{what}");
    match ran.code {
        // What failed was not needed, or was done later.
        Some(0) => assert!(left(&torn) == *whole && torn.join("results/test.json").exists(), "{what}"),
        Some(1) => assert!(ran.stderr.contains("error: "), "{what}"),
        _ => panic!("{what}"),
    }
    let again = match torn.join("config.toml").exists() {
        true => run(folder.path(), "resume torn"),
        false => run(folder.path(), &format!("{} torn", short())),
    };
    assert_eq!(again.code, Some(0), "{what}\nand then: {again:?}");
    assert!(!again.stderr.contains("not usable"), "{what}\nand then: {again:?}");
    assert!(left(&torn) == *whole, "{what}\nand then: {again:?}");
}

/// Does `work` on 1 … `last` in steps of `every`, on two threads.
fn for_each(last: usize, every: usize, work: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(1);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let call = next.fetch_add(every, Ordering::SeqCst);
                    if call > last {
                        return;
                    }
                    work(call);
                }
            });
        }
    });
}

/// How many calls an undisturbed short run makes on its directory; every kind that counts is among them.
fn calls() -> usize {
    let folder = folder_with_images();
    let (ran, calls) = faulty(folder.path(), &format!("{} torn", short()), Fails::None);
    ran.ok();
    for kind in ["write", "fsync", "fdatasync", "ftruncate64", "rename", "unlink", "open", "mkdir"] {
        assert!(calls.lines().any(|line| line.contains(&format!(" {kind} "))), "no {kind} in {calls}");
    }
    calls.lines().count()
}

#[test]
fn any_one_call_may_fail() {
    let whole = undisturbed();
    for_each(calls(), 1, |call| survives(Fails::Once(call), &whole));
}

#[test]
fn all_calls_may_fail_from_any_on() {
    let whole = undisturbed();
    for_each(calls(), 1, |call| survives(Fails::From(call), &whole));
}

/// A long run, in whose midst something happens to its directory.
struct Trouble {
    folder: TempDir,
    place: PathBuf,
    running: Running,
}

const STEPS: u64 = 1500;

fn long(place: &Path, name: &str) -> String {
    format!("train {SMALL} {OFTEN} --steps {STEPS} --set eval.every=0 --run-dir {}/{name}", place.display())
}

impl Trouble {
    /// The run `torn` in `place`, or in a folder of its own, saved some times already.
    fn begin(place: Option<&Path>, more: impl FnOnce(&mut Command)) -> Self {
        let folder = folder_with_images();
        let place = place.unwrap_or(folder.path()).to_path_buf();
        let mut command = metaburn(folder.path(), &long(&place, "torn"));
        more(&mut command);
        let mut running = Running::logging(&mut command, &folder.path().join("log"));
        running.until(|| saved(&place.join("torn")) >= Some(10));
        Self { folder, place, running }
    }

    fn torn(&self) -> PathBuf {
        self.place.join("torn")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// Waits until the run has said that it cannot save, with these `words`.
    fn says(&mut self, words: &str) {
        let log = self.folder.path().join("log");
        self.running.until(|| fs::read_to_string(&log).unwrap().contains(words));
    }

    /// Now that all is well again: waits for the end, which is that of an undisturbed run.
    fn ends_well(self) {
        let (log, torn, folder) = (self.folder.path().join("log"), self.torn(), self.folder);
        let ran = self.running.end();
        let log = fs::read_to_string(log).unwrap();
        assert_eq!(ran.code, Some(0), "{log}");
        assert!(log.contains("saving works again"), "{log}");
        run(folder.path(), &long(folder.path(), "whole")).ok();
        assert!(left(&torn) == left(&folder.path().join("whole")), "{log}");
    }
}

/// A file system of `kilobytes`, in memory; `None`, said aloud, where nobody may mount one.
struct Small(TempDir);

impl Small {
    fn mount(kilobytes: usize) -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &format!("size={kilobytes}k"), "tmpfs"]).arg(folder.path());
        match command.output() {
            Ok(output) if output.status.success() => Some(Self(folder)),
            other => {
                skipped(format_args!("a small file system cannot be mounted here: {other:?}"));
                None
            }
        }
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let done = Command::new("umount").arg("-l").arg(self.0.path()).status();
        assert!(done.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

#[test]
fn a_disk_that_fills_stops_saving_and_not_training() {
    let Some(small) = Small::mount(4096) else { return };
    let mut trouble = Trouble::begin(Some(small.0.path()), |_| {});
    let ballast = small.0.path().join("ballast");
    // Ends with the error that is wanted here.
    let _ = fs::write(&ballast, vec![0; 8 << 20]);
    trouble.says("not saved: cannot write");
    assert!(trouble.log().contains("No space left"), "{}", trouble.log());
    assert!(saved(&trouble.torn()).is_some(), "the last good checkpoint is there");
    fs::remove_file(&ballast).unwrap();
    trouble.ends_well();
}

#[test]
fn a_run_on_a_disk_that_stays_full_tells_its_accuracy_and_what_is_not_saved() {
    let Some(small) = Small::mount(4096) else { return };
    let mut trouble = Trouble::begin(Some(small.0.path()), |_| {});
    let ballast = small.0.path().join("ballast");
    let _ = fs::write(&ballast, vec![0; 8 << 20]);
    trouble.says("not saved");
    let (torn, folder, place) = (trouble.torn(), trouble.folder, trouble.place);
    let ran = trouble.running.end();
    let log = fs::read_to_string(folder.path().join("log")).unwrap();
    assert_eq!(ran.code, Some(1), "{log}");
    assert!(ran.stdout.contains("test accuracy"), "{ran:?}");
    let last = saved(&torn).unwrap();
    for words in [
        format!("error: outer step {STEPS} is not saved"),
        format!("after outer step {last}"),
        "metaburn resume".into(),
    ] {
        assert!(log.contains(&words), "{words}: {log}");
    }
    fs::remove_file(&ballast).unwrap();
    run(&place, "resume torn").ok();
    run(folder.path(), &long(folder.path(), "whole")).ok();
    assert!(left(&torn) == left(&folder.path().join("whole")));
}

#[test]
fn a_directory_that_vanishes_and_returns_has_lost_nothing() {
    let mut trouble = Trouble::begin(None, |_| {});
    let away = trouble.place.join("away");
    fs::rename(trouble.torn(), &away).unwrap();
    trouble.says("not saved");
    assert!(!trouble.torn().exists(), "nobody makes another in its place");
    fs::rename(&away, trouble.torn()).unwrap();
    trouble.ends_well();
}

#[test]
fn a_directory_made_read_only_has_lost_nothing() {
    // No permission binds root: the program is somebody else then, and lies where that one finds it.
    let program = Path::new(env!("CARGO_BIN_EXE_metaburn"));
    let mine = folder_with_images();
    let is_root = fs::metadata(mine.path()).unwrap().uid() == 0;
    let open = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    open(mine.path(), 0o777);
    let copy = mine.path().join("metaburn");
    if is_root && fs::hard_link(program, &copy).and(fs::metadata(&copy)).is_err() {
        fs::copy(program, &copy).unwrap();
    }
    let place = mine.path().to_path_buf();
    let log = place.join("log");
    let line = long(&place, "torn");
    let mut command = metaburn(&place, &line);
    if is_root {
        command = Command::new(&copy);
        command.args(line.split_whitespace()).current_dir(&place).uid(65534).gid(65534);
    }
    let mut running = Running::logging(&mut command, &log);
    running.until(|| saved(&place.join("torn")) >= Some(10));
    let checkpoints = place.join("torn/checkpoints");
    open(&checkpoints, 0o555);
    let mut trouble = Trouble { folder: mine, place, running };
    trouble.says("not saved");
    assert!(trouble.log().contains("Permission denied"), "{}", trouble.log());
    open(&checkpoints, 0o755);
    trouble.ends_well();
}
