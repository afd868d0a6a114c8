//! Several tensors as one argument of a backend extension.

use burn::backend::{
    Backend, BackendTensor, Dispatch, DispatchAutodiffContext, DispatchTensor, DispatchTensorKind,
    ExtensionType, tensor::FloatTensor,
};

/// Tensors, some of which may be absent.
pub struct Tensors<B: Backend>(pub Vec<Option<FloatTensor<B>>>);

impl<B: Backend> Tensors<B> {
    /// The tensors, N of them.
    pub fn into_array<const N: usize>(self) -> [Option<FloatTensor<B>>; N] {
        self.0.try_into().unwrap_or_else(|_| unreachable!("the caller gives {N} tensors"))
    }

    /// The tensors that are present.
    #[cfg(feature = "cube")]
    pub fn present(self) -> Vec<FloatTensor<B>> {
        self.0.into_iter().flatten().collect()
    }
}

impl<B: Backend> ExtensionType<B> for Tensors<B> {
    type Target = Tensors<Dispatch>;

    fn map_to_dispatch<F>(self, map_kind: F, autodiff: DispatchAutodiffContext) -> Self::Target
    where
        F: Fn(BackendTensor<B>) -> DispatchTensorKind,
    {
        let wrap = |tensor| DispatchTensor { kind: map_kind(BackendTensor::Float(tensor)), autodiff };
        Tensors(self.0.into_iter().map(|tensor| tensor.map(wrap)).collect())
    }

    fn map_from_dispatch<F>(target: Self::Target, unwrap_kind: F) -> Self
    where
        F: Fn(DispatchTensor) -> BackendTensor<B>,
    {
        let unwrap = |tensor| unwrap_kind(tensor).float();
        Self(target.0.into_iter().map(|tensor| tensor.map(unwrap)).collect())
    }

    fn routing_tensor(target: &Self::Target) -> Option<&DispatchTensor> {
        target.0.iter().flatten().next()
    }

    fn routing_float_tensor(target: &Self::Target) -> Option<&DispatchTensor> {
        Self::routing_tensor(target)
    }

    fn autodiff_context(target: &Self::Target) -> DispatchAutodiffContext {
        let contexts = target.0.iter().flatten().map(|tensor| tensor.autodiff);
        contexts.fold(DispatchAutodiffContext::Disabled, |all, own| all.merge(own))
    }
}
