//! Outer optimisers: Burn's, applied leaf by leaf, with a state that can be saved.

mod joint_adam;

use crate::params::Params;
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{
    AdamConfig, AdamWConfig, Optimizer as BurnOptimizer, RecordState, SgdConfig, StateSink, StateSource,
};
use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The largest step count accepted from a saved state.
const MAX_STEPS: u64 = 1 << 30;

/// The optimiser of θ, with its settings other than the learning rate and weight decay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "optimizer", rename_all = "lowercase")]
pub enum Optimizer {
    /// Stochastic gradient descent.
    Sgd {
        /// Momentum, in [0, 1).
        momentum: f64,
    },
    /// Adam (Kingma & Ba 2015).
    Adam(Moments),
    /// Adam with decoupled weight decay (Loshchilov & Hutter 2019).
    AdamW(Moments),
}

/// Adam's settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Moments {
    /// Decay rate of the average of gradients, in [0, 1).
    pub beta_1: f64,
    /// Decay rate of the average of squared gradients, in [0, 1).
    pub beta_2: f64,
    /// ε, added to the denominator; > 0.
    pub epsilon: f64,
}

impl Default for Moments {
    /// β_1 = 0.9, β_2 = 0.999, ε = 10⁻⁸.
    fn default() -> Self {
        Self { beta_1: 0.9, beta_2: 0.999, epsilon: 1e-8 }
    }
}

impl Default for Optimizer {
    /// Adam with its default moments.
    fn default() -> Self {
        Self::Adam(Moments::default())
    }
}

impl Optimizer {
    /// A new optimiser for `leaves` leaves, with `weight_decay` ≥ 0 (decoupled from the gradient in AdamW).
    ///
    /// Burn's gradient clipping is not used, since it clips leaf by leaf. The outer loop clips the hypergradient as a
    /// whole.
    pub fn build(&self, weight_decay: f64, leaves: usize) -> Box<dyn OuterOptimizer> {
        let decay = (weight_decay > 0.0).then(|| WeightDecayConfig::new(weight_decay as f32));
        match self {
            Self::Sgd { momentum } => {
                let momentum = (*momentum > 0.0)
                    .then(|| MomentumConfig::new().with_momentum(*momentum).with_dampening(0.0));
                let optimizer = SgdConfig::new().with_momentum(momentum).with_weight_decay(decay).build();
                Box::new(Leafwise::new("sgd", optimizer, leaves))
            }
            Self::Adam(moments) => {
                let optimizer = AdamConfig::new()
                    .with_beta_1(moments.beta_1 as f32)
                    .with_beta_2(moments.beta_2 as f32)
                    .with_epsilon(moments.epsilon as f32)
                    .with_weight_decay(decay)
                    .build();
                let leafwise = Leafwise::new("adam", optimizer, leaves);
                Box::new(joint_adam::JointAdam { leafwise, moments: moments.clone(), weight_decay })
            }
            Self::AdamW(moments) => {
                let optimizer = AdamWConfig::new()
                    .with_beta_1(moments.beta_1 as f32)
                    .with_beta_2(moments.beta_2 as f32)
                    .with_epsilon(moments.epsilon as f32)
                    .with_weight_decay(weight_decay as f32)
                    .build();
                Box::new(Leafwise::new("adamw", optimizer, leaves))
            }
        }
    }
}

/// Settings of one leaf of θ.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LeafSettings {
    /// Factor of the learning rate, ≥ 0; 0 keeps the leaf as it is. It scales the decoupled weight decay of AdamW too.
    pub rate_factor: f64,
    /// The least value of every element after an outer step: smaller ones are raised to it, in the precision of the leaf.
    /// The gradient does not change, so that an element at its floor can rise again.
    pub floor: Option<f64>,
}

impl Default for LeafSettings {
    /// The learning rate of the outer loop, and no floor.
    fn default() -> Self {
        Self { rate_factor: 1.0, floor: None }
    }
}

impl LeafSettings {
    /// Raises the elements of `leaf` to the floor. NaN stays NaN, so that a step that diverges is noticed.
    pub(crate) fn raise(&self, leaf: Tensor<3>) -> Tensor<3> {
        match self.floor {
            Some(floor) => {
                let is_below = leaf.clone().lower_elem(floor);
                leaf.mask_fill(is_below, floor)
            }
            None => leaf,
        }
    }
}

/// The saved state of an optimiser. Names of entries start with the index of the leaf and a dot.
#[derive(Clone, Debug, Default)]
pub struct OptimizerState {
    /// Name of the optimiser: `sgd`, `adam` or `adamw`.
    pub name: String,
    /// Moments, each in the shape of its leaf.
    pub tensors: BTreeMap<String, TensorData>,
    /// Step counts.
    pub counts: BTreeMap<String, u64>,
}

/// An outer optimiser with its state.
pub trait OuterOptimizer: Send {
    /// Takes one step from `theta` with `gradient`, at learning rate `rates[l]` for leaf l, and returns the new θ.
    ///
    /// # Panics
    /// Panics if θ or `rates` has another number of leaves than the optimiser was built for.
    fn step(&mut self, theta: Params, gradient: Params, rates: &[f64]) -> Params;

    /// A copy with the current state, for undoing a step that diverges.
    fn duplicate(&self) -> Box<dyn OuterOptimizer>;

    /// The current state.
    fn state(&self) -> OptimizerState;

    /// Restores a state returned by [`Self::state`], for `theta`.
    ///
    /// # Errors
    /// Returns an error if the state is of another optimiser, has other shapes, is incomplete, or has entries for some leaves
    /// of θ only. The optimiser is then unchanged.
    fn restore(&mut self, state: OptimizerState, theta: &Params, device: &Device) -> Result<(), String>;
}

/// One of Burn's optimisers, with a state for each leaf after the first step.
struct Leafwise<R: BurnOptimizer> {
    name: &'static str,
    optimizer: R,
    states: Vec<Option<R::State<3>>>,
}

impl<R: BurnOptimizer> Leafwise<R> {
    fn new(name: &'static str, optimizer: R, leaves: usize) -> Self {
        Self { name, optimizer, states: (0..leaves).map(|_| None).collect() }
    }

    /// Panics if θ or `rates` has another number of leaves than there are states.
    fn check(&self, theta: &Params, rates: &[f64]) {
        assert_eq!(
            [self.states.len(); 2],
            [theta.leaves().len(), rates.len()],
            "the optimiser was built for a θ with another number of leaves"
        );
    }

    fn copy(&self) -> Self {
        let states = self.states.iter().map(|state| state.as_ref().cloned()).collect();
        Self { name: self.name, optimizer: self.optimizer.clone(), states }
    }
}

impl<R: BurnOptimizer> OuterOptimizer for Leafwise<R>
where
    R::State<3>: RecordState,
{
    fn step(&mut self, theta: Params, gradient: Params, rates: &[f64]) -> Params {
        self.check(&theta, rates);
        let mut states = self.states.iter_mut().zip(rates);
        theta.zip(gradient, |leaf, gradient| {
            let Some((state, rate)) = states.next() else { unreachable!("there is a state for each leaf") };
            let (leaf, next) = self.optimizer.step(*rate, leaf, gradient, state.clone());
            *state = next;
            leaf
        })
    }

    fn duplicate(&self) -> Box<dyn OuterOptimizer> {
        Box::new(self.copy())
    }

    fn state(&self) -> OptimizerState {
        let mut sink = StateSink::default();
        for (leaf, state) in self.states.iter().enumerate() {
            if let Some(state) = state {
                state.state_flatten(&leaf.to_string(), &mut sink);
            }
        }
        // The only scalars in these states are step counts.
        let counts =
            sink.scalars.into_iter().filter_map(|(name, count)| Some((name, u64::try_from(count).ok()?)));
        OptimizerState {
            name: self.name.into(),
            tensors: sink.tensors.into_iter().collect(),
            counts: counts.collect(),
        }
    }

    fn restore(&mut self, state: OptimizerState, theta: &Params, device: &Device) -> Result<(), String> {
        if state.name != self.name {
            let found = if state.name.is_empty() { "none" } else { &state.name };
            return Err(format!("the state is of optimizer `{found}`, expected `{}`", self.name));
        }
        if let Some((name, _)) = state.counts.iter().find(|(_, count)| **count > MAX_STEPS) {
            return Err(format!("`optimizer.{name}` is not a valid step count"));
        }
        for (name, data) in &state.tensors {
            let dims = leaf_of(name, theta)?.dims();
            if data.shape()[..] != dims[..] {
                return Err(format!("`optimizer.{name}` has shape {:?}, expected {dims:?}", data.shape()));
            }
        }
        for name in state.counts.keys() {
            leaf_of(name, theta)?;
        }
        let mut source =
            StateSource::new(state.counts.into_iter().map(|(name, count)| (name, count.into())).collect());
        state.tensors.into_iter().for_each(|(name, data)| source.insert_tensor(name, data));
        // A step gives all leaves a state.
        let (with, without): (Vec<usize>, Vec<usize>) =
            (0..self.states.len()).partition(|leaf| source.has_under(&leaf.to_string()));
        if let ([_, ..], [missing, ..]) = (&with[..], &without[..]) {
            return Err(format!("the state of optimizer `{}` has nothing for leaf {missing}", self.name));
        }
        let mut states: Vec<Option<R::State<3>>> = without.iter().map(|_| None).collect();
        for leaf in with {
            let state = R::State::<3>::state_unflatten(&leaf.to_string(), &mut source, device);
            let incomplete =
                || format!("the state of optimizer `{}` for leaf {leaf} is incomplete", self.name);
            states.push(Some(state.ok_or_else(incomplete)?));
        }
        self.states = states;
        Ok(())
    }
}

/// The leaf of `theta` that an entry called `name` in the state of an optimiser belongs to.
fn leaf_of<'a>(name: &str, theta: &'a Params) -> Result<&'a Tensor<3>, String> {
    let index = name.split('.').next().and_then(|index| index.parse::<usize>().ok());
    let leaf = index.and_then(|index| theta.leaves().get(index));
    leaf.ok_or_else(|| format!("`optimizer.{name}` belongs to no leaf of θ"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floor_raises_smaller_values_and_keeps_nan() {
        let leaf = |values: [f64; 4]| Tensor::<3>::from_data([[values]], &Device::flex());
        let settings = LeafSettings { floor: Some(0.5), ..LeafSettings::default() };
        let raised = settings.raise(leaf([-1.0, 0.5, 2.0, f64::NEG_INFINITY]));
        assert_eq!(raised.into_data().iter::<f64>().collect::<Vec<_>>(), [0.5, 0.5, 2.0, 0.5]);
        let raised = settings.raise(leaf([f64::NAN, f64::INFINITY, 0.0, 1.0]));
        let raised: Vec<f64> = raised.into_data().iter().collect();
        assert!(raised[0].is_nan() && raised[1..] == [f64::INFINITY, 0.5, 1.0]);
    }
}
