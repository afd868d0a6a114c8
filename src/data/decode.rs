//! From the bytes of a PNG or JPEG file to grey pixels, without trusting the file.

use std::io::Cursor;
use std::path::Path;

use image::{ImageFormat, ImageReader, Limits};

use super::Error;

/// The longest side an image may have, in pixels, and the most memory decoding it may take.
const MOST_PIXELS: u32 = 16_384;
const MOST_BYTES: u64 = 512 << 20;

/// A grey image `[height, width]`, row by row, white 255 and black 0.
#[derive(Debug)]
pub struct Grey {
    pub width: usize,
    pub height: usize,
    pub pixels: Vec<u8>,
}

/// Decodes `bytes`, which came from `path`; colours become their brightness, and what is
/// transparent shows white paper beneath.
///
/// # Errors
/// [`Error::Decode`] if this is no PNG or JPEG, or a damaged or an enormous one.
pub fn decode(bytes: &[u8], path: &Path) -> Result<Grey, Error> {
    let failed = |reason: String| Error::Decode { path: path.to_path_buf(), reason };
    let mut reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|error| failed(error.to_string()))?;
    if !matches!(reader.format(), Some(ImageFormat::Png | ImageFormat::Jpeg)) {
        return Err(failed("it is neither PNG nor JPEG".into()));
    }
    let mut limits = Limits::default();
    limits.max_image_width = Some(MOST_PIXELS);
    limits.max_image_height = Some(MOST_PIXELS);
    limits.max_alloc = Some(MOST_BYTES);
    reader.limits(limits);
    let image = reader.decode().map_err(|error| failed(error.to_string()))?.into_luma_alpha8();
    Ok(Grey {
        width: image.width() as usize,
        height: image.height() as usize,
        pixels: image.pixels().map(|pixel| on_white(pixel.0)).collect(),
    })
}

fn on_white([grey, alpha]: [u8; 2]) -> u8 {
    let (grey, alpha) = (u32::from(grey), u32::from(alpha));
    // At most (255·255 + 127) / 255 = 255.
    ((grey * alpha + 255 * (255 - alpha) + 127) / 255) as u8
}

#[cfg(test)]
mod tests {
    use image::{DynamicImage, LumaA, Rgb, RgbImage};

    use super::*;

    fn encoded(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(vec![]);
        image.into().write_to(&mut bytes, format).expect("memory");
        bytes.into_inner()
    }

    #[test]
    fn transparent_pixels_are_paper() -> Result<(), Error> {
        let pixels = [[0, 255], [0, 0], [0, 128], [200, 255]];
        let image = image::GrayAlphaImage::from_fn(4, 1, |x, _| LumaA(pixels[x as usize]));
        let grey = decode(&encoded(image, ImageFormat::Png), Path::new("a.png"))?;
        assert_eq!((grey.width, grey.height), (4, 1));
        assert_eq!(grey.pixels, [0, 255, 127, 200]);
        Ok(())
    }

    #[test]
    fn jpeg_and_colour_become_brightness() -> Result<(), Error> {
        let image = RgbImage::from_pixel(8, 8, Rgb([255, 255, 255]));
        let grey = decode(&encoded(image, ImageFormat::Jpeg), Path::new("a.jpg"))?;
        assert!(grey.pixels.iter().all(|pixel| *pixel > 250));
        Ok(())
    }

    #[test]
    fn what_is_no_image_or_enormous_is_refused_by_name() {
        let mut huge = encoded(RgbImage::new(1, 1), ImageFormat::Png);
        // The width in the header, and so a wrong checksum too, which comes after the limit.
        huge[16..20].copy_from_slice(&u32::MAX.to_be_bytes());
        let truncated = &encoded(RgbImage::new(40, 40), ImageFormat::Png)[..60];
        for bytes in [b"hello".as_slice(), b"", &huge, truncated] {
            let error = decode(bytes, Path::new("dir/a.png")).expect_err("no image").to_string();
            assert!(error.contains("dir/a.png"), "{error}");
        }
    }
}
