//! Progress of the benchmark, written to standard error.

use crate::{META_BATCH, Options};
use metaburn::run::StepRecord;
use metaburn::train::Watcher;
use std::time::Instant;

/// Work done and left, in units of the arithmetic of one gradient.
pub struct Progress {
    began: Instant,
    /// All work.
    total: f64,
    /// Finished work.
    done: f64,
    /// Work of the current job.
    current: f64,
    /// Description of the current setting.
    setting: String,
    /// Work of one outer step of training.
    step: f64,
}

impl Progress {
    /// Progress before the first job, with an estimate of the total work.
    pub fn new(options: &Options) -> Self {
        let (gradients, products) = (options.steps as f64 + 1.0, 3.0 * options.steps as f64);
        let exact = gradients + products;
        let (tasks, draws) = (options.tasks as f64, options.draws as f64);
        // Adapted step coins take about half of all products.
        let fixed = 3.0 * gradients + 0.8 * products;
        let adapted = gradients + 0.5 * products;
        let floors = options.curvature_floor.len() as f64;
        let adaptation_tasks = options.adapt_steps as f64 * META_BATCH as f64;
        let setting = 2.0 * tasks * exact
            + tasks * draws * (fixed + 2.0 * floors * adapted)
            + adaptation_tasks * floors * adapted;
        let settings = (options.rate.len() * options.after.len()) as f64;
        let step = META_BATCH as f64 * exact;
        let training = options.rate.len() as f64 * options.after.iter().sum::<u64>() as f64 * step;
        let total = settings * setting + training;
        Self { began: Instant::now(), total, done: 0.0, current: 0.0, setting: String::new(), step }
    }

    /// Starts a setting.
    pub fn enter(&mut self, rate: f64, after: u64) {
        self.setting = format!("rate {rate} after {after}");
    }

    /// Starts `job` with an amount of work `weight`.
    pub fn begin(&mut self, job: &str, weight: f64) {
        self.done += std::mem::replace(&mut self.current, weight);
        self.report(job);
    }

    /// Counts outer step `step` of training.
    pub fn trained(&mut self, step: u64) {
        self.done += std::mem::take(&mut self.current) + self.step;
        if step.is_multiple_of(25) {
            self.report(&format!("trained {step} steps"));
        }
    }

    /// Reports the total time.
    pub fn finish(&self) {
        eprintln!("done in {:.0} s", self.began.elapsed().as_secs_f64());
    }

    fn report(&self, job: &str) {
        let seconds = self.began.elapsed().as_secs_f64();
        let left = match self.done > 0.0 {
            true => format!(
                "about {:.0} min left",
                (seconds * (self.total / self.done - 1.0) / 60.0).max(0.0).ceil()
            ),
            false => format!("work of {:.1e} gradients", self.total),
        };
        eprintln!("[{seconds:5.0} s] {}: {job}; {left}", self.setting);
    }
}

impl Watcher for Progress {
    fn step(&mut self, record: &StepRecord, _progress: f64) {
        self.trained(record.step);
    }

    fn warning(&mut self, text: &str) {
        eprintln!("warning: {text}");
    }
}
