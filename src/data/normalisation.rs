//! Normalisation: each channel with mean 0 and standard deviation 1 over the training images.

use rayon::prelude::*;

use super::{Channels, Error, ImageSet, RotatedClass, intensity};

/// The smallest standard deviation that is divided by. A channel that varies less is only centred.
const LEAST: f64 = 1e-3;
/// Decimals of what is measured, so that it is readable in a configuration.
const DECIMALS: f64 = 1e4;

/// Mean and standard deviation of each channel, for values from 0 to 1. A byte b becomes (b/255 − mean)/deviation.
#[derive(Clone, Debug, PartialEq)]
pub struct Normalisation {
    mean: Vec<f64>,
    deviation: Vec<f64>,
    /// The value of each byte, by channel.
    tables: Vec<[f32; 256]>,
}

impl Normalisation {
    /// Values from 0 to 1 as they are.
    pub fn none(channels: Channels) -> Self {
        Self::build(vec![0.0; channels.count()], vec![1.0; channels.count()])
    }

    /// With these means and standard deviations, a number for each of the channels.
    ///
    /// # Errors
    /// Returns an error if a list is not as long as there are channels.
    pub fn new(channels: Channels, mean: &[f64], deviation: &[f64]) -> Result<Self, Error> {
        for (key, numbers) in [("mean", mean), ("deviation", deviation)] {
            if numbers.len() != channels.count() {
                return Err(Error::ChannelNumbers { key, given: numbers.len(), channels: channels.count() });
            }
        }
        Ok(Self::build(mean.to_vec(), deviation.to_vec()))
    }

    /// With means and standard deviations of the images of `classes` of `set`, rounded to four decimals. Rotations of a class
    /// count once. A deviation of less than 0.001 becomes 1.
    pub fn measured(set: &ImageSet, classes: &[RotatedClass]) -> Self {
        // Whole numbers, so that the order of the sum does not matter.
        let upright: Vec<usize> =
            classes.iter().filter(|class| class.quarter_turns == 0).map(|class| class.class).collect();
        let of_class = |class: &usize| {
            let images = (0..set.examples(*class))
                .map(|example| Sums::of(&set.image(*class, example), set.channels()));
            images.fold(Sums::default(), Sums::plus)
        };
        let Sums { count, sums, squares } =
            upright.par_iter().map(of_class).reduce(Sums::default, Sums::plus);
        let rounded = |number: f64| (number * DECIMALS).round() / DECIMALS;
        let average = |sum: &u64, unit: f64| *sum as f64 / (count.max(1) as f64 * unit);
        let channels = set.channels().count();
        let mean: Vec<f64> = sums[..channels].iter().map(|sum| average(sum, 255.0)).collect();
        let deviation = squares.iter().zip(&mean).map(|(square, mean)| {
            let deviation = rounded((average(square, 255.0 * 255.0) - mean * mean).max(0.0).sqrt());
            if deviation < LEAST { 1.0 } else { deviation }
        });
        let deviation = deviation.collect();
        Self::build(mean.into_iter().map(rounded).collect(), deviation)
    }

    fn build(mean: Vec<f64>, deviation: Vec<f64>) -> Self {
        let table = |(mean, deviation): (&f64, &f64)| {
            let value = |byte| (intensity(byte as u8) - *mean as f32) / *deviation as f32;
            std::array::from_fn(value)
        };
        Self { tables: mean.iter().zip(&deviation).map(table).collect(), mean, deviation }
    }

    /// The mean of each channel.
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// The standard deviation of each channel.
    pub fn deviation(&self) -> &[f64] {
        &self.deviation
    }

    /// The values of a pixel whose channels are all `byte`, `[channels]`.
    pub fn of_each_channel(&self, byte: u8) -> Vec<f32> {
        self.tables.iter().map(|table| table[usize::from(byte)]).collect()
    }

    /// The values of `pixels`, `[…, channels]`.
    pub fn values(&self, pixels: &[u8]) -> Vec<f32> {
        let mut values = Vec::with_capacity(pixels.len());
        self.push(pixels, &mut values);
        values
    }

    /// Adds the values of `pixels`, `[…, channels]`, to `values`.
    pub fn push(&self, pixels: &[u8], values: &mut Vec<f32>) {
        match &self.tables[..] {
            [table] => values.extend(pixels.iter().map(|byte| table[usize::from(*byte)])),
            tables => {
                let tables = tables.iter().cycle();
                values.extend(pixels.iter().zip(tables).map(|(byte, table)| table[usize::from(*byte)]));
            }
        }
    }
}

/// Sums over pixels, for up to three channels.
#[derive(Default)]
struct Sums {
    count: u64,
    sums: [u64; 3],
    squares: [u64; 3],
}

impl Sums {
    /// Over the pixels of an image.
    fn of(image: &[u8], channels: Channels) -> Self {
        let channels = channels.count();
        let mut all = Self { count: (image.len() / channels) as u64, ..Self::default() };
        for pixel in image.chunks_exact(channels) {
            for (channel, value) in pixel.iter().map(|value| u64::from(*value)).enumerate() {
                all.sums[channel] += value;
                all.squares[channel] += value * value;
            }
        }
        all
    }

    fn plus(self, other: Self) -> Self {
        let add = |a: [u64; 3], b: [u64; 3]| [a[0] + b[0], a[1] + b[1], a[2] + b[2]];
        Self {
            count: self.count + other.count,
            sums: add(self.sums, other.sums),
            squares: add(self.squares, other.squares),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Class, Format};

    #[test]
    fn without_normalisation_values_are_those_of_the_bytes_to_the_bit() {
        let bytes: Vec<u8> = (0..=255).collect();
        let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<_>>();
        let expected = bytes.iter().map(|byte| f32::from(*byte) / 255.0).collect();
        assert_eq!(bits(Normalisation::none(Channels::Grey).values(&bytes)), bits(expected));
    }

    #[test]
    fn normalised_training_images_have_mean_zero_and_deviation_one() -> Result<(), Error> {
        let format = Format { size: 2, channels: Channels::Colour, paper: 0 };
        let classes = ["a", "b"].map(|name| Class::new(name, "g", None, 2)).to_vec();
        let pixels: Vec<u8> =
            (0..48_usize).map(|i| if i % 3 == 2 { 77 } else { (i * i * 7) as u8 }).collect();
        let set = ImageSet::of(format, classes, pixels.into())?;
        let first = [0, 1].map(|quarter_turns| RotatedClass { class: 0, quarter_turns });
        let measured = Normalisation::measured(&set, &first);
        let values = measured.values(&[set.image(0, 0), set.image(0, 1)].concat());
        for channel in 0..3 {
            let of: Vec<f32> = values.iter().skip(channel).step_by(3).copied().collect();
            let mean = of.iter().sum::<f32>() / of.len() as f32;
            let variance =
                of.iter().map(|value| (value - mean) * (value - mean)).sum::<f32>() / of.len() as f32;
            assert!(mean.abs() < 1e-3, "{channel}: {mean}");
            // The last channel is constant: it is centred, not divided by nothing.
            let expected = if channel == 2 { 0.0 } else { 1.0 };
            assert!((variance - expected).abs() < 1e-3, "{channel}: {variance}");
        }
        assert_eq!((measured.mean()[2], measured.deviation()[2]), (0.302, 1.0));
        assert_eq!(measured, Normalisation::new(Channels::Colour, measured.mean(), measured.deviation())?);
        let wrong =
            Normalisation::new(Channels::Grey, &[0.5; 3], &[1.0]).expect_err("three means").to_string();
        assert!(wrong.contains("`data.mean` has 3 numbers, but the images have 1 channels"), "{wrong}");
        Ok(())
    }
}
