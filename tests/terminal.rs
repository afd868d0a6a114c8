//! What a person sees on a terminal: the program runs in one of a given size, made by `script` of util-linux.
#![cfg(unix)]

mod common;

use common::{TINY, metaburn, run, skipped};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Where the terminal's other screen begins and ends.
const ENTER: &str = "\x1b[?1049h";
const LEAVE: &str = "\x1b[?1049l";

/// The program in a terminal.
struct Session {
    child: Child,
    began: Instant,
}

/// All that a terminal was sent, and the program's exit code.
struct Shown {
    text: String,
    code: Option<i32>,
}

/// `metaburn WORDS` in `folder`, on a terminal of `size` columns and rows; `None`, said aloud, where there is no
/// `script` that makes one.
fn on_terminal(
    folder: &Path,
    (columns, rows): (u16, u16),
    environment: &str,
    words: &str,
) -> Option<Session> {
    let usable = Command::new("script").arg("--version").output();
    if !usable.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("util-linux")) {
        skipped("there is no `script` of util-linux (Debian package bsdutils); this test needs it");
        return None;
    }
    let program = env!("CARGO_BIN_EXE_metaburn");
    let line = format!("stty cols {columns} rows {rows}; exec env {environment} '{program}' {words}");
    let child = Command::new("script")
        .args(["-qefc", &line, "/dev/null"])
        .current_dir(folder)
        .env("TERM", "xterm-256color")
        .env_remove("NO_COLOR")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script starts");
    Some(Session { child, began: Instant::now() })
}

impl Session {
    /// Types `keys` once the terminal shows `sign`, one pair after the other, and waits for the end.
    fn typing(mut self, script: &[(&str, &str)]) -> Shown {
        let (mut input, mut output) = (self.child.stdin.take().unwrap(), self.child.stdout.take().unwrap());
        let (mut shown, mut from, mut next) = (Vec::new(), 0, 0);
        let mut bytes = [0; 4096];
        loop {
            let count = output.read(&mut bytes).unwrap();
            if count == 0 {
                break;
            }
            shown.extend(&bytes[..count]);
            let since = String::from_utf8_lossy(&shown[from..]).into_owned();
            if let Some((sign, keys)) = script.get(next)
                && since.contains(sign)
            {
                input.write_all(keys.as_bytes()).and_then(|()| input.flush()).unwrap();
                (next, from) = (next + 1, shown.len());
            }
            assert!(self.began.elapsed() < Duration::from_secs(120), "{}", String::from_utf8_lossy(&shown));
        }
        let text = String::from_utf8_lossy(&shown).into_owned();
        assert_eq!(next, script.len(), "{text}");
        Shown { text, code: self.child.wait().unwrap().code() }
    }

    fn shown(self) -> Shown {
        self.typing(&[])
    }
}

impl Shown {
    /// What came after the other screen was left for good.
    fn after(&self) -> &str {
        assert!(self.text.contains(ENTER), "no dashboard: {}", self.text);
        self.text.rsplit(LEAVE).next().unwrap_or_default()
    }
}

fn training(steps: u32) -> String {
    format!("train {TINY} --steps {steps} --run-dir run")
}

#[cfg(feature = "dashboard")]
mod dashboard {
    use super::*;

    #[test]
    fn a_run_is_shown_and_the_result_stays_on_the_screen() {
        let folder = TempDir::new().unwrap();
        let adaptive = format!(
            "{} --set estimator.name=adaptive --set eval.every=50 --set eval.episodes=2",
            training(500)
        );
        let Some(session) = on_terminal(folder.path(), (110, 40), "", &adaptive) else { return };
        let shown = session.shown();
        assert_eq!(shown.code, Some(0), "{}", shown.text);
        let before = shown.text.split(LEAVE).next().unwrap();
        for what in ["Loss", "Accuracy", "Gradient", "/500"] {
            assert!(before.contains(what), "{what} is not in {before}");
        }
        assert!(shown.after().contains("step 500/500"), "{}", shown.after());
        assert!(shown.after().contains("test accuracy"), "{}", shown.after());
    }

    #[test]
    fn q_then_s_stops_and_saves() {
        stopped(&[("Controls", "q"), ("Quit", "s")]);
    }

    #[test]
    fn ctrl_c_stops_and_saves() {
        stopped(&[("Loss", "\x03")]);
    }

    fn stopped(keys: &[(&str, &str)]) {
        let folder = TempDir::new().unwrap();
        let Some(session) = on_terminal(folder.path(), (110, 40), "", &training(100_000)) else { return };
        let shown = session.typing(keys);
        assert_eq!(shown.code, Some(130), "{}", shown.after());
        assert!(shown.after().contains("stopped and saved after outer step"), "{}", shown.after());
        assert!(shown.after().contains("resume run"), "{}", shown.after());
    }

    #[test]
    fn q_then_k_stops_at_once_and_gives_the_screen_back() {
        let folder = TempDir::new().unwrap();
        let Some(session) = on_terminal(folder.path(), (110, 40), "", &training(100_000)) else { return };
        let shown = session.typing(&[("Controls", "q"), ("Quit", "k")]);
        assert_eq!(shown.code, Some(130), "{}", shown.after());
        assert!(shown.after().contains("the run is kept"), "{}", shown.after());
        assert!(!shown.text.contains("panicked"), "{}", shown.text);
    }

    #[test]
    fn a_terminal_too_small_or_without_colour_gets_a_bar() {
        for (size, environment) in [((70, 40), ""), ((110, 20), ""), ((110, 40), "NO_COLOR=1")] {
            let folder = TempDir::new().unwrap();
            let Some(session) = on_terminal(folder.path(), size, environment, &training(3)) else { return };
            let shown = session.shown();
            assert_eq!(shown.code, Some(0), "{}", shown.text);
            assert!(!shown.text.contains(ENTER), "{size:?} {environment}: {}", shown.text);
            assert!(shown.text.contains('█') || shown.text.contains('░'), "{}", shown.text);
        }
    }

    #[test]
    fn one_that_is_asked_for_and_cannot_be_is_refused() {
        let folder = TempDir::new().unwrap();
        let line = format!("{} --progress dashboard", training(1));
        run(folder.path(), &line).refused(&["needs a terminal", "--progress bar"]);
        let Some(session) = on_terminal(folder.path(), (70, 20), "", &line) else { return };
        let shown = session.shown();
        assert_eq!(shown.code, Some(2), "{}", shown.text);
        assert!(shown.text.contains("70 × 20"), "{}", shown.text);
        assert!(!folder.path().join("run").exists());
    }
}

#[test]
fn a_bar_fits_a_narrow_terminal() {
    let folder = TempDir::new().unwrap();
    let line = format!("{} --progress bar", training(500));
    let Some(session) = on_terminal(folder.path(), (40, 20), "", &line) else { return };
    let shown = session.shown();
    assert_eq!(shown.code, Some(0), "{}", shown.text);
    let drawn = shown.text.split(['\r', '\n']).filter(|line| line.contains('░') && line.contains("% "));
    let widths: Vec<usize> = drawn.map(width).collect();
    assert!(!widths.is_empty() && widths.iter().all(|width| *width <= 40), "{widths:?} {}", shown.text);
}

/// Characters of `line`, without what steers the terminal.
fn width(line: &str) -> usize {
    let mut count = 0;
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\x1b' => {
                let _ = letters.by_ref().find(|letter| letter.is_ascii_alphabetic());
            }
            _ => count += 1,
        }
    }
    count
}

#[test]
fn lines_and_silence_are_as_asked() {
    let folder = TempDir::new().unwrap();
    let plain = run(folder.path(), &format!("{} --progress plain", training(2))).ok();
    assert!(
        plain.stderr.contains("run directory run") && plain.stderr.contains("step 2/2"),
        "{}",
        plain.stderr
    );
    let silent = run(
        folder.path(),
        "train --progress none --steps 2 --run-dir silent --set model.filters=4 --backend flex \
                                     --set eval.every=0 --set eval.test_episodes=4 --set outer.meta_batch=2",
    )
    .ok();
    assert_eq!(silent.stderr, "");
    assert!(silent.stdout.contains("test accuracy"));
    // Whoever asks nothing and has no terminal gets lines, and nothing that steers one.
    let usual = metaburn(folder.path(), "resume run").output().unwrap();
    assert!(!String::from_utf8_lossy(&usual.stderr).contains('\x1b'));
}
