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

mod clip;
mod settings;
mod step;

pub use settings::OuterSettings;
pub use step::{CompletedStep, Diverged, PendingStep, Snapshot, resolve, resolve_all};

use crate::estimator::{Estimator, EstimatorSchedule, State};
use crate::hypergradient::{
    Evaluations, LossWeights, Memory, MemoryPlan, Recordings, StartSize, Workers, bytes_of_start,
};
use crate::launches::Phase;
use crate::optimizer::{LeafSettings, OptimizerState, OuterOptimizer};
use crate::params::Params;
use crate::problem::Bilevel;
use crate::ranks::{Alone, Ranks, Share};
use crate::rng::generator;
use burn::tensor::{Device, Tensor};
use clip::clipped;
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Instant;

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

    /// Replaces the estimator of the next outer step by a new one, for problems that change so much that what it learned of
    /// them does not hold any more. Those of other phases stay.
    pub fn renew_estimator(&mut self) {
        let phase = self.phase();
        self.estimators[phase] = self.schedule.estimator(phase).build();
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
