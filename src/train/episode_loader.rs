//! Loads episodes as tensors onto a device.
//!
//! A CPU shares the memory of the host, so the host assembles the pixels; those of the next meta-batch are assembled
//! while the current one is used. Other devices hold all images in their memory. Only the indices of images and their
//! quarter turns are sent to them, a few bytes each, and the device gathers the pixels.

use crate::data::{EpisodeShape, ImageRef, ImageSet, Part, Sampler, Selection, intensity, rotated};
use crate::support::prefetch::Prefetcher;
use bilevel::device::Opened;
use burn::tensor::{Device, Int, Tensor, TensorData};
use std::ops::Range;

/// The largest image set that is held on a device: the buffer size that every graphics API supports. Omniglot at
/// 28×28 takes 102 MB.
const MOST_RESIDENT_BYTES: usize = 128 << 20;

/// Loads the episodes of a sampler as tensors on a device.
#[derive(Clone)]
pub struct EpisodeLoader {
    sampler: Sampler,
    device: Device,
    /// The images, if the device has its own memory and the set is not too large.
    resident: Option<DeviceImages>,
    /// Whether a thread prefetches meta-batches.
    prefetches: bool,
}

/// The images of T episodes of one shape, ink 1 and paper 0.
#[derive(Clone)]
pub struct Images {
    /// `[tasks, ways·shots, pixels]`
    pub support: Tensor<3>,
    /// `[tasks, ways·queries, pixels]`
    pub query: Tensor<3>,
}

/// A sequence of meta-batches of training episodes.
pub struct BatchStream {
    loader: EpisodeLoader,
    shape: EpisodeShape,
    tasks: u64,
    next: u64,
    prefetcher: Option<Prefetcher<HostBatch>>,
}

impl EpisodeLoader {
    /// A loader of the episodes of `sampler` on the device of `opened`.
    pub fn new(sampler: Sampler, opened: &Opened) -> Self {
        let set = sampler.set();
        let fits = set.pixels().len().saturating_mul(size_of::<f32>()) <= MOST_RESIDENT_BYTES;
        let resident = (!opened.is_cpu() && fits).then(|| DeviceImages::new(set, &opened.device));
        let prefetches = resident.is_none() && opened.workers.threads > 1;
        Self { sampler, device: opened.device.clone(), resident, prefetches }
    }

    /// The sampler of the episodes.
    pub fn sampler(&self) -> &Sampler {
        &self.sampler
    }

    /// The images of the episodes of `part` with these `numbers`.
    ///
    /// # Panics
    /// Panics if the sampler cannot draw episodes of this shape; see [`Sampler::check`].
    pub fn images(&self, part: Part, numbers: Range<u64>, shape: &EpisodeShape) -> Images {
        match &self.resident {
            Some(resident) => {
                resident.gather(self.sampler.set(), &select(&self.sampler, part, numbers, shape), shape)
            }
            None => HostBatch::new(&self.sampler, part, numbers, shape).place(&self.device),
        }
    }

    /// Training meta-batches of `tasks` episodes, starting with meta-batch number `first`.
    pub fn batches(&self, shape: EpisodeShape, tasks: usize, first: u64) -> BatchStream {
        let (sampler, tasks) = (self.sampler.clone(), tasks as u64);
        let host_batch =
            move |batch| HostBatch::new(&sampler, Part::Train, episode_numbers(batch, tasks), &shape);
        let prefetcher = self.prefetches.then(|| Prefetcher::new(first, host_batch));
        BatchStream { loader: self.clone(), shape, tasks, next: first, prefetcher }
    }
}

impl BatchStream {
    /// The next meta-batch.
    pub fn take(&mut self) -> Images {
        let batch = self.next;
        self.next += 1;
        match &mut self.prefetcher {
            Some(prefetcher) => prefetcher.take().place(&self.loader.device),
            None => self.loader.images(Part::Train, episode_numbers(batch, self.tasks), &self.shape),
        }
    }
}

/// The numbers of the episodes in meta-batch `batch` of `tasks` episodes.
pub fn episode_numbers(batch: u64, tasks: u64) -> Range<u64> {
    batch * tasks..(batch + 1) * tasks
}

fn select(sampler: &Sampler, part: Part, numbers: Range<u64>, shape: &EpisodeShape) -> Vec<Selection> {
    numbers.map(|number| sampler.select(part, number, shape)).collect()
}

/// The pixels of T episodes on the host.
struct HostBatch {
    support: TensorData,
    query: TensorData,
}

impl HostBatch {
    fn new(sampler: &Sampler, part: Part, numbers: Range<u64>, shape: &EpisodeShape) -> Self {
        let (set, selections) = (sampler.set(), select(sampler, part, numbers, shape));
        let ink = |count: usize, refs: fn(&Selection) -> &[ImageRef]| {
            let ink = set.ink(selections.iter().flat_map(refs));
            TensorData::new(ink, [selections.len(), count, set.size() * set.size()])
        };
        Self {
            support: ink(shape.ways * shape.shots, |selection| &selection.support),
            query: ink(shape.ways * shape.queries, |selection| &selection.query),
        }
    }

    fn place(self, device: &Device) -> Images {
        let place = |ink| Tensor::from_data(ink, device);
        Images { support: place(self.support), query: place(self.query) }
    }
}

/// All images of a set on a device.
#[derive(Clone)]
struct DeviceImages {
    /// `[images, pixels]`
    images: Tensor<2>,
    /// For 0 to 3 quarter turns, the index of the source pixel of each pixel: `[4, pixels]`.
    turns: Tensor<2, Int>,
}

impl DeviceImages {
    fn new(set: &ImageSet, device: &Device) -> Self {
        let (size, area) = (set.size(), set.size() * set.size());
        let ink: Vec<f32> = set.pixels().iter().copied().map(intensity).collect();
        let upright: Vec<i32> = (0..area as i32).collect();
        let turns: Vec<i32> = (0..4).flat_map(|turns| rotated(&upright, size, turns)).collect();
        Self {
            images: Tensor::from_data(TensorData::new(ink, [set.pixels().len() / area, area]), device),
            turns: Tensor::from_data(TensorData::new(turns, [4, area]), device),
        }
    }

    fn gather(&self, set: &ImageSet, selections: &[Selection], shape: &EpisodeShape) -> Images {
        let support = selections.iter().flat_map(|selection| &selection.support);
        let query = selections.iter().flat_map(|selection| &selection.query);
        let refs: Vec<&ImageRef> = support.chain(query).collect();
        let list = |each: &dyn Fn(&ImageRef) -> i32| -> Tensor<1, Int> {
            let list: Vec<i32> = refs.iter().map(|image_ref| each(image_ref)).collect();
            Tensor::from_data(TensorData::new(list, [refs.len()]), &self.images.device())
        };
        let numbers = list(&|image_ref| set.index(image_ref.class.class, image_ref.example) as i32);
        let mut images = self.images.clone().select(0, numbers);
        if refs.iter().any(|image_ref| image_ref.class.quarter_turns > 0) {
            let turns = list(&|image_ref| i32::from(image_ref.class.quarter_turns % 4));
            images = images.gather(1, self.turns.clone().select(0, turns));
        }
        let (tasks, area) = (selections.len(), set.size() * set.size());
        let part = |first: usize, count: usize| {
            images.clone().narrow(0, first, tasks * count).reshape([tasks, count, area])
        };
        let (supports, queries) = (shape.ways * shape.shots, shape.ways * shape.queries);
        Images { support: part(0, supports), query: part(tasks * supports, queries) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Error, Glyphs, Split, SplitRule};
    use bilevel::device::{Backend, open};
    use std::sync::Arc;

    const SHAPE: EpisodeShape = EpisodeShape { ways: 4, shots: 2, queries: 3 };

    fn loader(rotations: bool, threads: usize) -> Result<EpisodeLoader, Error> {
        let set = Glyphs { alphabets: 2, ..Glyphs::default() }.draw(9)?;
        let split = Split::new(&set, SplitRule::Fraction { train: 0.7 }, 5, rotations, 1)?;
        let opened = open(Backend::Flex).unwrap().with_threads(Some(threads));
        Ok(EpisodeLoader::new(Sampler::new(Arc::new(set), split, 1), &opened))
    }

    fn bits(images: Images) -> [Vec<u32>; 2] {
        let bits = |images: Tensor<3>| images.into_data().iter::<f32>().map(f32::to_bits).collect();
        [bits(images.support), bits(images.query)]
    }

    #[test]
    fn images_equal_those_of_the_episodes() -> Result<(), Error> {
        let loader = loader(true, 1)?;
        let images = loader.images(Part::Train, 5..8, &SHAPE);
        assert_eq!((images.support.dims(), images.query.dims()), ([3, 8, 81], [3, 12, 81]));
        let episodes: Vec<_> =
            (5..8).map(|number| loader.sampler().episode(Part::Train, number, &SHAPE)).collect();
        let all = |part: fn(&crate::data::Episode) -> &Vec<f32>| {
            episodes.iter().flat_map(part).map(|ink| ink.to_bits()).collect::<Vec<_>>()
        };
        assert_eq!(bits(images), [all(|episode| &episode.support), all(|episode| &episode.query)]);
        Ok(())
    }

    #[test]
    fn images_gathered_on_the_device_are_the_same() -> Result<(), Error> {
        for rotations in [false, true] {
            let plain = loader(rotations, 1)?;
            let resident = DeviceImages::new(plain.sampler().set(), &plain.device);
            let resident = EpisodeLoader { resident: Some(resident), ..plain.clone() };
            let mut turns = [false; 4];
            for part in [Part::Train, Part::Validation, Part::Test] {
                for first in 0..20 {
                    let [here, there] =
                        [&plain, &resident].map(|loader| loader.images(part, first..first + 3, &SHAPE));
                    assert_eq!(here.query.dims(), there.query.dims());
                    assert_eq!(bits(here), bits(there), "{part}, {first}, rotations {rotations}");
                    let Selection { query, .. } = plain.sampler().select(part, first, &SHAPE);
                    query.iter().for_each(|p| turns[usize::from(p.class.quarter_turns)] = true);
                }
            }
            assert_eq!(turns, [true, rotations, rotations, rotations]);
        }
        Ok(())
    }

    #[test]
    fn prefetched_batches_equal_those_loaded_on_demand() -> Result<(), Error> {
        let (single, threaded) = (loader(true, 1)?, loader(true, 2)?);
        let (mut on_demand, mut prefetched) = (single.batches(SHAPE, 3, 4), threaded.batches(SHAPE, 3, 4));
        assert!(on_demand.prefetcher.is_none() && prefetched.prefetcher.is_some());
        for batch in 4..12 {
            let direct = bits(single.images(Part::Train, batch * 3..batch * 3 + 3, &SHAPE));
            assert_eq!(bits(prefetched.take()), direct);
            assert_eq!(bits(on_demand.take()), direct);
        }
        Ok(())
    }
}
