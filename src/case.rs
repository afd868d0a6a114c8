//! A gradient case: a few-shot problem with every number given, in one safetensors file, so that
//! anyone can hold our gradients against another framework's.
//!
//! Arrays read: `support_x`, `query_x` `[T, n, 1, side, side]`; `support_y`, `query_y` `[T, n]`;
//! `theta.X` for every parameter X in PyTorch's layout. Text read: `n_way`, `inner_steps`, `alpha`,
//! `bn_eps`. Arrays written: `theta_support_logits [T, n, ways]`, `support_loss [T, r+1]`,
//! `query_loss [T]`, `phi.X [T, …]`, and per task and averaged the gradients asked for.

use crate::archive::{self, Archive};
use crate::config::{BatchNorm, halvings};
use crate::hypergradient::{self, Draw, Memory};
use crate::model::{Architecture, Conv4Config, EPSILON};
use crate::problem::{Batch, Bilevel, FewShot};
use crate::stack::Stack;
use burn::tensor::{DType, Device, Tensor};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// The most values of any array that a case may lead to: a gigabyte in single precision.
const MOST_VALUES: usize = 1 << 28;

/// What is wrong with a case.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Error {
    #[error(transparent)]
    Archive(#[from] archive::Error),
    #[error("{path}: its metadata lacks `{key}`")]
    Missing { path: PathBuf, key: &'static str },
    #[error("{path}: {reason}")]
    Unusable { path: PathBuf, reason: String },
}

/// A case, ready to run.
pub struct Case {
    problem: FewShot,
    architecture: Arc<Conv4Config>,
    theta: Stack,
    steps: usize,
    /// Every iterate, where they fit.
    memory: Memory,
    text: BTreeMap<String, String>,
}

/// What decides how much memory a case takes.
struct Size {
    tasks: usize,
    /// Images of a task's larger part.
    count: usize,
    /// Of an image behind the first convolution.
    pixels: usize,
    /// Of such a pixel, or of the patch that it is made of.
    features: usize,
    ways: usize,
    /// Of a network.
    weights: usize,
    /// Inner steps.
    steps: usize,
}

impl Size {
    /// The memory plan that the case fits in.
    ///
    /// # Errors
    /// If it fits in none.
    fn memory(&self) -> Result<Memory, String> {
        let Self { tasks, count, pixels, features, ways, weights, steps } = *self;
        let all = |sizes: &[usize]| sizes.iter().try_fold(1_usize, |all, size| all.checked_mul(*size));
        let fits = |sizes: &[usize]| all(sizes).is_some_and(|all| all <= MOST_VALUES);
        let refused = |what| format!("its {what} would be more than {MOST_VALUES} values; make it smaller");
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

/// Which gradient of a case is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Through all inner steps; written as `exact.X` and `mean_exact.X`.
    Exact,
    /// Through none; written as `fo.X` and `mean_fo.X`.
    FirstOrder,
}

impl Case {
    /// Reads the case in `archive` onto `device`, computing in `dtype` (F32 or F64).
    ///
    /// # Errors
    /// If an array or a piece of text is missing or does not fit the others, or the case would lead to arrays
    /// that no memory should be tried with.
    pub fn read(archive: &Archive, device: &Device, dtype: DType) -> Result<Self, Error> {
        let unusable = |reason: String| Error::Unusable { path: archive.path.clone(), reason };
        let ways: usize = number(archive, "n_way")?;
        let steps: usize = number(archive, "inner_steps")?;
        let rate: f64 = number(archive, "alpha")?;
        let epsilon: f64 = number(archive, "bn_eps")?;
        if epsilon != EPSILON {
            return Err(unusable(format!("bn_eps is {epsilon}, but this network's is {EPSILON}")));
        }
        if !(2..=10_000).contains(&ways) || steps > 100_000 || !rate.is_finite() {
            return Err(unusable(format!(
                "n_way = {ways}, inner_steps = {steps}, alpha = {rate} make no problem"
            )));
        }
        let (shape, _) = archive.get("support_x")?;
        let &[tasks, _, 1, side, _] = shape else {
            return Err(unusable(format!(
                "support_x has shape {shape:?}, but [T, n, 1, side, side] is needed"
            )));
        };
        let (kernel, _) = archive.get("theta.conv1.weight")?;
        let &[filters, 1, 3, 3] = kernel else {
            return Err(unusable(format!(
                "theta.conv1.weight has shape {kernel:?}, but [filters, 1, 3, 3] is needed"
            )));
        };
        if tasks == 0 || filters == 0 || !(1..=1024).contains(&side) {
            return Err(unusable(format!(
                "support_x {shape:?} and theta.conv1.weight {kernel:?} must not be empty"
            )));
        }
        let blocks = (1..).take_while(|block| archive.contains(&format!("theta.conv{block}.weight"))).count();
        if blocks > halvings(side) {
            let most = halvings(side);
            return Err(unusable(format!(
                "it has {blocks} convolutions; each halves the image, and {side} pixels are one after {most}"
            )));
        }
        let architecture = Arc::new(Conv4Config::new(side, blocks, filters, ways));
        let count = |part: &str| -> Result<usize, Error> {
            match archive.get(&format!("{part}_x"))?.0 {
                [_, count, ..] if *count > 0 => Ok(*count),
                shape => Err(unusable(format!("{part}_x has shape {shape:?}, which holds no images"))),
            }
        };
        let size = Size {
            tasks,
            count: count("support")?.max(count("query")?),
            pixels: side.div_ceil(2).pow(2),
            features: filters.max(9),
            ways,
            weights: architecture.leaves().iter().map(|leaf| leaf.layout.count()).sum(),
            steps,
        };
        let memory = size.memory().map_err(unusable)?;
        let options = (device, dtype);
        let theta: Result<Vec<_>, archive::Error> = architecture
            .leaves()
            .iter()
            .map(|leaf| {
                let name = format!("theta.{}", leaf.name);
                let flat = archive.flat(&name, &leaf.layout.shape(), options)?;
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
        let network: Arc<dyn Architecture> = architecture.clone();
        let problem = FewShot::new(network, support, query, rate, BatchNorm::Transductive);
        let theta = Stack::new(theta?);
        Ok(Self { problem, architecture, theta, steps, memory, text: archive.text.clone() })
    }

    /// Everything computed, in the layout of the case; the case's own text comes along.
    pub fn run(&self, which: Which) -> Archive {
        let problem = &self.problem;
        let tasks = problem.tasks();
        let theta = self.theta.repeat(tasks);
        let logits = problem.support_logits(&theta.constant(), &theta.constant()).primal;
        let (fast, mut losses) = hypergradient::adapt(problem, &theta, self.steps);
        losses.push(problem.inner_loss(&theta.constant(), &fast.constant()).primal);
        let depth = if which == Which::Exact { self.steps } else { 0 };
        let draw = Draw::truncated(tasks, self.steps, depth);
        let estimate = hypergradient::estimate_within(self.memory, problem, &self.theta, &draw);

        let mut out = Archive::default();
        out.text = self.text.clone();
        let shape = logits.dims();
        out.set_tensor("theta_support_logits", &shape, logits);
        out.set_tensor("support_loss", &[tasks, losses.len()], Tensor::stack::<2>(losses, 1));
        out.set_tensor("query_loss", &[tasks], estimate.outer_loss);
        let name = if which == Which::Exact { "exact" } else { "fo" };
        self.write_stack(&mut out, "phi", fast, true);
        self.write_stack(&mut out, name, estimate.gradient.clone(), true);
        self.write_stack(&mut out, &format!("mean_{name}"), estimate.gradient.mean(), false);
        out
    }

    fn write_stack(&self, out: &mut Archive, prefix: &str, stack: Stack, per_task: bool) {
        for (leaf, matrix) in self.architecture.leaves().iter().zip(stack.into_leaves()) {
            let mut shape = leaf.layout.shape();
            if per_task {
                shape.insert(0, matrix.dims()[0]);
            }
            out.set_tensor(format!("{prefix}.{}", leaf.name), &shape, leaf.layout.unpack(matrix));
        }
    }
}

fn number<N: std::str::FromStr>(archive: &Archive, key: &'static str) -> Result<N, Error> {
    let path = || archive.path.clone();
    let text = archive.text.get(key).ok_or_else(|| Error::Missing { path: path(), key })?;
    text.parse()
        .map_err(|_| Error::Unusable { path: path(), reason: format!("{key} = `{text}` is no such number") })
}
