//! Operations on all leaves of parameters at once, on the backends that have kernels for them (`cube`): one launch each
//! instead of one for each leaf. Elsewhere, and for leaves in an autodiff graph, every function returns `None`: then
//! compose it leaf by leaf.

#[cfg(feature = "cube")]
use super::{cube, tensors::Tensors};
#[cfg(feature = "cube")]
use burn::backend::{Backend, Cube, Dispatch, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;

/// A step of Adam.
#[derive(Clone, Debug)]
#[cfg_attr(not(feature = "cube"), allow(dead_code))]
pub struct AdamStep {
    /// β_1
    pub beta_1: f32,
    /// β_2
    pub beta_2: f32,
    /// ε
    pub epsilon: f32,
    /// The multiple of θ that is added to the gradient.
    pub decay: f32,
    /// t: the number of the step, from 1.
    pub time: usize,
    /// The learning rate of each leaf.
    pub rates: Vec<f64>,
}

#[cfg_attr(not(feature = "cube"), allow(dead_code))]
impl AdamStep {
    /// √(1 − β_2^t)
    fn correction(&self) -> f32 {
        (1.0 - self.beta_2.powi(self.time as i32)).sqrt()
    }

    /// √(1 − β_2^t) / (1 − β_1^t): the factor of the first moment.
    pub fn factor(&self) -> f32 {
        self.correction() / (1.0 - self.beta_1.powi(self.time as i32))
    }

    /// ε √(1 − β_2^t): what is added to the root of the second moment.
    pub fn epsilon(&self) -> f32 {
        self.epsilon * self.correction()
    }
}

/// x + f·y for each task, with its factor f; without x it is 0.
pub fn add_scaled(x: Option<&[Tensor<3>]>, y: &[Tensor<3>], factors: &[f64]) -> Option<Vec<Tensor<3>>> {
    #[cfg(feature = "cube")]
    {
        if !are_joint([x.unwrap_or(y), y]) {
            return None;
        }
        let first = factors[0];
        let differ = factors.iter().any(|factor| *factor != first);
        let factors = differ.then(|| {
            let data = burn::tensor::TensorData::new(factors.to_vec(), [factors.len()]);
            Tensor::<1>::from_data(data, (&y[0].device(), y[0].dtype())).into_dispatch()
        });
        let factors = Tensors(factors.into_iter().map(Some).collect());
        let sums = Dispatch::add_scaled(into(x.unwrap_or(&[])), into(y), first as f32, factors);
        Some(from(sums))
    }
    #[cfg(not(feature = "cube"))]
    {
        let _ = (x, y, factors);
        None
    }
}

/// Copies of tensors `[tasks, rows, columns]` in memory of their own, which can be written over.
///
/// Burn's tensors are values: operations on them make new ones. What a recorded graph reads must stay in its place instead.
#[derive(Clone, Debug)]
pub struct Copies {
    /// The copies.
    pub tensors: Vec<Tensor<3>>,
    allocations: Vec<Tensor<3>>,
}

impl Copies {
    /// Copies of `x`, whose tensors may differ in their tasks; `None` where there is no kernel for it.
    pub fn new(x: &[Tensor<3>]) -> Option<Self> {
        #[cfg(feature = "cube")]
        return (!x.is_empty() && x.iter().all(suits)).then(|| {
            let mut tensors = from(Dispatch::copy(into(x)));
            let allocations = tensors.split_off(x.len());
            Self { tensors, allocations }
        });
        #[cfg(not(feature = "cube"))]
        {
            let _ = x;
            None
        }
    }

    /// One value of each allocation, `[1, 1, 1]`. An operation on all of them fails if writing the copies has failed.
    pub fn marks(&self) -> impl Iterator<Item = Tensor<3>> {
        self.allocations.iter().map(|allocation| allocation.clone().narrow(2, 0, 1))
    }

    /// Writes `x` over the copies. All clones of [`Self::tensors`] then have its values.
    ///
    /// # Panics
    /// Panics if the shapes differ from those of the copies.
    pub fn overwrite(&self, x: &[Tensor<3>]) {
        let shapes = |tensors: &[Tensor<3>]| tensors.iter().map(|tensor| tensor.dims()).collect::<Vec<_>>();
        assert_eq!(shapes(x), shapes(&self.tensors), "what is written must have the shapes of the copies");
        #[cfg(feature = "cube")]
        {
            let _ = Dispatch::overwrite(into(x), into(&self.allocations));
        }
    }
}

/// The values of all `x`, one after the other.
pub fn concatenate(x: &[Tensor<1>]) -> Option<Tensor<1>> {
    #[cfg(feature = "cube")]
    {
        let leaf = |x: &Tensor<1>| x.clone().reshape([x.dims()[0], 1, 1]);
        let x: Vec<Tensor<3>> = x.iter().map(leaf).collect();
        (!x.is_empty() && x.iter().all(suits)).then(|| Tensor::from_dispatch(Dispatch::concatenate(into(&x))))
    }
    #[cfg(not(feature = "cube"))]
    {
        let _ = x;
        None
    }
}

/// The mean over tasks; the results have one task.
pub fn mean(x: &[Tensor<3>]) -> Option<Vec<Tensor<3>>> {
    #[cfg(feature = "cube")]
    return are_joint([x]).then(|| from(Dispatch::mean(into(x))));
    #[cfg(not(feature = "cube"))]
    {
        let _ = x;
        None
    }
}

/// The inner product of each pair of stacks x and y, of which there are one or two, for each task: `[tasks]`.
pub fn dots<const N: usize>(pairs: [[&[Tensor<3>]; 2]; N]) -> Option<[Tensor<1>; N]> {
    #[cfg(feature = "cube")]
    {
        if !pairs.iter().all(|pair| are_joint(*pair)) {
            return None;
        }
        let all = |side: usize| pairs.iter().flat_map(|pair| pair[side]).cloned().collect::<Vec<_>>();
        let counts = pairs.map(|[x, _]| x.len()).to_vec();
        let products = from(Dispatch::dots(into(&all(0)), into(&all(1)), counts));
        let product = |product: Tensor<3>| product.flatten(0, 2);
        <[Tensor<1>; N]>::try_from(products.into_iter().map(product).collect::<Vec<_>>()).ok()
    }
    #[cfg(not(feature = "cube"))]
    {
        let _ = pairs;
        None
    }
}

/// One step of Adam from θ, with one task, along `gradient`: θ and its two moments after it. Without moments they are zero.
pub fn adam(
    theta: &[Tensor<3>],
    gradient: &[Tensor<3>],
    moments: Option<[&[Tensor<3>]; 2]>,
    step: &AdamStep,
) -> Option<[Vec<Tensor<3>>; 3]> {
    #[cfg(feature = "cube")]
    {
        let [first, second] = moments.unwrap_or([theta, gradient]);
        if !are_joint([theta, gradient, first, second]) || theta[0].dims()[0] != 1 {
            return None;
        }
        let [first, second] = moments.unwrap_or([&[], &[]]).map(into);
        let all = Dispatch::adam(into(theta), into(gradient), first, second, step.clone());
        let mut all = from(all).into_iter();
        Some(std::array::from_fn(|_| all.by_ref().take(theta.len()).collect()))
    }
    #[cfg(not(feature = "cube"))]
    {
        let _ = (theta, gradient, moments, step);
        None
    }
}

/// Whether there are kernels for these leaves: all outside autodiff graphs, and of the same shapes.
#[cfg(feature = "cube")]
fn are_joint<const N: usize>(operands: [&[Tensor<3>]; N]) -> bool {
    let first = operands[0];
    let same = |other: &&[Tensor<3>]| {
        other.len() == first.len() && other.iter().zip(first).all(|(a, b)| a.dims() == b.dims())
    };
    !first.is_empty() && operands.iter().all(|leaves| same(leaves) && leaves.iter().all(suits))
}

/// Whether there are kernels for this leaf: it is outside autodiff graphs, on a device and of a type that has them.
#[cfg(feature = "cube")]
fn suits(leaf: &Tensor<3>) -> bool {
    let device = leaf.device();
    !device.is_autodiff() && cube::supports(&device, leaf.dtype())
}

#[cfg(feature = "cube")]
fn into(leaves: &[Tensor<3>]) -> Tensors<Dispatch> {
    Tensors(leaves.iter().cloned().map(|leaf| Some(leaf.into_dispatch())).collect())
}

#[cfg(feature = "cube")]
fn from(leaves: Vec<burn::backend::DispatchTensor>) -> Vec<Tensor<3>> {
    leaves.into_iter().map(Tensor::from_dispatch).collect()
}

/// The operations of this module.
#[cfg(feature = "cube")]
#[backend_extension(Cube)]
trait Leaves: Backend {
    /// See [`add_scaled`]: with the factor of each task, or `factor` for all. Without x it is empty.
    fn add_scaled(
        #[extension_type] x: Tensors<Self>,
        #[extension_type] y: Tensors<Self>,
        factor: f32,
        #[extension_type] factors: Tensors<Self>,
    ) -> Vec<FloatTensor<Self>>;

    /// Copies, followed by the allocations that they lie in; see [`Copies::new`].
    fn copy(#[extension_type] x: Tensors<Self>) -> Vec<FloatTensor<Self>>;

    /// The `allocations`, after [`Copies::overwrite`].
    fn overwrite(
        #[extension_type] x: Tensors<Self>,
        #[extension_type] allocations: Tensors<Self>,
    ) -> Vec<FloatTensor<Self>>;

    /// See [`concatenate`].
    fn concatenate(#[extension_type] x: Tensors<Self>) -> FloatTensor<Self>;

    /// See [`mean`].
    fn mean(#[extension_type] x: Tensors<Self>) -> Vec<FloatTensor<Self>>;

    /// See [`dots`]: the leaves of all stacks, and their number in each.
    fn dots(
        #[extension_type] x: Tensors<Self>,
        #[extension_type] y: Tensors<Self>,
        leaves_of_stacks: Vec<usize>,
    ) -> Vec<FloatTensor<Self>>;

    /// See [`adam`]: θ, its first moments and its second, one after the other. Without moments they are empty.
    fn adam(
        #[extension_type] theta: Tensors<Self>,
        #[extension_type] gradient: Tensors<Self>,
        #[extension_type] first: Tensors<Self>,
        #[extension_type] second: Tensors<Self>,
        step: AdamStep,
    ) -> Vec<FloatTensor<Self>>;
}

#[cfg(feature = "cube")]
impl Leaves for Cube {
    fn add_scaled(
        x: Tensors<Self>,
        y: Tensors<Self>,
        factor: f32,
        factors: Tensors<Self>,
    ) -> Vec<FloatTensor<Self>> {
        let (x, y, factors) = (x.present(), y.present(), factors.present());
        let x = (!x.is_empty()).then_some(&x[..]);
        cube::leaves::add_scaled(x, &y, factor, factors.first())
    }

    fn copy(x: Tensors<Self>) -> Vec<FloatTensor<Self>> {
        cube::leaves::copy(&x.present())
    }

    fn overwrite(x: Tensors<Self>, allocations: Tensors<Self>) -> Vec<FloatTensor<Self>> {
        let allocations = allocations.present();
        cube::leaves::overwrite(&x.present(), &allocations);
        allocations
    }

    fn concatenate(x: Tensors<Self>) -> FloatTensor<Self> {
        cube::leaves::concatenate(&x.present())
    }

    fn mean(x: Tensors<Self>) -> Vec<FloatTensor<Self>> {
        cube::leaves::mean(&x.present())
    }

    fn dots(x: Tensors<Self>, y: Tensors<Self>, leaves_of_stacks: Vec<usize>) -> Vec<FloatTensor<Self>> {
        cube::leaves::dots(&x.present(), &y.present(), &leaves_of_stacks)
    }

    fn adam(
        theta: Tensors<Self>,
        gradient: Tensors<Self>,
        first: Tensors<Self>,
        second: Tensors<Self>,
        step: AdamStep,
    ) -> Vec<FloatTensor<Self>> {
        let [theta, gradient, first, second] = [theta, gradient, first, second].map(Tensors::present);
        let moments = (!first.is_empty()).then_some([&first[..], &second[..]]);
        cube::leaves::adam(&theta, &gradient, moments, &step).into_iter().flatten().collect()
    }
}
