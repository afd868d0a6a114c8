//! Errors of using a trained learner.

use crate::support::archive;
use crate::support::classified::Classified;
use crate::{config, data, run, train};
use bilevel::device;
use std::path::PathBuf;

/// An error in prediction, export or import.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages document the variants")]
pub enum Error {
    #[error(transparent)]
    Config(#[from] config::Error),
    #[error(transparent)]
    Data(#[from] data::Error),
    #[error(transparent)]
    Backend(#[from] device::Error),
    #[error(transparent)]
    Run(#[from] run::Error),
    #[error(transparent)]
    Trainer(#[from] train::Error),
    #[error(transparent)]
    Archive(#[from] archive::Error),
    #[error(
        "there are images of {} class{} ({}), but this network distinguishes exactly {ways}, with one \
         output per class. Give {ways} class folders{}, or one for any number of classes with \
         `--set inner.head=prototype`",
        found.len(),
        if found.len() == 1 { "" } else { "es" },
        some(found),
        if found.len() < 2 { ", or train a network".into() } else { format!(", or train a network with `--set task.ways={}`", found.len()) }
    )]
    Ways { found: Vec<String>, ways: usize },
    #[error(
        "there are images of one class only, `{class}`, so every image would be assigned to it; give --support a folder with \
         at least two class folders"
    )]
    OneClass { class: String },
    #[error("the images are {found} pixels wide and high, but this network takes {expected}")]
    Size { found: usize, expected: usize },
    #[error("the images have {found} channels, but this network takes {expected}")]
    Channels { found: usize, expected: usize },
    #[error(
        "transductive batch norm takes its statistics over the images to classify, and needs at least two of them; give \
         more images, or leave out `--batch-norm transductive`"
    )]
    Alone,
    #[error(
        "after {steps} inner steps on these images the network's outputs are not finite; try fewer --steps"
    )]
    NotFinite { steps: usize },
    #[error(
        "{path} is a checkpoint, not exported weights; `metaburn export RUN_DIR` writes the weights of its run"
    )]
    Checkpoint { path: PathBuf },
    #[error(
        "{path} was exported with a configuration that cannot be read: {reason}; name a configuration file"
    )]
    Header { path: PathBuf, reason: String },
    #[error("{path} was exported with a split that cannot be read: {reason}; export it again")]
    Split { path: PathBuf, reason: String },
    #[error(
        "{0}. The network of the configuration does not match the file: check model.kind, model.filters, \
         model.blocks, model.pool, model.bias, model.layers, model.hidden, task.ways, data.image_size, data.channels and inner.adapts"
    )]
    Unfit(archive::Error),
    #[error(
        "{path} holds no configuration, which only `metaburn export` writes, so its network and data are not known. Name a \
         configuration file that describes them: `metaburn init mine.toml` writes one, and `metaburn import {} mine.toml \
         --run-dir DIR` uses it",
        crate::run::quoted(path)
    )]
    NoConfig { path: PathBuf },
    #[error("{path} has an array `{name}` that the configuration's network does not have{hint}")]
    Extra { path: PathBuf, name: String, hint: &'static str },
    #[error("array `{name}` in {path} holds values that are not finite")]
    Values { path: PathBuf, name: String },
}

/// The first few of `names`, separated by commas.
fn some(names: &[String]) -> String {
    const SHOWN: usize = 10;
    let more = if names.len() > SHOWN { ", …" } else { "" };
    format!("{}{more}", names[..names.len().min(SHOWN)].join(", "))
}

impl Classified for Error {
    fn is_user_error(&self) -> bool {
        match self {
            Self::Config(error) => error.is_user_error(),
            Self::Data(error) => error.is_user_error(),
            Self::Backend(error) => error.is_user_error(),
            Self::Run(error) => error.is_user_error(),
            Self::Trainer(error) => error.is_user_error(),
            Self::Archive(error) | Self::Unfit(error) => error.is_user_error(),
            Self::Ways { .. }
            | Self::OneClass { .. }
            | Self::Size { .. }
            | Self::Channels { .. }
            | Self::Alone
            | Self::NotFinite { .. }
            | Self::Checkpoint { .. }
            | Self::Header { .. }
            | Self::NoConfig { .. }
            | Self::Split { .. }
            | Self::Extra { .. }
            | Self::Values { .. } => true,
        }
    }

    fn wrapped(&self) -> Option<&dyn Classified> {
        match self {
            Self::Config(error) => Some(error),
            Self::Data(error) => Some(error),
            Self::Backend(error) => Some(error),
            Self::Run(error) => Some(error),
            Self::Trainer(error) => Some(error),
            Self::Archive(error) => Some(error),
            Self::Unfit(error) => Some(error),
            _ => None,
        }
    }
}
