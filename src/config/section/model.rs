//! `[model]`: the network.

use super::data;
use super::task::{self, TaskKind};
use crate::config::checker::Checker;
use crate::config::key::{AnyKey, Fixed, Is, Open, Otherwise, keys};
use crate::config::kind::{
    Count, Flag, Number, OneOf, Widths, at_least, between, non_negative, one_of, widths,
};
use crate::model::{Conv4, Initialisation, Mlp, Network, Pool, ResNet};
use crate::task::BatchNorm;
use bilevel::choice;
use serde::Serialize;

/// The most filters in the first stage of a "resnet".
const MOST_RESNET_FILTERS: usize = 512;

keys! {
    /// Network architecture.
    KIND: Open<OneOf<Kind>> = "model.kind", one_of(), Otherwise("\"conv4\"; \"mlp\" for sinusoids");
    /// Number of filters in each convolution of a "conv4", or in the first of the four stages of a "resnet"; each later
    /// stage has twice as many as the one before it.
    FILTERS: Fixed<Count> = "model.filters", between(1, 4096), Is(|| 64);
    /// Number of blocks of a "conv4". Each halves the height and width of the image.
    BLOCKS: Fixed<Count> = "model.blocks", at_least(1), Is(|| 4);
    /// How a block of a "conv4" halves the image: with a convolution of stride 2 ("stride"), which rounds odd sides up, or
    /// with 2×2 max-pooling after a convolution of stride 1 ("max"), which rounds them down.
    POOL: Fixed<OneOf<Pool>> = "model.pool", one_of(), Is(|| Pool::Stride);
    /// Whether the convolutions of a "conv4" have a bias. Batch norm cancels it.
    BIAS: Fixed<Flag> = "model.bias", Flag, Is(|| false);
    /// Number of residual blocks of a "resnet": 4, 8 or 12. Each has two 3×3 convolutions.
    LAYERS: Fixed<Count> = "model.layers", between(4, 12), Is(|| 8);
    /// Widths of the hidden layers of an "mlp".
    HIDDEN: Open<Widths> = "model.hidden", widths(16, 65_536), Otherwise("[256, 128, 64, 64]; [40, 40] for sinusoids");
    /// Slope of the activation function for negative inputs: 0 gives ReLU, a larger value leaky ReLU.
    NEGATIVE_SLOPE: Fixed<Number> = "model.negative_slope", non_negative(), Is(|| 0.0);
    /// Distribution of the initial weights: normal with variance 2/inputs, or 1/inputs in the last layer ("he", He et al.);
    /// or uniform with variance 2/(inputs + outputs) ("xavier", as in PyTorch). Biases start at 0.
    INIT: Fixed<OneOf<Initialisation>> = "model.init", one_of(), Is(|| Initialisation::He);
    /// Images from which batch norm computes its statistics: those of the current batch ("transductive"), or always the
    /// support images ("support"). An "mlp" can also have "none": biases instead of batch norm.
    BATCH_NORM: Open<OneOf<BatchNorm>> = "model.batch_norm", one_of(), Otherwise("\"transductive\"; \"none\" for sinusoids");
}

choice! {
    /// The names of the networks.
    pub enum Kind {
        /// Convolutional network.
        Conv4 = "conv4",
        /// Fully connected network.
        Mlp = "mlp",
        /// Residual convolutional network.
        ResNet = "resnet",
    }
}

/// The network.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Model {
    /// Architecture and sizes.
    #[serde(flatten)]
    pub architecture: Network,
    /// Images over which batch norm takes its statistics, or that there is none.
    pub batch_norm: BatchNorm,
}

/// Checks the section, for images of `image_size` × `image_size` pixels or for points.
pub fn check(checker: &mut Checker, task: TaskKind, image_size: usize) -> Model {
    let kind = kind(checker, task);
    let batch_norm = batch_norm(checker, task, kind);
    let no_conv4: [(&dyn AnyKey, &str); 3] = [
        (&BLOCKS, "only a \"conv4\" has blocks"),
        (&POOL, "only a \"conv4\" can choose how to halve the image"),
        (&BIAS, "only the convolutions of a \"conv4\" can have a bias"),
    ];
    let no_filters = "only a \"conv4\" and a \"resnet\" have filters";
    let no_mlp = "only an \"mlp\" has hidden layers";
    let no_resnet = "only a \"resnet\" has residual blocks";
    let without = |checker: &mut Checker, keys: &[(&dyn AnyKey, &str)]| {
        keys.iter().for_each(|(key, why)| checker.unused(*key, &KIND, kind, why));
    };
    let architecture = match kind {
        Kind::Conv4 => {
            without(checker, &[(&HIDDEN, no_mlp), (&LAYERS, no_resnet)]);
            Network::Conv4(conv4(checker, image_size))
        }
        Kind::Mlp => {
            without(checker, &no_conv4);
            without(checker, &[(&FILTERS, no_filters), (&LAYERS, no_resnet)]);
            let (negative_slope, init) = (checker.get(&NEGATIVE_SLOPE), checker.get(&INIT));
            let hidden = checker.find(&HIDDEN).unwrap_or_else(|| hidden(task));
            let batch_norm = batch_norm != BatchNorm::Absent;
            Network::Mlp(Mlp { hidden, negative_slope, init, batch_norm })
        }
        Kind::ResNet => {
            without(checker, &no_conv4);
            without(checker, &[(&HIDDEN, no_mlp)]);
            Network::ResNet(resnet(checker))
        }
    };
    Model { architecture, batch_norm }
}

/// The network's kind; only an MLP takes points.
fn kind(checker: &mut Checker, task: TaskKind) -> Kind {
    let written = checker.find(&KIND);
    match (task, written) {
        (TaskKind::Classification, _) => written.unwrap_or(Kind::Conv4),
        (TaskKind::Sinusoid, None | Some(Kind::Mlp)) => Kind::Mlp,
        (TaskKind::Sinusoid, Some(other)) => {
            let reason = format!(
                "`model.kind` = \"{other}\" cannot be combined with task.kind = \"{task}\": it takes images, and the input \
                 here is a number; use \"mlp\""
            );
            checker.unfit(&KIND, &task::KIND, reason);
            Kind::Mlp
        }
    }
}

/// The source of batch norm's statistics. Only an MLP can do without, and for points it must: a prediction for a point must not
/// depend on the others.
fn batch_norm(checker: &mut Checker, task: TaskKind, kind: Kind) -> BatchNorm {
    let written = checker.find(&BATCH_NORM);
    match task {
        TaskKind::Classification => {
            if written == Some(BatchNorm::Absent) && kind != Kind::Mlp {
                let reason = format!(
                    "`model.batch_norm` = \"none\" cannot be combined with model.kind = \"{kind}\": only an \"mlp\" can do \
                     without batch norm"
                );
                checker.contradicts(&BATCH_NORM, &KIND, reason);
            }
            written.unwrap_or(BatchNorm::Transductive)
        }
        TaskKind::Sinusoid => {
            if let Some(mode) = written.filter(|mode| *mode != BatchNorm::Absent) {
                let reason = format!(
                    "`model.batch_norm` = \"{mode}\" cannot be combined with task.kind = \"{task}\": the prediction for a \
                     point would depend on the other points; use \"none\""
                );
                checker.unfit(&BATCH_NORM, &task::KIND, reason);
            }
            BatchNorm::Absent
        }
    }
}

/// The default widths of the hidden layers: those of Finn et al. 2017.
fn hidden(task: TaskKind) -> Vec<usize> {
    match task {
        TaskKind::Classification => vec![256, 128, 64, 64],
        TaskKind::Sinusoid => vec![40, 40],
    }
}

fn conv4(checker: &mut Checker, image_size: usize) -> Conv4 {
    let (filters, blocks, pool) = (checker.get(&FILTERS), checker.get(&BLOCKS), checker.get(&POOL));
    let most = pool.halvings(image_size);
    if blocks > most {
        let reason = format!(
            "`model.blocks` (= {blocks}) must be a whole number from 1 to {most}: each block halves the \
             image, and data.image_size = {image_size} is one pixel after {most}"
        );
        checker.contradicts(&BLOCKS, &data::IMAGE_SIZE, reason);
    }
    let (bias, negative_slope, init) = (checker.get(&BIAS), checker.get(&NEGATIVE_SLOPE), checker.get(&INIT));
    Conv4 { filters, blocks, pool, bias, negative_slope, init }
}

fn resnet(checker: &mut Checker) -> ResNet {
    let (filters, layers) = (checker.get(&FILTERS), checker.get(&LAYERS));
    if layers % 4 != 0 {
        checker.refuse(&LAYERS, format!("`model.layers` must be 4, 8 or 12, got {layers}"));
    }
    if filters > MOST_RESNET_FILTERS {
        let reason = format!(
            "`model.filters` (= {filters}) must be at most {MOST_RESNET_FILTERS} with model.kind = \"resnet\": \
             its last stage has eight times as many"
        );
        checker.contradicts(&FILTERS, &KIND, reason);
    }
    let (negative_slope, init) = (checker.get(&NEGATIVE_SLOPE), checker.get(&INIT));
    ResNet { filters, layers, negative_slope, init }
}
