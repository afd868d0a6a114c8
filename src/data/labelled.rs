//! Labelled images as ordinary classification has them: one task, many images of few classes.

use rand::RngExt;
use rand::seq::SliceRandom;

use super::Error;
use crate::random::generator;

/// Grey images of one size, each with the number of its class.
#[derive(Clone, Debug, PartialEq)]
pub struct Labelled {
    pixels: usize,
    classes: usize,
    images: Vec<u8>,
    labels: Vec<usize>,
}

/// A set some of whose labels are wrong.
#[derive(Clone, Debug, PartialEq)]
pub struct Mislabelled {
    /// The images with the labels that they carry.
    pub set: Labelled,
    /// Whether each label is wrong.
    pub wrong: Vec<bool>,
}

impl Labelled {
    /// Puts `images` (`[n, pixels]`, ink 255) beside their `labels` (n numbers below `classes`).
    ///
    /// # Errors
    /// If their numbers differ, a label is of no class, or there are no pixels.
    pub fn new(pixels: usize, classes: usize, images: Vec<u8>, labels: Vec<usize>) -> Result<Self, Error> {
        if pixels == 0 || labels.len().checked_mul(pixels) != Some(images.len()) {
            return Err(Error::Unpaired { pixels, bytes: images.len(), labels: labels.len() });
        }
        match labels.iter().find(|label| **label >= classes) {
            Some(label) => Err(Error::Label { label: *label, classes }),
            None => Ok(Self { pixels, classes, images, labels }),
        }
    }

    /// How many images, n.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// How many pixels an image has.
    pub fn pixels(&self) -> usize {
        self.pixels
    }

    /// How many classes there are.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The images, `[n, pixels]`, ink 255 and paper 0.
    pub fn images(&self) -> &[u8] {
        &self.images
    }

    /// The images' classes.
    pub fn labels(&self) -> &[usize] {
        &self.labels
    }

    /// The images at `places`, in that order.
    ///
    /// # Panics
    /// If there is no such place.
    pub fn select(&self, places: &[usize]) -> Self {
        let image = |place: &usize| &self.images[place * self.pixels..(place + 1) * self.pixels];
        Self {
            images: places.iter().flat_map(image).copied().collect(),
            labels: places.iter().map(|place| self.labels[*place]).collect(),
            ..*self
        }
    }

    /// Parts of `sizes` images drawn at random, none in two of them; the same for the same `seed`.
    ///
    /// # Errors
    /// If there are not so many images.
    pub fn parts<const N: usize>(&self, sizes: [usize; N], seed: u64) -> Result<[Self; N], Error> {
        let asked = sizes.iter().fold(0_usize, |sum, size| sum.saturating_add(*size));
        if asked > self.len() {
            return Err(Error::TooFewImages { asked, found: self.len() });
        }
        let mut places: Vec<usize> = (0..self.len()).collect();
        places.shuffle(&mut generator(seed, "parts", 0));
        let mut places = places.into_iter();
        Ok(sizes.map(|size| self.select(&places.by_ref().take(size).collect::<Vec<_>>())))
    }

    /// The same images, `share` of which (to the nearest image) carry a wrong label, drawn at random from the
    /// other classes; the same for the same `seed`.
    ///
    /// # Errors
    /// If `share` is not within 0 to 1, or there is no other class.
    pub fn mislabelled(mut self, share: f64, seed: u64) -> Result<Mislabelled, Error> {
        if !(0.0..=1.0).contains(&share) || self.classes < 2 {
            return Err(Error::Mislabelled { share, classes: self.classes });
        }
        let mut random = generator(seed, "wrong labels", 0);
        let mut wrong = vec![false; self.len()];
        let count = (share * self.len() as f64).round() as usize;
        wrong[..count].fill(true);
        wrong.shuffle(&mut random);
        for (label, _) in self.labels.iter_mut().zip(&wrong).filter(|(_, wrong)| **wrong) {
            *label = (*label + random.random_range(1..self.classes)) % self.classes;
        }
        Ok(Mislabelled { set: self, wrong })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Image i has the pixels 2i and 2i + 1, and class i mod 5.
    fn set(count: usize) -> Labelled {
        let images = (0..2 * count).map(|value| value as u8).collect();
        Labelled::new(2, 5, images, (0..count).map(|image| image % 5).collect()).expect("sound")
    }

    #[test]
    fn parts_are_disjoint_and_keep_image_and_label_together() -> Result<(), Error> {
        let [first, second] = set(100).parts([60, 40], 3)?;
        assert_eq!([first.len(), second.len()], [60, 40]);
        let mut firsts = vec![];
        for part in [&first, &second] {
            for (image, label) in part.images().chunks(2).zip(part.labels()) {
                assert_eq!((image[1], usize::from(image[0]) / 2 % 5), (image[0] + 1, *label));
                firsts.push(image[0]);
            }
        }
        assert!(!firsts.is_sorted());
        firsts.sort_unstable();
        assert_eq!(firsts, (0..100).map(|image| 2 * image).collect::<Vec<_>>());
        assert_eq!(set(100).parts([60, 40], 3)?[0], first);
        assert_ne!(set(100).parts([60, 40], 4)?[0], first);
        Ok(())
    }

    #[test]
    fn the_share_of_labels_that_is_wrong_is_wrong_and_the_others_are_not() -> Result<(), Error> {
        let (right, noisy) = (set(120), set(120).mislabelled(0.5, 1)?);
        assert_eq!(noisy.wrong.iter().filter(|wrong| **wrong).count(), 60);
        let mut shifts = [0; 5];
        for (place, wrong) in noisy.wrong.iter().enumerate() {
            let (before, after) = (right.labels()[place], noisy.set.labels()[place]);
            assert_eq!(before != after, *wrong);
            shifts[(after + 5 - before) % 5] += 1;
        }
        assert!(shifts.iter().all(|count| *count > 0), "every other class is drawn: {shifts:?}");
        assert_eq!(noisy.set.images(), right.images());
        assert_eq!(set(120).mislabelled(0.5, 1)?, noisy);
        assert_ne!(set(120).mislabelled(0.5, 2)?.wrong, noisy.wrong);
        assert_eq!(set(9).mislabelled(0.0, 1)?.set, set(9));
        Ok(())
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let new = |pixels, bytes, labels: &[usize]| Labelled::new(pixels, 5, vec![0; bytes], labels.to_vec());
        assert!(new(2, 4, &[4, 0]).is_ok());
        assert!(matches!(new(2, 3, &[4, 0]), Err(Error::Unpaired { .. })));
        assert!(matches!(new(0, 0, &[4, 0]), Err(Error::Unpaired { .. })));
        assert!(matches!(new(2, 4, &[5, 0]), Err(Error::Label { label: 5, classes: 5 })));
        assert!(matches!(set(9).parts([9, 1], 0), Err(Error::TooFewImages { asked: 10, found: 9 })));
        assert!(set(9).parts([usize::MAX, 1], 0).is_err());
        for share in [-0.1, 1.1, f64::NAN] {
            assert!(set(9).mislabelled(share, 0).is_err());
        }
    }
}
