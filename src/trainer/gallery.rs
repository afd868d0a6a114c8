//! Episodes as tensors on a device.
//!
//! A CPU shares the host's memory: pixels are made there, those of the next meta-batch while the one
//! before it is trained on. On any other device all images lie ready; what goes there is the numbers of an
//! episode's images and their quarter turns, some bytes each, and it gathers the pixels itself.

use crate::ahead::Ahead;
use crate::backend::Opened;
use crate::data::{EpisodeShape, ImageSet, Part, Picture, Sampler, Selection, shade, turned};
use burn::tensor::{Device, Int, Tensor, TensorData};
use std::ops::Range;

/// The largest set that lies ready on a device: what any graphics API binds as one buffer. Omniglot at
/// 28×28 takes 102 MB.
const MOST_RESIDENT_BYTES: usize = 128 << 20;

/// A sampler's episodes, as tensors on a device.
#[derive(Clone)]
pub struct Gallery {
    sampler: Sampler,
    device: Device,
    /// On a device with a memory of its own, unless the set is too large.
    resident: Option<Resident>,
    /// Whether a thread can be spared to make pixels ahead.
    ahead: bool,
}

/// The images of T episodes of one shape, ink 1 and paper 0.
#[derive(Clone)]
pub struct Images {
    /// `[tasks, ways·shots, pixels]`
    pub support: Tensor<3>,
    /// `[tasks, ways·queries, pixels]`
    pub query: Tensor<3>,
}

/// Meta-batches of training episodes, in turn.
pub struct Feed {
    gallery: Gallery,
    shape: EpisodeShape,
    tasks: u64,
    next: u64,
    ahead: Option<Ahead<Ink>>,
}

impl Gallery {
    /// The episodes of `sampler` on the device that was opened.
    pub fn new(sampler: Sampler, opened: &Opened) -> Self {
        let set = sampler.set();
        let fits = set.pixels().len().saturating_mul(size_of::<f32>()) <= MOST_RESIDENT_BYTES;
        let resident = (!opened.is_cpu() && fits).then(|| Resident::new(set, &opened.device));
        let ahead = resident.is_none() && opened.workers.threads > 1;
        Self { sampler, device: opened.device.clone(), resident, ahead }
    }

    /// What the episodes are drawn from.
    pub fn sampler(&self) -> &Sampler {
        &self.sampler
    }

    /// The images of `part`'s episodes with these `numbers`.
    ///
    /// # Panics
    /// If the sampler cannot draw the shape, see [`Sampler::check`].
    pub fn images(&self, part: Part, numbers: Range<u64>, shape: &EpisodeShape) -> Images {
        match &self.resident {
            Some(resident) => {
                resident.gather(self.sampler.set(), &select(&self.sampler, part, numbers, shape), shape)
            }
            None => Ink::new(&self.sampler, part, numbers, shape).place(&self.device),
        }
    }

    /// Training meta-batches of `tasks` episodes, from number `first` on.
    pub fn feed(&self, shape: EpisodeShape, tasks: usize, first: u64) -> Feed {
        let (sampler, tasks) = (self.sampler.clone(), tasks as u64);
        let ink = move |batch| Ink::new(&sampler, Part::Train, members(batch, tasks), &shape);
        let ahead = self.ahead.then(|| Ahead::new(first, ink));
        Feed { gallery: self.clone(), shape, tasks, next: first, ahead }
    }
}

impl Feed {
    /// The next meta-batch.
    pub fn take(&mut self) -> Images {
        let batch = self.next;
        self.next += 1;
        match &mut self.ahead {
            Some(ahead) => ahead.take().place(&self.gallery.device),
            None => self.gallery.images(Part::Train, members(batch, self.tasks), &self.shape),
        }
    }
}

/// The numbers of the episodes in a meta-batch of `tasks`.
pub fn members(batch: u64, tasks: u64) -> Range<u64> {
    batch * tasks..(batch + 1) * tasks
}

fn select(sampler: &Sampler, part: Part, numbers: Range<u64>, shape: &EpisodeShape) -> Vec<Selection> {
    numbers.map(|number| sampler.select(part, number, shape)).collect()
}

/// The pixels of T episodes, on the host.
struct Ink {
    support: TensorData,
    query: TensorData,
}

impl Ink {
    fn new(sampler: &Sampler, part: Part, numbers: Range<u64>, shape: &EpisodeShape) -> Self {
        let (set, selections) = (sampler.set(), select(sampler, part, numbers, shape));
        let ink = |count: usize, pictures: fn(&Selection) -> &[Picture]| {
            let ink = set.ink(selections.iter().flat_map(pictures));
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

/// All images of a set, on a device.
#[derive(Clone)]
struct Resident {
    /// `[images, pixels]`
    images: Tensor<2>,
    /// Which pixel of an image each pixel of its turned version is: `[4, pixels]`.
    turns: Tensor<2, Int>,
}

impl Resident {
    fn new(set: &ImageSet, device: &Device) -> Self {
        let (size, area) = (set.size(), set.size() * set.size());
        let ink: Vec<f32> = set.pixels().iter().copied().map(shade).collect();
        let upright: Vec<i32> = (0..area as i32).collect();
        let turns: Vec<i32> = (0..4).flat_map(|turns| turned(&upright, size, turns)).collect();
        Self {
            images: Tensor::from_data(TensorData::new(ink, [set.pixels().len() / area, area]), device),
            turns: Tensor::from_data(TensorData::new(turns, [4, area]), device),
        }
    }

    fn gather(&self, set: &ImageSet, selections: &[Selection], shape: &EpisodeShape) -> Images {
        let support = selections.iter().flat_map(|selection| &selection.support);
        let query = selections.iter().flat_map(|selection| &selection.query);
        let pictures: Vec<&Picture> = support.chain(query).collect();
        let list = |each: &dyn Fn(&Picture) -> i32| -> Tensor<1, Int> {
            let list: Vec<i32> = pictures.iter().map(|picture| each(picture)).collect();
            Tensor::from_data(TensorData::new(list, [pictures.len()]), &self.images.device())
        };
        let numbers = list(&|picture| set.index(picture.class.class, picture.example) as i32);
        let mut images = self.images.clone().select(0, numbers);
        if pictures.iter().any(|picture| picture.class.quarter_turns > 0) {
            let turns = list(&|picture| i32::from(picture.class.quarter_turns % 4));
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
    use crate::backend::open;
    use crate::config::Backend;
    use crate::data::{Error, Glyphs, Split, SplitRule};
    use std::sync::Arc;

    const SHAPE: EpisodeShape = EpisodeShape { ways: 4, shots: 2, queries: 3 };

    fn gallery(rotations: bool, threads: usize) -> Result<Gallery, Error> {
        let set = Glyphs { alphabets: 2, ..Glyphs::default() }.draw(9)?;
        let split = Split::new(&set, SplitRule::Fraction { train: 0.7 }, 5, rotations, 1)?;
        let opened = open(Backend::Flex).unwrap().with_threads(Some(threads));
        Ok(Gallery::new(Sampler::new(Arc::new(set), split, 1), &opened))
    }

    fn bits(images: Images) -> [Vec<u32>; 2] {
        let bits = |images: Tensor<3>| images.into_data().iter::<f32>().map(f32::to_bits).collect();
        [bits(images.support), bits(images.query)]
    }

    #[test]
    fn images_are_those_of_the_episodes() -> Result<(), Error> {
        let gallery = gallery(true, 1)?;
        let images = gallery.images(Part::Train, 5..8, &SHAPE);
        assert_eq!((images.support.dims(), images.query.dims()), ([3, 8, 81], [3, 12, 81]));
        let episodes: Vec<_> =
            (5..8).map(|number| gallery.sampler().episode(Part::Train, number, &SHAPE)).collect();
        let all = |part: fn(&crate::data::Episode) -> &Vec<f32>| {
            episodes.iter().flat_map(part).map(|ink| ink.to_bits()).collect::<Vec<_>>()
        };
        assert_eq!(bits(images), [all(|episode| &episode.support), all(|episode| &episode.query)]);
        Ok(())
    }

    #[test]
    fn gathered_on_the_device_they_are_the_same() -> Result<(), Error> {
        for rotations in [false, true] {
            let plain = gallery(rotations, 1)?;
            let resident = Resident::new(plain.sampler().set(), &plain.device);
            let resident = Gallery { resident: Some(resident), ..plain.clone() };
            let mut turns = [false; 4];
            for part in [Part::Train, Part::Validation, Part::Test] {
                for first in 0..20 {
                    let [here, there] =
                        [&plain, &resident].map(|gallery| gallery.images(part, first..first + 3, &SHAPE));
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
    fn a_feed_made_ahead_yields_what_is_made_on_demand_from_any_step_on() -> Result<(), Error> {
        let (alone, ahead) = (gallery(true, 1)?, gallery(true, 2)?);
        let (mut from_alone, mut from_ahead) = (alone.feed(SHAPE, 3, 4), ahead.feed(SHAPE, 3, 4));
        assert!(from_alone.ahead.is_none() && from_ahead.ahead.is_some());
        for batch in 4..12 {
            let direct = bits(alone.images(Part::Train, batch * 3..batch * 3 + 3, &SHAPE));
            assert_eq!(bits(from_ahead.take()), direct);
            assert_eq!(bits(from_alone.take()), direct);
        }
        Ok(())
    }
}
