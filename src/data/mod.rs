//! From drawings to episodes.
//!
//! A [`Source`] yields an [`ImageSet`]; a [`Split`] divides its classes into training, validation
//! and test; a [`Sampler`] draws episodes, each a function of (seed, part, index) alone: first a
//! [`Selection`] of images, from which an [`Episode`] or a batch of many is made.
//!
//! A trained learner is given a [`Request`]: images to adapt to, and others to name.
//!
//! Ordinary classification has [`Labelled`] images instead, [`mnist`]'s for one.

pub mod cache;
pub mod container;
pub mod decode;
mod drawing;
mod error;
pub mod fetch;
mod fingerprint;
pub mod folder;
pub mod glyphs;
mod gzip;
pub mod idx;
mod image_set;
mod labelled;
pub mod mnist;
mod neighbour;
pub mod omniglot;
mod part;
mod preview;
mod request;
mod resize;
mod sampler;
mod selection;
mod source;
mod split;
mod turn;

pub use drawing::{called, drawing, write_episode};
pub use error::Error;
pub use glyphs::Glyphs;
pub use image_set::{Class, ImageSet, shade};
pub use labelled::{Labelled, Mislabelled};
pub use mnist::Mnist;
pub use neighbour::nearest_neighbour;
pub use part::Part;
pub use preview::contact_sheet;
pub use request::{Query, Request};
pub use sampler::{Episode, EpisodeShape, Sampler};
pub use selection::{Picture, Selection};
pub use source::{Loaded, Source};
pub use split::{Split, SplitRule};
pub use turn::{Turned, turned};
