//! How images of any shape become squares of one size.

use bilevel::choice;

use super::Channels;
use super::raster::Raster;
use super::resize::resize;

choice! {
    /// How an image that is not square becomes one.
    pub enum Fit {
        /// Width and height are scaled independently: nothing is lost, and shapes are distorted.
        Stretch = "stretch",
        /// The square in the middle of the image is kept.
        Crop = "crop",
        /// The whole image is kept, with bars of the mean colour of its border on both sides.
        Pad = "pad",
    }
}

/// The form that all images of a set are brought to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// Height and width, in pixels.
    pub size: usize,
    /// Values of a pixel.
    pub channels: Channels,
    /// How images that are not square become squares.
    pub fit: Fit,
}

impl Form {
    /// Grey images of `size`² pixels, stretched.
    pub fn grey(size: usize) -> Self {
        Self { size, channels: Channels::Grey, fit: Fit::Stretch }
    }

    /// Colour images of `size`² pixels, stretched.
    pub fn colour(size: usize) -> Self {
        Self { channels: Channels::Colour, ..Self::grey(size) }
    }
}

impl Raster {
    /// The image as a square, `[size, size, channels]`, resized by area averaging.
    pub fn square(&self, size: usize, fit: Fit) -> Vec<u8> {
        let (channels, from) = (self.channels.count(), [self.width, self.height]);
        match fit {
            Fit::Stretch => resize(&self.pixels, channels, from, [size, size]),
            Fit::Crop => {
                let side = self.width.min(self.height);
                resize(&self.middle(side), channels, [side, side], [size, size])
            }
            Fit::Pad => {
                let longer = self.width.max(self.height);
                // At least half a pixel is rounded up to one; at least one is left.
                let scaled = from.map(|side| ((2 * side * size + longer) / (2 * longer)).max(1));
                self.padded(&resize(&self.pixels, channels, from, scaled), scaled, size)
            }
        }
    }

    /// The square of `side`² pixels in the middle.
    fn middle(&self, side: usize) -> Vec<u8> {
        let channels = self.channels.count();
        let [left, top] = [self.width, self.height].map(|whole| (whole - side) / 2);
        let rows = self.pixels.chunks_exact(self.width * channels).skip(top).take(side);
        rows.flat_map(|row| &row[left * channels..(left + side) * channels]).copied().collect()
    }

    /// `inner`, of `[width, height]` pixels, in the middle of a square of `size`² pixels of the border's mean colour.
    fn padded(&self, inner: &[u8], [width, height]: [usize; 2], size: usize) -> Vec<u8> {
        let channels = self.channels.count();
        let bar: Vec<u8> = self.border().into_iter().map(|mean| mean.round() as u8).collect();
        let mut square = bar.repeat(size * size);
        let [left, top] = [width, height].map(|side| (size - side) / 2);
        for (row, pixels) in inner.chunks_exact(width * channels).enumerate().take(height) {
            let start = ((top + row) * size + left) * channels;
            square[start..start + pixels.len()].copy_from_slice(pixels);
        }
        square
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A grey image, `[height, width]`.
    fn raster<const W: usize, const H: usize>(rows: [[u8; W]; H]) -> Raster {
        Raster { width: W, height: H, channels: Channels::Grey, pixels: rows.concat(), is_coloured: false }
    }

    #[test]
    fn a_wide_image_is_stretched_cropped_or_padded() {
        let wide = raster([[0, 10, 20, 30], [0, 10, 20, 30]]);
        assert_eq!(wide.square(2, Fit::Stretch), [5, 25, 5, 25]);
        assert_eq!(wide.square(2, Fit::Crop), [10, 20, 10, 20]);
        // The border is the whole image, with mean 15.
        let bar = [15; 4];
        assert_eq!(wide.square(4, Fit::Pad), [bar, [0, 10, 20, 30], [0, 10, 20, 30], bar].concat());
    }

    #[test]
    fn a_tall_image_in_colour_keeps_its_channels_apart() {
        let colour = |red: u8| [red, 100, 255 - red];
        let tall = Raster {
            width: 1,
            height: 3,
            channels: Channels::Colour,
            pixels: [colour(0), colour(30), colour(60)].concat(),
            is_coloured: true,
        };
        assert_eq!(tall.square(1, Fit::Crop), colour(30));
        assert_eq!(tall.square(1, Fit::Stretch), colour(30));
        let bar = colour(30);
        let row = |red| [bar, colour(red), bar].concat();
        assert_eq!(tall.square(3, Fit::Pad), [row(0), row(30), row(60)].concat());
    }

    #[test]
    fn squares_are_the_same_however_they_are_fitted_and_slivers_keep_a_pixel() {
        let square = raster([[1, 2, 3], [4, 5, 6], [7, 8, 9]]);
        for size in 1..6 {
            let stretched = square.square(size, Fit::Stretch);
            assert_eq!(square.square(size, Fit::Crop), stretched);
            assert_eq!(square.square(size, Fit::Pad), stretched);
        }
        let sliver = raster([[7; 300]]);
        for fit in [Fit::Stretch, Fit::Crop, Fit::Pad] {
            assert_eq!(sliver.square(5, fit), [7; 25], "{fit}");
        }
    }
}
