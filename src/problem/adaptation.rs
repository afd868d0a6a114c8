//! How a network adapts to an episode: which of its weights move, and at which rates.
//!
//! | | φ | V(θ) | α |
//! |---|---|---|---|
//! | MAML (Finn et al. 2017) | every weight | the weights | a number |
//! | ANIL (Raghu et al., *Rapid learning or feature reuse?*, 2020) | the head: the last linear layer | θ's head | a number |
//! | Meta-SGD (Li et al., *Learning to learn quickly*, 2017) | as either | as either | part of θ, one for every weight that moves |
//!
//! θ is a stack of the network's weights and, behind them, of the rates where they are learned.

use super::Rates;
use crate::config::Adapts;
use crate::model::{Architecture, Leaf};

/// How a network adapts to an episode.
#[derive(Clone, Debug)]
pub struct Adaptation {
    /// Which weights move.
    pub adapts: Adapts,
    /// At which rates.
    pub rates: InnerRates,
}

/// The inner rates of the weights that move.
#[derive(Clone, Debug)]
pub enum InnerRates {
    /// Given. [`Rates::Each`] is a stack of one in φ's shape.
    Fixed(Rates),
    /// Part of θ: one for every weight that moves.
    Learned {
        /// Where all of them start.
        start: f64,
    },
}

impl Adaptation {
    /// How many of `architecture`'s leaves, the first ones, stay as θ has them.
    pub fn still(&self, architecture: &dyn Architecture) -> usize {
        match self.adapts {
            Adapts::All => 0,
            Adapts::Head => architecture.leaves().len() - architecture.head(),
        }
    }

    /// θ's parameters in the order of its leaves: `theta.X` for the network's weights X, then
    /// `rate.X` for the learned rates of those that move, laid out like them.
    pub fn leaves(&self, architecture: &dyn Architecture) -> Vec<Leaf> {
        let weights = architecture.leaves();
        let rates = match self.rates {
            InnerRates::Fixed(_) => Vec::new(),
            InnerRates::Learned { start } => weights[self.still(architecture)..]
                .iter()
                .map(|leaf| Leaf {
                    name: format!("rate.{}", leaf.name),
                    layout: leaf.layout,
                    mean: start as f32,
                    deviation: 0.0,
                })
                .collect(),
        };
        let named = |leaf: Leaf| Leaf { name: format!("theta.{}", leaf.name), ..leaf };
        weights.into_iter().map(named).chain(rates).collect()
    }
}
