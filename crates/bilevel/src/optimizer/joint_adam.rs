//! Adam with one kernel for all leaves where there is one, and Burn's, leaf by leaf, elsewhere. The state is Burn's.

use super::{Leafwise, Moments, OptimizerState, OuterOptimizer};
use crate::kernel::leaves::{self, AdamStep};
use crate::params::Params;
use burn::optim::{Adam, AdamState, AdaptiveMomentumState};
use burn::tensor::{Device, Tensor};

/// Adam on all leaves.
pub struct JointAdam {
    pub leafwise: Leafwise<Adam>,
    pub moments: Moments,
    /// The multiple of θ that is added to the gradient.
    pub weight_decay: f64,
}

impl JointAdam {
    /// One step by one kernel; `None` where there is none, or where the leaves' states differ in their age.
    fn step_together(&mut self, theta: &Params, gradient: &Params, rates: &[f64]) -> Option<Params> {
        let states = &self.leafwise.states;
        let age = |state: &Option<AdamState<3>>| state.as_ref().map_or(0, |state| state.momentum.time);
        let time = age(states.first()?);
        if states.iter().any(|state| age(state) != time) {
            return None;
        }
        let step = AdamStep {
            beta_1: self.moments.beta_1 as f32,
            beta_2: self.moments.beta_2 as f32,
            epsilon: self.moments.epsilon as f32,
            decay: self.weight_decay as f32,
            time: time + 1,
            rates: rates.to_vec(),
        };
        let moment = |of: fn(&AdaptiveMomentumState<3>) -> &Tensor<3>| -> Vec<Tensor<3>> {
            states.iter().flatten().map(|state| of(&state.momentum).clone()).collect()
        };
        let [first, second] = [moment(|state| &state.moment_1), moment(|state| &state.moment_2)];
        let moments = (time > 0).then_some([&first[..], &second[..]]);
        let [theta, first, second] = leaves::adam(theta.leaves(), gradient.leaves(), moments, &step)?;
        let moments = first.into_iter().zip(second);
        let state =
            |(first, second)| Some(AdamState::new(AdaptiveMomentumState::new(step.time, first, second)));
        self.leafwise.states = moments.map(state).collect();
        Some(Params::new(theta))
    }
}

impl OuterOptimizer for JointAdam {
    fn step(&mut self, theta: Params, gradient: Params, rates: &[f64]) -> Params {
        self.leafwise.check(&theta, rates);
        match self.step_together(&theta, &gradient, rates) {
            Some(theta) => theta,
            None => self.leafwise.step(theta, gradient, rates),
        }
    }

    fn duplicate(&self) -> Box<dyn OuterOptimizer> {
        let (moments, weight_decay) = (self.moments.clone(), self.weight_decay);
        Box::new(Self { leafwise: self.leafwise.copy(), moments, weight_decay })
    }

    fn state(&self) -> OptimizerState {
        self.leafwise.state()
    }

    fn restore(&mut self, state: OptimizerState, theta: &Params, device: &Device) -> Result<(), String> {
        self.leafwise.restore(state, theta, device)
    }
}
