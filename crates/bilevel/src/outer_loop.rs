//! The outer loop θ ← θ − rate · estimate, for any bi-level problem, estimator and optimiser.
//!
//! An outer step has three parts. [`OuterLoop::launch`] queues the work on the device and returns a [`PendingStep`]
//! without reading any number. [`resolve`] reads the numbers of one or several pending steps at once.
//! [`OuterLoop::learn`] passes them to the estimator. On a GPU every read waits for all work queued before it, so
//! several steps can be pending at the same time. [`OuterLoop::step`] does all three.
//!
//! Several [ranks](crate::ranks) can take the same steps together, each with a loop of its own that differs in nothing but
//! its rank. Then every call of these functions waits for the other ranks, which must call them in the same order.
//!
//! Only the finished hypergradient is clipped: clipping inside the backward walk would bias the estimate.

use crate::estimator::{Estimator, EstimatorSchedule, Observation, State};
use crate::hypergradient::{
    Evaluations, LossWeights, Memory, MemoryPlan, Recordings, StartSize, Workers, bytes_of_start,
};
use crate::launches::Phase;
use crate::losses::OuterLosses;
use crate::optimizer::{LeafSettings, Optimizer, OptimizerState, OuterOptimizer};
use crate::params::Params;
use crate::problem::Bilevel;
use crate::ranks::{Alone, Ranks, Share};
use crate::readback::{read, read_all};
use crate::rng::generator;
use crate::schedule::{Budget, Schedule, warm_up};
use crate::stats::mean;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Instant;

/// Settings of the outer loop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OuterSettings {
    /// The optimiser.
    #[serde(flatten)]
    pub optimizer: Optimizer,
    /// Initial learning rate, > 0.
    pub rate: f64,
    /// Learning-rate schedule.
    pub schedule: Schedule,
    /// The learning rate that [`Schedule::Linear`] and [`Schedule::Cosine`] reach when the budget is used up, from 0 to
    /// `rate`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub final_rate: f64,
    /// Outer steps of warm-up: the learning rate of outer step k ≤ `warmup` is k / `warmup` times that of the schedule.
    /// So step 1 has `rate` / `warmup`, and step `warmup` is the first at the full rate of the schedule. 0 turns it off.
    #[serde(default, skip_serializing_if = "is_default")]
    pub warmup: u64,
    /// Tasks in a meta-batch, ≥ 1. For the caller, who makes the problems; the loop itself uses all tasks of each
    /// problem.
    pub meta_batch: usize,
    /// When training ends.
    #[serde(flatten)]
    pub budget: Budget,
    /// The largest norm of the hypergradient, > 0; a longer one is scaled down to it. `None` turns clipping off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip: Option<f64>,
    /// Weight decay, ≥ 0; decoupled from the gradient in AdamW.
    pub weight_decay: f64,
    /// The losses along the inner loop that the outer objective has.
    #[serde(flatten)]
    pub losses: OuterLosses,
}

impl OuterSettings {
    /// The learning rate of outer step `step` (from 1), when `progress` (0 to 1) of the budget is used before it:
    /// min(1, step / warmup) · (final + s · (rate − final)), s the schedule's [share](Schedule::share).
    pub fn rate_of(&self, step: u64, progress: f64) -> f64 {
        let share = self.schedule.share(progress);
        warm_up(step, self.warmup) * (self.final_rate + share * (self.rate - self.final_rate))
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Default for OuterSettings {
    /// Adam at 10⁻³ with cosine decay to 0 over 1000 outer steps and meta-batches of 16, without clipping or weight decay.
    fn default() -> Self {
        Self {
            optimizer: Optimizer::default(),
            rate: 1e-3,
            schedule: Schedule::Cosine,
            final_rate: 0.0,
            warmup: 0,
            meta_batch: 16,
            budget: Budget::Steps(1000),
            clip: None,
            weight_decay: 0.0,
            losses: OuterLosses::Last,
        }
    }
}

/// Minimises the outer objective over θ, one outer step at a time.
///
/// ```
/// use bilevel::{Budget, OuterLoop, OuterSettings, estimator::StepCoinsSettings};
/// # use bilevel::{Bilevel, Dual, Params, Rates};
/// # use burn::tensor::{Device, Tensor};
/// # /// L_in = ½(φ − 3)², L_out = φ²: the inner loop moves φ towards 3, so the best start is below 0.
/// # struct Pull;
/// # impl Bilevel for Pull {
/// #     fn tasks(&self) -> usize { 1 }
/// #     fn inner_rates(&self, _: usize, _: &Params) -> Rates { Rates::Scalar(0.1) }
/// #     fn inner_loss(&self, _: usize, _: &[Dual<3>], fast: &[Dual<3>]) -> Dual<1> {
/// #         let target = Dual::constant(Tensor::full([1, 1, 1], 3.0, &Device::flex()));
/// #         (fast[0].clone() - target).squared_norm().scale(0.5)
/// #     }
/// #     fn outer_loss(&self, _: usize, _: &Params, fast: &Params) -> Tensor<1> { fast.clone().squared_norm() }
/// #     fn select(&self, _: &[usize]) -> Self { Self }
/// # }
/// # let problem = Pull;
/// let theta = Params::new(vec![Tensor::zeros([1, 1, 1], &Device::flex())]);
/// let settings = OuterSettings { rate: 0.1, budget: Budget::Steps(100), ..OuterSettings::default() };
/// let mut outer = OuterLoop::new(theta, StepCoinsSettings::default(), settings).inner_steps(5);
/// while outer.progress() < 1.0 {
///     outer.step(&problem)?;
/// }
/// # let value = outer.theta().leaves()[0].clone().into_scalar::<f64>();
/// # assert!((value + 2.08).abs() < 0.1, "{value}");
/// # Ok::<(), bilevel::Diverged>(())
/// ```
pub struct OuterLoop {
    theta: Params,
    leaf_settings: Vec<LeafSettings>,
    schedule: EstimatorSchedule,
    /// The estimator of each phase of the schedule. Those of phases that have not begun are new.
    estimators: Vec<Box<dyn Estimator>>,
    optimizer: Box<dyn OuterOptimizer>,
    settings: OuterSettings,
    inner_steps: usize,
    seed: u64,
    workers: Workers,
    memory: MemoryPlan,
    start_size: StartSize,
    ranks: Arc<dyn Ranks>,
    recordings: Recordings,
    steps: u64,
    evaluations: Evaluations,
}

/// The state of an outer loop, without the estimators.
pub struct Snapshot {
    /// θ.
    pub theta: Params,
    /// The optimiser.
    pub optimizer: Box<dyn OuterOptimizer>,
    /// Outer steps taken.
    pub steps: u64,
    /// Their cost.
    pub evaluations: Evaluations,
}

/// An outer step that is queued on the device, with its numbers not yet read.
pub struct PendingStep {
    /// Its number, from 1.
    pub step: u64,
    /// The index of its draw of coins.
    pub draw: u64,
    /// The index of its phase in the schedule of estimators.
    pub phase: usize,
    /// The learning rate.
    pub rate: f64,
    /// Its cost.
    pub spent: Evaluations,
    /// The largest size of the iterates kept by one worker at a time, in bytes.
    pub iterate_bytes: u64,
    /// The fraction of the budget used, including this step.
    pub progress: f64,
    /// The estimator's [metrics](Estimator::metrics) at the time of the draw. If the schedule has several phases,
    /// `estimator` is the estimator's name.
    pub metrics: Map<String, Value>,
    /// The state of the loop before this step.
    pub before: Snapshot,
    /// The tasks that this rank computed.
    pub share: Share,
    /// The estimate of each task of the share, `[tasks, …]` in θ's shape.
    pub estimates: Params,
    /// L_out of each task of the share, `[tasks]`.
    pub losses: Tensor<1>,
    /// ‖mean estimate‖² before clipping, `[1]`.
    pub gradient: Tensor<1>,
    /// ‖θ‖² after the step, `[1]`.
    pub weights: Tensor<1>,
    /// Statistics for the update of an adaptive estimator; `None` for others.
    pub observation: Option<Observation>,
    /// When the work on the estimate started.
    pub began: Instant,
    /// The loop's bound on the norm of the gradient, if it has one.
    pub clip: Option<f64>,
}

/// An outer step whose numbers have been read.
pub struct CompletedStep {
    /// The step. Its observation is taken by [`OuterLoop::learn`].
    pub pending: PendingStep,
    /// L_out of each task.
    pub losses: Vec<f64>,
    /// Mean L_out over the tasks, at θ before the step.
    pub loss: f64,
    /// Norm of the mean estimate before clipping.
    pub gradient_norm: f64,
    /// ‖θ‖² after the step.
    pub weights: f64,
    /// The values of the observation's readings.
    pub observed: Vec<Vec<f64>>,
    /// Seconds from the start of the work to the end of reading it; on several ranks, the longest.
    pub seconds: f64,
}

/// Error of an outer step whose loss, gradient or new θ is not finite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("outer step {step} diverged: {what} is not finite")]
pub struct Diverged {
    /// Number of the step, from 1.
    pub step: u64,
    /// The quantity that is not finite.
    pub what: &'static str,
}

impl OuterLoop {
    /// A new outer loop at θ = `theta` (one task), with one inner step, seed 0, all work on this thread, the default
    /// memory plan, and the default settings for every leaf of θ. `estimator` is one estimator's settings or a schedule.
    ///
    /// # Panics
    /// Panics if a probability or another setting of an estimator is outside of its range.
    pub fn new(theta: Params, estimator: impl Into<EstimatorSchedule>, settings: OuterSettings) -> Self {
        let schedule = estimator.into();
        Self {
            estimators: schedule.build(),
            schedule,
            leaf_settings: vec![LeafSettings::default(); theta.leaves().len()],
            optimizer: settings.optimizer.build(settings.weight_decay, theta.leaves().len()),
            settings,
            inner_steps: 1,
            seed: 0,
            theta,
            workers: Workers::TOGETHER,
            memory: MemoryPlan::default(),
            start_size: StartSize::default(),
            ranks: Arc::new(Alone),
            recordings: Recordings::new(true),
            steps: 0,
            evaluations: Evaluations::default(),
        }
    }

    /// Sets the number of inner steps, r.
    pub fn inner_steps(self, steps: usize) -> Self {
        Self { inner_steps: steps, ..self }
    }

    /// Sets the seed of the estimator's coins.
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Sets how tasks are distributed over threads.
    pub fn workers(self, workers: Workers) -> Self {
        Self { workers, ..self }
    }

    /// Sets which iterates of the inner loop are kept.
    pub fn memory(self, plan: MemoryPlan) -> Self {
        Self { memory: plan, ..self }
    }

    /// Shares the tasks of each meta-batch with other ranks. With [`Workers::on_cpu`] on a CPU backend, all ranks end with the
    /// bits that one has alone.
    pub fn ranks(self, ranks: Arc<dyn Ranks>) -> Self {
        Self { ranks, ..self }
    }

    /// Sets whether the launches of outer steps are recorded and replayed as graphs, on devices and for problems that
    /// allow it. They are by default; the results are the same. With CUDA, no other thread may allocate memory on the device
    /// while a loop records, in its first steps: run one loop at a time, or turn graphs off.
    pub fn graphs(mut self, enabled: bool) -> Self {
        self.record_graphs(enabled);
        self
    }

    /// As [`Self::graphs`], for a loop that has taken steps. What was recorded is dropped.
    pub fn record_graphs(&mut self, enabled: bool) {
        self.recordings = Recordings::new(enabled);
    }

    /// Whether recording a graph has failed on this device, so that launches are issued one by one.
    pub fn graphs_refused(&self) -> bool {
        self.recordings.refused()
    }

    /// Sets the settings of each leaf of θ, in the order of the leaves.
    ///
    /// # Panics
    /// Panics unless there is one for each leaf, with a finite rate factor ≥ 0 and a finite floor.
    pub fn leaf_settings(self, settings: Vec<LeafSettings>) -> Self {
        let leaves = self.theta.leaves().len();
        assert_eq!(settings.len(), leaves, "there must be one `LeafSettings` for each leaf of θ");
        for (leaf, LeafSettings { rate_factor, floor }) in settings.iter().enumerate() {
            assert!(
                rate_factor.is_finite() && *rate_factor >= 0.0 && floor.is_none_or(f64::is_finite),
                "leaf {leaf} has rate factor {rate_factor} and floor {floor:?}; the factor must be finite and ≥ 0, and \
                 the floor finite"
            );
        }
        Self { leaf_settings: settings, ..self }
    }

    /// Takes one outer step on `problem`, which may be a new meta-batch at every step.
    ///
    /// # Errors
    /// Returns an error if the loss, the estimate or the new θ is not finite. The step is then undone.
    ///
    /// # Panics
    /// Panics if the device was lost, which Burn reports by panicking, and in the cases of [`Self::launch`].
    pub fn step<P: Bilevel>(&mut self, problem: &P) -> Result<CompletedStep, Diverged> {
        let pending = self.launch(problem, self.steps);
        let [mut completed] = resolve([pending]);
        if let Some(what) = completed.fault() {
            let step = completed.pending.step;
            self.restore(&completed.pending.before);
            return Err(Diverged { step, what });
        }
        self.learn(&mut completed);
        Ok(completed)
    }

    /// Queues one outer step on `problem`, with the coins of draw `draw`. Of several ranks, each takes its share of the tasks.
    ///
    /// A step with an [observation](PendingStep::observation) should be [learned](Self::learn) before the next step of the same
    /// estimator is launched. What an estimator learns starts from its state at the launch: of two such steps pending at
    /// once, the second is drawn without what the first taught, and a [tracked error](crate::estimator::Tracker) would lose
    /// one of the two.
    ///
    /// # Panics
    /// Panics if there are more ranks than tasks, or another rank has ended; and if the outer objective has losses along the
    /// inner loop, but the estimator has no backward walk ([`Draw::with_losses`](crate::hypergradient::Draw::with_losses)).
    pub fn launch<P: Bilevel>(&mut self, problem: &P, draw: u64) -> PendingStep {
        let share = self.share(problem.tasks());
        if share.is_all() {
            return self.launch_share(problem, share, draw);
        }
        let own: Vec<usize> = share.own().collect();
        self.launch_share(&problem.select(&own), share, draw)
    }

    /// This rank's share of a meta-batch of `tasks` tasks.
    ///
    /// # Panics
    /// Panics if there are more ranks than tasks.
    pub fn share(&self, tasks: usize) -> Share {
        let count = self.ranks.count();
        assert!(count <= tasks.max(1), "{count} ranks cannot share {tasks} tasks");
        Share::new(self.ranks.clone(), tasks)
    }

    /// As [`Self::launch`], with a problem that has only the own tasks of `share`.
    ///
    /// # Panics
    /// Panics if the problem has another number of tasks, another rank has ended, or the estimator cannot use the losses
    /// along the inner loop, as in [`Self::launch`].
    pub fn launch_share<P: Bilevel>(&mut self, problem: &P, share: Share, draw: u64) -> PendingStep {
        assert_eq!(problem.tasks(), share.own().len(), "the problem must have the tasks of the share");
        let rate = self.rate();
        let (number, tasks) = (draw, share.tasks());
        let phase = self.phase();
        let estimator = &self.estimators[phase];
        let draw = estimator.draw(&mut generator(self.seed, "coin", number), tasks, self.inner_steps);
        let draw = draw.with_losses(self.loss_weights());
        let metrics = self.metrics(phase, tasks);
        let depth = self.max_depth();
        let memory = self.memory.resolve_for(tasks, depth, || self.start_size.of(problem, &self.theta));
        let began = Instant::now();
        let own: Vec<usize> = share.own().collect();
        let own = draw.select(&own);
        let estimate = self.recordings.estimate(&self.workers, problem, &self.theta, &own, memory);
        let estimate = estimate.within(share.clone());
        let before = self.snapshot();
        let (estimates, losses) = (estimate.gradient.clone(), estimate.outer_loss.clone());
        let [gradient, weights] = Phase::Update.run(|| {
            let all: Vec<usize> = (0..tasks).collect();
            self.apply(share.mean(&all, Some(estimates.clone()), &self.theta), rate)
        });
        let spent = estimate.evaluations;
        self.count(spent);
        let observation =
            if draw.observes() { self.estimators[phase].observe(&draw, &estimate) } else { None };
        PendingStep {
            step: self.steps,
            draw: number,
            phase,
            rate,
            spent,
            iterate_bytes: estimate.iterate_bytes,
            progress: self.progress(),
            metrics,
            before,
            share,
            estimates,
            losses,
            gradient,
            weights,
            observation,
            began,
            clip: self.settings.clip,
        }
    }

    /// Updates θ and the optimiser with `mean`, the mean of the estimates, clipped, at learning rate `rate`, times the factor of
    /// each leaf, and raises the leaves to their floors. Returns ‖mean‖² before clipping, and ‖θ‖² after the step, each
    /// `[1]`. The counters are left to [`Self::count`].
    pub fn apply(&mut self, mean: Params, rate: f64) -> [Tensor<1>; 2] {
        let unclipped = mean.clone();
        let clipped = self.settings.clip.map(|limit| {
            let square = mean.clone().squared_norm();
            (clipped(mean.clone(), square.clone(), limit), square)
        });
        let (mean, square) = clipped.map_or((mean, None), |(mean, square)| (mean, Some(square)));
        let rates: Vec<f64> = self.leaf_settings.iter().map(|leaf| rate * leaf.rate_factor).collect();
        let mut settings = self.leaf_settings.iter();
        let stepped = self.optimizer.step(self.theta.clone(), mean, &rates);
        self.theta = stepped.map(|leaf| settings.next().copied().unwrap_or_default().raise(leaf));
        match square {
            Some(square) => [square, self.theta.clone().squared_norm()],
            None => Params::squared_norms([&unclipped, &self.theta]),
        }
    }

    /// Adds one outer step of cost `spent` to the counters.
    pub fn count(&mut self, spent: Evaluations) {
        self.steps += 1;
        self.evaluations += spent;
    }

    /// Updates the estimator that drew a completed step with the step's observation. A second call with the same step
    /// does nothing.
    ///
    /// # Panics
    /// Panics if the estimator tracks an error and has learned from another step since this one was
    /// [launched](Self::launch).
    pub fn learn(&mut self, completed: &mut CompletedStep) {
        if let Some(observation) = completed.pending.observation.take() {
            let values = std::mem::take(&mut completed.observed);
            let estimator = &mut *self.estimators[completed.pending.phase];
            observation.apply(estimator, &mut values.into_iter(), completed.seconds);
        }
    }

    /// The memory plan of the next outer step, resolved for a problem like `problem`: which iterates the backward walk
    /// keeps.
    ///
    /// It depends on the size of the problem, the current estimator and the plan, but not on the number of threads.
    pub fn plan<P: Bilevel>(&self, problem: &P) -> Memory {
        let bytes = || bytes_of_start(problem, &self.theta);
        self.memory.resolve_for(problem.tasks(), self.max_depth(), bytes)
    }

    /// The most inner steps that the backward walk of the next outer step goes through, for products or for losses.
    fn max_depth(&self) -> usize {
        let passed = self.inner_steps - self.loss_weights().first();
        self.estimator().max_depth(self.inner_steps).max(passed)
    }

    /// The weights of the outer losses in the next outer step.
    pub fn loss_weights(&self) -> LossWeights {
        self.settings.losses.weights(self.inner_steps, self.steps)
    }

    /// The current state of the loop, without the estimators.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            theta: self.theta.clone(),
            optimizer: self.optimizer.duplicate(),
            steps: self.steps,
            evaluations: self.evaluations,
        }
    }

    /// Goes back to `snapshot`. The estimators' running estimates are kept, except those of phases that have not begun
    /// there.
    pub fn restore(&mut self, snapshot: &Snapshot) {
        self.theta = snapshot.theta.clone();
        self.optimizer = snapshot.optimizer.duplicate();
        self.steps = snapshot.steps;
        self.evaluations = snapshot.evaluations;
        let later = self.phase() + 1;
        let begun_later = self.estimators.iter_mut().zip(self.schedule.estimators()).skip(later);
        begun_later.for_each(|(estimator, settings)| *estimator = settings.build());
    }

    /// Restores a saved loop: θ, the states of the optimiser and the [current estimator](Self::estimator), and the
    /// counters. This is all: earlier phases of the schedule are over, and later ones begin with a new estimator.
    ///
    /// # Errors
    /// Returns an error if θ has other shapes, or a state does not fit the optimiser or the estimator. The loop is then
    /// unchanged.
    pub fn resume(
        &mut self,
        theta: Params,
        optimizer: OptimizerState,
        estimator: &State,
        steps: u64,
        evaluations: Evaluations,
        device: &Device,
    ) -> Result<(), String> {
        let (leaves, expected) = (theta.leaves().len(), self.leaf_settings.len());
        if leaves != expected {
            return Err(format!("θ has {leaves} leaves, expected {expected}"));
        }
        for (leaf, (found, own)) in theta.leaves().iter().zip(self.theta.leaves()).enumerate() {
            let (found, expected) = (found.dims(), own.dims());
            if found != expected {
                return Err(format!("leaf {leaf} of θ has shape {found:?}, expected {expected:?}"));
            }
        }
        let mut restored = self.settings.optimizer.build(self.settings.weight_decay, leaves);
        restored.restore(optimizer, &theta, device)?;
        let mut estimators = self.schedule.build();
        estimators[self.schedule.phase(steps)].restore(estimator)?;
        (self.theta, self.optimizer, self.estimators) = (theta, restored, estimators);
        (self.steps, self.evaluations) = (steps, evaluations);
        Ok(())
    }

    /// The learning rate of the next outer step.
    pub fn rate(&self) -> f64 {
        self.settings.rate_of(self.steps + 1, self.progress())
    }

    /// θ (one task).
    pub fn theta(&self) -> &Params {
        &self.theta
    }

    /// The estimator of the next outer step, for its metrics and state.
    pub fn estimator(&self) -> &dyn Estimator {
        &*self.estimators[self.phase()]
    }

    /// The index of the next outer step's phase in the schedule of estimators.
    fn phase(&self) -> usize {
        self.schedule.phase(self.steps)
    }

    /// The metrics of phase `phase` before an outer step of `tasks` tasks.
    fn metrics(&self, phase: usize, tasks: usize) -> Map<String, Value> {
        let mut metrics = self.estimators[phase].metrics(tasks, self.inner_steps);
        if self.estimators.len() > 1 {
            let name = self.schedule.estimator(phase).name().to_string();
            metrics.insert("estimator".into(), name.into());
        }
        metrics
    }

    /// The optimiser, for its state.
    pub fn optimizer(&self) -> &dyn OuterOptimizer {
        &*self.optimizer
    }

    /// The number of outer steps taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Their total cost.
    pub fn evaluations(&self) -> Evaluations {
        self.evaluations
    }

    /// The fraction of the budget used. It can exceed 1 after the last step.
    pub fn progress(&self) -> f64 {
        self.settings.budget.progress(self.steps, self.evaluations.total())
    }
}

/// Reads the numbers of all `steps` at once.
///
/// # Panics
/// Panics if the device was lost.
pub fn resolve<const N: usize>(steps: [PendingStep; N]) -> [CompletedStep; N] {
    let mut completed = resolve_all(steps.into()).into_iter();
    std::array::from_fn(|_| completed.next().unwrap_or_else(|| unreachable!("every step is completed")))
}

/// [`resolve`] for any number of steps.
///
/// # Panics
/// Panics if the device was lost.
pub fn resolve_all(steps: Vec<PendingStep>) -> Vec<CompletedStep> {
    let mut values = read_all(steps.iter().flat_map(PendingStep::tensors).collect()).into_iter();
    steps.into_iter().map(|step| step.complete(&mut values)).collect()
}

impl PendingStep {
    /// The tensors to read.
    fn tensors(&self) -> impl Iterator<Item = Tensor<1>> {
        let observed = self.observation.iter().flat_map(Observation::tensors);
        [&self.losses, &self.gradient, &self.weights].into_iter().chain(observed).cloned()
    }

    /// ‖estimate‖² of each task, those of the other ranks included. Waits for them.
    ///
    /// # Panics
    /// Panics if the device was lost, or another rank has ended.
    pub fn squared_norms(&self) -> Vec<f64> {
        self.share.collect([read(self.estimates.clone().squared_norm())]).concat()
    }

    /// Completes the step with the values of [`Self::tensors`], taken from `values`.
    fn complete(self, values: &mut impl Iterator<Item = Vec<f64>>) -> CompletedStep {
        let mut next = || values.next().unwrap_or_default();
        let [losses, gradient, weights] = [next(), next(), next()];
        let more = [losses, vec![self.began.elapsed().as_secs_f64()]];
        let (observed, [losses, seconds]) =
            Observation::collect(self.observation.as_ref(), values, more, &self.share);
        CompletedStep {
            loss: mean(&losses),
            gradient_norm: gradient.iter().sum::<f64>().sqrt(),
            weights: weights.iter().sum(),
            observed,
            seconds: seconds.into_iter().fold(0.0, f64::max),
            losses,
            pending: self,
        }
    }
}

impl std::fmt::Debug for CompletedStep {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { pending, losses, loss, gradient_norm, .. } = self;
        out.debug_struct("CompletedStep")
            .field("step", &pending.step)
            .field("losses", losses)
            .field("loss", loss)
            .field("gradient_norm", gradient_norm)
            .finish_non_exhaustive()
    }
}

impl CompletedStep {
    /// The first quantity of the step that is not finite, if any.
    pub fn fault(&self) -> Option<&'static str> {
        let all = [
            ("the loss", self.loss),
            ("the meta-gradient", self.gradient_norm),
            ("the new weights' norm", self.weights),
        ];
        all.into_iter().find(|(_, value)| !value.is_finite()).map(|(what, _)| what)
    }

    /// Whether the gradient was clipped.
    pub fn was_clipped(&self) -> bool {
        self.pending.clip.is_some_and(|limit| self.gradient_norm > limit)
    }
}

/// Scales `gradient` (one task, squared norm `square` `[1]`) down to the norm `limit` if it is longer. The factor
/// stays on the device.
fn clipped(gradient: Params, square: Tensor<1>, limit: f64) -> Params {
    let scale = (square.sqrt().recip() * limit).clamp_max(1.0).reshape([1, 1, 1]);
    gradient.map(|leaf| leaf * scale.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::TensorData;

    fn tensor<const D: usize>(values: &[f64], shape: [usize; D]) -> Tensor<D> {
        Tensor::from_data(TensorData::new(values.to_vec(), shape), &Device::flex())
    }

    #[test]
    fn only_gradients_longer_than_the_limit_are_clipped() {
        let params = |values: &[f64]| Params::new(vec![tensor(values, [1, 1, 2]), tensor(&[0.0], [1, 1, 1])]);
        let clip = |values: &[f64], limit| {
            let (gradient, square) = (params(values), params(values).squared_norm());
            let clipped = clipped(gradient, square, limit);
            clipped.leaves()[0].clone().into_data().iter::<f64>().collect::<Vec<_>>()
        };
        assert_eq!(clip(&[3.0, 4.0], 10.0), [3.0, 4.0]);
        assert_eq!(clip(&[0.0, 0.0], 1.0), [0.0, 0.0]);
        let [x, y] = clip(&[3.0, 4.0], 1.0)[..] else { panic!("two values") };
        assert!((x - 0.6).abs() < 1e-6 && (y - 0.8).abs() < 1e-6);
        assert!(clip(&[f64::NAN, 0.0], 1.0).iter().all(|value| value.is_nan()));
    }

    /// Pending step number `step` with the given losses and squared norms.
    fn pending(step: u64, losses: &[f64], gradient: f64, weights: f64) -> PendingStep {
        let [gradient, weights] = [gradient, weights].map(|value| tensor(&[value], [1]));
        let theta = Params::new(vec![tensor(&[0.0], [1, 1, 1])]);
        let optimizer = Optimizer::default().build(0.0, 1);
        PendingStep {
            step,
            draw: step,
            phase: 0,
            rate: 1.0,
            spent: Evaluations::default(),
            iterate_bytes: 0,
            progress: 0.0,
            metrics: Map::new(),
            before: Snapshot {
                theta: theta.clone(),
                optimizer,
                steps: step - 1,
                evaluations: Evaluations::default(),
            },
            share: Share::all(losses.len()),
            estimates: theta,
            losses: tensor(losses, [losses.len()]),
            gradient,
            weights,
            observation: None,
            began: Instant::now(),
            clip: Some(2.0),
        }
    }

    #[test]
    fn steps_resolved_together_get_their_own_values() {
        let [first, second] = resolve([pending(1, &[1.0, 2.0], 9.0, 1.0), pending(2, &[4.0], 4.0, 1.0)]);
        assert_eq!((first.pending.step, first.loss, first.gradient_norm), (1, 1.5, 3.0));
        assert_eq!((second.pending.step, second.loss, second.gradient_norm), (2, 4.0, 2.0));
        assert_eq!((first.was_clipped(), second.was_clipped()), (true, false));
        assert!(first.fault().is_none() && second.fault().is_none());
    }

    #[test]
    fn fault_names_the_quantity_that_is_not_finite() {
        let nan = f64::NAN;
        for (losses, gradient, weights, what) in [
            ([nan, 1.0], 1.0, 1.0, "the loss"),
            ([1.0, 1.0], f64::INFINITY, nan, "the meta-gradient"),
            ([1.0, 1.0], 1.0, nan, "the new weights' norm"),
        ] {
            let [finite, diverged] =
                resolve([pending(6, &[1.0], 1.0, 1.0), pending(7, &losses, gradient, weights)]);
            assert_eq!([finite.fault(), diverged.fault()], [None, Some(what)]);
        }
    }
}
