//! How a network adapts to an episode: which weights adapt, and at which rates.
//!
//! | | φ | V(θ) | α |
//! |---|---|---|---|
//! | MAML (Finn et al. 2017) | every weight | the weights | a number |
//! | ANIL (Raghu et al., *Rapid learning or feature reuse?*, 2020) | the head: the last linear layer | θ's head | a number |
//! | Meta-SGD (Li et al., *Learning to learn quickly*, 2017) | as either | as either | part of θ, one for every weight that adapts |
//!
//! θ is a stack of the network's weights, followed by the rates if they are learned.

use crate::model::{Architecture, Leaf, Role};
use bilevel::{Rates, choice};

choice! {
    /// Which weights adapt to an episode.
    pub enum Adapts {
        /// All of them (MAML).
        All = "all",
        /// Those of the last linear layer. The others are the same for all episodes (ANIL).
        Head = "head",
    }
}

/// How a network adapts to an episode.
#[derive(Clone, Debug)]
pub struct Adaptation {
    /// Which weights adapt.
    pub adapts: Adapts,
    /// Their rates.
    pub rates: InnerRates,
}

/// The inner rates of the weights that adapt.
#[derive(Clone, Debug)]
pub enum InnerRates {
    /// Given rates. [`Rates::Each`] is a stack of one in the shape of φ.
    Fixed(Rates),
    /// Part of θ: a rate for every weight that adapts.
    Learned {
        /// Initial value of all rates.
        start: f64,
    },
}

impl Adaptation {
    /// Number of first leaves of `architecture` that do not adapt and are shared by all episodes.
    pub fn shared_leaves(&self, architecture: &dyn Architecture) -> usize {
        match self.adapts {
            Adapts::All => 0,
            Adapts::Head => architecture.leaves().iter().filter(|leaf| leaf.role != Role::Head).count(),
        }
    }

    /// The parameters of θ in the order of its leaves: `theta.X` for the network's weights X, then `rate.X` for the
    /// learned rates of those that adapt, with the same layouts.
    pub fn leaves(&self, architecture: &dyn Architecture) -> Vec<Leaf> {
        let weights = architecture.leaves();
        let rates = match self.rates {
            InnerRates::Fixed(_) => Vec::new(),
            InnerRates::Learned { start } => weights[self.shared_leaves(architecture)..]
                .iter()
                .map(|leaf| Leaf {
                    name: format!("rate.{}", leaf.name),
                    mean: start as f32,
                    deviation: 0.0,
                    ..leaf.clone()
                })
                .collect(),
        };
        let named = |leaf: Leaf| Leaf { name: format!("theta.{}", leaf.name), ..leaf };
        weights.into_iter().map(named).chain(rates).collect()
    }
}
