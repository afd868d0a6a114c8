//! The terminal's modes while the dashboard is shown.
//!
//! The dashboard sets raw mode, in which Ctrl-C sends no signal. A run needs that signal to stop and save, so it is
//! enabled again. The terminal is restored however the program ends.

use rustix::termios::{LocalModes, OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};
use std::io::{Write, stderr, stdin, stdout};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The modes to restore, while the dashboard is shown.
static SAVED_MODES: Mutex<Option<Termios>> = Mutex::new(None);

/// Turns off mouse reports, leaves the alternate screen and shows the cursor.
const RESTORE: &str = "\x1b[?1006l\x1b[?1015l\x1b[?1003l\x1b[?1002l\x1b[?1000l\x1b[?1049l\x1b[?25h";

/// Restores the terminal when dropped.
pub struct ScreenGuard(());

impl ScreenGuard {
    /// Saves the current modes.
    pub fn enter() -> Self {
        *SAVED_MODES.lock().unwrap_or_else(PoisonError::into_inner) = tcgetattr(stdin()).ok();
        Self(())
    }

    /// Enables the Ctrl-C signal again, once the dashboard's thread has set raw mode.
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

impl Drop for ScreenGuard {
    fn drop(&mut self) {
        leave();
    }
}

/// Restores the terminal if the dashboard is shown.
pub fn leave() {
    let Some(modes) = SAVED_MODES.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
    let _ = tcsetattr(stdin(), OptionalActions::Now, &modes);
    let mut out = stdout();
    let _ = out.write_all(RESTORE.as_bytes()).and_then(|()| out.flush());
}

/// Whether the dashboard is shown.
pub fn is_shown() -> bool {
    SAVED_MODES.lock().unwrap_or_else(PoisonError::into_inner).is_some()
}

/// Columns and rows of the terminal; `None` unless standard input, output and error are all a terminal.
pub fn size() -> Option<(u16, u16)> {
    let is_terminal = isatty(stdin()) && isatty(stdout()) && isatty(stderr());
    let size = tcgetwinsize(stdout()).ok().filter(|_| is_terminal)?;
    Some((size.ws_col, size.ws_row))
}
