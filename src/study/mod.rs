//! Studies: experiments that say what they expect, measure it, and show it, from one command each.
//!
//! A [`Study`] is a list of pieces of work, each of which yields a record, and a conclusion drawn from all
//! records: claims with what was expected and measured, figures and tables. [`carry_out`] does the pieces
//! that are not done yet, keeps each record in the study's folder, and writes everything up.
//! `docs/studies.md` says how to add one.

pub mod bias;
mod carry_out;
mod claim;
mod digits;
mod error;
pub mod few_shot;
mod folder;
pub mod hypercleaning;
pub mod hyperparameters;
mod laws;
mod pool;
pub mod quadratic;
pub mod sweep;
mod training;
mod write_up;

pub use carry_out::{Desk, Observer, carry_out};
pub use claim::{Claim, Expected, Measured, Verdict};
pub use digits::{Digits, Size};
pub use error::Error;
pub use training::take_up;
pub use write_up::Finished;

use crate::report::{Figure, Table};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// An experiment at one size.
pub trait Study {
    /// What a piece of work yields.
    type Record: Serialize + DeserializeOwned;

    /// What it is called and what it shows.
    fn about(&self) -> About;

    /// Everything that records depend on, as a JSON object: records of other settings are refused.
    fn settings(&self) -> Value;

    /// The work, in the order in which it is done.
    fn pieces(&self) -> Vec<Piece>;

    /// Does the piece named `key`.
    ///
    /// # Errors
    /// If it cannot be done.
    fn work(&self, key: &str, desk: &mut Desk) -> Result<Self::Record, Error>;

    /// What the records, in the order of the pieces, come to.
    fn conclude(&self, records: &[Self::Record]) -> Conclusion;
}

/// What a person reads before a study is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct About {
    /// What the command line calls it.
    pub name: &'static str,
    /// The report's title.
    pub title: &'static str,
    /// In a sentence.
    pub shows: &'static str,
    /// About how long the full size takes, and the quick one, on two cores.
    pub takes: [&'static str; 2],
}

/// A piece of work that is done whole or not at all.
#[derive(Clone, Debug, PartialEq)]
pub struct Piece {
    /// Its record's name: letters, digits, points and hyphens.
    pub key: String,
    /// How much work it is, in any unit.
    pub weight: f64,
}

/// What a study comes to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conclusion {
    /// What was expected, and whether it held.
    pub claims: Vec<Claim>,
    /// What else there is to say, a paragraph each.
    pub remarks: Vec<String>,
    /// The pictures.
    pub figures: Vec<Illustration>,
    /// The data, by file name without extension.
    pub tables: Vec<(&'static str, Table)>,
}

/// A figure and what is to be seen in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Illustration {
    /// Its file name without extension.
    pub name: &'static str,
    /// What is to be seen.
    pub caption: String,
    /// The figure.
    pub figure: Figure,
}

/// Every study, in the order of the list.
pub const ALL: [About; 5] =
    [quadratic::ABOUT, bias::ABOUT, few_shot::ABOUT, hypercleaning::ABOUT, hyperparameters::ABOUT];
