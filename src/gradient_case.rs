//! A gradient test case: a few-shot problem with all of its numbers in one safetensors file, to compare gradients with
//! those of other frameworks.
//!
//! Arrays read: `support_x`, `query_x` `[T, n, 1, side, side]`; `support_y`, `query_y` `[T, n]`;
//! `theta.X` for every parameter X of a Conv4 in PyTorch's layout. Convolutions have biases if `theta.conv1.bias` is there;
//! γ and β of batch norm are `[steps, filters]` if they differ from inner step to inner step. `rate.X`, if there are any,
//! are the inner rates of each X that adapts: `[steps]`, or in the shape of X for a rate of every weight.
//!
//! Text read: `n_way`, `inner_steps`, `alpha` (the inner rate without `rate.X`), `bn_eps`, and optionally `pool` (`stride` or
//! `max`), `negative_slope`, `adapts` (`all`, `all-but-norm` or `head`) and `loss_weights` (JSON: w_0 … w_r).
//!
//! Arrays written: `theta_support_logits [T, n, ways]`, `support_loss [T, r+1]`, `query_loss [T]` after the last inner step,
//! `phi.X [T, …]`, and the requested gradients, per task and averaged, those of the rates as `exact.rate.X`.

use crate::model::{Architecture, Conv4, EPSILON, Leaf, Pool};
use crate::support::archive::{self, Archive};
use crate::support::classified::Classified;
use crate::task::{Adaptation, Adapts, Batch, BatchNorm, FewShot, Head, InnerRates, RateEach};
use bilevel::hypergradient::{self, Draw, LossWeights, Memory};
use bilevel::{Bilevel, Params, Rates};
use burn::tensor::{DType, Device, Tensor};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

/// Largest number of values in any array that a case may need: a gigabyte in single precision.
const MAX_VALUES: usize = 1 << 28;

/// An error of a case.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Error {
    #[error(transparent)]
    Archive(#[from] archive::Error),
    #[error("{path}: `{key}` is missing in the metadata")]
    Missing { path: PathBuf, key: &'static str },
    #[error("{path}: {reason}")]
    Unusable { path: PathBuf, reason: String },
}

/// A gradient case, ready to run.
pub struct Case {
    problem: FewShot,
    /// The parameters of φ and of θ.
    leaves: [Vec<Leaf>; 2],
    theta: Params,
    losses: LossWeights,
    /// Every iterate is stored if they fit into [`MAX_VALUES`].
    memory: Memory,
    text: BTreeMap<String, String>,
}

/// The sizes that determine the memory needed by a case.
struct Size {
    tasks: usize,
    /// Images per task, in the larger of support and query set.
    count: usize,
    /// Pixels of an image after the first convolution.
    pixels: usize,
    /// Values per pixel: its channels, or the patch that they are computed from.
    features: usize,
    ways: usize,
    /// Number of weights of the network.
    weights: usize,
    /// Inner steps.
    steps: usize,
}

impl Size {
    /// The first memory plan in which every array has at most [`MAX_VALUES`] values.
    ///
    /// # Errors
    /// Returns an error if there is none.
    fn memory(&self) -> Result<Memory, String> {
        let Self { tasks, count, pixels, features, ways, weights, steps } = *self;
        let all = |sizes: &[usize]| sizes.iter().try_fold(1_usize, |all, size| all.checked_mul(*size));
        let fits = |sizes: &[usize]| all(sizes).is_some_and(|all| all <= MAX_VALUES);
        let refused =
            |what| format!("its {what} would have more than {MAX_VALUES} values; make the case smaller");
        for (what, sizes) in [
            ("features", &[tasks, count, pixels, features][..]),
            ("logits", &[tasks, count, ways]),
            ("losses", &[tasks, steps + 1]),
        ] {
            if !fits(sizes) {
                return Err(refused(what));
            }
        }
        let mut plans = [Memory::Store, Memory::square_root(steps)].into_iter();
        let plan = plans.find(|plan| fits(&[tasks, weights, plan.kept(steps).max(1)]));
        plan.ok_or_else(|| refused("iterates"))
    }
}

/// Which gradient of a case to compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The derivative through all inner steps; written as `exact.X` and `mean_exact.X`.
    Exact,
    /// The first-order gradient; written as `fo.X` and `mean_fo.X`.
    FirstOrder,
}

impl Case {
    /// Reads the case in `archive` onto `device`, computing in `dtype` (F32 or F64).
    ///
    /// # Errors
    /// Returns an error if an array or a piece of text is missing or inconsistent with the others, or if the case would
    /// need arrays of more than 2²⁸ values.
    pub fn read(archive: &Archive, device: &Device, dtype: DType) -> Result<Self, Error> {
        let unusable = |reason: String| Error::Unusable { path: archive.path.clone(), reason };
        let ways: usize = number(archive, "n_way")?;
        let steps: usize = number(archive, "inner_steps")?;
        let rate: f64 = number(archive, "alpha")?;
        let epsilon: f64 = number(archive, "bn_eps")?;
        if epsilon != EPSILON {
            return Err(unusable(format!("bn_eps is {epsilon}, but must be {EPSILON}")));
        }
        if !(2..=10_000).contains(&ways) || steps > 100_000 || !rate.is_finite() {
            return Err(unusable(format!(
                "n_way = {ways}, inner_steps = {steps}, alpha = {rate} are not a valid problem"
            )));
        }
        let (shape, _) = archive.get("support_x")?;
        let &[tasks, _, 1, side, _] = shape else {
            return Err(unusable(format!(
                "support_x has shape {shape:?}, but the expected shape is [T, n, 1, side, side]"
            )));
        };
        let (kernel, _) = archive.get("theta.conv1.weight")?;
        let &[filters, 1, 3, 3] = kernel else {
            return Err(unusable(format!(
                "theta.conv1.weight has shape {kernel:?}, but the expected shape is [filters, 1, 3, 3]"
            )));
        };
        if tasks == 0 || filters == 0 || !(1..=1024).contains(&side) {
            return Err(unusable(format!(
                "support_x has shape {shape:?} and theta.conv1.weight {kernel:?}; neither may be empty, and side may be \
                 at most 1024"
            )));
        }
        let blocks = (1..).take_while(|block| archive.contains(&format!("theta.conv{block}.weight"))).count();
        let pool: Pool = optional(archive, "pool")?.unwrap_or(Pool::Stride);
        let negative_slope: f64 = optional(archive, "negative_slope")?.unwrap_or(0.0);
        let most = pool.halvings(side);
        if blocks > most {
            return Err(unusable(format!(
                "it has {blocks} convolutions; each halves the image, so {side} pixels allow at most {most}"
            )));
        }
        let bias = archive.contains("theta.conv1.bias");
        let network = Conv4 { pool, bias, negative_slope, ..Conv4::new(filters, blocks) };
        let network = network.build(side, ways).map_err(|error| unusable(error.to_string()))?;
        let architecture: Arc<dyn Architecture> = Arc::new(network);
        let count = |part: &str| -> Result<usize, Error> {
            match archive.get(&format!("{part}_x"))?.0 {
                [_, count, ..] if *count > 0 => Ok(*count),
                shape => Err(unusable(format!("{part}_x has shape {shape:?}, which contains no images"))),
            }
        };
        let size = Size {
            tasks,
            count: count("support")?.max(count("query")?),
            pixels: if pool == Pool::Max { side.pow(2) } else { side.div_ceil(2).pow(2) },
            features: filters.max(9),
            ways,
            weights: architecture.leaves().iter().map(|leaf| leaf.layout.count()).sum(),
            steps,
        };
        let memory = size.memory().map_err(unusable)?;
        let adaptation = adaptation(archive, rate)?;
        let losses = loss_weights(archive, steps)?;
        let options = (device, dtype);
        let leaves = [adaptation.fast_leaves(&*architecture), adaptation.leaves(&*architecture)];
        let theta: Result<Vec<_>, archive::Error> = leaves[1]
            .iter()
            .map(|leaf| {
                let flat = archive.flat(&leaf.name, &leaf.layout.shape(), options)?;
                Ok(leaf.layout.pack(flat))
            })
            .collect();
        let batch = |part: &str| -> Result<Batch, Error> {
            let count = count(part)?;
            let images = archive.flat(&format!("{part}_x"), &[tasks, count, 1, side, side], options)?;
            let labels = archive.integers(&format!("{part}_y"), &[tasks, count])?;
            let labels: Option<Vec<usize>> = labels
                .iter()
                .map(|label| usize::try_from(*label).ok().filter(|label| *label < ways))
                .collect();
            let labels = labels.ok_or_else(|| unusable(format!("{part}_y has labels outside 0..{ways}")))?;
            Ok(Batch::new(&*architecture, images.reshape([tasks, count, side * side]), &labels, ways))
        };
        let (support, query) = (batch("support")?, batch("query")?);
        let problem = FewShot::new(architecture, support, query, rate, BatchNorm::Transductive);
        let (problem, theta) = (problem.adapting(&adaptation), Params::new(theta?));
        Ok(Self { problem, leaves, theta, losses, memory, text: archive.text.clone() })
    }

    /// Computes the results, in the layout of the case, with the case's text.
    pub fn run(&self, which: Which) -> Archive {
        let problem = &self.problem;
        let tasks = problem.tasks();
        let theta = self.theta.repeat(tasks);
        let start = problem.start(&theta).constant();
        let logits = problem.support_logits(1, &theta.constant(), &start).primal;
        let steps = self.losses.steps();
        let (fast, mut losses) = hypergradient::adapt(problem, &theta, steps);
        losses.push(problem.inner_loss(losses.len() + 1, &theta.constant(), &fast.constant()).primal);
        let depth = if which == Which::Exact { steps } else { 0 };
        let draw = Draw::truncated(tasks, steps, depth).with_losses(self.losses.clone());
        let estimate = hypergradient::estimate(problem, &self.theta, &draw, self.memory);

        let mut out = Archive::default();
        out.text = self.text.clone();
        let shape = logits.dims();
        out.set_tensor("theta_support_logits", &shape, logits);
        out.set_tensor("support_loss", &[tasks, losses.len()], Tensor::stack::<2>(losses, 1));
        out.set_tensor("query_loss", &[tasks], estimate.outer_loss);
        let name = if which == Which::Exact { "exact" } else { "fo" };
        let [of_fast, of_theta] = &self.leaves;
        write_stack(&mut out, "phi", of_fast, fast, true);
        write_stack(&mut out, name, of_theta, estimate.gradient.clone(), true);
        write_stack(&mut out, &format!("mean_{name}"), of_theta, estimate.gradient.mean(), false);
        out
    }
}

/// Writes `stack` with these `leaves` under their names without `theta.`: `PREFIX.conv1.weight`, `PREFIX.rate.conv1.weight`.
fn write_stack(out: &mut Archive, prefix: &str, leaves: &[Leaf], stack: Params, per_task: bool) {
    for (leaf, matrix) in leaves.iter().zip(stack.into_leaves()) {
        let mut shape = leaf.layout.shape();
        if per_task {
            shape.insert(0, matrix.dims()[0]);
        }
        let name = leaf.name.strip_prefix("theta.").unwrap_or(&leaf.name);
        out.set_tensor(format!("{prefix}.{name}"), &shape, leaf.layout.unpack(matrix));
    }
}

/// What adapts, and at which rates: `adapts` in the text, and the shapes of the arrays.
fn adaptation(archive: &Archive, rate: f64) -> Result<Adaptation, Error> {
    let unusable = |reason: String| Error::Unusable { path: archive.path.clone(), reason };
    let adapts = optional(archive, "adapts")?.unwrap_or(Adapts::All);
    let norm_steps = match *archive.get("theta.bn1.weight")?.0 {
        [rows, _] if adapts == Adapts::All => {
            return Err(unusable(format!(
                "theta.bn1.weight has {rows} rows, one for each inner step, so it cannot adapt; write adapts = \
                 \"all-but-norm\" in the metadata"
            )));
        }
        [0, _] => return Err(unusable("theta.bn1.weight is empty".into())),
        [rows, _] => Some(rows),
        _ => None,
    };
    let rates = if archive.contains("rate.linear.weight") {
        let each = match *archive.get("rate.linear.weight")?.0 {
            [0] => return Err(unusable("rate.linear.weight is empty".into())),
            [steps] => RateEach::TensorAndStep { steps },
            _ => RateEach::Weight,
        };
        InnerRates::Learned { start: rate, each }
    } else {
        InnerRates::Fixed(Rates::Scalar(rate))
    };
    Ok(Adaptation { adapts, rates, norm_steps, head: Head::Learned })
}

/// The weights of the outer losses: `loss_weights` in the text, a JSON list of w_0 … w_r; by default the last loss alone.
fn loss_weights(archive: &Archive, steps: usize) -> Result<LossWeights, Error> {
    let Some(text) = archive.text.get("loss_weights") else { return Ok(LossWeights::last(steps)) };
    let weights: Option<Vec<f64>> = serde_json::from_str(text).ok();
    let weights =
        weights.filter(|weights| weights.len() == steps + 1 && weights.iter().all(|w| w.is_finite()));
    let unusable = || Error::Unusable {
        path: archive.path.clone(),
        reason: format!("loss_weights = `{text}` is not a JSON list of {} numbers, w_0 … w_r", steps + 1),
    };
    weights.map(LossWeights::new).ok_or_else(unusable)
}

/// The text of `key`, read; `None` if it is not there.
fn optional<N: FromStr<Err: Display>>(archive: &Archive, key: &'static str) -> Result<Option<N>, Error> {
    archive.text.contains_key(key).then(|| number(archive, key)).transpose()
}

fn number<N: FromStr<Err: Display>>(archive: &Archive, key: &'static str) -> Result<N, Error> {
    let path = || archive.path.clone();
    let text = archive.text.get(key).ok_or_else(|| Error::Missing { path: path(), key })?;
    text.parse().map_err(|error| Error::Unusable {
        path: path(),
        reason: format!("{key} = `{text}` is not valid: {error}"),
    })
}

impl Classified for Error {
    fn is_user_error(&self) -> bool {
        match self {
            Self::Archive(error) => error.is_user_error(),
            Self::Missing { .. } | Self::Unusable { .. } => true,
        }
    }

    fn wrapped(&self) -> Option<&dyn Classified> {
        match self {
            Self::Archive(error) => Some(error),
            _ => None,
        }
    }
}
