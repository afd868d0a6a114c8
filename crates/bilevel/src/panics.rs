//! Panics turned into error messages. Burn reports device errors by panicking; the user should see one line that says
//! what happened, not a backtrace.

use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, Once, PoisonError};

/// The number of running [`catch`] calls: while it is positive, no panic is printed.
static ACTIVE: AtomicUsize = AtomicUsize::new(0);
/// The message of the latest panic, on any thread.
static LATEST: Mutex<String> = Mutex::new(String::new());

/// Runs `work`, and returns its result, or the message and location of its panic.
///
/// # Errors
/// Returns an error if `work` panics, on this thread or on one whose panic is propagated to it.
pub fn catch<R>(work: impl FnOnce() -> R) -> Result<R, String> {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(install_hook);
    ACTIVE.fetch_add(1, Ordering::SeqCst);
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    ACTIVE.fetch_sub(1, Ordering::SeqCst);
    result.map_err(|_| std::mem::take(&mut *LATEST.lock().unwrap_or_else(PoisonError::into_inner)))
}

/// Installs a panic hook that records every panic, and prints it unless a [`catch`] is running.
fn install_hook() {
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        *LATEST.lock().unwrap_or_else(PoisonError::into_inner) = message(panic);
        // Tests run in parallel: while one catches, a failing assertion in another must still be printed.
        if cfg!(test) || ACTIVE.load(Ordering::SeqCst) == 0 {
            print(panic);
        }
    }));
}

fn message(panic: &PanicHookInfo) -> String {
    let text = panic.payload_as_str().unwrap_or("it gave no reason").trim();
    panic
        .location()
        .map_or_else(|| text.into(), |location| format!("{text} ({}:{})", location.file(), location.line()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn catch_returns_the_message_and_location_of_a_panic() {
        assert_eq!(catch(|| 3), Ok(3));
        let message = catch(|| panic!("expected: {}", 7)).unwrap_err();
        assert!(message.starts_with(&format!("expected: 7 ({}:", file!())), "{message}");
    }
}
