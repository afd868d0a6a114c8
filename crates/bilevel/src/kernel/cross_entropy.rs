//! The cross-entropy of a linear layer's softmax as one operation, on the backends that have a kernel for it (`cube`).

use super::cube;
use super::derivatives::{Operation, PairOperation, tracked, tracked_pair};
use super::tensors::Tensors;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::{Autodiff, Backend, Cube, backend_extension, tensor::FloatTensor};

/// The mean over rows of −Σ y log softmax(x W + b).
#[backend_extension(Cube, Autodiff)]
pub trait CrossEntropy: Backend {
    /// The loss of each task, `[tasks]`, for `x [tasks, n, width]`, `weight [tasks, width, classes]`, `bias [tasks, 1,
    /// classes]` and `targets [tasks, n, classes]`, which are constant.
    fn linear_cross_entropy(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        targets: FloatTensor<Self>,
    ) -> FloatTensor<Self>;

    /// The same with its tangent, for `tangents` of x, W and b. A tangent of `None` is zero; at least one is given.
    fn linear_cross_entropy_pair(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        #[extension_type] tangents: Tensors<Self>,
        targets: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
}

/// Its gradients.
pub trait CrossEntropyGradients: CrossEntropy {
    /// The gradients of [x, W, b, ẋ, Ẇ, ḃ], given those of the loss and its tangent, at least one of which is given.
    fn linear_cross_entropy_gradients(
        inputs: [&FloatTensor<Self>; 3],
        tangents: [Option<&FloatTensor<Self>>; 3],
        targets: &FloatTensor<Self>,
        gradients: [Option<&FloatTensor<Self>>; 2],
    ) -> [Option<FloatTensor<Self>>; 6];
}

impl CrossEntropy for Cube {
    fn linear_cross_entropy(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        targets: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        cube::cross_entropy::value([&x, &weight, &bias], &targets)
    }

    fn linear_cross_entropy_pair(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        tangents: Tensors<Self>,
        targets: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let tangents: [Option<FloatTensor<Self>>; 3] = tangents.into_array();
        cube::cross_entropy::pair([&x, &weight, &bias], tangents.each_ref().map(Option::as_ref), &targets)
    }
}

impl CrossEntropyGradients for Cube {
    fn linear_cross_entropy_gradients(
        inputs: [&FloatTensor<Self>; 3],
        tangents: [Option<&FloatTensor<Self>>; 3],
        targets: &FloatTensor<Self>,
        gradients: [Option<&FloatTensor<Self>>; 2],
    ) -> [Option<FloatTensor<Self>>; 6] {
        cube::cross_entropy::gradients(inputs, tangents, targets, gradients)
    }
}

/// The value of (x, W, b), or a pair (x, W, b, ẋ, Ẇ, ḃ), with these targets.
#[derive(Clone, Debug)]
struct LinearCrossEntropy<T>(T);

impl<B: CrossEntropyGradients> Operation<B, 3> for LinearCrossEntropy<FloatTensor<B>> {
    fn value(&self, [x, weight, bias]: [FloatTensor<B>; 3]) -> FloatTensor<B> {
        B::linear_cross_entropy(x, weight, bias, self.0.clone())
    }

    fn gradients(
        &self,
        inputs: &[FloatTensor<B>; 3],
        g: FloatTensor<B>,
        _: [bool; 3],
    ) -> [Option<FloatTensor<B>>; 3] {
        let [x, weight, bias, ..] =
            B::linear_cross_entropy_gradients(inputs.each_ref(), [None; 3], &self.0, [Some(&g), None]);
        [x, weight, bias]
    }
}

impl<B: CrossEntropyGradients> PairOperation<B, 6> for LinearCrossEntropy<FloatTensor<B>> {
    fn value(&self, inputs: [Option<FloatTensor<B>>; 6]) -> [FloatTensor<B>; 2] {
        let [Some(x), Some(weight), Some(bias), x_tangent, weight_tangent, bias_tangent] = inputs else {
            unreachable!("only tangents may be absent")
        };
        let tangents = Tensors(vec![x_tangent, weight_tangent, bias_tangent]);
        B::linear_cross_entropy_pair(x, weight, bias, tangents, self.0.clone()).into()
    }

    fn gradients(
        &self,
        inputs: &[Option<FloatTensor<B>>; 6],
        gradients: [Option<FloatTensor<B>>; 2],
        _: [bool; 6],
    ) -> [Option<FloatTensor<B>>; 6] {
        let [Some(x), Some(weight), Some(bias), x_tangent, weight_tangent, bias_tangent] = inputs else {
            unreachable!("only tangents may be absent")
        };
        let tangents = [x_tangent, weight_tangent, bias_tangent].map(Option::as_ref);
        let gradients = gradients.each_ref().map(Option::as_ref);
        B::linear_cross_entropy_gradients([x, weight, bias], tangents, &self.0, gradients)
    }
}

impl<B: CrossEntropyGradients, C: CheckpointStrategy> CrossEntropy for Autodiff<B, C> {
    fn linear_cross_entropy(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        targets: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        tracked::<B, C, _, 3>(LinearCrossEntropy(targets.into_primitive()), [x, weight, bias])
    }

    fn linear_cross_entropy_pair(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        tangents: Tensors<Self>,
        targets: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let [x_tangent, weight_tangent, bias_tangent] = tangents.into_array();
        let inputs = [Some(x), Some(weight), Some(bias), x_tangent, weight_tangent, bias_tangent];
        tracked_pair::<B, C, _, 6>(LinearCrossEntropy(targets.into_primitive()), inputs)
    }
}
