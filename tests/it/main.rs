//! All integration tests of the package, in one program: every test program links all of Burn, which takes longer than
//! most tests do.
//!
//! Tests run side by side in this process, so they change nothing that belongs to the whole process: no environment
//! variable, not the working directory, not rayon's global pool. What needs another environment, a signal, failing calls
//! or a memory measurement runs `metaburn` as a child (`common::program`). One exception is harmless: while
//! `backends::wgpu_and_flex_draw_the_same_pixels` opens wgpu, the library mutes standard error and panic messages of the
//! whole process for a moment, so that the message of another test, but not its failure, can be lost.

mod common;

mod architecture;
mod backends;
mod bench;
mod colour;
mod data;
mod documentation;
mod endurance;
mod errors;
mod evaluation;
mod faults;
mod fetch;
mod few_shot_study;
mod figures;
mod golden;
mod gpu;
mod gradients;
mod graphs;
mod hostile;
mod hyper_cleaning;
mod hyperparameters;
mod inference;
mod inner_loops;
mod memory_plans;
mod methods;
mod model;
mod omniglot_study;
mod own_images;
mod plots_and_reports;
mod ranks;
mod recipe;
mod results;
mod resume;
mod resume_longer;
mod setup;
mod sinusoid;
mod studies;
mod studies_on_digits;
mod sweep;
mod tensorboard;
mod terminal;
mod threads;
mod train;
