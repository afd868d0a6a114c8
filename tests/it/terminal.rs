//! Output on a terminal of a given size, made by `script` of util-linux: dashboard, progress bar and lines.
#![cfg(unix)]

use crate::common::optional::skip;
use crate::common::{TINY, run};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The sequences that enter and leave the terminal's alternate screen.
const ENTER: &str = "\x1b[?1049h";
const LEAVE: &str = "\x1b[?1049l";

/// The program in a terminal.
struct Session {
    child: Child,
    began: Instant,
}

/// All that was sent to a terminal, and the program's exit code.
struct Shown {
    text: String,
    code: Option<i32>,
}

/// `metaburn WORDS` in `folder`, on a terminal of that many columns and rows; `None` if there is no `script` to make one.
fn on_terminal(
    folder: &Path,
    (columns, rows): (u16, u16),
    environment: &str,
    words: &str,
) -> Option<Session> {
    let usable = Command::new("script").arg("--version").output();
    if !usable.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("util-linux")) {
        skip("script", "there is no `script` of util-linux (Debian package bsdutils)");
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
    /// For each pair (text, keys) in order: waits until the terminal shows the text, then types the keys. Waits for the end.
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
            if let Some((text, keys)) = script.get(next)
                && since.contains(text)
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
    /// What was printed after the alternate screen was left for the last time.
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
    fn the_dashboard_shows_a_run_and_leaves_the_result_on_the_screen() {
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
    fn q_then_k_stops_at_once_and_restores_the_screen() {
        let folder = TempDir::new().unwrap();
        let Some(session) = on_terminal(folder.path(), (110, 40), "", &training(100_000)) else { return };
        let shown = session.typing(&[("Controls", "q"), ("Quit", "k")]);
        assert_eq!(shown.code, Some(130), "{}", shown.after());
        assert!(shown.after().contains("the run is kept"), "{}", shown.after());
        assert!(!shown.text.contains("panicked"), "{}", shown.text);
    }

    #[test]
    fn a_small_terminal_or_one_without_colour_gets_a_progress_bar() {
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
    fn an_impossible_dashboard_is_refused_if_asked_for() {
        let folder = TempDir::new().unwrap();
        let line = format!("{} --progress dashboard", training(1));
        run(folder.path(), &line).refused(&["requires a terminal", "--progress bar"]);
        let Some(session) = on_terminal(folder.path(), (70, 20), "", &line) else { return };
        let shown = session.shown();
        assert_eq!(shown.code, Some(2), "{}", shown.text);
        assert!(shown.text.contains("70 × 20"), "{}", shown.text);
        assert!(!folder.path().join("run").exists());
    }
}

#[test]
fn the_progress_bar_fits_a_narrow_terminal() {
    let folder = TempDir::new().unwrap();
    let line = format!("{} --progress bar", training(500));
    let Some(session) = on_terminal(folder.path(), (40, 20), "", &line) else { return };
    let shown = session.shown();
    assert_eq!(shown.code, Some(0), "{}", shown.text);
    let drawn = shown.text.split(['\r', '\n']).filter(|line| line.contains('░') && line.contains("% "));
    let widths: Vec<usize> = drawn.map(width).collect();
    assert!(!widths.is_empty() && widths.iter().all(|width| *width <= 40), "{widths:?} {}", shown.text);
}

/// The number of characters of `line`, control sequences not counted.
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
fn progress_plain_prints_lines_and_none_prints_nothing() {
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
    // Without --progress and without a terminal there are lines without control sequences.
    let usual = run(folder.path(), &training(2).replace("--run-dir run", "--run-dir usual")).ok();
    assert!(usual.stderr.contains("step 2/2") && !usual.stderr.contains('\x1b'), "{}", usual.stderr);
}
