//! How far the benchmark is, on standard error.

use crate::Options;
use crate::place::META_BATCH;
use std::time::Instant;

/// What is done, and what is not, in gradients' arithmetic.
pub struct Progress {
    began: Instant,
    all: f64,
    done: f64,
    /// Of what has begun, and is not done.
    underway: f64,
    place: String,
    /// Of one outer step of training.
    step: f64,
}

impl Progress {
    /// Before anything.
    pub fn new(options: &Options) -> Self {
        let (gradients, products) = (options.steps as f64 + 1.0, 3.0 * options.steps as f64);
        let exact = gradients + products;
        let (tasks, draws) = (options.tasks as f64, options.draws as f64);
        // Adapted laws take about half of all products.
        let coins = 3.0 * gradients + 0.8 * products;
        let law = gradients + 0.5 * products;
        let laws = options.curvature_floor.len() as f64;
        let lessons = options.taught as f64 * META_BATCH as f64;
        let place = 2.0 * tasks * exact + tasks * draws * (coins + 2.0 * laws * law) + lessons * laws * law;
        let places = (options.rate.len() * options.after.len()) as f64;
        let step = META_BATCH as f64 * exact;
        let training = options.rate.len() as f64 * options.after.iter().sum::<u64>() as f64 * step;
        let all = places * place + training;
        Self { began: Instant::now(), all, done: 0.0, underway: 0.0, place: String::new(), step }
    }

    /// What comes next is at this place.
    pub fn place(&mut self, rate: f64, after: u64) {
        self.place = format!("rate {rate} after {after}");
    }

    /// Begins `job`, of `weight`.
    pub fn begin(&mut self, job: &str, weight: f64) {
        self.done += std::mem::replace(&mut self.underway, weight);
        self.say(job);
    }

    /// Outer step `step` of training was taken.
    pub fn trained(&mut self, step: u64) {
        self.done += std::mem::take(&mut self.underway) + self.step;
        if step.is_multiple_of(25) {
            self.say(&format!("trained {step} steps"));
        }
    }

    /// All is done.
    pub fn ended(&self) {
        eprintln!("done in {:.0} s", self.began.elapsed().as_secs_f64());
    }

    fn say(&self, job: &str) {
        let seconds = self.began.elapsed().as_secs_f64();
        let left = match self.done > 0.0 {
            true => format!(
                "about {:.0} min left",
                (seconds * (self.all / self.done - 1.0) / 60.0).max(0.0).ceil()
            ),
            false => format!("{:.1e} gradients of work", self.all),
        };
        eprintln!("[{seconds:5.0} s] {}: {job}; {left}", self.place);
    }
}
