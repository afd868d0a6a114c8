//! Figures, tables and pages, for people and for other programs.
//!
//! - [`Figure`]: charts, written as SVG, PNG or HTML from one description;
//! - [`Table`]: written as CSV and Markdown;
//! - [`RunCurves`]: the curves of training runs, drawn by [`overview`] and [`compare`];
//! - [`page`]: the HTML page of a run;
//! - [`tensorboard`]: a run's event files.

mod curves;
mod figure;
pub mod html;
pub mod page;
mod table;
pub mod tensorboard;

pub use curves::{Against, RunCurves, apart, compare, incomparable, overview, pooled};
pub use figure::{Axis, Error, Figure, Level, Panel, Series, short, significant};
pub use table::Table;
