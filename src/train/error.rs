//! Errors of training.

use crate::run::{self, quoted};
use crate::support::classified::Classified;
use crate::{config, data};
use bilevel::device;
use std::path::PathBuf;

/// Why training could not start or continue.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages document the variants")]
pub enum Error {
    #[error(transparent)]
    Config(#[from] config::Error),
    #[error(transparent)]
    Data(#[from] data::Error),
    #[error("{error}; {advice}")]
    Insufficient { error: data::Error, advice: String },
    #[error(
        "the run directory {run} would be inside the image folder {images}, where {}; choose another with --run-dir",
        harm(*is_listed),
        run = run.display(), images = images.display()
    )]
    AmongImages { run: PathBuf, images: PathBuf, is_listed: bool },
    #[error(transparent)]
    Backend(#[from] device::Error),
    #[error(transparent)]
    Run(#[from] run::Error),
    #[error(
        "the data is not what this run was trained on (digest {found:.12}… instead of {expected:.12}…); give the path of \
         the original data with --data"
    )]
    OtherData { found: String, expected: String },
    #[error(
        "no folder is given for the images of data.source = {:?}; give it with --data PATH",
        of.name
    )]
    NoData { of: &'static data::Source },
    #[error(
        "all {episodes} episodes diverged: after {steps} inner steps the network's outputs are not finite, so there is no \
         accuracy. `metaburn eval {} --steps N` measures after fewer inner steps; for a new run, lower inner.rate or \
         inner.eval_steps",
        quoted(path)
    )]
    NoAccuracy { episodes: usize, steps: usize, path: PathBuf },
    #[error(
        "{diverged} of {episodes} episodes diverged: after {steps} inner steps the network's outputs are not finite, so there \
         is no mean squared error. `metaburn eval {} --steps N` measures after fewer inner steps; for a new run, lower \
         inner.rate or inner.eval_steps",
        quoted(path)
    )]
    NoError { diverged: usize, episodes: usize, steps: usize, path: PathBuf },
    #[error(
        "training diverged at outer step {step}: {what} is not finite. Continue from the last checkpoint with other \
         settings: `metaburn resume {} --set outer.rate=RATE`; outer.clip, and divergence.action = \"skip\" or \"rewind\", can \
         be set in the same way. Or start a new run with a lower inner.rate{}",
        quoted(path),
        report.as_ref().map(|path| format!(". {} describes how to repeat the step", path.display())).unwrap_or_default()
    )]
    Diverged { step: u64, what: &'static str, path: PathBuf, report: Option<PathBuf> },
    #[error(
        "outer step {step} is not saved: {reason}. {}; fix this, then continue with `metaburn resume {}`",
        latest.map_or("No checkpoint can be read".into(), |latest| format!("The latest checkpoint is the one after outer step {latest}")),
        quoted(path)
    )]
    Unsaved { step: u64, path: PathBuf, latest: Option<u64>, reason: String },
    #[error(
        "the ranks cannot compute one run together: {}. Start the same program with the same configuration and data on machines \
         of the same kind",
        differences.join("; ")
    )]
    Unlike { differences: Vec<String> },
    #[error(
        "{ranks} ranks cannot share the {tasks} tasks of a meta-batch; start at most {tasks}, or raise outer.meta_batch"
    )]
    FewTasks { ranks: usize, tasks: usize },
    #[error(
        "after outer step {step} the weights of these ranks differ from those of rank 0: {ranks}. Nothing was saved; the \
         processors may differ, or one of them may be faulty. `metaburn resume {}` continues from the last checkpoint",
        quoted(path)
    )]
    Parted { step: u64, ranks: String, path: PathBuf },
    #[error(
        "computing failed after outer step {step}: {reason}. If memory ran out, lower outer.meta_batch, task.queries \
         or model.filters, or set memory.plan = \"snapshots\" or, on a GPU, graphs = false; the last checkpoint is kept, and `metaburn resume {}` \
         continues from it",
        quoted(path)
    )]
    Computing { step: u64, path: PathBuf, reason: String },
}

/// What the files of a run would do in the image folder; `is_listed` says whether a list names the images.
fn harm(is_listed: bool) -> &'static str {
    match is_listed {
        true => "each change of its files would make metaburn decode all images again",
        false => "its files would be taken for classes",
    }
}

impl Error {
    /// Whether the images are not there at all, rather than damaged or too few.
    pub fn lacks_data(&self) -> bool {
        matches!(
            self,
            Self::NoData { .. }
                | Self::Data(
                    data::Error::NoFolder { .. }
                        | data::Error::Missing { .. }
                        | data::Error::NotFetched { .. }
                )
        )
    }

    /// The same for a run that is resumed, which keeps its episodes.
    pub(super) fn of_resumed_run(self) -> Self {
        match self {
            Self::Insufficient { error, advice } => Self::Insufficient {
                error,
                advice: format!(
                    "a run that has begun keeps its episodes, but a new run can start from its weights (`metaburn export RUN_DIR -o \
                     w.safetensors`, then `metaburn import w.safetensors`); there, {advice}"
                ),
            },
            other => other,
        }
    }
}

impl Classified for Error {
    fn is_user_error(&self) -> bool {
        match self {
            Self::Config(error) => error.is_user_error(),
            Self::Data(error) => error.is_user_error(),
            Self::Backend(error) => error.is_user_error(),
            Self::Run(error) => error.is_user_error(),
            Self::Insufficient { .. }
            | Self::AmongImages { .. }
            | Self::NoData { .. }
            | Self::OtherData { .. }
            | Self::NoAccuracy { .. }
            | Self::NoError { .. }
            | Self::Unlike { .. }
            | Self::FewTasks { .. } => true,
            Self::Diverged { .. } | Self::Unsaved { .. } | Self::Parted { .. } | Self::Computing { .. } => {
                false
            }
        }
    }

    fn wrapped(&self) -> Option<&dyn Classified> {
        match self {
            Self::Config(error) => Some(error),
            Self::Data(error) => Some(error),
            Self::Backend(error) => Some(error),
            Self::Run(error) => Some(error),
            _ => None,
        }
    }
}
