//! metaburn trains few-shot learners by bi-level optimisation, and lets you choose how much of each
//! inner loop to differentiate.
//!
//! The engine is the crate [`bilevel`]: tensors with tangents, the backward pass, estimators, the outer loop. This crate
//! adds images, networks, configuration files and runs on disk. From the lowest layer up: [`data`] and [`model`];
//! [`task`] (bi-level problems on images); [`config`]; [`run`] (a run on disk); [`train`] (the trainer); [`report`], [`inference`] and
//! [`mod@bench`] (uses of a trained run); [`study`] (experiments with claims). A module depends only on those
//! before it. `docs/architecture.md` describes the layout, and `docs/own-problem.md` a problem without images.
//!
//! # Example
//!
//! Trains for two outer steps on built-in characters, and measures test accuracy:
//!
//! ```
//! use metaburn::config::Config;
//! use metaburn::data::Part;
//! use metaburn::train::{Trainer, Watcher};
//!
//! struct Silent;
//! impl Watcher for Silent {}
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("run");
//! let small = ["outer.steps=2", "outer.meta_batch=2", "model.filters=4", "backend=flex"].map(String::from);
//! let config = Config::load(None, &small)?;
//! let mut trainer = Trainer::start(config, &path, &mut Silent)?;
//! trainer.run(&mut Silent)?;
//! let measured = trainer.evaluate(Part::Test, 4, |_| ());
//! let accuracy = measured.accuracy().expect("the built-in configuration trains a classifier");
//! println!("{:.1} % ± {:.1}", accuracy.mean, accuracy.ci95);
//! assert!((0.0..=100.0).contains(&accuracy.mean));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![deny(missing_docs)]

pub mod bench;
pub mod config;
pub mod data;
pub mod gradient_case;
pub mod inference;
pub mod model;
pub mod report;
pub mod run;
pub mod study;
#[doc(hidden)]
pub mod support;
pub mod task;
pub mod train;

pub use bilevel;
