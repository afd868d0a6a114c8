//! Where in the outer loop is measured: an inner rate, and θ after so many outer steps.

use crate::Options;
use crate::progress::Progress;
use metaburn::config::Config;
use metaburn::data::{Part, Sampler};
use metaburn::diagnosis::Price;
use metaburn::hypergradient::Draw;
use metaburn::problem::{FewShot, Proximal};
use metaburn::stack::Stack;
use metaburn::trainer::{Learner, RunDir, StepRecord, Trainer, Watcher, sampler, training_shape};
use std::error::Error;
use std::path::Path;
use std::time::Instant;

/// Tasks of an outer step.
pub const META_BATCH: usize = 4;
/// Far beyond the episodes trained on.
const MEASURED: u64 = 1 << 32;
/// Far beyond those.
const TAUGHT: u64 = 1 << 33;
/// Timed passes; the fastest counts, since nothing makes one too fast.
const PASSES: usize = 7;

/// One place.
pub struct Place {
    pub rate: f64,
    pub after: u64,
    pub learner: Learner,
    pub theta: Stack,
    config: Config,
    sampler: Sampler,
}

impl Place {
    /// Loads the data and trains as far as `after`, unless `runs` has that run already.
    pub fn new(
        options: &Options,
        rate: f64,
        after: u64,
        runs: &Path,
        progress: &mut Progress,
    ) -> Result<Self, Box<dyn Error>> {
        let config = config(options, rate, after.max(1))?;
        let opened = metaburn::backend::open(config.backend)?;
        let learner = Learner::new(&config, opened);
        let sampler = sampler(&config, progress)?;
        progress.place(rate, after);
        let theta = match after {
            0 => learner.initialise(config.seed),
            _ => trained(&learner, &config, &runs.join(format!("rate-{rate}-after-{after}")), progress)?,
        };
        Ok(Self { rate, after, learner, theta, config, sampler })
    }

    /// The tasks measured on: the first `count` of a list of their own.
    pub fn tasks(&self, count: usize) -> Proximal<FewShot> {
        self.problem(MEASURED, count)
    }

    /// The tasks of teaching step `step`.
    pub fn lesson(&self, step: u64) -> Proximal<FewShot> {
        self.problem(TAUGHT + step * META_BATCH as u64, META_BATCH)
    }

    fn problem(&self, first: u64, count: usize) -> Proximal<FewShot> {
        let shape = training_shape(&self.config);
        let episode = |index| self.sampler.episode(Part::Train, index, &shape);
        self.learner.problem(&(first..first + count as u64).map(episode).collect::<Vec<_>>())
    }

    /// About what `tasks` tasks of `products` products cost; one product is some three gradients' arithmetic.
    pub fn weight(&self, tasks: usize, products: f64) -> f64 {
        tasks as f64 * (self.config.inner.steps as f64 + 1.0 + 3.0 * products)
    }

    /// Seconds of a task without products, and of a product, from first-order's and exact's.
    pub fn price(&self, progress: &mut Progress) -> Price {
        let (problem, steps) = (self.tasks(META_BATCH), self.config.inner.steps);
        progress.begin("prices", 2.0 * self.weight(PASSES * META_BATCH, 0.5 * steps as f64));
        let seconds = |depth: usize| {
            let draw = Draw::truncated(META_BATCH, steps, depth);
            let began = Instant::now();
            let estimate = self.learner.opened.workers.estimate(&problem, &self.theta, &draw);
            std::hint::black_box(estimate.gradient.mean().squared_norm().into_data());
            began.elapsed().as_secs_f64() / META_BATCH as f64
        };
        let mut fastest = [f64::INFINITY; 2];
        for _ in 0..PASSES {
            for (fastest, depth) in fastest.iter_mut().zip([0, steps]) {
                *fastest = seconds(depth).min(*fastest);
            }
        }
        Price { fixed: fastest[0], product: (fastest[1] - fastest[0]) / steps as f64 }
    }
}

fn config(options: &Options, rate: f64, outer_steps: u64) -> Result<Config, Box<dyn Error>> {
    let Options { data, ways, queries, steps, .. } = options;
    let mut assignments = vec![
        format!("task.ways={ways}"),
        "task.shots=1".into(),
        format!("task.queries={queries}"),
        format!("inner.steps={steps}"),
        format!("inner.rate={rate}"),
        format!("outer.meta_batch={META_BATCH}"),
        "outer.rate=0.001".into(),
        r#"outer.schedule="constant""#.into(),
        format!("outer.steps={outer_steps}"),
        "eval.every=0".into(),
        r#"backend="flex""#.into(),
    ];
    if let Some(path) = data {
        let path = toml::Value::String(path.canonicalize()?.to_string_lossy().into_owned());
        assignments.push(r#"data.source="omniglot""#.into());
        assignments.push(format!("data.path={path}"));
    }
    Ok(Config::load(None, &assignments)?)
}

/// θ after the training that `config` describes, in `path`.
fn trained(
    learner: &Learner,
    config: &Config,
    path: &Path,
    progress: &mut Progress,
) -> Result<Stack, Box<dyn Error>> {
    let mut trainer = match RunDir::open(path) {
        Ok((_, kept)) if kept != *config => {
            return Err(format!("{} is a run of another configuration", path.display()).into());
        }
        Ok((_, kept)) => Trainer::resume(path, kept, progress)?,
        Err(_) => Trainer::start(config.clone(), path, progress)?,
    };
    trainer.run(progress)?;
    let (saved, _) = trainer.run_dir().latest()?.ok_or("the run left no checkpoint")?;
    Ok(saved.theta(&learner.leaves(), &learner.opened.device)?)
}

impl Watcher for Progress {
    fn step(&mut self, record: &StepRecord, _progress: f64) {
        self.trained(record.step);
    }

    fn warning(&mut self, text: &str) {
        eprintln!("warning: {text}");
    }
}
