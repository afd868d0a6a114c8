//! The outer optimiser: one of Burn's, applied leaf by leaf, with a state that checkpoints hold.

use crate::archive::{Archive, Values};
use crate::config;
use crate::stack::Stack;
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{
    AdamConfig, AdamWConfig, Optimizer as Rule, RecordState, SgdConfig, StateSink, StateSource,
};
use burn::tensor::Device;
use std::collections::BTreeMap;

/// A checkpoint's text that names the optimiser whose state it holds.
const NAME: &str = "optimizer";
/// More steps were never taken.
const MOST_STEPS: u64 = 1 << 30;
/// How the names of the state's arrays and counts begin, before the leaf's number.
const STATE: &str = "optimizer.";

/// An outer optimiser and its state.
pub trait OuterOptimizer: Send {
    /// One step from `theta` along `gradient` at learning rate `rate`.
    fn step(&mut self, theta: Stack, gradient: Stack, rate: f64) -> Stack;

    /// The same, with the state of now: what a step that diverges is taken back to.
    fn duplicate(&self) -> Box<dyn OuterOptimizer>;

    /// Writes the state into a checkpoint.
    fn save(&self, archive: &mut Archive);

    /// Takes the state that [`Self::save`] wrote, for `theta`.
    ///
    /// # Errors
    /// If the archive has another optimiser's state, or one of other shapes, or lacks part of this one's.
    fn load(&mut self, archive: &Archive, theta: &Stack, device: &Device) -> Result<(), String>;
}

/// The optimiser that a configuration asks for, for `leaves` leaves.
///
/// Burn's own gradient clipping is not used: it clips leaf by leaf, and the trainer clips the
/// finished meta-gradient as a whole.
pub fn from_config(outer: &config::Outer, leaves: usize) -> Box<dyn OuterOptimizer> {
    let decay = (outer.weight_decay > 0.0).then(|| WeightDecayConfig::new(outer.weight_decay as f32));
    match &outer.optimizer {
        config::Optimizer::Sgd { momentum } => {
            let momentum =
                (*momentum > 0.0).then(|| MomentumConfig::new().with_momentum(*momentum).with_dampening(0.0));
            let rule = SgdConfig::new().with_momentum(momentum).with_weight_decay(decay).build();
            Box::new(Leafwise::new("sgd", rule, leaves))
        }
        config::Optimizer::Adam(moments) => {
            let rule = AdamConfig::new()
                .with_beta_1(moments.beta_1 as f32)
                .with_beta_2(moments.beta_2 as f32)
                .with_epsilon(moments.epsilon as f32)
                .with_weight_decay(decay)
                .build();
            Box::new(Leafwise::new("adam", rule, leaves))
        }
        config::Optimizer::AdamW(moments) => {
            let rule = AdamWConfig::new()
                .with_beta_1(moments.beta_1 as f32)
                .with_beta_2(moments.beta_2 as f32)
                .with_epsilon(moments.epsilon as f32)
                .with_weight_decay(outer.weight_decay as f32)
                .build();
            Box::new(Leafwise::new("adamw", rule, leaves))
        }
    }
}

/// One of Burn's rules and, for each leaf, its state once it has one.
struct Leafwise<R: Rule> {
    /// Its name in checkpoints.
    name: &'static str,
    rule: R,
    states: Vec<Option<R::State<3>>>,
}

impl<R: Rule> Leafwise<R> {
    fn new(name: &'static str, rule: R, leaves: usize) -> Self {
        Self { name, rule, states: (0..leaves).map(|_| None).collect() }
    }
}

impl<R: Rule> OuterOptimizer for Leafwise<R>
where
    R::State<3>: RecordState,
{
    fn step(&mut self, theta: Stack, gradient: Stack, rate: f64) -> Stack {
        let mut states = self.states.iter_mut();
        theta.zip(gradient, |leaf, slope| {
            let state = states.next();
            let (leaf, next) =
                self.rule.step(rate, leaf, slope, state.as_ref().and_then(|state| (*state).clone()));
            if let Some(state) = state {
                *state = next;
            }
            leaf
        })
    }

    fn duplicate(&self) -> Box<dyn OuterOptimizer> {
        let states = self.states.iter().map(|state| state.as_ref().cloned()).collect();
        Box::new(Self { name: self.name, rule: self.rule.clone(), states })
    }

    fn save(&self, archive: &mut Archive) {
        archive.text.insert(NAME.into(), self.name.into());
        let mut sink = StateSink::default();
        for (leaf, state) in self.states.iter().enumerate() {
            if let Some(state) = state {
                state.state_flatten(&format!("{STATE}{leaf}"), &mut sink);
            }
        }
        for (name, data) in sink.tensors {
            let shape = data.shape().to_vec();
            archive.set(name, &shape, Values::F32(data.iter::<f32>().collect()));
        }
        // The only scalars of these rules are counts of steps.
        for (name, count) in sink.scalars {
            if let Ok(count) = u64::try_from(count) {
                archive.text.insert(name, count.to_string());
            }
        }
    }

    fn load(&mut self, archive: &Archive, theta: &Stack, device: &Device) -> Result<(), String> {
        match archive.text.get(NAME) {
            Some(name) if name == self.name => {}
            name => {
                let found = name.cloned().unwrap_or_else(|| "none".into());
                return Err(format!("it holds the state of optimizer `{found}`, not of `{}`", self.name));
            }
        }
        let mut scalars = BTreeMap::new();
        for (name, count) in archive.text.iter().filter(|(name, _)| name.starts_with(STATE)) {
            let count: Option<u64> = count.parse().ok().filter(|count| *count <= MOST_STEPS);
            let count = count.ok_or_else(|| format!("`{name}` is no number of steps"))?;
            scalars.insert(name.clone(), count.into());
        }
        let mut source = StateSource::new(scalars);
        for name in archive.names().filter(|name| name.starts_with(STATE)) {
            source.insert_tensor(name.into(), archive.data(name).map_err(|error| error.to_string())?);
        }
        for (leaf, (state, values)) in self.states.iter_mut().zip(theta.leaves()).enumerate() {
            let prefix = format!("{STATE}{leaf}");
            let inside = format!("{prefix}.");
            for name in archive.names().filter(|name| name.starts_with(&inside)) {
                let shape = archive.get(name).map(|(shape, _)| shape).unwrap_or_default();
                if shape != values.dims() {
                    return Err(format!("`{name}` has shape {shape:?}, and its weights {:?}", values.dims()));
                }
            }
            let recorded = source.has_under(&prefix);
            *state = R::State::<3>::state_unflatten(&prefix, &mut source, device);
            if recorded && state.is_none() {
                return Err(format!("part of optimizer `{}`'s state of leaf {leaf} is missing", self.name));
            }
        }
        Ok(())
    }
}
