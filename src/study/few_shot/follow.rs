//! One run, looked at whenever another even share of its gradient evaluations is spent.

use super::curve::Look;
use super::{Record, budget};
use crate::bench::Busy;
use crate::config::Config;
use crate::data::Part;
use crate::study::folder::{failed, read};
use crate::study::training::take_up;
use crate::study::{Desk, Error};
use crate::trainer::{self, StepRecord, Trainer, Watcher};
use crate::whole;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Trains as `config` says in the folder called `name`, and looks `count` times on the way, and once before.
/// A run that was interrupted goes on at its last checkpoint.
pub fn follow(config: &Config, name: &str, count: u64, desk: &mut Desk) -> Result<Record, Error> {
    let folder = desk.folder()?.join(name);
    let all = budget(config);
    let mut stretch = Stretch { desk, all, spent: 0, until: 0 };
    let mut trainer = take_up(&folder, config, &mut stretch)?;
    let mut album = Album::open(&folder, &trainer)?;
    let mut cores = None;
    loop {
        let spent = trainer.standing().evaluations.total();
        if spent >= album.due(all, count) {
            album.add(look(&trainer, cores.take()))?;
        }
        if spent >= all {
            return Ok(Record { diverged: None, looks: album.looks });
        }
        (stretch.spent, stretch.until) = (spent, album.due(all, count));
        let (began, busy) = (Instant::now(), Busy::now());
        match trainer.run(&mut stretch) {
            Err(trainer::Error::Diverged { step, .. }) => {
                return Ok(Record { diverged: Some(step), looks: album.looks });
            }
            ended => ended?,
        };
        trainer.kept()?;
        let seconds = began.elapsed().as_secs_f64();
        cores = busy.zip(Busy::now()).map(|(before, after)| before.cores(after, seconds).into());
    }
}

/// Validation where `trainer` stands.
fn look(trainer: &Trainer, cores: Option<[f64; 2]>) -> Look {
    let accuracy = trainer.evaluate(Part::Validation, trainer.config().eval.episodes, |_| {});
    let standing = trainer.standing();
    Look {
        steps: standing.step,
        evaluations: standing.evaluations.total(),
        seconds: standing.seconds,
        accuracy: accuracy.mean,
        ci95: accuracy.ci95,
        cores,
    }
}

/// The looks so far, kept in the run's folder. Each is of a checkpoint, and written after it.
struct Album {
    path: PathBuf,
    looks: Vec<Look>,
}

impl Album {
    /// As far as `trainer` has come.
    fn open(folder: &Path, trainer: &Trainer) -> Result<Self, Error> {
        let path = folder.join("looks.json");
        let mut looks: Vec<Look> = read(&path)?.unwrap_or_default();
        looks.retain(|look| look.steps <= trainer.standing().step);
        Ok(Self { path, looks })
    }

    /// Gradient evaluations after which the next look is due, `count` of them in `all`.
    fn due(&self, all: u64, count: u64) -> u64 {
        self.looks.last().map_or(0, |last| {
            let passed = u128::from(last.evaluations) * u128::from(count) / u128::from(all);
            // Rounded up, so that a look at this very place has passed it.
            ((passed + 1) * u128::from(all)).div_ceil(u128::from(count)) as u64
        })
    }

    fn add(&mut self, look: Look) -> Result<(), Error> {
        self.looks.push(look);
        let text = serde_json::to_string(&self.looks)
            .map_err(|error| Error::Record { path: self.path.clone(), reason: error.to_string() })?;
        whole::write(&self.path, &[text.as_bytes()]).map_err(failed("write", &self.path))
    }
}

/// A desk, as a watcher that stops a run of `all` gradient evaluations once `until` are spent.
struct Stretch<'a, 'b> {
    desk: &'a mut Desk<'b>,
    all: u64,
    spent: u64,
    until: u64,
}

impl Watcher for Stretch<'_, '_> {
    fn step(&mut self, record: &StepRecord, _progress: f64) {
        self.spent = record.gradient_evaluations;
        self.desk.progress(self.spent as f64 / self.all as f64);
    }

    fn warning(&mut self, text: &str) {
        self.desk.note(&format!("warning: {text}"));
    }

    fn stops(&self) -> bool {
        self.spent >= self.until
    }
}

#[cfg(test)]
mod tests {
    use super::super::curve::tests::looks;
    use super::*;

    #[test]
    fn looks_are_due_at_even_shares_and_never_twice_at_one_place() {
        let mut album = Album { path: PathBuf::new(), looks: Vec::new() };
        assert_eq!(album.due(1000, 3), 0);
        for (spent, due) in [(0, 334), (334, 667), (333, 334), (900, 1000), (1010, 1334)] {
            album.looks = looks(1.0, [(spent, 0.0)]);
            assert_eq!(album.due(1000, 3), due, "after {spent}");
        }
    }
}
