//! Everything that can stand between a trained learner and its use.

use crate::{archive, backend, config, data, trainer};
use std::path::PathBuf;

/// What was wrong, where, and what to do.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Error {
    #[error(transparent)]
    Config(#[from] config::Error),
    #[error(transparent)]
    Data(#[from] data::Error),
    #[error(transparent)]
    Backend(#[from] backend::Error),
    #[error(transparent)]
    Trainer(#[from] trainer::Error),
    #[error(transparent)]
    Archive(#[from] archive::Error),
    #[error(
        "there are images of {} classes ({}), but this network tells {ways} apart, no more and no fewer: it has an \
         output for each. Give it {ways} class folders, or train one with `--set task.ways={}`",
        found.len(),
        some(found),
        found.len().max(2)
    )]
    Ways { found: Vec<String>, ways: usize },
    #[error("the images were made {found} pixels wide and high, but this network takes {expected}")]
    Size { found: usize, expected: usize },
    #[error(
        "transductive batch norm takes its statistics from the images to be named, and one alone has none to share; \
         give more of them, or leave out `--batch-norm transductive`"
    )]
    Alone,
    #[error(
        "after {steps} inner steps on these images the network's answers are not finite; try fewer --steps"
    )]
    NotFinite { steps: usize },
    #[error(
        "{path} is a checkpoint, of which a run goes on by itself; its weights alone are written by \
         `metaburn export RUN_DIR`"
    )]
    Checkpoint { path: PathBuf },
    #[error(
        "{path} was exported with a configuration that cannot be read: {reason}; name a configuration file"
    )]
    Header { path: PathBuf, reason: String },
    #[error(
        "{0}. The configuration describes another network than the file holds: see model.kind, model.filters, \
         model.blocks, model.hidden, task.ways, data.image_size and inner.adapts"
    )]
    Unfit(archive::Error),
    #[error("{path} has an array `{name}`, for which the configuration's network has no place{hint}")]
    Extra { path: PathBuf, name: String, hint: &'static str },
    #[error("array `{name}` in {path} holds values that are not finite; nothing can be learned from there")]
    Values { path: PathBuf, name: String },
}

/// The first few of `names`.
fn some(names: &[String]) -> String {
    const SHOWN: usize = 10;
    let more = if names.len() > SHOWN { ", …" } else { "" };
    format!("{}{more}", names[..names.len().min(SHOWN)].join(", "))
}
