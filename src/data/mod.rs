//! Image data, from files on disk to episodes.
//!
//! - A [`Source`] of the [`registry`] loads an [`ImageSet`].
//! - A [`Split`] divides its classes into training, validation and test classes.
//! - A [`Sampler`] draws episodes. Each is a function of (seed, part, index) alone: first a [`Selection`] of
//!   image references, then the pixels of one [`Episode`] or of a batch of them. Those of training may be changed at
//!   random ([`Augmentation`]).
//!
//! For prediction, a [`Request`] holds the support images and the query images to classify.
//!
//! [`Sinusoids`] are regression tasks, computed without data.
//!
//! For ordinary classification there are [`Labelled`] images, such as [`mnist`]'s.
//!
//! To add a source of images, write its file with a [`Source`] in it and list that in [`registry`].

mod augmentation;
pub mod cache;
mod channels;
pub mod cifar100;
mod class_table;
mod contact_sheet;
pub mod decode;
mod decoding;
mod episode;
mod error;
pub mod fetch;
mod findings;
mod fingerprint;
mod fit;
pub mod folder;
mod format;
pub mod glyphs;
mod image_set;
mod kept_split;
mod labelled;
mod layout;
mod left_out;
mod listing;
pub mod mnist;
mod nearest_neighbour;
mod normalisation;
pub mod omniglot;
mod part;
mod pixels;
mod placement;
mod prediction;
mod raster;
pub mod registry;
mod render;
mod resize;
mod rotation;
mod sampler;
mod sinusoid;
mod source;
mod split;
pub mod split_list;
mod warp;

pub use augmentation::Augmentation;
pub use channels::Channels;
pub use class_table::ClassTable;
pub use contact_sheet::contact_sheet;
pub use episode::{Episode, EpisodeShape, ImageRef, Selection};
pub use error::Error;
pub use fetch::{Dataset, Remote};
pub use findings::{Findings, Ink};
pub use fit::{Fit, Form};
pub use glyphs::Glyphs;
pub use image_set::{Class, Format, ImageSet, intensity};
pub use kept_split::{KeptClass, KeptSplit};
pub use labelled::{Labelled, Mislabelled};
pub use left_out::{Group, LeftOut, Reason};
pub use mnist::Mnist;
pub use nearest_neighbour::nearest_neighbour;
pub use normalisation::Normalisation;
pub use part::Part;
pub use pixels::Pixels;
pub use placement::{PixelOrder, Placement};
pub use prediction::{Query, Request};
pub use render::{display_name, render, render_pixels, write_episode};
pub use rotation::{RotatedClass, Rotations};
pub use sampler::Sampler;
pub use sinusoid::{INPUTS, Sinusoid, SinusoidEpisode, Sinusoids};
pub use source::{Defaults, LoadOptions, Loaded, Location, Offer, Progress, Source};
pub use split::{Split, SplitRule, TRAINING_FRACTION};
pub use warp::Warp;
