//! All images of a set in a device's memory, and their assembly into episodes there.
//!
//! The host sends three numbers for each image of an episode: its index, its orientation, and how far it is shifted. The
//! device adds a margin of paper as wide as the largest shift, and gathers the pixels of all images at once. In an image
//! with margin, turned and mirrored, neighbours are a constant number of pixels apart (see [`PixelOrder`]), so a shift
//! adds one number to the indices of all pixels.

use super::episode_loader::Images;
use crate::data::{EpisodeShape, ImageRef, ImageSet, PixelOrder, Placement, Sampler, Selection};
use burn::tensor::{Device, Int, Tensor, TensorData};

/// All images of a set on a device.
#[derive(Clone)]
pub struct DeviceImages {
    /// `[images, values]`
    images: Tensor<2>,
    /// Height and width of an image, in pixels.
    size: usize,
    /// Values of a pixel.
    channels: usize,
    /// Width of the margin: the largest shift, in pixels.
    margin: usize,
    /// A row of paper, `[1, 1, (size + 2·margin)·channels]`.
    paper: Tensor<3>,
    /// For each [`orientation`] the index, in an image with its margin, of the source of each value: `[8, values]`.
    orders: Tensor<2, Int>,
}

impl DeviceImages {
    /// The images of `sampler` on `device`.
    pub fn new(sampler: &Sampler, device: &Device) -> Self {
        let (set, margin, normalisation) =
            (sampler.set(), sampler.augmentation().shift, sampler.normalisation());
        let (size, channels, each) = (set.size(), set.channels().count(), set.format().values());
        let mut values = Vec::with_capacity(set.pixels().len());
        set.pixels().blocks(each).for_each(|block| normalisation.push(&block, &mut values));
        let (inside, side) = (margin as isize..(margin + size) as isize, size + 2 * margin);
        let mut orders = Vec::with_capacity(8 * each);
        for orientation in 0..8 {
            let order = pixel_order(orientation, side);
            for row in inside.clone() {
                for column in inside.clone() {
                    let first = order.index(row, column) as i32 * channels as i32;
                    orders.extend(first..first + channels as i32);
                }
            }
        }
        let paper = normalisation.of_each_channel(set.format().paper).repeat(side);
        Self {
            images: Tensor::from_data(TensorData::new(values, [set.images(), each]), device),
            size,
            channels,
            margin,
            paper: Tensor::from_data(TensorData::new(paper, [1, 1, side * channels]), device),
            orders: Tensor::from_data(TensorData::new(orders, [8, each]), device),
        }
    }

    /// The images of `set` that `selections`, episodes of one `shape`, refer to. `set` must be that of [`new`](Self::new).
    pub fn gather(&self, set: &ImageSet, selections: &[Selection], shape: &EpisodeShape) -> Images {
        let support = selections.iter().flat_map(|selection| &selection.support);
        let query = selections.iter().flat_map(|selection| &selection.query);
        let refs: Vec<&ImageRef> = support.chain(query).collect();
        let numbers =
            self.each(&refs, |image_ref| set.index(image_ref.class.class, image_ref.example) as i32);
        let mut images = self.images.clone().select(0, numbers);
        if refs.iter().any(|image_ref| is_changed(image_ref)) {
            images = self.with_margins(images).gather(1, self.sources(&refs));
        }
        let (tasks, each) = (selections.len(), self.size * self.size * self.channels);
        let part = |first: usize, count: usize| {
            images.clone().narrow(0, first, tasks * count).reshape([tasks, count, each])
        };
        let (supports, queries) = (shape.ways * shape.shots, shape.ways * shape.queries);
        Images { support: part(0, supports), query: part(tasks * supports, queries) }
    }

    /// The images `[refs, values]` with a margin of paper on each side.
    fn with_margins(&self, images: Tensor<2>) -> Tensor<2> {
        if self.margin == 0 {
            return images;
        }
        let (count, side, inside) =
            (images.dims()[0], self.size + 2 * self.margin, self.margin * self.channels);
        let width = self.size * self.channels;
        let rows: Tensor<3> = images.reshape([count, self.size, width]);
        let paper = self.paper.clone().repeat(&[count, side, 1]);
        let middle = [0..count, self.margin..self.margin + self.size, inside..inside + width];
        paper.slice_assign(middle, rows).reshape([count, side * side * self.channels])
    }

    /// The index, in its image with its margin, of the source of each value: `[refs, values]`.
    fn sources(&self, refs: &[&ImageRef]) -> Tensor<2, Int> {
        let orders = self.each(refs, |image_ref| i32::from(orientation(image_ref)));
        let sources = self.orders.clone().select(0, orders);
        if self.margin == 0 {
            return sources;
        }
        let side = self.size + 2 * self.margin;
        // An image moves down and to the right if its pixels are read further up and to the left.
        let shifts = self.each(refs, |image_ref| {
            let (order, Placement { down, right, .. }) =
                (pixel_order(orientation(image_ref), side), image_ref.placement);
            -(down * order.down as i32 + right * order.right as i32) * self.channels as i32
        });
        sources + shifts.unsqueeze_dim(1)
    }

    /// A number for each image, on the device: `[refs]`.
    fn each(&self, refs: &[&ImageRef], number: impl Fn(&ImageRef) -> i32) -> Tensor<1, Int> {
        let numbers: Vec<i32> = refs.iter().map(|image_ref| number(image_ref)).collect();
        Tensor::from_data(TensorData::new(numbers, [refs.len()]), &self.images.device())
    }
}

/// Whether an image differs from the stored one.
fn is_changed(image_ref: &ImageRef) -> bool {
    orientation(image_ref) > 0 || image_ref.placement != Placement::default()
}

/// The number of an image's orientation: its quarter turns, 0 to 3, and 4 more if it is mirrored.
fn orientation(image_ref: &ImageRef) -> u8 {
    image_ref.class.quarter_turns % 4 + if image_ref.placement.mirrored { 4 } else { 0 }
}

/// The pixel order of an image of this [`orientation`] with `side` pixels a side.
fn pixel_order(orientation: u8, side: usize) -> PixelOrder {
    PixelOrder::new(side, orientation % 4, orientation >= 4)
}
