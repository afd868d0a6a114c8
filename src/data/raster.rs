//! Decoded images of any size, grey or in colour.

use image::DynamicImage;

use super::Channels;

/// A difference between channels from which a pixel counts as coloured; less occurs in photographs of grey things.
const COLOURED: u8 = 40;
/// An image has colours if more than one pixel in this many is coloured.
const FEW: usize = 500;

/// An image, `[height, width, channels]` in row-major order, white 255 and black 0.
#[derive(Debug, PartialEq)]
pub struct Raster {
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// Values of a pixel: its brightness, or red, green and blue.
    pub channels: Channels,
    /// The values of each pixel.
    pub pixels: Vec<u8>,
}

impl Raster {
    /// The pixels of `image` on white paper: transparent pixels are white.
    ///
    /// With [`Channels::Grey`] colours become their brightness. With `None` an image has three channels only if it has
    /// colours: if the channels of more than one pixel in 500 differ by 40 or more.
    pub fn new(image: DynamicImage, channels: Option<Channels>) -> Self {
        let [width, height] = [image.width(), image.height()].map(|side| side as usize);
        let raster = |channels, pixels| Self { width, height, channels, pixels };
        if channels == Some(Channels::Grey) || channels.is_none() && !image.color().has_color() {
            return raster(Channels::Grey, grey(image));
        }
        let pixels = colours(&image);
        if channels.is_none() && !has_colours(&pixels) {
            return raster(Channels::Grey, grey(image));
        }
        raster(Channels::Colour, pixels)
    }

    /// Mean of each channel over the outermost pixels, 0 to 255.
    pub fn border(&self) -> Vec<f64> {
        let (channels, last) = (self.channels.count(), [self.width - 1, self.height - 1]);
        let mut sums = vec![0_u64; channels];
        let mut count = 0_u64;
        for (place, pixel) in self.pixels.chunks_exact(channels).enumerate() {
            let (x, y) = (place % self.width, place / self.width);
            if x == 0 || y == 0 || x == last[0] || y == last[1] {
                sums.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += u64::from(*value));
                count += 1;
            }
        }
        sums.into_iter().map(|sum| sum as f64 / count as f64).collect()
    }
}

/// The brightness of each pixel.
fn grey(image: DynamicImage) -> Vec<u8> {
    let image = image.into_luma_alpha8();
    image.pixels().map(|pixel| on_white(pixel.0[0], pixel.0[1])).collect()
}

/// Red, green and blue of each pixel.
fn colours(image: &DynamicImage) -> Vec<u8> {
    let image = image.to_rgba8();
    let channels =
        |[red, green, blue, alpha]: [u8; 4]| [red, green, blue].map(|value| on_white(value, alpha));
    image.pixels().flat_map(|pixel| channels(pixel.0)).collect()
}

fn has_colours(pixels: &[u8]) -> bool {
    let is_coloured = |pixel: &&[u8]| {
        let [red, green, blue] = [pixel[0], pixel[1], pixel[2]];
        red.max(green).max(blue) - red.min(green).min(blue) >= COLOURED
    };
    pixels.chunks_exact(3).filter(is_coloured).count() > pixels.len() / 3 / FEW
}

fn on_white(value: u8, alpha: u8) -> u8 {
    let (value, alpha) = (u32::from(value), u32::from(alpha));
    // At most (255·255 + 127) / 255 = 255.
    ((value * alpha + 255 * (255 - alpha) + 127) / 255) as u8
}

#[cfg(test)]
mod tests {
    use image::{Rgb, RgbImage, Rgba, RgbaImage};

    use super::*;

    #[test]
    fn a_grey_image_stored_in_colour_has_one_channel_and_the_same_pixels() {
        let stored = RgbImage::from_fn(16, 16, |x, y| Rgb([(16 * x + y) as u8; 3]));
        let of = |channels| Raster::new(stored.clone().into(), channels);
        let found = of(None);
        assert_eq!(found, of(Some(Channels::Grey)));
        assert!(found.pixels.iter().copied().eq((0..256).map(|at: usize| (16 * (at % 16) + at / 16) as u8)));
        let three = of(Some(Channels::Colour));
        assert!(three.pixels.chunks_exact(3).zip(&found.pixels).all(|(three, one)| three == [*one; 3]));
    }

    #[test]
    fn one_coloured_pixel_makes_an_image_coloured_unless_it_is_transparent() {
        let mut image = RgbaImage::from_pixel(2, 1, Rgba([9, 9, 9, 255]));
        image.put_pixel(1, 0, Rgba([200, 100, 0, 0]));
        let found = Raster::new(image.clone().into(), None);
        assert_eq!((found.channels, found.pixels), (Channels::Grey, vec![9, 255]));
        image.put_pixel(1, 0, Rgba([200, 100, 0, 128]));
        let found = Raster::new(image.into(), None);
        assert_eq!((found.channels, found.pixels), (Channels::Colour, vec![9, 9, 9, 227, 177, 127]));
    }

    #[test]
    fn slight_tints_and_a_few_coloured_pixels_leave_an_image_grey() {
        let tinted = |coloured: u32| {
            let image = RgbImage::from_fn(50, 40, |x, y| {
                Rgb(if x + 50 * y < coloured { [0, 40, 0] } else { [90, 129, 90] })
            });
            Raster::new(image.into(), None).channels
        };
        assert_eq!([0, 4, 5].map(tinted), [Channels::Grey, Channels::Grey, Channels::Colour]);
    }

    #[test]
    fn the_border_is_the_mean_of_the_outermost_pixels() {
        let image = RgbImage::from_fn(4, 3, |x, y| {
            Rgb(if (x, y) == (1, 1) || (x, y) == (2, 1) { [255; 3] } else { [10, 20, 30] })
        });
        assert_eq!(Raster::new(image.into(), Some(Channels::Colour)).border(), [10.0, 20.0, 30.0]);
    }
}
