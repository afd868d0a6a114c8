//! A setting to measure in: an inner rate, and θ after a number of outer steps.

use crate::progress::Progress;
use crate::{META_BATCH, Options};
use bilevel::hypergradient::{Draw, Memory};
use bilevel::variance::Price;
use bilevel::{Params, Proximal};
use metaburn::config::Config;
use metaburn::data::{Part, Sampler};
use metaburn::run::RunDir;
use metaburn::task::FewShot;
use metaburn::train::{Learner, Trainer, sampler, training_shape};
use std::error::Error;
use std::path::Path;
use std::time::Instant;

/// Index of the first episode to measure on, beyond those of training.
const FIRST_MEASURED: u64 = 1 << 32;
/// Index of the first episode for adaptation, beyond those to measure on.
const FIRST_ADAPTATION: u64 = 1 << 33;
/// Number of timed passes. The fastest counts, since other load can only slow a pass down.
const PASSES: usize = 7;

/// An inner rate, and the learner and θ after a number of outer steps at that rate.
pub struct Setting {
    pub rate: f64,
    pub after: u64,
    pub learner: Learner,
    pub theta: Params,
    config: Config,
    sampler: Sampler,
}

impl Setting {
    /// Loads the data and trains for `after` outer steps, or reuses such a run in `runs`.
    pub fn new(
        options: &Options,
        rate: f64,
        after: u64,
        runs: &Path,
        progress: &mut Progress,
    ) -> Result<Self, Box<dyn Error>> {
        let config = config(options, rate, after.max(1))?;
        let opened = bilevel::device::open(config.backend)?;
        let learner = Learner::new(&config, opened);
        let sampler = sampler(&config, progress)?;
        progress.enter(rate, after);
        let theta = match after {
            0 => learner.initialise(config.seed),
            _ => trained(&learner, &config, &runs.join(format!("rate-{rate}-after-{after}")), progress)?,
        };
        Ok(Self { rate, after, learner, theta, config, sampler })
    }

    /// The first `count` tasks to measure on.
    pub fn tasks(&self, count: usize) -> Proximal<FewShot> {
        self.problem(FIRST_MEASURED, count)
    }

    /// The meta-batch of adaptation step `step`.
    pub fn adaptation_batch(&self, step: u64) -> Proximal<FewShot> {
        self.problem(FIRST_ADAPTATION + step * META_BATCH as u64, META_BATCH)
    }

    fn problem(&self, first: u64, count: usize) -> Proximal<FewShot> {
        let shape = training_shape(&self.config);
        let episode = |index| self.sampler.episode(Part::Train, index, &shape);
        self.learner.problem(&(first..first + count as u64).map(episode).collect::<Vec<_>>())
    }

    /// The approximate work of `tasks` tasks with `products` products each, in gradients; one product counts as three.
    pub fn weight(&self, tasks: usize, products: f64) -> f64 {
        tasks as f64 * (self.config.inner.steps as f64 + 1.0 + 3.0 * products)
    }

    /// Seconds for a task without products and for a product, from the times of first-order and exact estimates.
    pub fn price(&self, progress: &mut Progress) -> Price {
        let (problem, steps) = (self.tasks(META_BATCH), self.config.inner.steps);
        progress.begin("measuring prices", 2.0 * self.weight(PASSES * META_BATCH, 0.5 * steps as f64));
        let seconds = |depth: usize| {
            let draw = Draw::truncated(META_BATCH, steps, depth);
            let began = Instant::now();
            let estimate = self.learner.opened.workers.estimate(&problem, &self.theta, &draw, Memory::Store);
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

/// θ after training with `config` in the run directory `path`.
fn trained(
    learner: &Learner,
    config: &Config,
    path: &Path,
    progress: &mut Progress,
) -> Result<Params, Box<dyn Error>> {
    let mut trainer = match RunDir::open(path) {
        Ok((_, saved)) if saved != *config => {
            return Err(format!("{} is a run of another configuration", path.display()).into());
        }
        Ok((run, saved)) => Trainer::resume(run, saved, progress)?,
        Err(_) => Trainer::start(config.clone(), path, progress)?,
    };
    trainer.run(progress)?;
    let (checkpoint, _) = trainer.run_dir().latest()?.ok_or("the run has no checkpoint")?;
    Ok(checkpoint.theta(&learner.leaves(), &learner.opened.device)?)
}
