//! Loads episodes as tensors onto a device.
//!
//! A CPU shares the memory of the host, so the host assembles the pixels; those of the next meta-batch are assembled
//! while the current one is used. Other devices hold all images in their memory. Only the indices of images and how
//! they are turned, mirrored and shifted are sent to them, a few bytes each, and the device gathers the pixels. Images
//! that are warped are computed by the host, and sent.

use super::device_images::DeviceImages;
use crate::data::{EpisodeShape, ImageRef, Part, Sampler, Selection};
use crate::support::prefetch::Prefetcher;
use bilevel::device::Opened;
use bilevel::ranks::Share;
use burn::tensor::{Device, Tensor, TensorData};
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

/// The images of T episodes of one shape; see [`Sampler::values`].
#[derive(Clone)]
pub struct Images {
    /// `[tasks, ways·shots, values]`
    pub support: Tensor<3>,
    /// `[tasks, ways·queries, values]`
    pub query: Tensor<3>,
}

/// A sequence of meta-batches of training episodes.
pub struct BatchStream {
    loader: EpisodeLoader,
    shape: EpisodeShape,
    share: Share,
    next: u64,
    prefetcher: Option<Prefetcher<HostBatch>>,
}

impl EpisodeLoader {
    /// A loader of the episodes of `sampler` on the device of `opened`.
    pub fn new(sampler: Sampler, opened: &Opened) -> Self {
        let set = sampler.set();
        let fits = set.pixels().len().saturating_mul(size_of::<f32>()) <= MOST_RESIDENT_BYTES;
        let are_stored = sampler.augmentation().warp == 0.0;
        let resident =
            (!opened.is_cpu() && fits && are_stored).then(|| DeviceImages::new(&sampler, &opened.device));
        let has_thread_to_spare = !opened.is_cpu() || opened.workers.threads > 1;
        let prefetches = resident.is_none() && has_thread_to_spare;
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
        self.batches_of(shape, Share::all(tasks), first)
    }

    /// This rank's `share` of the same meta-batches.
    pub fn batches_of(&self, shape: EpisodeShape, share: Share, first: u64) -> BatchStream {
        let (sampler, of) = (self.sampler.clone(), share.clone());
        let host_batch = move |batch| HostBatch::new(&sampler, Part::Train, own_numbers(batch, &of), &shape);
        let prefetcher = self.prefetches.then(|| Prefetcher::new(first, host_batch));
        BatchStream { loader: self.clone(), shape, share, next: first, prefetcher }
    }
}

impl BatchStream {
    /// The next meta-batch.
    pub fn take(&mut self) -> Images {
        let batch = self.next;
        self.next += 1;
        match &mut self.prefetcher {
            Some(prefetcher) => prefetcher.take().place(&self.loader.device),
            None => self.loader.images(Part::Train, own_numbers(batch, &self.share), &self.shape),
        }
    }
}

/// The numbers of the episodes in meta-batch `batch` of `tasks` episodes.
pub fn episode_numbers(batch: u64, tasks: u64) -> Range<u64> {
    batch * tasks..(batch + 1) * tasks
}

/// The numbers of those in this rank's share.
pub fn own_numbers(batch: u64, share: &Share) -> Range<u64> {
    let (first, own) = (episode_numbers(batch, share.tasks() as u64).start, share.own());
    first + own.start as u64..first + own.end as u64
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
        let selections = select(sampler, part, numbers, shape);
        let each = sampler.set().format().values();
        let values = |count: usize, refs: fn(&Selection) -> &[ImageRef]| {
            let values = sampler.values(selections.iter().flat_map(refs));
            TensorData::new(values, [selections.len(), count, each])
        };
        Self {
            support: values(shape.ways * shape.shots, |selection| &selection.support),
            query: values(shape.ways * shape.queries, |selection| &selection.query),
        }
    }

    fn place(self, device: &Device) -> Images {
        let place = |ink| Tensor::from_data(ink, device);
        Images { support: place(self.support), query: place(self.query) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Augmentation, Channels, Error, Glyphs, ImageSet, Normalisation, Split, SplitRule};
    use bilevel::device::{Backend, open};
    use std::collections::HashSet;
    use std::sync::Arc;

    const SHAPE: EpisodeShape = EpisodeShape { ways: 4, shots: 2, queries: 3 };
    const PLAIN: Augmentation = Augmentation { turns: false, flips: false, shift: 0, warp: 0.0 };

    /// A loader of images with 9 pixels a side.
    fn loader(rotations: bool, augmentation: Augmentation, threads: usize) -> Result<EpisodeLoader, Error> {
        loader_of(Glyphs { alphabets: 2, ..Glyphs::default() }.draw(9)?, rotations, augmentation, threads)
    }

    fn loader_of(
        set: ImageSet,
        rotations: bool,
        augmentation: Augmentation,
        threads: usize,
    ) -> Result<EpisodeLoader, Error> {
        let split = Split::new(&set, SplitRule::Fraction { train: 0.7 }, 5, rotations, 1)?;
        let opened = open(Backend::Flex).unwrap().with_threads(Some(threads));
        let normalisation = match set.channels() {
            Channels::Grey => Normalisation::none(Channels::Grey),
            Channels::Colour => Normalisation::measured(&set, &split.train),
        };
        let sampler = Sampler::new(Arc::new(set), split, 1)
            .with_normalisation(normalisation)
            .with_augmentation(augmentation);
        Ok(EpisodeLoader::new(sampler, &opened))
    }

    /// The same loader with all images on its device.
    fn resident(loader: &EpisodeLoader) -> EpisodeLoader {
        let sampler = loader.sampler();
        let images = DeviceImages::new(sampler, &loader.device);
        EpisodeLoader { resident: Some(images), ..loader.clone() }
    }

    /// Every combination of turns, flips and some shifts, the largest included.
    fn augmentations() -> impl Iterator<Item = Augmentation> {
        [0, 1, 4, 8].into_iter().flat_map(|shift| {
            (0..4).map(move |bits| Augmentation { turns: bits & 1 > 0, flips: bits & 2 > 0, shift, ..PLAIN })
        })
    }

    fn bits(images: Images) -> [Vec<u32>; 2] {
        let bits = |images: Tensor<3>| images.into_data().iter::<f32>().map(f32::to_bits).collect();
        [bits(images.support), bits(images.query)]
    }

    #[test]
    fn images_equal_those_of_the_episodes() -> Result<(), Error> {
        let loader = loader(true, PLAIN, 1)?;
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
            for augmentation in augmentations() {
                let host = loader(rotations, augmentation, 1)?;
                let device = resident(&host);
                let mut orientations = HashSet::new();
                for part in [Part::Train, Part::Validation, Part::Test] {
                    for first in 0..10 {
                        let [here, there] =
                            [&host, &device].map(|loader| loader.images(part, first..first + 3, &SHAPE));
                        assert_eq!(here.query.dims(), there.query.dims());
                        let case = format!("{part}, {first}, rotations {rotations}, {augmentation:?}");
                        assert_eq!(bits(here), bits(there), "{case}");
                        let Selection { query, .. } = host.sampler().select(part, first, &SHAPE);
                        let orientation =
                            |image: ImageRef| (image.class.quarter_turns, image.placement.mirrored);
                        orientations.extend(query.into_iter().map(orientation));
                    }
                }
                let turns = if rotations || augmentation.turns { 4 } else { 1 };
                assert_eq!(orientations.len(), turns * if augmentation.flips { 2 } else { 1 });
            }
        }
        Ok(())
    }

    #[test]
    fn coloured_images_gathered_on_the_device_are_the_same() -> Result<(), Error> {
        let set = Glyphs { alphabets: 2, ..Glyphs::default() }.draw_in_colour(9)?;
        for augmentation in augmentations() {
            let host = loader_of(set.clone(), true, augmentation, 1)?;
            let device = resident(&host);
            for first in 0..10 {
                let [here, there] =
                    [&host, &device].map(|loader| loader.images(Part::Train, first..first + 3, &SHAPE));
                assert_eq!(here.query.dims(), [3, 12, 3 * 81]);
                assert_eq!(bits(here), bits(there), "{first}, {augmentation:?}");
            }
        }
        Ok(())
    }

    #[test]
    fn prefetched_batches_equal_those_loaded_on_demand() -> Result<(), Error> {
        let augmentation = Augmentation { flips: true, shift: 2, warp: 0.2, ..PLAIN };
        let (single, threaded) = (loader(true, augmentation, 1)?, loader(true, augmentation, 2)?);
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
