//! Studies: reproducible experiments with claims, figures and a report, one command each.
//!
//! A [`Study`] lists its pieces of work, runs each of them to a record, and draws a conclusion from all pieces and
//! their records: claims (expected and measured), figures and tables. [`run`] runs the pieces that have no record
//! yet, stores every record in the study's folder, and writes the report. [`ALL`] lists the studies; the command
//! line is derived from it. `docs/studies.md` describes how to add one.

pub mod bias;
mod chosen;
mod claim;
mod digits;
mod error;
mod estimators;
pub mod few_shot;
mod folder;
pub mod hypercleaning;
pub mod hyperparameters;
mod mean_curve;
pub mod omniglot;
pub mod quadratic;
mod registry;
mod report_page;
mod run;
mod run_images;
mod stopwatch;
pub mod sweep;
pub mod theory;
mod training;

pub use chosen::{Listed, index};
pub use claim::{Claim, Expected, Measured, Verdict};
pub use digits::{Digits, DigitsOptions, DigitsStudy, Size};
pub use error::Error;
pub use registry::{ConfigSource, OptionInfo, Scale, StudyEntry, StudyOption, StudyOptions};
pub use report_page::Finished;
pub use run::{Observer, PieceState, Workspace, pieces, run, run_piece};
pub use run_images::RunImages;
pub use training::start_or_resume;

use crate::report::{Figure, Table};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Every study, in the order of `study list`.
pub static ALL: [StudyEntry; 7] = [
    StudyEntry::of::<quadratic::Options>(),
    StudyEntry::of::<theory::Options>(),
    StudyEntry::of::<bias::Options>(),
    StudyEntry::of::<few_shot::Options>(),
    StudyEntry::of::<omniglot::Options>(),
    StudyEntry::of::<hypercleaning::Options>(),
    StudyEntry::of::<hyperparameters::Options>(),
];

/// An experiment at one size.
pub trait Study {
    /// One piece of work: which estimator, which seed, which checkpoint.
    type Piece;

    /// Result of a piece, stored as JSON.
    type Record: Serialize + DeserializeOwned;

    /// Name, title and description.
    const ABOUT: About;

    /// Key of an object in the settings to which entries can be added later, because records depend on one of them each.
    const GROWING: Option<&'static str> = None;

    /// Whether it compares times, so that all pieces must run with the same number of threads.
    const TIMED: bool = false;

    /// Everything that records depend on, as a JSON object. Records made with other settings are refused.
    fn settings(&self) -> Value;

    /// The pieces of work, in the order in which they are run.
    fn pieces(&self) -> Vec<Self::Piece>;

    /// Unique name of `piece`, which names its record: letters, digits, points and hyphens.
    fn key(&self, piece: &Self::Piece) -> String;

    /// Cost of `piece` relative to the others, in any unit; for progress.
    fn weight(&self, piece: &Self::Piece) -> f64;

    /// Runs `piece`.
    ///
    /// # Errors
    /// Returns an error if the piece cannot be computed.
    fn run(&self, piece: &Self::Piece, workspace: &mut Workspace) -> Result<Self::Record, Error>;

    /// Claims, figures and tables from all pieces and their records, in the order of [`Self::pieces`].
    fn conclude(&self, results: Vec<Completed<Self::Piece, Self::Record>>) -> Conclusion;
}

/// Name, title and description of a study, shown by `study list` and `--help` and in the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct About {
    /// Subcommand name.
    pub name: &'static str,
    /// Title of the report, and one-line help.
    pub title: &'static str,
    /// What the study compares and shows, in a few sentences.
    pub description: &'static str,
    /// Further text for `--help`; may be empty.
    pub usage: &'static str,
    /// A command line.
    pub example: &'static str,
    /// Approximate duration on two cores: full size, quick size.
    pub durations: [&'static str; 2],
}

/// A piece of work with its record.
#[derive(Clone, Debug, PartialEq)]
pub struct Completed<P, R> {
    /// The piece.
    pub piece: P,
    /// Its result.
    pub record: R,
}

/// Outcome of a study.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conclusion {
    /// Claims with their verdicts.
    pub claims: Vec<Claim>,
    /// Further remarks for the report, a paragraph each.
    pub remarks: Vec<String>,
    /// Figures with captions.
    pub figures: Vec<Illustration>,
    /// Data tables, by file name without extension.
    pub tables: Vec<(&'static str, Table)>,
}

/// A figure with its caption.
#[derive(Clone, Debug, PartialEq)]
pub struct Illustration {
    /// File name without extension.
    pub name: &'static str,
    /// Caption.
    pub caption: String,
    /// The figure.
    pub figure: Figure,
}
