//! Training runs inside studies, which continue after an interruption.

use super::{Error, RunImages, Workspace};
use crate::config::Config;
use crate::run::{self, RunDir, StepRecord};
use crate::train::{Trainer, Watcher};
use std::cell::OnceCell;
use std::path::Path;

/// Resumes the run in the directory `path` in the place of `config` (backend, threads, paths), or starts one of `config` there
/// if there is none.
///
/// # Errors
/// Returns an error if the run is damaged, or its data, backend or directory cannot be used.
pub fn start_or_resume(path: &Path, config: &Config, watcher: &mut dyn Watcher) -> Result<Trainer, Error> {
    match RunDir::open(path) {
        Ok((run, stored)) => Ok(Trainer::resume(run, stored.placed_as(config), watcher)?),
        Err(run::Error::NoRun { .. }) => Ok(Trainer::start(config.clone(), path, watcher)?),
        Err(error) => Err(error.into()),
    }
}

/// [`start_or_resume`] for a run of a study whose other runs are trained on the images in the file `images`.
///
/// # Errors
/// Returns an error in the cases of [`start_or_resume`], or if the run is trained on other images.
pub fn start_or_resume_on(
    images: &Path,
    path: &Path,
    config: &Config,
    watcher: &mut dyn Watcher,
) -> Result<Trainer, Error> {
    let trainer = start_or_resume(path, config, watcher)?;
    let run = path.file_name().unwrap_or_default().to_string_lossy();
    RunImages::add_to_file(images, &run, config, &trainer.training_state().data)?;
    Ok(trainer)
}

/// The progress of the piece, from a step's record and the run's progress after it.
type Share = dyn Fn(&StepRecord, f64) -> f64;

/// Reports the progress, the notes and the warnings of a run to a workspace.
pub struct TrainingProgress<'a, 'b> {
    workspace: &'a mut Workspace<'b>,
    share: Box<Share>,
    /// Whether the share of the next step may include steps of earlier sessions.
    may_resume: bool,
}

impl<'a, 'b> TrainingProgress<'a, 'b> {
    /// For a run that is the share `share` of the piece, its first part.
    pub fn new(workspace: &'a mut Workspace<'b>, share: f64) -> Self {
        Self { workspace, share: Box::new(move |_, progress| share * progress), may_resume: true }
    }

    /// For a run that is trained to outer step `until`, from the first step that it reports.
    pub fn until(workspace: &'a mut Workspace<'b>, until: u64) -> Self {
        let first = OnceCell::new();
        let share = move |record: &StepRecord, _| {
            let from = first.get_or_init(|| record.step.saturating_sub(1));
            record.step.saturating_sub(*from) as f64 / until.saturating_sub(*from).max(1) as f64
        };
        Self { workspace, share: Box::new(share), may_resume: false }
    }
}

impl Watcher for TrainingProgress<'_, '_> {
    fn loading(&mut self, done: usize, all: usize) {
        self.workspace.loading(done, all);
    }

    fn step(&mut self, record: &StepRecord, progress: f64) {
        let done = (self.share)(record, progress);
        if std::mem::take(&mut self.may_resume) {
            self.workspace.starts_at(done);
        } else {
            self.workspace.progress(done);
        }
    }

    fn note(&mut self, text: &str) {
        self.workspace.note(text);
    }

    fn warning(&mut self, text: &str) {
        self.workspace.note(&format!("warning: {text}"));
    }
}
