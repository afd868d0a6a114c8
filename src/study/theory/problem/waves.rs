//! A nonconvex problem of several parameters: sums of plane waves.
//!
//! ```text
//! L(φ) = Σ_i cos(w_i·φ + b_i),   the w_i two orthonormal bases of ℝ^d,   phases b_i of each task's L_in and L_out
//! ```
//!
//! ∇²L = −Σ_i cos(w_i·φ + b_i) w_i w_iᵀ, so ‖∇²L‖ ≤ ‖Σ_i w_i w_iᵀ‖ = 2 = L. ∇L = −Σ_i sin(w_i·φ + b_i) w_i, whose norm
//! is convex in the sines and so largest where each is ±1: B is the largest ‖Σ_i ±w_i‖ over all signs.
//!
//! The first task attains the bound for any losses: at θ = 0 its inner loss has a maximum, where the inner loop stays and
//! ∇²L = −2I, and its outer loss has the slope B.

use super::{Class, Constants, Known, tensor};
use bilevel::rng::generator;
use bilevel::{Bilevel, Dual, Params, Rates, task_indices};
use burn::tensor::Tensor;
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};
use std::f64::consts::{FRAC_PI_2, TAU};

/// d, the number of parameters.
const SIZE: usize = 4;
/// The number of waves: two bases.
const WAVES: usize = 2 * SIZE;
/// Tasks with random phases, beside the one that attains the bound.
const RANDOM_TASKS: usize = 255;
/// L, of every task.
const CURVATURE: f64 = 2.0;

/// The waves of all tasks.
pub struct Waves {
    /// w_i.
    directions: Vec<[f64; SIZE]>,
    /// Phases of each task's inner and outer loss.
    phases: Vec<[[f64; WAVES]; 2]>,
    /// B.
    slope: f64,
}

impl Waves {
    /// The task that attains the bound, and tasks with random phases.
    pub fn new() -> Self {
        let mut random = generator(crate::study::theory::SEED, "waves", 0);
        let mut basis = || {
            let mut vectors: Vec<[f64; SIZE]> = Vec::new();
            while vectors.len() < SIZE {
                let mut vector: [f64; SIZE] = std::array::from_fn(|_| StandardNormal.sample(&mut random));
                for other in &vectors {
                    let along = dot(&vector, other);
                    vector.iter_mut().zip(other).for_each(|(x, y)| *x -= along * y);
                }
                let length = dot(&vector, &vector).sqrt();
                vectors.push(vector.map(|x| x / length));
            }
            vectors
        };
        let directions = [basis(), basis()].concat();
        let sum = |signs: u32| -> f64 {
            let sign = |wave: usize| if signs >> wave & 1 == 1 { 1.0 } else { -1.0 };
            let total: [f64; SIZE] = std::array::from_fn(|at| {
                directions.iter().enumerate().map(|(wave, direction)| sign(wave) * direction[at]).sum()
            });
            dot(&total, &total).sqrt()
        };
        let best = (0..1 << WAVES).max_by(|a, b| sum(*a).total_cmp(&sum(*b))).unwrap_or(0);
        let quarter: [f64; WAVES] =
            std::array::from_fn(|wave| if best >> wave & 1 == 1 { FRAC_PI_2 } else { -FRAC_PI_2 });
        let mut phases = vec![[[0.0; WAVES], quarter]];
        phases.extend(
            (0..RANDOM_TASKS).map(|_| [(); 2].map(|()| [(); WAVES].map(|()| TAU * random.random::<f64>()))),
        );
        let slope = sum(best);
        Self { directions, phases, slope }
    }

    /// The tasks with random phases only, at inner rate `rate`.
    pub fn random_tasks(&self, rate: f64) -> WavesProblem {
        self.at(rate).select(&(1..=RANDOM_TASKS).collect::<Vec<_>>())
    }

    fn at(&self, rate: f64) -> WavesProblem {
        let tasks = self.phases.len();
        let columns: Vec<f64> =
            (0..SIZE).flat_map(|row| self.directions.iter().map(move |direction| direction[row])).collect();
        let phases =
            |which: usize| tensor(self.phases.iter().flat_map(|of| of[which]).collect(), [tasks, 1, WAVES]);
        WavesProblem {
            directions: tensor(columns, [1, SIZE, WAVES]),
            inner: phases(0),
            outer: phases(1),
            rate,
        }
    }
}

fn dot(a: &[f64; SIZE], b: &[f64; SIZE]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

impl Known for Waves {
    type Problem = WavesProblem;

    const CLASS: Class = Class::Any;

    fn curvature(&self) -> f64 {
        CURVATURE
    }

    fn problem(&self, rate: f64, _steps: usize) -> (WavesProblem, Vec<Constants>) {
        let constants = Constants { curvature: CURVATURE, slope: self.slope };
        (self.at(rate), vec![constants; self.phases.len()])
    }

    fn theta(&self) -> Params {
        Params::new(vec![tensor(vec![0.0; SIZE], [1, 1, SIZE])])
    }
}

/// Sums of waves as a bi-level problem; θ and φ are `[tasks, 1, d]`.
pub struct WavesProblem {
    /// The w_i as columns, `[1, d, waves]`.
    directions: Tensor<3>,
    /// Phases of the inner loss, `[tasks, 1, waves]`.
    inner: Tensor<3>,
    /// Phases of the outer loss.
    outer: Tensor<3>,
    rate: f64,
}

impl WavesProblem {
    fn loss(&self, at: &Dual<3>, phases: &Tensor<3>) -> Dual<1> {
        let [tasks, ..] = phases.dims();
        let directions = self.directions.clone().expand([tasks, SIZE, WAVES]);
        let angles = at.clone().matmul(Dual::constant(directions)) + Dual::constant(phases.clone());
        cosine(angles).sum_dim(2).reshape([tasks])
    }
}

/// cos, and −sin for its tangent.
fn cosine(angle: Dual<3>) -> Dual<3> {
    let Dual { primal, tangent } = angle;
    Dual { tangent: tangent.map(|tangent| tangent * primal.clone().sin().neg()), primal: primal.cos() }
}

impl Bilevel for WavesProblem {
    fn tasks(&self) -> usize {
        self.inner.dims()[0]
    }

    fn inner_rates(&self, _step: usize, _outer: &Params) -> Rates {
        Rates::Scalar(self.rate)
    }

    fn inner_loss(&self, _step: usize, _outer: &[Dual<3>], fast: &[Dual<3>]) -> Dual<1> {
        self.loss(&fast[0], &self.inner)
    }

    fn outer_loss(&self, _step: usize, _outer: &Params, fast: &Params) -> Tensor<1> {
        self.loss(&fast.constant()[0], &self.outer).primal
    }

    fn select(&self, tasks: &[usize]) -> Self {
        let pick = |of: &Tensor<3>| of.clone().select(0, task_indices(tasks, &of.device()));
        Self {
            directions: self.directions.clone(),
            inner: pick(&self.inner),
            outer: pick(&self.outer),
            rate: self.rate,
        }
    }
}
