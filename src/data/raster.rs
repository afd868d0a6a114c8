//! Decoded images of any size, grey or in colour.

use image::DynamicImage;

use super::Channels;

/// A difference between channels from which a pixel counts as coloured; less occurs in grey photographs saved as JPEG.
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
    /// Whether the file's image has colours, of which a grey raster has the brightness: whether the channels of more than one
    /// pixel in 500 differ by more than 40.
    pub is_coloured: bool,
}

impl Raster {
    /// The pixels of `image` on white paper: transparent pixels are white. With [`Channels::Grey`] colours become their
    /// [`brightness`].
    pub fn new(image: DynamicImage, channels: Channels) -> Self {
        let [width, height] = [image.width(), image.height()].map(|side| side as usize);
        let (mut coloured, has_color) = (0, image.color().has_color());
        let pixels = match (channels, has_color) {
            (Channels::Grey, false) => grey(image),
            (Channels::Colour, false) => grey(image).into_iter().flat_map(|grey| [grey; 3]).collect(),
            (channels, true) => {
                in_colour(image, channels, |colour| coloured += usize::from(is_coloured(colour)))
            }
        };
        Self { width, height, channels, pixels, is_coloured: coloured * FEW > width * height }
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

/// The pixels of an image without colours.
fn grey(image: DynamicImage) -> Vec<u8> {
    match image {
        DynamicImage::ImageLuma8(image) => image.into_raw(),
        image => image.into_luma_alpha8().pixels().map(|pixel| on_white(pixel.0[0], pixel.0[1])).collect(),
    }
}

/// The pixels of an image in these `channels`; `see` is shown the colour of each.
fn in_colour(image: DynamicImage, channels: Channels, mut see: impl FnMut([u8; 3])) -> Vec<u8> {
    if image.color().has_alpha() {
        let image = image.into_rgba8();
        let shown = image.pixels().map(|pixel| {
            let [red, green, blue, alpha] = pixel.0;
            (([red, green, blue], alpha), [red, green, blue].map(|value| on_white(value, alpha)))
        });
        let shown = shown.inspect(|(_, colour)| see(*colour));
        return match channels {
            Channels::Grey => shown.map(|((colour, alpha), _)| on_white(brightness(colour), alpha)).collect(),
            Channels::Colour => shown.flat_map(|(_, colour)| colour).collect(),
        };
    }
    let image = image.into_rgb8();
    match channels {
        Channels::Grey => {
            image.pixels().inspect(|pixel| see(pixel.0)).map(|pixel| brightness(pixel.0)).collect()
        }
        Channels::Colour => {
            image.pixels().for_each(|pixel| see(pixel.0));
            image.into_raw()
        }
    }
}

fn is_coloured([red, green, blue]: [u8; 3]) -> bool {
    red.max(green).max(blue) - red.min(green).min(blue) > COLOURED
}

/// The brightness of a colour, `[red, green, blue]`: 0.2126 R + 0.7152 G + 0.0722 B, to the nearest whole number.
///
/// Source: ITU-R BT.709, with the weights applied to the encoded values, as is usual for photographs.
pub fn brightness(colour: [u8; 3]) -> u8 {
    let [red, green, blue] = colour.map(u32::from);
    // At most 255, since the weights add up to 10 000.
    ((2126 * red + 7152 * green + 722 * blue + 5000) / 10_000) as u8
}

fn on_white(value: u8, alpha: u8) -> u8 {
    let (value, alpha) = (u32::from(value), u32::from(alpha));
    // At most (255·255 + 127) / 255 = 255.
    ((value * alpha + 255 * (255 - alpha) + 127) / 255) as u8
}

#[cfg(test)]
mod tests {
    use image::{GrayImage, Rgb, RgbImage, Rgba, RgbaImage};

    use super::*;

    #[test]
    fn a_grey_image_stored_in_colour_has_the_same_pixels_in_each_channel() {
        let stored = RgbImage::from_fn(16, 16, |x, y| Rgb([(16 * x + y) as u8; 3]));
        let of = |image: DynamicImage, channels| Raster::new(image, channels);
        let grey = of(stored.clone().into(), Channels::Grey);
        assert!(grey.pixels.iter().copied().eq((0..256).map(|at: usize| (16 * (at % 16) + at / 16) as u8)));
        let three = of(stored.into(), Channels::Colour);
        assert!(three.pixels.chunks_exact(3).zip(&grey.pixels).all(|(three, one)| three == [*one; 3]));
        assert!(!grey.is_coloured && !three.is_coloured);
        let luma = GrayImage::from_raw(16, 16, grey.pixels.clone()).expect("256 pixels");
        assert_eq!(of(luma.clone().into(), Channels::Grey), grey);
        assert_eq!(of(luma.into(), Channels::Colour), three);
    }

    #[test]
    fn one_coloured_pixel_in_two_makes_an_image_coloured_unless_it_is_transparent() {
        let mut image = RgbaImage::from_pixel(2, 1, Rgba([9, 9, 9, 255]));
        let of = |image: &RgbaImage, channels| Raster::new(image.clone().into(), channels);
        image.put_pixel(1, 0, Rgba([200, 100, 0, 0]));
        let found = of(&image, Channels::Grey);
        assert_eq!((found.is_coloured, found.pixels), (false, vec![9, 255]));
        image.put_pixel(1, 0, Rgba([200, 100, 0, 128]));
        let found = of(&image, Channels::Colour);
        assert_eq!((found.is_coloured, found.pixels), (true, vec![9, 9, 9, 227, 177, 127]));
        // 0.2126·200 + 0.7152·100 = 114, of which half is on white.
        let found = of(&image, Channels::Grey);
        assert_eq!((found.is_coloured, found.pixels), (true, vec![9, 184]));
    }

    #[test]
    fn brightness_is_rounded_to_the_nearest_and_keeps_grey() {
        assert!((0..=255).all(|grey| brightness([grey; 3]) == grey));
        // 0.2126·200 + 0.7152·40 + 0.0722·30 = 73.294, 0.2126·2 + 0.7152·1 + 0.0722·0 = 1.1404.
        assert_eq!([brightness([200, 40, 30]), brightness([2, 1, 0])], [73, 1]);
        assert_eq!(
            [brightness([255, 0, 0]), brightness([0, 255, 0]), brightness([0, 0, 255])],
            [54, 182, 18]
        );
    }

    #[test]
    fn slight_tints_and_a_few_coloured_pixels_leave_an_image_without_colours() {
        let is_coloured = |coloured: u32, channels| {
            let image = RgbImage::from_fn(50, 40, |x, y| {
                Rgb(if x + 50 * y < coloured { [0, 41, 0] } else { [90, 130, 90] })
            });
            Raster::new(image.into(), channels).is_coloured
        };
        for channels in [Channels::Grey, Channels::Colour] {
            assert_eq!([0, 4, 5].map(|coloured| is_coloured(coloured, channels)), [false, false, true]);
        }
    }

    #[test]
    fn the_border_is_the_mean_of_the_outermost_pixels() {
        let image = RgbImage::from_fn(4, 3, |x, y| {
            Rgb(if (x, y) == (1, 1) || (x, y) == (2, 1) { [255; 3] } else { [10, 20, 30] })
        });
        assert_eq!(Raster::new(image.into(), Channels::Colour).border(), [10.0, 20.0, 30.0]);
    }
}
