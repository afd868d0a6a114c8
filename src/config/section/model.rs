//! `[model]`: the network.

use super::data;
use crate::config::checker::Checker;
use crate::config::key::{Fixed, Is, keys};
use crate::config::kind::{Count, OneOf, Widths, at_least, between, one_of, widths};
use crate::model::{Network, halvings};
use crate::task::BatchNorm;
use bilevel::choice;
use serde::Serialize;

keys! {
    /// Network architecture.
    KIND: Fixed<OneOf<Kind>> = "model.kind", one_of(), Is(|| Kind::Conv4);
    /// Number of filters in each convolution of a "conv4".
    FILTERS: Fixed<Count> = "model.filters", between(1, 4096), Is(|| 64);
    /// Number of blocks of a "conv4". Each halves the height and width of the image.
    BLOCKS: Fixed<Count> = "model.blocks", at_least(1), Is(|| 4);
    /// Widths of the hidden layers of an "mlp".
    HIDDEN: Fixed<Widths> = "model.hidden", widths(16, 65_536), Is(|| vec![256, 128, 64, 64]);
    /// Images over which batch norm takes its statistics: those of the current batch, or always the support images.
    BATCH_NORM: Fixed<OneOf<BatchNorm>> = "model.batch_norm", one_of(), Is(|| BatchNorm::Transductive);
}

choice! {
    /// The names of the networks.
    pub enum Kind {
        /// Convolutional network.
        Conv4 = "conv4",
        /// Fully connected network.
        Mlp = "mlp",
    }
}

/// The network.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Model {
    /// Architecture and sizes.
    #[serde(flatten)]
    pub architecture: Network,
    /// Images over which batch norm takes its statistics.
    pub batch_norm: BatchNorm,
}

/// Checks the section, for images of `image_size` × `image_size` pixels.
pub fn check(checker: &mut Checker, image_size: usize) -> Model {
    let kind = checker.get(&KIND);
    let architecture = match kind {
        Kind::Conv4 => {
            checker.unused(&HIDDEN, &KIND, kind, "only an \"mlp\" has hidden layers");
            conv4(checker, image_size)
        }
        Kind::Mlp => {
            checker.unused(&FILTERS, &KIND, kind, "only a \"conv4\" has filters");
            checker.unused(&BLOCKS, &KIND, kind, "only a \"conv4\" has blocks");
            Network::Mlp { hidden: checker.get(&HIDDEN) }
        }
    };
    Model { architecture, batch_norm: checker.get(&BATCH_NORM) }
}

fn conv4(checker: &mut Checker, image_size: usize) -> Network {
    let (filters, blocks) = (checker.get(&FILTERS), checker.get(&BLOCKS));
    let most = halvings(image_size);
    if blocks > most {
        let reason = format!(
            "`model.blocks` (= {blocks}) must be a whole number from 1 to {most}: each block halves the \
             image, and data.image_size = {image_size} is one pixel after {most}"
        );
        checker.contradicts(&BLOCKS, &data::IMAGE_SIZE, reason);
    }
    Network::Conv4 { filters, blocks }
}
