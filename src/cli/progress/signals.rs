//! Ctrl-C and SIGTERM: in training the first asks the run to stop and save, and a second, or any at another time, ends
//! the program at once.

use super::super::exit;
use super::dashboard;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// Whether a run is being trained, whose step at hand should end before the program does.
static TRAINING: AtomicBool = AtomicBool::new(false);
/// Set by the first signal of a run in training.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);
/// The command that takes up the run at hand.
static COMMAND: Mutex<String> = Mutex::new(String::new());

/// Takes the signals over.
pub fn take_over() {
    // Fails only where a handler is set already, which is then this one.
    let _ = ctrlc::set_handler(|| {
        if !TRAINING.load(Ordering::SeqCst) || INTERRUPTED.swap(true, Ordering::SeqCst) {
            stop_at_once();
        }
        // A dashboard has the whole screen.
        if !dashboard::is_shown() {
            eprintln!("\nfinishing this step; press Ctrl-C again to stop at once and lose it");
        }
    });
}

/// Ends the program, and says how to go on with the run at hand.
pub fn stop_at_once() -> ! {
    dashboard::leave();
    let command = COMMAND.lock().unwrap_or_else(PoisonError::into_inner);
    if !command.is_empty() {
        eprintln!("\nthe run is kept; to go on from its latest checkpoint:\n  {command}");
    }
    std::process::exit(i32::from(exit::INTERRUPTED))
}

/// A run is trained from here on, which `command` takes up.
pub fn training(command: &str) {
    *COMMAND.lock().unwrap_or_else(PoisonError::into_inner) = command.into();
    TRAINING.store(true, Ordering::SeqCst);
}

/// It is no longer.
pub fn trained() {
    TRAINING.store(false, Ordering::SeqCst);
}

/// Whether the run was asked to stop.
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}
