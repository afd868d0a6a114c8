//! metaburn trains few-shot learners by bi-level optimisation, and lets you choose how much of each
//! inner loop is worth differentiating.
//!
//! Ground floor first: [`dual`] (tensors that carry a tangent) and [`kernel`]; [`model`];
//! [`data`]; [`problem`] (what is optimised inside and outside); [`hypergradient`] (the one engine);
//! [`estimator`] (laws for which products to take); [`diagnosis`] (what each errs by); [`trainer`] (the
//! outer loop); [`deploy`] (what was trained, put to use); [`mod@bench`] (what an outer step takes);
//! [`report`] (figures and tables); [`tensorboard`] (a run's curves for others' eyes); [`page`] (a run on one page);
//! [`study`] (experiments with claims). An upper room may use those below it, never the reverse; `docs/architecture.md` has the
//! plan, and `docs/own-problem.md` walks through a problem that is not few-shot.
//!
//! # Example
//!
//! A run of two outer steps on built-in characters, then its test accuracy:
//!
//! ```
//! use metaburn::config::Config;
//! use metaburn::data::Part;
//! use metaburn::trainer::{Trainer, Watcher};
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
//! let accuracy = trainer.evaluate(Part::Test, 4, |_| ());
//! println!("{:.1} % ± {:.1}", accuracy.mean, accuracy.ci95);
//! assert!((0.0..=100.0).contains(&accuracy.mean));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![deny(missing_docs)]

pub mod ahead;
pub mod archive;
pub mod backend;
pub mod bench;
pub mod blame;
pub mod case;
pub mod caught;
pub mod config;
pub mod data;
pub mod deploy;
pub mod diagnosis;
pub mod dual;
pub mod estimator;
pub mod hex;
pub mod host;
pub mod hypergradient;
pub mod interval;
pub mod kernel;
pub mod model;
pub mod page;
pub mod problem;
pub mod random;
pub mod report;
pub mod silence;
pub mod stack;
pub mod study;
pub mod tensorboard;
pub mod trainer;
pub mod whole;
