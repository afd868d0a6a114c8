//! The terminal while a dashboard has all of it, and reads single keys.
//!
//! Raw mode takes Ctrl-C's meaning away, but to a run it means: finish the step and save. It is given back; and
//! whatever ends the program, the terminal is as it was.

use rustix::termios::{LocalModes, OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};
use std::io::{Write, stderr, stdin, stdout};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The modes to go back to, while a dashboard is shown.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// Mouse reports off, the other screen left, the cursor shown.
const PLAIN: &str = "\x1b[?1006l\x1b[?1015l\x1b[?1003l\x1b[?1002l\x1b[?1000l\x1b[?1049l\x1b[?25h";

/// Given back when dropped.
pub struct WholeScreen(());

impl WholeScreen {
    /// Takes note of the modes as they are.
    pub fn enter() -> Self {
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = tcgetattr(stdin()).ok();
        Self(())
    }

    /// Gives Ctrl-C its meaning back, once the dashboard's thread has taken it.
    pub fn keep_ctrl_c(&self) {
        for _ in 0..200 {
            if let Ok(mut modes) = tcgetattr(stdin())
                && !modes.local_modes.contains(LocalModes::ICANON)
            {
                modes.local_modes.insert(LocalModes::ISIG);
                let _ = tcsetattr(stdin(), OptionalActions::Now, &modes);
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for WholeScreen {
    fn drop(&mut self) {
        leave();
    }
}

/// Gives the terminal back as it was, if a dashboard has it.
pub fn leave() {
    let Some(before) = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
    let _ = tcsetattr(stdin(), OptionalActions::Now, &before);
    let mut out = stdout();
    let _ = out.write_all(PLAIN.as_bytes()).and_then(|()| out.flush());
}

/// Whether a dashboard is shown.
pub fn is_shown() -> bool {
    BEFORE.lock().unwrap_or_else(PoisonError::into_inner).is_some()
}

/// Columns and rows of the terminal, if there is one to read from and write to.
pub fn size() -> Option<(u16, u16)> {
    let is_terminal = isatty(stdin()) && isatty(stdout()) && isatty(stderr());
    let size = tcgetwinsize(stdout()).ok().filter(|_| is_terminal)?;
    Some((size.ws_col, size.ws_row))
}
