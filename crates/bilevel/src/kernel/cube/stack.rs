//! Tensors as arguments of kernels. What kernels read and write of them is [counted](crate::launches).

use crate::launches;
use burn::backend::TensorMetadata;
use burn::tensor::{DType, Shape};
use burn_cubecl::cubecl::prelude::*;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;

/// A tensor `[tasks, rows, columns]` as kernels read it: the values of a task lie together, and the tasks at a stride.
#[derive(Clone)]
pub struct Stack {
    tensor: CubeTensor,
    /// Values from one task to the next; 0 if all tasks share their values.
    pub stride: usize,
    /// Tasks, rows and columns.
    pub dims: [usize; 3],
    /// Whether the kernel reads it.
    is_read: bool,
}

impl Stack {
    /// Copies the tensor only if the values of a task do not lie together.
    pub fn new(tensor: &CubeTensor) -> Self {
        let dims = dims(tensor);
        let [_, rows, columns] = dims;
        let lies_together = |tensor: &CubeTensor| {
            let strides = tensor.meta.strides();
            (columns == 1 || strides[2] == 1) && (rows == 1 || strides[1] == columns)
        };
        let tensor = tensor.clone();
        let tensor = if lies_together(&tensor) { tensor } else { contiguous(tensor) };
        let stride = tensor.meta.strides()[0];
        Self { tensor, stride, dims, is_read: true }
    }

    /// This stack where a kernel takes an argument but does not read it.
    pub fn unread(&self) -> Self {
        Self { is_read: false, ..self.clone() }
    }

    /// The values as a kernel's argument.
    pub fn argument(&self) -> BufferArg {
        let [tasks, rows, columns] = self.dims;
        let length = (tasks - 1) * self.stride + rows * columns;
        argument(&self.tensor, length, if self.is_read { length } else { 0 })
    }
}

/// New tensors in one allocation, so that a kernel writes all of them through one argument.
pub struct Joint {
    whole: CubeTensor,
    /// The tensors, uninitialised.
    pub tensors: Vec<CubeTensor>,
    /// The place of each tensor's first value, and the number of its values.
    pub places: Vec<(usize, usize)>,
    /// Values of the allocation.
    pub length: usize,
}

impl Joint {
    /// Tensors of these shapes, on the device of `like`.
    pub fn new(like: &CubeTensor, shapes: impl Iterator<Item = [usize; 3]>) -> Self {
        let size = size_of::<f32>();
        let shapes: Vec<[usize; 3]> = shapes.collect();
        let (places, length) = places(like, &shapes);
        let whole = uninitialised(like, length);
        let bytes = whole.handle.size_in_used();
        let part = |(shape, (start, count)): (&[usize; 3], &(usize, usize))| {
            let (from, to) = ((start * size) as u64, ((start + count) * size) as u64);
            let mut part = with_shape(&whole, *shape);
            if shapes.len() > 1 {
                part.handle = part.handle.offset_start(from).offset_end(bytes - to);
            }
            part
        };
        let tensors = shapes.iter().zip(&places).map(part).collect();
        Self { whole, tensors, places, length }
    }

    /// The values of all tensors as a kernel's argument.
    pub fn argument(&self) -> BufferArg {
        argument(&self.whole, self.length, self.length)
    }

    /// The values of all tensors, `[1, 1, length]`.
    pub fn whole(&self) -> CubeTensor {
        with_shape(&self.whole, [1, 1, self.length])
    }
}

/// The place of each tensor's first value in an allocation for tensors of these `shapes`, the number of its values, and the length
/// of the allocation.
pub fn places(like: &CubeTensor, shapes: &[[usize; 3]]) -> (Vec<(usize, usize)>, usize) {
    // A tensor begins where a kernel's argument may begin.
    let alignment = (like.client.properties().memory.alignment as usize).div_ceil(size_of::<f32>());
    let mut length: usize = 0;
    let place = |shape: &[usize; 3]| {
        let (start, count) = (length.next_multiple_of(alignment), shape.iter().product::<usize>());
        length = start + count;
        (start, count)
    };
    (shapes.iter().map(place).collect(), length)
}

/// A [`Joint`] of N tensors.
pub struct Allocation<const N: usize> {
    joint: Joint,
    /// The place of each tensor's first value.
    pub starts: [usize; N],
}

impl<const N: usize> Allocation<N> {
    /// Tensors of these shapes, on the device of `like`.
    pub fn new(like: &CubeTensor, shapes: [[usize; 3]; N]) -> Self {
        let joint = Joint::new(like, shapes.into_iter());
        let starts = std::array::from_fn(|at| joint.places[at].0);
        Self { joint, starts }
    }

    /// The values of all tensors as a kernel's argument.
    pub fn argument(&self) -> BufferArg {
        self.joint.argument()
    }

    /// The tensors.
    pub fn tensors(self) -> [CubeTensor; N] {
        let tensors = <[CubeTensor; N]>::try_from(self.joint.tensors);
        tensors.unwrap_or_else(|_| unreachable!("there is a tensor for each shape"))
    }
}

/// A new tensor of `length` values, on the device of `like`.
pub fn uninitialised(like: &CubeTensor, length: usize) -> CubeTensor {
    let handle = like.client.empty(length * size_of::<f32>());
    let (client, device) = (like.client.clone(), like.device.clone());
    CubeTensor::new_contiguous(client, device, [length].into(), handle, DType::F32)
}

/// The memory of `tensor` as a tensor of this shape.
pub fn with_shape(tensor: &CubeTensor, shape: impl Into<Shape>) -> CubeTensor {
    let CubeTensor { client, device, handle, .. } = tensor.clone();
    CubeTensor::new_contiguous(client, device, shape.into(), handle, DType::F32)
}

/// The first `length` values of `tensor` as an argument of a kernel, which reads or writes `used` of them.
///
/// # Panics
/// Panics if a kernel cannot address so many: it computes places in 32 bits.
pub fn argument(tensor: &CubeTensor, length: usize, used: usize) -> BufferArg {
    assert!(
        u32::try_from(length).is_ok(),
        "{length} values of all tasks together are more than the 2³² that a kernel can address; lower outer.meta_batch"
    );
    launches::bound(used * size_of::<f32>());
    let mut binding = tensor.clone().binding();
    binding.shape = [length].into();
    binding.strides = [1].into();
    binding.into_buffer_arg()
}

/// All values of `tensor`, which lie together, as an argument that a kernel reads.
pub fn all_values(tensor: &CubeTensor) -> BufferArg {
    let length = tensor.shape().num_elements();
    argument(tensor, length, length)
}

/// Burn's copy, a launch of its own among the arguments of another.
fn contiguous(tensor: CubeTensor) -> CubeTensor {
    let bytes = 2 * tensor.shape().num_elements() * size_of::<f32>();
    launches::interposed(bytes, || into_contiguous(tensor))
}

/// Tasks, rows and columns.
pub fn dims(tensor: &CubeTensor) -> [usize; 3] {
    let shape = tensor.shape();
    [shape[0], shape[1], shape[2]]
}
