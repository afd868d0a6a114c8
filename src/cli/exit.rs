//! Exit codes: 0 for what was done, 1 for what failed, 2 for what the user must mend (as for a mistyped flag),
//! 130 for what was stopped by a signal and saved.

use metaburn::blame::Blame;
use metaburn::{archive, backend, bench, case, config, data, deploy, report, study, tensorboard, trainer};
use std::error::Error;
use std::process::ExitCode;

/// What failed.
pub const FAILED: u8 = 1;
/// What the user must mend.
const TO_MEND: u8 = 2;
/// What a shell expects of a program ended by SIGINT.
pub const INTERRUPTED: u8 = 130;

/// The code of a command that ended in `error`.
pub fn code(error: &(dyn Error + 'static)) -> ExitCode {
    let known = [
        blame::<config::Error>(error),
        blame::<backend::Error>(error),
        blame::<data::Error>(error),
        blame::<archive::Error>(error),
        blame::<case::Error>(error),
        blame::<trainer::Error>(error),
        blame::<deploy::Error>(error),
        blame::<bench::Error>(error),
        blame::<report::Error>(error),
        blame::<report::RunError>(error),
        blame::<tensorboard::Error>(error),
        blame::<study::Error>(error),
        blame::<std::io::Error>(error),
    ];
    // What only a command says of itself is about what it was asked.
    let is_input = known.into_iter().flatten().next().unwrap_or(true);
    ExitCode::from(if is_input { TO_MEND } else { FAILED })
}

fn blame<E: Error + Blame + 'static>(error: &(dyn Error + 'static)) -> Option<bool> {
    error.downcast_ref::<E>().map(E::is_input)
}
