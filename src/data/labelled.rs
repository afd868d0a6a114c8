//! Labelled images for ordinary classification: one task, few classes with many images each.

use rand::RngExt;
use rand::seq::SliceRandom;

use super::Error;
use bilevel::rng::generator;

/// Grey images of one size, each with its class as a label.
#[derive(Clone, Debug, PartialEq)]
pub struct Labelled {
    pixels: usize,
    classes: usize,
    images: Vec<u8>,
    labels: Vec<usize>,
}

/// Labelled images of which some labels are wrong.
#[derive(Clone, Debug, PartialEq)]
pub struct Mislabelled {
    /// The images and their labels, right or wrong.
    pub set: Labelled,
    /// Whether each label is wrong.
    pub wrong: Vec<bool>,
}

impl Labelled {
    /// `images` are `[n, pixels]`, ink 255; `labels` are n numbers below `classes`.
    ///
    /// # Errors
    /// Returns an error if the numbers of images and labels differ, a label is not below `classes`, or there are no pixels.
    pub fn new(pixels: usize, classes: usize, images: Vec<u8>, labels: Vec<usize>) -> Result<Self, Error> {
        if pixels == 0 || labels.len().checked_mul(pixels) != Some(images.len()) {
            return Err(Error::Unpaired { pixels, bytes: images.len(), labels: labels.len() });
        }
        match labels.iter().find(|label| **label >= classes) {
            Some(label) => Err(Error::Label { label: *label, classes }),
            None => Ok(Self { pixels, classes, images, labels }),
        }
    }

    /// Number of images, n.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Number of pixels per image.
    pub fn pixels(&self) -> usize {
        self.pixels
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The images, `[n, pixels]`, ink 255 and paper 0.
    pub fn images(&self) -> &[u8] {
        &self.images
    }

    /// The class of each image, `[n]`.
    pub fn labels(&self) -> &[usize] {
        &self.labels
    }

    /// The images at `indices`, in that order.
    ///
    /// # Panics
    /// Panics if an index is out of range.
    pub fn select(&self, indices: &[usize]) -> Self {
        let image = |place: &usize| &self.images[place * self.pixels..(place + 1) * self.pixels];
        Self {
            images: indices.iter().flat_map(image).copied().collect(),
            labels: indices.iter().map(|place| self.labels[*place]).collect(),
            ..*self
        }
    }

    /// Disjoint random parts with the given numbers of images, the same for the same `seed`.
    ///
    /// # Errors
    /// Returns an error if there are fewer images.
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

    /// The same images with wrong labels, drawn at random from the other classes, on a fraction `share` of them (rounded
    /// to a whole number); the same for the same `seed`.
    ///
    /// # Errors
    /// Returns an error if `share` is not between 0 and 1, or there is only one class.
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
        Labelled::new(2, 5, images, (0..count).map(|image| image % 5).collect()).expect("valid")
    }

    #[test]
    fn parts_are_disjoint_and_keep_labels_with_their_images() -> Result<(), Error> {
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
    fn mislabelled_changes_exactly_the_labels_it_reports() -> Result<(), Error> {
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
    fn invalid_arguments_are_refused() {
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
