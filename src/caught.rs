//! Panics turned into messages. Burn reports the faults of a device by panicking, and a bug does too; neither
//! should cost a person more than a line that says what happened.

use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, Once, PoisonError};

/// How many callers of [`caught`] are at work: while there is one, no panic is printed.
static WATCHED: AtomicUsize = AtomicUsize::new(0);
/// What the latest panic said, of whichever thread.
static SAID: Mutex<String> = Mutex::new(String::new());

/// `work`, or what its panic said and where.
///
/// # Errors
/// If it panics, on this thread or on one whose panic comes back to it.
pub fn caught<R>(work: impl FnOnce() -> R) -> Result<R, String> {
    static LISTEN: Once = Once::new();
    LISTEN.call_once(listen);
    WATCHED.fetch_add(1, Ordering::SeqCst);
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    WATCHED.fetch_sub(1, Ordering::SeqCst);
    result.map_err(|_| std::mem::take(&mut *SAID.lock().unwrap_or_else(PoisonError::into_inner)))
}

/// Takes note of every panic, and prints those that nobody waits for.
fn listen() {
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        *SAID.lock().unwrap_or_else(PoisonError::into_inner) = said(panic);
        // Tests run side by side, and what fails in one is not another's.
        if cfg!(test) || WATCHED.load(Ordering::SeqCst) == 0 {
            print(panic);
        }
    }));
}

fn said(panic: &PanicHookInfo) -> String {
    let text = panic.payload_as_str().unwrap_or("it gave no reason").trim();
    panic
        .location()
        .map_or_else(|| text.into(), |place| format!("{text} ({}:{})", place.file(), place.line()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_what_it_said_and_where() {
        assert_eq!(caught(|| 3), Ok(3));
        let said = caught(|| panic!("as it should: {}", 7)).unwrap_err();
        assert!(said.starts_with("as it should: 7 (src/caught.rs:"), "{said}");
    }
}
