//! What an outer step takes: time, memory, cores, and its arithmetic beside what the machine can do.
//!
//! A step is what a run repeats: inner loops, the meta-gradient's estimate, Adam ([`OuterStep`]). It
//! is timed to its end on the device, at the [`SETTINGS`] at which other frameworks' programs are
//! timed too, in the same manner: two meta-batches in turn, two steps to warm up, then the median.
//! An estimator that adapts is timed while it still learns.

mod arithmetic;
mod error;
mod measured;
mod rate;
mod setting;
mod step;
mod times;
mod usage;

pub use arithmetic::{Arithmetic, Layer, layers};
pub use error::Error;
pub use measured::{Measured, Share};
pub use rate::Rates;
pub use setting::{ESTIMATORS, SETTINGS, Setting};
pub use step::OuterStep;
pub use times::Repeats;
pub use usage::{Busy, DISTURBED, peak_resident};

use crate::backend::Opened;
use crate::config::Config;
use crate::hypergradient::Evaluations;
use crate::trainer::Watcher;
use measured::Found;
use std::time::Instant;

/// Steps before the first that is timed; on a GPU they tune its kernels.
const WARM_UP: usize = 2;

/// What is asked for beside a configuration.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The setting's letter.
    pub setting: &'a str,
    /// How often.
    pub repeats: Repeats,
    /// Whether the machine's rates are measured too.
    pub share: bool,
}

/// Measures the outer step of `config` on `opened`.
///
/// # Errors
/// If the data does not suffice or the device fails.
pub fn measure(
    config: Config,
    opened: Opened,
    asked: &Asked,
    watcher: &mut dyn Watcher,
) -> Result<Measured, Error> {
    let mut step = OuterStep::new(config.clone(), opened, watcher)?;
    for _ in 0..WARM_UP {
        step.take()?;
    }
    let mut taken: Vec<(f64, Evaluations)> = Vec::new();
    let (began, busy) = (Instant::now(), Busy::now());
    while !asked.repeats.suffice(taken.len(), began.elapsed().as_secs_f64()) {
        let begun = Instant::now();
        let evaluations = step.take()?;
        taken.push((1e3 * begun.elapsed().as_secs_f64(), evaluations));
    }
    let seconds = began.elapsed().as_secs_f64();
    let cores = busy.zip(Busy::now()).map(|(before, after)| before.cores(after, seconds));
    let peak = peak_resident();

    let rates = asked.share.then(|| Rates::measure(&config, step.learner())).transpose()?;
    Ok(Measured::new(asked.setting, &config, &step, &taken, Found { cores, peak, rates }))
}
