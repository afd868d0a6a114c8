//! What a person looks at: figures and tables, made of plain numbers. No Burn in here.
//!
//! A [`Figure`] is described once and drawn to SVG and PNG alike; a [`Table`] is written as CSV for programs
//! and as Markdown for people.

mod axis;
mod comparison;
mod digits;
mod drawing;
mod figure;
mod font;
pub mod html;
mod layout;
mod palette;
mod png;
mod portrait;
mod runs;
mod svg;
mod table;

pub use comparison::{Against, apart, compare, pooled};
pub use digits::{short, significant};
pub use figure::{Axis, Error, Figure, Level, Panel, Series};
pub use portrait::portrait;
pub use runs::{RunCurves, RunError};
pub(crate) use runs::{clock, each_line};
pub use table::Table;
