//! `[model]`: the network that is adapted.

use super::data;
use crate::config::checker::Checker;
use crate::config::choice::choice;
use crate::config::key::{Fixed, Is, keys};
use crate::config::kind::{Count, OneOf, Widths, at_least, between, one_of, widths};
use serde::Serialize;

keys! {
    /// The network's kind.
    KIND: Fixed<OneOf<Kind>> = "model.kind", one_of(), Is(|| Kind::Conv4);
    /// Filters of each convolution of a "conv4".
    FILTERS: Fixed<Count> = "model.filters", between(1, 4096), Is(|| 64);
    /// Blocks of a "conv4"; each halves the image.
    BLOCKS: Fixed<Count> = "model.blocks", at_least(1), Is(|| 4);
    /// Widths of an "mlp"'s hidden layers.
    HIDDEN: Fixed<Widths> = "model.hidden", widths(16, 65_536), Is(|| vec![256, 128, 64, 64]);
    /// Which images give batch norm its statistics: the batch at hand, or always the support images.
    BATCH_NORM: Fixed<OneOf<BatchNorm>> = "model.batch_norm", one_of(), Is(|| BatchNorm::Transductive);
}

choice! {
    /// The names of [`Architecture`]'s variants.
    pub enum Kind {
        /// Convolutional.
        Conv4 = "conv4",
        /// Fully connected.
        Mlp = "mlp",
    }
}

choice! {
    /// Which images give batch norm its statistics.
    pub enum BatchNorm {
        /// The batch at hand: query images are normalised together, as in most published accuracies.
        Transductive = "transductive",
        /// The support images: each query image is judged alone.
        Support = "support",
    }
}

/// The network that is adapted.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Model {
    /// Its layers.
    #[serde(flatten)]
    pub architecture: Architecture,
    /// Which images give batch norm its statistics.
    pub batch_norm: BatchNorm,
}

/// A network's layers; a linear layer to the classes follows each.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Architecture {
    /// Blocks of 3×3 convolution with stride 2, batch norm and ReLU (Vinyals et al. 2016).
    Conv4 {
        /// Filters of each convolution, 1 to 4096.
        filters: usize,
        /// Blocks, ≥ 1, and no more than halve the image down to one pixel.
        blocks: usize,
    },
    /// Fully connected layers with batch norm and ReLU.
    Mlp {
        /// Widths of the hidden layers, at least one.
        hidden: Vec<usize>,
    },
}

/// The section, checked, for images of `image_size` × `image_size` pixels.
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
            Architecture::Mlp { hidden: checker.get(&HIDDEN) }
        }
    };
    Model { architecture, batch_norm: checker.get(&BATCH_NORM) }
}

fn conv4(checker: &mut Checker, image_size: usize) -> Architecture {
    let (filters, blocks) = (checker.get(&FILTERS), checker.get(&BLOCKS));
    let most = halvings(image_size);
    if blocks > most {
        let reason = format!(
            "`model.blocks` (= {blocks}) must be a whole number from 1 to {most}: each block halves the \
             image, and data.image_size = {image_size} is one pixel after {most}"
        );
        checker.contradicts(&BLOCKS, &data::IMAGE_SIZE, reason);
    }
    Architecture::Conv4 { filters, blocks }
}

/// How often `size` ≥ 1 pixels can be halved, rounding up, until one is left: the most blocks of a "conv4".
pub fn halvings(size: usize) -> usize {
    size.next_power_of_two().ilog2() as usize
}
