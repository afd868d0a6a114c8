//! Measures an outer step or an evaluation: time, memory, cores, and its arithmetic rate compared with the machine's.
//!
//! A step consists of the inner loops, the meta-gradient estimate and the Adam update ([`OuterStep`]), and is timed until
//! the device has finished it. The [`SETTINGS`] and the procedure are those of the programs that measure other
//! frameworks: two alternating meta-batches, two warm-up steps, then the median. Adaptive estimators are timed while they
//! still adapt.

mod arithmetic;
mod error;
mod evaluation;
mod launches;
mod measured;
mod rate;
mod setting;
mod step;
mod times;
mod usage;

pub use arithmetic::Arithmetic;
pub use error::Error;
pub use evaluation::EvaluationPass;
pub use launches::{DeviceMemory, GraphCounts, KernelCount, LaunchCounts, PhaseCounts};
pub use measured::{Measured, Share};
pub use rate::Rates;
pub use setting::{ESTIMATORS, Measures, SETTINGS, Setting};
pub use step::OuterStep;
pub use times::{Repeats, fastest};
pub use usage::{Busy, DISTURBED, peak_resident};

use crate::config::Config;
use crate::train::{Learner, Watcher};
use bilevel::device::Opened;
use bilevel::hypergradient::{Evaluations, Memory};
use measured::Usage;
use std::time::Instant;

/// Untimed steps before the first timed one; on a GPU they tune the kernels.
const WARM_UP: usize = 2;

/// Options of a measurement besides the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// What is measured.
    pub setting: &'a Setting,
    /// How often a step is timed.
    pub repeats: Repeats,
    /// Whether the machine's matrix-product rates are measured too.
    pub share: bool,
    /// Whether kernel launches are counted too.
    pub launches: bool,
}

/// Work that is done again and again to be timed.
pub trait Timed {
    /// Does the work once, waits until the device has finished it, and returns its evaluations.
    ///
    /// # Errors
    /// Returns an error if the device fails.
    fn take(&mut self) -> Result<Evaluations, Error>;

    /// Mean query loss of the latest time.
    fn loss(&self) -> f64;

    /// The network and its device.
    fn learner(&self) -> &Learner;

    /// The memory plan: which iterates of each task are stored. `None` if none is needed.
    fn memory(&self) -> Option<Memory>;

    /// Counts the kernel launches of an outer step on a GPU; `None` for other work and on other backends.
    ///
    /// # Errors
    /// Returns an error if the device fails.
    fn launches(&mut self) -> Result<Option<LaunchCounts>, Error>;
}

/// Measures what `options.setting` says, for `config` on `opened`; an outer step with the last estimator of its schedule.
///
/// # Errors
/// Returns an error if the data is insufficient or the device fails.
pub fn measure(
    config: Config,
    opened: Opened,
    options: &Options,
    watcher: &mut dyn Watcher,
) -> Result<Measured, Error> {
    let mut step: Box<dyn Timed> = match options.setting.measures {
        Measures::OuterStep => Box::new(OuterStep::new(&config, opened, watcher)?),
        Measures::Evaluation => Box::new(EvaluationPass::new(&config, opened, watcher)?),
    };
    for _ in 0..WARM_UP {
        step.take()?;
    }
    let mut taken: Vec<(f64, Evaluations)> = Vec::new();
    let (start, busy) = (Instant::now(), Busy::now());
    while !options.repeats.suffice(taken.len(), start.elapsed().as_secs_f64()) {
        let step_start = Instant::now();
        let evaluations = step.take()?;
        taken.push((1e3 * step_start.elapsed().as_secs_f64(), evaluations));
    }
    let seconds = start.elapsed().as_secs_f64();
    let cores = busy.zip(Busy::now()).map(|(before, after)| before.cores(after, seconds));
    let peak = peak_resident();

    let rates = options.share.then(|| Rates::measure(&config, step.learner())).transpose()?;
    let mut measured = Measured::new(options.setting, &config, &*step, &taken, Usage { cores, peak, rates });
    if options.launches {
        measured.launches = step.launches()?;
    }
    Ok(measured)
}
