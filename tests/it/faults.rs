//! Disk failures: one failing call, all calls from one on, a full disk, a read-only folder, a folder moved away, a record
//! that cannot be read. Training continues where it can and reports what it could not save, and the run directory always
//! resumes to the same bits.
//!
//! Calls fail in the child process alone, by a preloaded library (`faults/shim.rs`).
#![cfg(target_os = "linux")] // it preloads a library and mounts a file system

use crate::common::optional::{skip, succeeds};
use crate::common::{
    Outcome, Running, SMALL, best_checkpoints, checkpoint, folder_with_images, last_saved_step, metaburn,
    names, run, run_command, run_state,
};
use metaburn::run::RunDir;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::TempDir;

/// A checkpoint after every step.
const OFTEN: &str = "--set checkpoint.every=1 --set checkpoint.keep=2";

/// The path of the library that makes calls fail; built once, by the compiler that built this test.
fn shim() -> &'static Path {
    static BUILT: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = BUILT.get_or_init(|| {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("libfaulty.so");
        let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/faults/shim.rs");
        let mut build = Command::new(compiler);
        build.args(["--edition", "2024", "--crate-type", "cdylib", "-O", source, "-o"]).arg(&path);
        let built = build.output().expect("rustc is there");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        (folder, path)
    });
    path
}

/// Which of the program's calls on its run directory fail, counted from 1.
#[derive(Clone, Copy, Debug)]
enum Fails {
    None,
    Once(usize),
    From(usize),
}

/// The program, about to run in `folder` with the preloaded library, which by itself makes no call fail.
fn preloaded(folder: &Path, line: &str) -> Command {
    let mut command = metaburn(folder, line);
    command.env("LD_PRELOAD", shim()).env("FAULTY_FOLDER", "nothing");
    command.env("FAULTY_LOG", folder.join("calls.log"));
    command
}

/// Runs `metaburn LINE` in `folder` with these failing calls; also returns the log of its calls.
fn faulty(folder: &Path, line: &str, fails: Fails) -> (Outcome, String) {
    let log = folder.join("calls.log");
    let _ = fs::remove_file(&log);
    let (call, mode) = match fails {
        Fails::None => (usize::MAX, "once"),
        Fails::Once(call) => (call, "once"),
        Fails::From(call) => (call, "ever"),
    };
    let mut command = preloaded(folder, line);
    command.env("FAULTY_FOLDER", "torn").env("FAULTY_CALL", call.to_string()).env("FAULTY_MODE", mode);
    let ran = run_command(&mut command);
    (ran, fs::read_to_string(&log).unwrap_or_default())
}

/// The start of the command for a short run with validations.
fn short() -> String {
    format!("train {SMALL} {OFTEN} --steps 4 --set eval.every=2 --run-dir")
}

/// Asserts that a short run with these failing calls ends without a panic, and that after resuming it is like the run in
/// `whole`, which was not disturbed. Returns whether a call failed.
///
/// The best checkpoints may be others if the run went on after it could not write one, which it says: that validation is then
/// not among the best.
fn assert_survives(fails: Fails, whole: &Path) -> bool {
    let folder = folder_with_images();
    let torn = folder.path().join("torn");
    let (ran, calls) = faulty(folder.path(), &format!("{} torn", short()), fails);
    let failing = calls.lines().find(|line| line.ends_with(" FAILS"));
    let what = format!("{fails:?} ({}): {ran:?}", failing.unwrap_or("none"));
    assert!(!ran.stderr.contains("panicked"), "{what}");
    match ran.code {
        // The failed call was not needed, or was repeated later.
        Some(0) => {
            assert!(
                run_state(&torn) == run_state(whole) && torn.join("results/test.json").exists(),
                "{what}"
            );
        }
        Some(1) => assert!(ran.stderr.contains("error: "), "{what}"),
        _ => panic!("{what}"),
    }
    let again = match torn.join("config.toml").exists() {
        true => run(folder.path(), "resume torn"),
        false => run(folder.path(), &format!("{} torn", short())),
    };
    assert_eq!(again.code, Some(0), "{what}\nand then: {again:?}");
    assert!(!again.stderr.contains("not usable"), "{what}\nand then: {again:?}");
    assert!(run_state(&torn) == run_state(whole), "{what}\nand then: {again:?}");
    let (best, expected) = (best_checkpoints(&torn), best_checkpoints(whole));
    if ran.stderr.contains("could not be kept as one of the best") {
        // One is listed all the same, and its checkpoint is there.
        let [listed] = best.0.validations() else { panic!("{what}: {best:?}") };
        let kept = RunDir::at(&torn).best_checkpoints(1, 1).expect("a sound checkpoint");
        assert_eq!(kept[0].training_state.step, listed.step, "{what}\nand then: {again:?}");
    } else {
        assert_eq!(best, expected, "{what}\nand then: {again:?}");
    }
    failing.is_some()
}

/// The number of calls that a short run without failures makes on its directory; asserts that all kinds occur.
fn calls() -> usize {
    let folder = folder_with_images();
    let (ran, calls) = faulty(folder.path(), &format!("{} torn", short()), Fails::None);
    ran.ok();
    for kind in ["write", "fsync", "fdatasync", "ftruncate64", "rename", "unlink", "open", "mkdir"] {
        assert!(calls.lines().any(|line| line.contains(&format!(" {kind} "))), "no {kind} in {calls}");
    }
    calls.lines().count()
}

/// Asserts that a short run survives failures at each of its calls; runs two at a time.
fn assert_survives_at_every_call(fails: impl Fn(usize) -> Fails + Sync) {
    let folder = folder_with_images();
    run(folder.path(), &format!("{} whole", short())).ok();
    let (whole, last) = (folder.path().join("whole"), calls());
    let (next, failed) = (AtomicUsize::new(1), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let call = next.fetch_add(1, Ordering::SeqCst);
                    if call > last {
                        return;
                    }
                    if assert_survives(fails(call), &whole) {
                        failed.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
    });
    // The number of calls differs a little from run to run, since records are also written after a second.
    let failed = failed.into_inner();
    assert!(10 * failed >= 9 * last, "a call failed in only {failed} of {last} runs");
}

#[test]
fn one_failing_call_loses_nothing() {
    assert_survives_at_every_call(Fails::Once);
}

#[test]
fn failing_calls_from_any_point_on_leave_a_run_that_resumes() {
    assert_survives_at_every_call(Fails::From);
}

#[test]
fn a_record_that_cannot_be_read_stays_as_it_is_until_it_can() {
    let folder = folder_with_images();
    let (torn, whole) = (folder.path().join("torn"), folder.path().join("whole"));
    let train = |name: &str| run(folder.path(), &format!("{} {name}", short())).ok();
    train("whole");
    run(folder.path(), "resume whole --steps 6").ok();
    for record in ["metrics.jsonl", "clock.jsonl"] {
        train("torn");
        let before = fs::read(torn.join(record)).unwrap();
        let mut command = preloaded(folder.path(), "resume torn --steps 6");
        let why = format!("cannot read torn/{record}: Input/output error");
        run_command(command.env("FAULTY_READ", record)).failed(&[why.as_str()]);
        assert!(fs::read(torn.join(record)).unwrap() == before, "{record} has changed");
        run(folder.path(), "resume torn --steps 6").ok();
        assert!(run_state(&torn) == run_state(&whole), "{record}");
        fs::remove_dir_all(&torn).unwrap();
    }
}

/// A long run whose directory is disturbed while it trains.
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
    /// Starts the run `torn` in `place`, or in its own folder, and waits until it has saved ten steps.
    fn begin(place: Option<&Path>, more: impl FnOnce(&mut Command)) -> Self {
        let folder = folder_with_images();
        let place = place.unwrap_or(folder.path()).to_path_buf();
        let mut command = metaburn(folder.path(), &long(&place, "torn"));
        more(&mut command);
        let mut running = Running::start_with_log(&mut command, &folder.path().join("log"));
        running.wait_until(|| last_saved_step(&place.join("torn")) >= Some(10));
        Self { folder, place, running }
    }

    fn torn(&self) -> PathBuf {
        self.place.join("torn")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// Waits until `words` are in the log.
    fn wait_for_log(&mut self, words: &str) {
        let log = self.folder.path().join("log");
        self.running.wait_until(|| fs::read_to_string(&log).unwrap().contains(words));
    }

    /// After the disturbance: asserts that saving works again and that the run ends like an undisturbed one.
    fn ends_well(self) {
        let (log, torn, folder) = (self.folder.path().join("log"), self.torn(), self.folder);
        let ran = self.running.wait();
        let log = fs::read_to_string(log).unwrap();
        assert_eq!(ran.code, Some(0), "{log}");
        assert!(log.contains("saving works again"), "{log}");
        run(folder.path(), &long(folder.path(), "whole")).ok();
        assert!(run_state(&torn) == run_state(&folder.path().join("whole")), "{log}");
    }
}

/// A small file system in memory; unmounted when dropped.
struct Small(TempDir);

impl Small {
    /// A file system of `kilobytes`; `None` where mounting is not allowed.
    fn mount(kilobytes: usize) -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &format!("size={kilobytes}k"), "tmpfs"]).arg(folder.path());
        match command.output() {
            Ok(output) if output.status.success() => Some(Self(folder)),
            other => {
                skip("tmpfs", format_args!("a small file system cannot be mounted here: {other:?}"));
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
fn a_full_disk_stops_saving_but_not_training() {
    let Some(small) = Small::mount(4096) else { return };
    let mut trouble = Trouble::begin(Some(small.0.path()), |_| {});
    let ballast = small.0.path().join("ballast");
    // Fails when the disk is full, as intended.
    let _ = fs::write(&ballast, vec![0; 8 << 20]);
    trouble.wait_for_log("not saved: cannot write");
    assert!(trouble.log().contains("No space left"), "{}", trouble.log());
    assert!(last_saved_step(&trouble.torn()).is_some(), "the last good checkpoint is kept");
    fs::remove_file(&ballast).unwrap();
    trouble.ends_well();
}

#[test]
fn a_run_on_a_disk_that_stays_full_prints_its_accuracy_and_reports_what_is_not_saved() {
    let Some(small) = Small::mount(4096) else { return };
    let mut trouble = Trouble::begin(Some(small.0.path()), |_| {});
    let ballast = small.0.path().join("ballast");
    let _ = fs::write(&ballast, vec![0; 8 << 20]);
    trouble.wait_for_log("not saved");
    let (torn, folder, place) = (trouble.torn(), trouble.folder, trouble.place);
    let ran = trouble.running.wait();
    let log = fs::read_to_string(folder.path().join("log")).unwrap();
    assert_eq!(ran.code, Some(1), "{log}");
    assert!(ran.stdout.contains("test accuracy"), "{ran:?}");
    let last = last_saved_step(&torn).unwrap();
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
    assert!(run_state(&torn) == run_state(&folder.path().join("whole")));
}

#[test]
fn a_run_directory_that_is_moved_away_and_back_loses_nothing() {
    let mut trouble = Trouble::begin(None, |_| {});
    let away = trouble.place.join("away");
    fs::rename(trouble.torn(), &away).unwrap();
    trouble.wait_for_log("not saved");
    assert!(!trouble.torn().exists(), "the directory is not created again");
    fs::rename(&away, trouble.torn()).unwrap();
    trouble.ends_well();
}

#[test]
fn a_checkpoint_folder_that_is_read_only_for_a_while_loses_nothing() {
    // Permissions do not bind root: then the program runs as another user, from a place that this user can read.
    let program = Path::new(env!("CARGO_BIN_EXE_metaburn"));
    let mine = folder_with_images();
    let is_root = fs::metadata(mine.path()).unwrap().uid() == 0;
    let open = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    open(mine.path(), 0o777);
    let copy = mine.path().join("metaburn");
    if is_root && fs::hard_link(program, &copy).and(fs::metadata(&copy)).is_err() {
        // By a child process: were the copy open for writing here while another test starts a child, that child
        // would inherit it for a moment, and the copy could not be executed (ETXTBSY).
        assert!(succeeds(Command::new("cp").arg(program).arg(&copy)));
    }
    let place = mine.path().to_path_buf();
    let log = place.join("log");
    let line = long(&place, "torn");
    let mut command = metaburn(&place, &line);
    if is_root {
        command = Command::new(&copy);
        command.args(line.split_whitespace()).current_dir(&place).uid(65534).gid(65534);
    }
    let mut running = Running::start_with_log(&mut command, &log);
    running.wait_until(|| last_saved_step(&place.join("torn")) >= Some(10));
    let checkpoints = place.join("torn/checkpoints");
    open(&checkpoints, 0o555);
    let mut trouble = Trouble { folder: mine, place, running };
    trouble.wait_for_log("not saved");
    assert!(trouble.log().contains("Permission denied"), "{}", trouble.log());
    open(&checkpoints, 0o755);
    trouble.ends_well();
}

/// The program on a file system without locks.
fn without_locks(folder: &Path, line: &str, error: i32) -> Command {
    let mut command = preloaded(folder, line);
    command.env("FAULTY_FLOCK", error.to_string());
    command
}

#[test]
fn where_a_file_system_has_no_locks_training_works_and_is_guarded_all_the_same() {
    let folder = folder_with_images();
    // ENOLCK, ENOSYS, EOPNOTSUPP and EBADF.
    for error in [37, 38, 95, 9] {
        let line = format!("train {SMALL} --steps 2 --run-dir run{error}");
        let ran = run_command(&mut without_locks(folder.path(), &line, error)).ok();
        assert!(ran.stdout.contains("test accuracy"), "{ran:?}");
        let run = folder.path().join(format!("run{error}"));
        assert!(run.join("results/test.json").is_file() && !run.join("run.owner").exists());
    }
    let path = folder.path().join("run");
    let owner = path.join("run.owner");
    let line = format!("train {SMALL} --steps 100000000 --run-dir run");
    let mut running = Running::start(&mut without_locks(folder.path(), &line, 37));
    running.wait_until(|| checkpoint(&path, 0).is_file());
    let held = format!("process {} on ", running.id());
    let words = ["run is in use", &held, "if it has ended, delete run/run.owner"];
    run_command(&mut without_locks(folder.path(), "resume run", 37)).refused(&words);
    // So is a process on a machine that has locks.
    run(folder.path(), "resume run").refused(&words);
    // A killed process leaves its file behind; it is seen that the process has ended.
    drop(running);
    assert!(owner.is_file());
    let again = format!("resume run --set outer.steps={}", last_saved_step(&path).unwrap() + 1);
    run_command(&mut without_locks(folder.path(), &again, 37)).ok();
    assert!(!owner.exists());
    // A process on another machine cannot be seen: the advice is to delete the file, and that works.
    fs::write(&owner, r#"{"process":7,"host":"elsewhere","boot":"1","namespace":null,"started":null}"#)
        .unwrap();
    let message = run_command(&mut without_locks(folder.path(), "resume run", 37))
        .refused(&["process 7 on elsewhere", "delete run/run.owner"]);
    let advised = message.trim_end().rsplit("delete ").next().unwrap();
    fs::remove_file(folder.path().join(advised)).unwrap();
    run_command(&mut without_locks(folder.path(), "resume run", 37)).ok();
    // A stopped one deletes its file.
    let line = line.replace("--run-dir run", "--run-dir stopped");
    let mut running = Running::start(&mut without_locks(folder.path(), &line, 37));
    running.wait_until(|| checkpoint(&folder.path().join("stopped"), 0).is_file());
    assert_eq!(running.interrupt().code, Some(130));
    assert!(!folder.path().join("stopped/run.owner").exists());
}

#[test]
fn where_a_file_system_has_no_locks_an_interrupted_study_deletes_its_owners_file() {
    let folder = TempDir::new().unwrap();
    let study = folder.path().join("s");
    let (owner, records) = (study.join("study.owner"), study.join("records"));
    let command = || without_locks(folder.path(), "study quadratic --quick --out s", 37);
    let mut running = Running::start(&mut command());
    // The folders are there before the file.
    running.wait_until(|| owner.is_file() && !names(&records).is_empty());
    let ran = running.interrupt();
    assert_eq!(ran.code, Some(130), "{}", ran.stderr);
    assert!(!owner.exists());
    run_command(&mut command()).ok();
    assert!(study.join("report.md").is_file() && !owner.exists());
}
