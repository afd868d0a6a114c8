//! Ctrl-C, SIGTERM and SIGUSR1, which launchers and schedulers send before the time is up. During training, the first signal
//! makes the run stop and save; a second Ctrl-C or SIGTERM, or either at another time, ends the program at once.

use super::super::exit;
use super::super::output::say;
use super::dashboard;
use metaburn::support::lock::release_all;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Whether a run is being trained.
static TRAINING: AtomicBool = AtomicBool::new(false);
/// Set by the first signal during training.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);
/// Set by SIGUSR1.
#[cfg(unix)]
static ASKED: OnceLock<Arc<AtomicBool>> = OnceLock::new();
/// The command that continues the current run.
static COMMAND: Mutex<String> = Mutex::new(String::new());

/// Installs the signal handler.
pub fn install() {
    // Like a first SIGTERM, but never a second: a launcher may pass it on and send it itself.
    #[cfg(unix)]
    ASKED.get_or_init(|| {
        let asked = Arc::new(AtomicBool::new(false));
        // Fails only if the system has no such signal.
        let _ = signal_hook::flag::register(signal_hook::consts::SIGUSR1, asked.clone());
        asked
    });
    // Fails only if a handler is set already, which is this one.
    let _ = ctrlc::set_handler(|| {
        if !TRAINING.load(Ordering::SeqCst) || INTERRUPTED.swap(true, Ordering::SeqCst) {
            stop_at_once();
        }
        // A message would disturb the dashboard.
        if !dashboard::is_shown() {
            say("\nfinishing this step; press Ctrl-C again to stop at once and lose it");
        }
    });
}

/// Ends the program, after printing how to continue the current run.
pub fn stop_at_once() -> ! {
    dashboard::leave();
    let command = COMMAND.lock().unwrap_or_else(PoisonError::into_inner);
    if !command.is_empty() {
        say(format_args!("\nthe run is kept; to continue from its latest checkpoint:\n  {command}"));
    }
    release_all();
    std::process::exit(i32::from(exit::INTERRUPTED))
}

/// Marks the start of training; `command` continues the run.
pub fn begin_training(command: &str) {
    *COMMAND.lock().unwrap_or_else(PoisonError::into_inner) = command.into();
    TRAINING.store(true, Ordering::SeqCst);
}

/// Marks the end of training.
pub fn end_training() {
    TRAINING.store(false, Ordering::SeqCst);
}

/// Whether a signal has asked the run to stop.
pub fn interrupted() -> bool {
    #[cfg(unix)]
    if ASKED.get().is_some_and(|asked| asked.load(Ordering::SeqCst)) {
        return true;
    }
    INTERRUPTED.load(Ordering::SeqCst)
}
