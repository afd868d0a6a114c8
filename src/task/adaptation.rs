//! How a network adapts to an episode: which weights adapt, from which start, and at which rates.
//!
//! | | φ | V(θ) | α |
//! |---|---|---|---|
//! | MAML (Finn et al. 2017) | every weight | the weights | a number |
//! | ANIL (Raghu et al., *Rapid learning or feature reuse?*, 2020) | the head: the last linear layer | θ's head | a number |
//! | Meta-SGD (Li et al., *Learning to learn quickly*, 2017) | as either | as either | part of θ, one for every weight that adapts |
//! | MAML++ (Antoniou et al., *How to train your MAML*, 2019) | all but γ and β of batch norm, which may differ from inner step to inner step | the weights | part of θ, one for every tensor and inner step |
//! | Proto-MAML (Triantafillou et al., *Meta-Dataset*, 2020) | as any | the head from class prototypes | as any |
//!
//! θ is a stack of the network's weights, followed by the rates if they are learned. A [`Plan`] says where in θ and φ
//! each weight of the network is.

use crate::model::{Architecture, Layout, Leaf, Role};
use bilevel::{Dual, Params, Rates, choice};
use burn::tensor::Tensor;
use std::ops::Range;

choice! {
    /// Which weights adapt to an episode.
    pub enum Adapts {
        /// All of them (MAML).
        All = "all",
        /// All but γ and β of batch norm, which are the same for all episodes (MAML++).
        AllButNorm = "all-but-norm",
        /// Those of the last linear layer. The others are the same for all episodes (ANIL).
        Head = "head",
    }
}

impl Adapts {
    /// Whether weights of this role adapt.
    fn includes(self, role: Role) -> bool {
        match self {
            Self::All => true,
            Self::AllButNorm => role != Role::Norm,
            Self::Head => role == Role::Head,
        }
    }
}

choice! {
    /// The head, the last linear layer, at the start of adaptation.
    pub enum Head {
        /// As learned: a row of weights for each class. The number of classes cannot change.
        Learned = "learned",
        /// One learned row, the same for every class, for any number of classes.
        Shared = "shared",
        /// The prototypes of the classes: with c_k the mean of the features of class k's support images, row 2c_k and
        /// bias −‖c_k‖². Before any inner step the network classifies by the nearest prototype (Snell et al.,
        /// *Prototypical networks*, 2017), for any number of classes.
        Prototype = "prototype",
    }
}

/// How a network adapts to an episode.
#[derive(Clone, Debug)]
pub struct Adaptation {
    /// Which weights adapt.
    pub adapts: Adapts,
    /// Their rates.
    pub rates: InnerRates,
    /// The head at the start.
    pub head: Head,
    /// The number of inner steps with γ and β of their own, if batch norm does not adapt and its γ and β differ from step
    /// to step. Later steps use those of the last.
    pub norm_steps: Option<usize>,
}

impl Adaptation {
    /// MAML with this inner rate for all weights and inner steps.
    pub fn maml(rate: f64) -> Self {
        let rates = InnerRates::Fixed(Rates::Scalar(rate));
        Self { adapts: Adapts::All, rates, head: Head::Learned, norm_steps: None }
    }

    /// The parameters of θ in the order of its leaves: `theta.X` for the network's weights X, then `rate.X` for the
    /// learned rates of those that adapt.
    pub fn leaves(&self, architecture: &dyn Architecture) -> Vec<Leaf> {
        Plan::new(self, architecture).leaves
    }

    /// Where θ has the learned inner rates, among its leaves; empty if they are fixed.
    pub fn rates_in(&self, architecture: &dyn Architecture) -> Range<usize> {
        Plan::new(self, architecture).rates
    }

    /// Whether the layers below the head give the same features at every inner step, so that they are computed once.
    pub fn has_fixed_body(&self, architecture: &dyn Architecture) -> bool {
        Plan::new(self, architecture).has_fixed_body()
    }

    /// The network's parameters that adapt to an episode, in the order of φ's leaves.
    pub fn fast_leaves(&self, architecture: &dyn Architecture) -> Vec<Leaf> {
        architecture.leaves().into_iter().filter(|leaf| self.adapts.includes(leaf.role)).collect()
    }
}

/// The inner rates of the weights that adapt.
#[derive(Clone, Debug)]
pub enum InnerRates {
    /// Given rates. [`Rates::Each`] is a stack of one in the shape of φ.
    Fixed(Rates),
    /// Part of θ.
    Learned {
        /// Initial value of all rates.
        start: f64,
        /// What has a rate of its own.
        each: RateEach,
    },
}

/// What has a learned inner rate of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateEach {
    /// Every weight.
    Weight,
    /// Every tensor of weights: the rate is `[1]`.
    Tensor,
    /// Every tensor at every inner step: the rates are `[steps]`. Later steps use the last.
    TensorAndStep {
        /// The number of inner steps with a rate of their own.
        steps: usize,
    },
}

/// Where the weights of a network are in θ and φ.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// The parameters of θ.
    pub leaves: Vec<Leaf>,
    /// The source of each of the network's weights, in the network's order.
    weights: Vec<Weight>,
    /// The learned rates of φ's leaves in θ.
    rates: Range<usize>,
    inner_rates: InnerRates,
    /// The head at the start.
    pub head: Head,
}

/// The source of a weight of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weight {
    /// Adapts: φ's next leaf. It starts at the leaf of θ with this index; `None` for a prototype.
    Adapts(Option<usize>),
    /// The leaf of θ with this index.
    Shared(usize),
    /// A row of the leaf of θ with this index, one for each inner step.
    Row(usize),
}

impl Plan {
    pub fn new(adaptation: &Adaptation, architecture: &dyn Architecture) -> Self {
        let Adaptation { adapts, rates, head, norm_steps } = adaptation;
        let (mut leaves, mut weights, mut learned) = (Vec::new(), Vec::new(), Vec::new());
        for leaf in architecture.leaves() {
            let moves = adapts.includes(leaf.role);
            if moves {
                learned.extend(rate_leaf(rates, &leaf));
            }
            let in_theta = match (leaf.role, head) {
                (Role::Head, Head::Prototype) => None,
                (Role::Head, Head::Shared) => Some(Leaf { layout: leaf.layout.of_one_output(), ..leaf }),
                (Role::Norm, _) => match norm_steps.filter(|_| !moves) {
                    Some(rows) => Some(Leaf { layout: leaf.layout.in_rows(rows), ..leaf }),
                    None => Some(leaf),
                },
                _ => Some(leaf),
            };
            let index = leaves.len();
            weights.push(match &in_theta {
                None => Weight::Adapts(None),
                Some(_) if moves => Weight::Adapts(Some(index)),
                Some(Leaf { layout: Layout::Rows { .. }, .. }) => Weight::Row(index),
                Some(_) => Weight::Shared(index),
            });
            leaves.extend(in_theta.map(|leaf| Leaf { name: format!("theta.{}", leaf.name), ..leaf }));
        }
        let rates_at = leaves.len()..leaves.len() + learned.len();
        leaves.extend(learned);
        Self { leaves, weights, rates: rates_at, inner_rates: rates.clone(), head: *head }
    }

    /// The same θ, of which only the head adapts: the weights below it stay at their start, and their rates are not used.
    pub fn head_only(&self) -> Self {
        let mut plan = self.clone();
        for weight in &mut plan.weights {
            if let Weight::Adapts(Some(index)) = *weight
                && plan.leaves[index].role != Role::Head
            {
                *weight = Weight::Shared(index);
            }
        }
        let adapting = plan.weights.iter().filter(|weight| matches!(weight, Weight::Adapts(_))).count();
        // The head is the last layer, so its rates are the last.
        plan.rates.start = plan.rates.start.max(plan.rates.end.saturating_sub(adapting));
        if let InnerRates::Fixed(Rates::Each(each)) = &mut plan.inner_rates {
            let all = each.leaves().len();
            *each = each.part(all.saturating_sub(adapting)..all);
        }
        plan
    }

    /// Whether both say the same. Rates given for each weight are tensors, whose values are not looked at: they say no.
    pub fn is_like(&self, other: &Self) -> bool {
        let have_like_rates = match (&self.inner_rates, &other.inner_rates) {
            (InnerRates::Fixed(Rates::Scalar(own)), InnerRates::Fixed(Rates::Scalar(other))) => own == other,
            // What is learned is part of θ.
            (InnerRates::Learned { each: own, .. }, InnerRates::Learned { each: other, .. }) => own == other,
            _ => false,
        };
        have_like_rates
            && self.leaves == other.leaves
            && self.weights == other.weights
            && (&self.rates, self.head) == (&other.rates, other.head)
    }

    /// V(θ) except for prototypes, which `prototypes` returns: the weight and the bias of the head for `ways` classes.
    pub fn start(&self, outer: &Params, ways: usize, prototypes: impl FnOnce() -> [Tensor<3>; 2]) -> Params {
        let own = self.weights.iter().filter_map(|weight| {
            let Weight::Adapts(Some(index)) = *weight else { return None };
            let leaf = outer.leaves()[index].clone();
            let is_shared_head = self.head == Head::Shared && self.leaves[index].role == Role::Head;
            let [tasks, rows, _] = leaf.dims();
            Some(if is_shared_head { leaf.expand([tasks, rows, ways]) } else { leaf })
        });
        let mut leaves: Vec<Tensor<3>> = own.collect();
        if self.head == Head::Prototype {
            leaves.extend(prototypes());
        }
        Params::new(leaves)
    }

    /// The network's weights at inner step `step` (from 1): those that adapt from φ, the others from θ.
    pub fn weights(&self, step: usize, outer: &[Dual<3>], fast: &[Dual<3>]) -> Vec<Dual<3>> {
        let mut fast = fast.iter();
        let weight = |weight: &Weight| match weight {
            Weight::Adapts(_) => {
                fast.next().cloned().unwrap_or_else(|| unreachable!("φ has a leaf for each"))
            }
            Weight::Shared(index) => outer[*index].clone(),
            Weight::Row(index) => row(&outer[*index], step),
        };
        self.weights.iter().map(weight).collect()
    }

    /// The `features` of the network's weights below the head at inner step `step`, and the head's weight and bias.
    pub fn features(
        &self,
        step: usize,
        outer: &[Dual<3>],
        fast: &[Dual<3>],
        features: impl FnOnce(&[Dual<3>]) -> Dual<3>,
    ) -> (Dual<3>, [Dual<3>; 2]) {
        let weights = self.weights(step, outer, fast);
        let (body, head) = weights.split_at(weights.len() - 2);
        (features(body), [head[0].clone(), head[1].clone()])
    }

    /// Whether the features are the same at every inner step: whether no weight below the head adapts or differs from step to
    /// step.
    pub fn has_fixed_body(&self) -> bool {
        let body = &self.weights[..self.weights.len().saturating_sub(2)];
        body.iter().all(|weight| matches!(weight, Weight::Shared(_)))
    }

    /// The network's weights below the head at the start of the inner loop, all from θ.
    pub fn body_at_start(&self, outer: &Params) -> Vec<Dual<3>> {
        let leaf = |index: usize| Dual::constant(outer.leaves()[index].clone());
        let body = self.weights.iter().filter_map(|weight| match weight {
            Weight::Adapts(index) => index.map(leaf),
            Weight::Shared(index) => Some(leaf(*index)),
            Weight::Row(index) => Some(row(&leaf(*index), 1)),
        });
        body.collect()
    }

    /// α of inner step `step`.
    pub fn rates(&self, step: usize, outer: &Params) -> Rates {
        match &self.inner_rates {
            InnerRates::Fixed(rates) => rates.clone(),
            InnerRates::Learned { each, .. } => {
                let rates = outer.part(self.rates.clone());
                Rates::Each(match each {
                    RateEach::TensorAndStep { steps } => {
                        rates.map(|rates| rates.narrow(2, step.clamp(1, *steps) - 1, 1))
                    }
                    RateEach::Weight | RateEach::Tensor => rates,
                })
            }
        }
    }
}

/// The row of `leaf [tasks, steps, width]` for inner step `step`; the last for later steps.
fn row(leaf: &Dual<3>, step: usize) -> Dual<3> {
    let [_, steps, _] = leaf.dims();
    leaf.clone().narrow(1, step.clamp(1, steps) - 1, 1)
}

/// The learned rate of the weight `leaf`.
fn rate_leaf(rates: &InnerRates, leaf: &Leaf) -> Option<Leaf> {
    let InnerRates::Learned { start, each } = rates else { return None };
    let layout = match each {
        RateEach::Weight => leaf.layout,
        RateEach::Tensor => Layout::Vector { width: 1 },
        RateEach::TensorAndStep { steps } => Layout::Vector { width: *steps },
    };
    let name = format!("rate.{}", leaf.name);
    Some(Leaf { name, layout, mean: *start as f32, deviation: 0.0, ..leaf.clone() })
}
