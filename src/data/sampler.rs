//! Draws episodes from the classes of one part.
//!
//! An episode is a function of (seed, part, index) alone, whatever was drawn before and on whichever thread, so that
//! resumed and parallel runs see the same episodes.

use std::sync::Arc;

use rand::seq::index;

use super::{
    Augmentation, Episode, EpisodeShape, Error, ImageRef, ImageSet, Normalisation, Part, RotatedClass,
    Selection, Split,
};
use bilevel::rng::generator;

/// Draws episodes from the parts of a split; cheap to clone and to share between threads.
#[derive(Clone, Debug)]
pub struct Sampler {
    set: Arc<ImageSet>,
    split: Arc<Split>,
    normalisation: Arc<Normalisation>,
    augmentation: Augmentation,
    /// Whether episodes of training classes are to evaluate on, not to train on.
    evaluates: bool,
    seed: u64,
}

impl Sampler {
    /// A sampler of the classes in `split`, which was made for `set`. Pixels are not normalised.
    pub fn new(set: Arc<ImageSet>, split: Split, seed: u64) -> Self {
        let normalisation = Arc::new(Normalisation::none(set.channels()));
        let augmentation = Augmentation::default();
        Self { set, split: Arc::new(split), normalisation, augmentation, evaluates: false, seed }
    }

    /// The same sampler with pixels normalised.
    ///
    /// # Panics
    /// Panics if `normalisation` is for another number of channels.
    #[must_use]
    pub fn with_normalisation(self, normalisation: Normalisation) -> Self {
        assert_eq!(normalisation.mean().len(), self.set.channels().count(), "one mean for each channel");
        Self { normalisation: Arc::new(normalisation), ..self }
    }

    /// The sampler of the same classes and images, with training episodes changed by `augmentation`.
    ///
    /// # Panics
    /// Panics if images could be shifted out of sight: if the shift is not less than their size.
    #[must_use]
    pub fn with_augmentation(self, augmentation: Augmentation) -> Self {
        let (shift, size) = (augmentation.shift, self.set.size());
        assert!(shift < size, "a shift of {shift} pixels is too large for images of {size} pixels");
        Self { augmentation, ..self }
    }

    /// The sampler of episodes to evaluate on: those of training classes are not augmented, so that they compare with those of other
    /// classes, and are not the ones trained on. Episodes of other parts are the same.
    #[must_use]
    pub fn for_evaluation(self) -> Self {
        Self { augmentation: Augmentation::default(), evaluates: true, ..self }
    }

    /// The images.
    pub fn set(&self) -> &ImageSet {
        &self.set
    }

    /// The classes of each part.
    pub fn split(&self) -> &Split {
        &self.split
    }

    /// How pixels are normalised.
    pub fn normalisation(&self) -> &Normalisation {
        &self.normalisation
    }

    /// The images that `refs` refer to as a network's input, `[refs, size, size, channels]`: turned, mirrored, shifted and
    /// warped, and normalised. Grey images that are not normalised have ink 1 and paper 0.
    ///
    /// # Panics
    /// Panics if there is no such class or example.
    pub fn values<'a>(&self, refs: impl Iterator<Item = &'a ImageRef>) -> Vec<f32> {
        let mut values = Vec::with_capacity(refs.size_hint().0 * self.set.format().values());
        refs.for_each(|image_ref| self.normalisation.push(&self.set.shown(image_ref), &mut values));
        values
    }

    /// How training episodes are changed.
    pub fn augmentation(&self) -> Augmentation {
        self.augmentation
    }

    /// Checks that `part` has enough classes and images for episodes of this `shape`.
    ///
    /// # Errors
    /// Returns an error that says what is missing.
    pub fn check(&self, part: Part, shape: &EpisodeShape) -> Result<(), Error> {
        let EpisodeShape { ways, shots, queries } = *shape;
        for (key, value) in [("task.ways", ways), ("task.shots", shots), ("task.queries", queries)] {
            if value == 0 {
                return Err(Error::EmptyEpisode { key });
            }
        }
        let classes = self.split.part(part);
        if classes.is_empty() {
            return Err(Error::EmptyPart { part });
        }
        if classes.len() < ways {
            return Err(Error::TooFewClasses { part, found: classes.len(), needed: ways });
        }
        let needed = shots.saturating_add(queries);
        let mut small: Vec<(String, usize)> = classes
            .iter()
            .map(|turned| (self.set.classes()[turned.class].name.clone(), self.set.examples(turned.class)))
            .filter(|(_, examples)| *examples < needed)
            .collect();
        // A class may be in a part in several rotations.
        small.dedup();
        if small.is_empty() {
            return Ok(());
        }
        Err(Error::TooFewExamples { part, small, needed, shots, queries })
    }

    /// The references to the images of episode number `index` of `part`. Classes are distinct, and so are the images of
    /// a class. Only training episodes are augmented.
    ///
    /// # Panics
    /// Panics if [`check`](Self::check) returns an error for the shape.
    pub fn select(&self, part: Part, index: u64, shape: &EpisodeShape) -> Selection {
        let EpisodeShape { ways, shots, queries } = *shape;
        let mut random = generator(self.seed, self.purpose(part), index);
        let pool = self.split.part(part);
        let classes: Vec<RotatedClass> =
            index::sample(&mut random, pool.len(), ways).iter().map(|i| pool[i]).collect();
        let mut support = Vec::with_capacity(ways * shots);
        let mut query = Vec::with_capacity(ways * queries);
        for class in classes {
            let drawn = index::sample(&mut random, self.set.examples(class.class), shots + queries);
            let mut drawn = drawn.into_iter().map(|example| ImageRef::new(class, example));
            support.extend(drawn.by_ref().take(shots));
            query.extend(drawn);
        }
        let mut selection = Selection { support, query };
        if part == Part::Train {
            self.augmentation.apply(self.seed, index, shape, &mut selection);
        }
        selection
    }

    /// The name of a part's random stream of episodes.
    fn purpose(&self, part: Part) -> &'static str {
        match part {
            Part::Train if self.evaluates => "train/evaluation",
            Part::Train => "episode/train",
            Part::Validation => "episode/val",
            Part::Test => "episode/test",
        }
    }

    /// The pixels of episode number `index` of `part`.
    ///
    /// # Panics
    /// Panics where [`select`](Self::select) does.
    pub fn episode(&self, part: Part, index: u64, shape: &EpisodeShape) -> Episode {
        let Selection { support, query } = self.select(part, index, shape);
        let examples = |refs: &[ImageRef]| refs.iter().map(|image_ref| image_ref.example).collect();
        Episode {
            classes: support.iter().step_by(shape.shots).map(|image_ref| image_ref.class).collect(),
            values: self.set.format().values(),
            support: self.values(support.iter()),
            support_labels: shape.support_labels(),
            support_examples: examples(&support),
            query: self.values(query.iter()),
            query_labels: shape.query_labels(),
            query_examples: examples(&query),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use rayon::prelude::*;

    use super::*;
    use crate::data::{Class, Placement, SplitRule};

    const SHAPE: EpisodeShape = EpisodeShape { ways: 5, shots: 2, queries: 3 };

    /// Thirty classes of six 2×2 images whose first two pixels are the indices of class and example.
    fn sampler(seed: u64) -> Result<Sampler, Error> {
        sampler_of(true, seed)
    }

    /// The same without rotated classes.
    fn upright_sampler(seed: u64) -> Result<Sampler, Error> {
        sampler_of(false, seed)
    }

    fn sampler_of(rotations: bool, seed: u64) -> Result<Sampler, Error> {
        let classes = (0..30).map(|i| Class::new(format!("c{i}"), "g", None, 6)).collect();
        let pixels = (0..30 * 6_u8).flat_map(|i| [i / 6, i % 6, 255, 0]).collect();
        let set = ImageSet::new(2, classes, pixels)?;
        let split = Split::new(&set, SplitRule::Random { train: 18 }, 6, rotations, seed)?;
        Ok(Sampler::new(Arc::new(set), split, seed))
    }

    #[test]
    fn an_episode_depends_on_seed_part_and_index_alone() -> Result<(), Error> {
        let one = sampler(3)?.with_augmentation(ALL);
        let parts = [Part::Train, Part::Validation, Part::Test];
        let in_order: Vec<Episode> =
            (0..90).map(|i| one.episode(parts[i as usize % 3], i / 3, &SHAPE)).collect();
        let other = sampler(3)?.with_augmentation(ALL);
        let backwards: Vec<Episode> =
            (0..90_u64).rev().map(|i| other.episode(parts[i as usize % 3], i / 3, &SHAPE)).collect();
        assert!(in_order.iter().eq(backwards.iter().rev()));
        let on_threads: Vec<Episode> =
            (0..90_u64).into_par_iter().map(|i| one.episode(parts[i as usize % 3], i / 3, &SHAPE)).collect();
        assert_eq!(in_order, on_threads);
        assert_ne!(one.episode(Part::Train, 0, &SHAPE), one.episode(Part::Train, 1, &SHAPE));
        assert_ne!(one.episode(Part::Train, 0, &SHAPE), sampler(4)?.episode(Part::Train, 0, &SHAPE));
        Ok(())
    }

    #[test]
    fn draws_are_the_same_in_every_version() -> Result<(), Error> {
        // A run may be resumed by a later version, which must continue with the same episodes.
        let Selection { support, query } = sampler(3)?.select(Part::Train, 7, &SHAPE);
        let name =
            |image_ref: &ImageRef| (image_ref.class.class, image_ref.class.quarter_turns, image_ref.example);
        let names = |refs: &[ImageRef]| refs.iter().map(name).collect::<Vec<_>>();
        assert_eq!(
            names(&support[..6]),
            [(1, 0, 0), (1, 0, 2), (24, 0, 4), (24, 0, 2), (8, 2, 4), (8, 2, 5)]
        );
        assert_eq!(names(&support[6..]), [(4, 2, 5), (4, 2, 3), (1, 3, 2), (1, 3, 1)]);
        assert_eq!(names(&query[..6]), [(1, 0, 1), (1, 0, 4), (1, 0, 5), (24, 0, 5), (24, 0, 0), (24, 0, 3)]);
        Ok(())
    }

    /// All kinds of augmentation of the 2×2 images.
    const ALL: Augmentation = Augmentation { turns: true, flips: true, shift: 1, warp: 0.25 };

    const NONE: Augmentation = Augmentation { turns: false, flips: false, shift: 0, warp: 0.0 };

    /// The episodes of `part` with and without `augmentation`, without rotated classes.
    fn pairs(augmentation: Augmentation, part: Part) -> Result<Vec<[Selection; 2]>, Error> {
        let plain = upright_sampler(3)?;
        let augmented = plain.clone().with_augmentation(augmentation);
        Ok((0..200).map(|index| [&plain, &augmented].map(|one| one.select(part, index, &SHAPE))).collect())
    }

    fn images(selection: &Selection) -> impl Iterator<Item = &ImageRef> {
        selection.support.iter().chain(&selection.query)
    }

    #[test]
    fn augmentation_draws_are_the_same_in_every_version() -> Result<(), Error> {
        let augmented = upright_sampler(3)?.with_augmentation(ALL);
        let Selection { support, .. } = augmented.select(Part::Train, 7, &SHAPE);
        let changes = |image: &ImageRef| {
            let Placement { mirrored, down, right, warp: [first, ..] } = image.placement;
            (image.class.quarter_turns, mirrored, down, right, (1000.0 * first).round())
        };
        let drawn: Vec<_> = support.iter().take(4).map(changes).collect();
        assert_eq!(
            drawn,
            [
                (3, false, -1, -1, -194.0),
                (3, true, 1, 0, 50.0),
                (3, true, -1, 1, -82.0),
                (3, false, 1, 0, 38.0)
            ]
        );
        Ok(())
    }

    #[test]
    fn augmentation_does_not_change_which_classes_and_images_are_drawn() -> Result<(), Error> {
        for [plain, augmented] in pairs(ALL, Part::Train)? {
            let names = |selection| images(selection).map(|image| (image.class.class, image.example));
            assert!(names(&plain).eq(names(&augmented)));
        }
        Ok(())
    }

    #[test]
    fn each_kind_of_augmentation_draws_as_it_does_alone() -> Result<(), Error> {
        let kinds = [
            Augmentation { turns: true, ..NONE },
            Augmentation { flips: true, ..NONE },
            Augmentation { shift: 1, ..NONE },
            Augmentation { warp: 0.25, ..NONE },
        ];
        let alone: Vec<_> =
            kinds.into_iter().map(|kind| pairs(kind, Part::Train)).collect::<Result<_, _>>()?;
        for (index, [_, all]) in pairs(ALL, Part::Train)?.iter().enumerate() {
            let alone = [0, 1, 2, 3].map(|kind: usize| images(&alone[kind][index][1]).collect::<Vec<_>>());
            for (at, all) in images(all).enumerate() {
                let [turned, flipped, shifted, warped] = [0, 1, 2, 3].map(|kind: usize| alone[kind][at]);
                assert_eq!(all.class, turned.class);
                let Placement { mirrored, .. } = flipped.placement;
                let Placement { warp, .. } = warped.placement;
                assert_eq!(all.placement, Placement { mirrored, warp, ..shifted.placement });
            }
        }
        Ok(())
    }

    #[test]
    fn only_training_episodes_are_augmented() -> Result<(), Error> {
        for part in [Part::Validation, Part::Test] {
            assert!(pairs(ALL, part)?.iter().all(|[plain, augmented]| plain == augmented));
        }
        assert!(pairs(ALL, Part::Train)?.iter().all(|[plain, augmented]| plain != augmented));
        Ok(())
    }

    #[test]
    fn training_classes_are_evaluated_on_plain_episodes_that_were_not_trained_on() -> Result<(), Error> {
        let training = upright_sampler(3)?.with_augmentation(ALL);
        let measured = training.clone().for_evaluation();
        let episodes =
            |sampler: &Sampler, part| (0..20).map(|i| sampler.select(part, i, &SHAPE)).collect::<Vec<_>>();
        for part in [Part::Validation, Part::Test] {
            assert_eq!(episodes(&measured, part), episodes(&training, part));
        }
        let plain = upright_sampler(3)?;
        let (measured, trained) = (episodes(&measured, Part::Train), episodes(&plain, Part::Train));
        assert!(measured.iter().all(|episode| !trained.contains(episode)));
        let is_plain = |image: &ImageRef| {
            *image == ImageRef::new(RotatedClass::upright(image.class.class), image.example)
        };
        assert!(measured.iter().flat_map(images).all(is_plain));
        Ok(())
    }

    #[test]
    fn all_images_of_a_class_are_turned_alike_and_each_turn_is_equally_frequent() -> Result<(), Error> {
        let turns_only = Augmentation { turns: true, ..NONE };
        let mut counts = [0; 4];
        for [_, Selection { support, query }] in pairs(turns_only, Part::Train)? {
            for (support, query) in support.chunks(SHAPE.shots).zip(query.chunks(SHAPE.queries)) {
                assert!(support.iter().chain(query).all(|image| image.class == support[0].class));
                counts[usize::from(support[0].class.quarter_turns)] += 1;
            }
        }
        counts.iter().for_each(|count| assert_share(*count, 1000, 0.25));
        Ok(())
    }

    #[test]
    fn half_of_the_images_are_mirrored_and_all_shifts_and_warps_are_equally_frequent() -> Result<(), Error> {
        let mut mirrored = 0;
        let mut shifts = [0; 9];
        let mut warps = [[0; 4]; 4];
        for [_, augmented] in pairs(ALL, Part::Train)? {
            for ImageRef { placement: Placement { mirrored: is_mirrored, down, right, warp }, .. } in
                images(&augmented)
            {
                mirrored += usize::from(*is_mirrored);
                shifts[usize::try_from(3 * (down + 1) + right + 1).expect("shifts from -1 to 1")] += 1;
                for (entry, counts) in warp.iter().zip(&mut warps) {
                    assert!(entry.abs() <= 0.25);
                    counts[((entry + 0.25) * 8.0).min(3.0) as usize] += 1;
                }
            }
        }
        assert_share(mirrored, 5000, 0.5);
        shifts.iter().for_each(|count| assert_share(*count, 5000, 1.0 / 9.0));
        warps.as_flattened().iter().for_each(|count| assert_share(*count, 5000, 0.25));
        Ok(())
    }

    /// Asserts that `count` of `draws` independent draws is the share `p` to within four standard errors.
    fn assert_share(count: usize, draws: usize, p: f64) {
        let error = (p * (1.0 - p) / draws as f64).sqrt();
        let share = count as f64 / draws as f64;
        assert!((share - p).abs() < 4.0 * error, "{share} instead of {p} ± {error}");
    }

    #[test]
    #[should_panic(expected = "a shift of 2 pixels is too large for images of 2 pixels")]
    fn shifts_out_of_sight_are_refused() {
        let _ = upright_sampler(0).expect("images").with_augmentation(Augmentation { shift: 2, ..ALL });
    }

    #[test]
    fn classes_and_images_are_distinct_and_labelled() -> Result<(), Error> {
        let sampler = sampler(0)?;
        for index in 0..50 {
            let episode = sampler.episode(Part::Test, index, &SHAPE);
            assert_eq!(episode.classes.iter().collect::<HashSet<_>>().len(), 5);
            assert_eq!((episode.support.len(), episode.query.len()), (5 * 2 * 4, 5 * 3 * 4));
            let support = (episode.support.chunks(4), &episode.support_labels, &episode.support_examples);
            let query = (episode.query.chunks(4), &episode.query_labels, &episode.query_examples);
            let mut seen = HashSet::new();
            for (images, labels, examples) in [support, query] {
                for ((image, label), example) in images.zip(labels).zip(examples) {
                    let name = image.iter().take(2).map(|ink| (ink * 255.0).round() as usize);
                    let class = episode.classes[*label].class;
                    assert!(name.eq([class, *example]));
                    assert!(seen.insert((class, *example)), "an image occurs twice");
                }
            }
        }
        Ok(())
    }

    #[test]
    fn images_of_rotated_classes_are_rotated() -> Result<(), Error> {
        let sampler = sampler(0)?;
        let episode = sampler.episode(Part::Train, 1, &SHAPE);
        for (i, label) in episode.query_labels.iter().enumerate() {
            let class = episode.classes[*label];
            // The pixel of full ink is at the lower left; a quarter turn moves it to the lower right.
            let full = [2, 3, 1, 0][usize::from(class.quarter_turns)];
            assert_eq!(episode.query[i * 4 + full], 1.0);
        }
        Ok(())
    }

    #[test]
    fn impossible_episodes_are_refused_with_the_setting_at_fault() -> Result<(), Error> {
        let sampler = sampler(0)?;
        assert!(sampler.check(Part::Train, &SHAPE).is_ok());
        let refusal = |shape| sampler.check(Part::Validation, &shape).err().map(|error| error.to_string());
        let ways = refusal(EpisodeShape { ways: 7, ..SHAPE });
        assert!(ways.is_some_and(|text| text.contains("has 6 classes") && text.contains("task.ways = 7")));
        let shots = refusal(EpisodeShape { queries: 5, ..SHAPE });
        assert!(shots.is_some_and(|text| text.contains("has 6 images") && text.contains("5 query images")));
        let none = refusal(EpisodeShape { shots: 0, ..SHAPE });
        assert!(none.is_some_and(|text| text.contains("task.shots = 0")));
        assert!(refusal(EpisodeShape { shots: usize::MAX, ..SHAPE }).is_some());
        Ok(())
    }
}
