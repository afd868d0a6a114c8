//! Decodes the image files of a set, in parallel and in blocks, so that a set need not fit into memory.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use image::{ImageDecoder, ImageReader};
use rayon::prelude::*;

use super::decode::{PHOTOGRAPH, Raster, decode};
use super::fit::Form;
use super::pixels::{Pixels, Scratch};
use super::source::Progress;
use super::{Channels, Error};
use crate::support::atomic_file;

/// The largest image file accepted; photographs are smaller.
const MAX_BYTES: u64 = 64 << 20;
/// The most bytes of decoded squares of one block; a block has at least one image for each thread.
const BLOCK_BYTES: usize = 32 << 20;

/// The images of many files, all of one form.
pub struct Decoded {
    /// Values of a pixel.
    pub channels: Channels,
    /// `[files, size, size, channels]`, white 255.
    pub pixels: Pixels,
    /// Whether the images' borders are light on average.
    pub is_light: bool,
}

/// A decoded file: a square, and the brightness of its border.
struct Square {
    pixels: Vec<u8>,
    border: f64,
}

/// The channels of a set of `files`: three if any of them has colours (see [`Raster::new`]). Files that cannot be decoded
/// do not count.
pub fn channels_of(files: &[&PathBuf]) -> Channels {
    let has_colours = |path: &&&PathBuf| {
        let Ok(bytes) = atomic_file::read(path, MAX_BYTES) else { return false };
        let decoder =
            ImageReader::new(Cursor::new(&bytes)).with_guessed_format().map(ImageReader::into_decoder);
        // Files that store grey need not be decoded.
        let may_have = matches!(decoder, Ok(Ok(decoder)) if decoder.color_type().has_color());
        let has = |raster: Raster| raster.channels == Channels::Colour;
        may_have && decode(&bytes, path, PHOTOGRAPH, None).is_ok_and(has)
    };
    // Most sets show in their first images what they are.
    let mut blocks = files.chunks(4 * rayon::current_num_threads());
    match blocks.any(|files| files.par_iter().any(|path| has_colours(&path))) {
        true => Channels::Colour,
        false => Channels::Grey,
    }
}

/// Decodes `files`, in their order.
///
/// # Errors
/// Returns an error if a file cannot be read or decoded, or pixels cannot be written to the scratch folder.
pub fn decode_files(
    files: &[&PathBuf],
    form: Form,
    scratch: &Scratch,
    progress: Progress,
) -> Result<Decoded, Error> {
    let values = form.size * form.size * form.channels.count();
    let block = (BLOCK_BYTES / values).max(rayon::current_num_threads());
    let mut writer = scratch.writer(files.len() * values)?;
    let (mut borders, mut done) = (0.0, 0);
    for paths in files.chunks(block) {
        let squares: Vec<Square> =
            paths.par_iter().map(|path| square(path, form)).collect::<Result<_, Error>>()?;
        for square in squares {
            borders += square.border;
            writer.write(&square.pixels)?;
        }
        done += paths.len();
        progress.report(done, files.len());
    }
    let is_light = borders > 127.5 * files.len() as f64;
    Ok(Decoded { channels: form.channels, pixels: writer.finish(), is_light })
}

fn square(path: &Path, form: Form) -> Result<Square, Error> {
    let bytes = atomic_file::read(path, MAX_BYTES).map_err(Error::io("read the image", path))?;
    let raster = decode(&bytes, path, PHOTOGRAPH, Some(form.channels))?;
    let border = raster.border();
    Ok(Square {
        pixels: raster.square(form.size, form.fit),
        border: border.iter().sum::<f64>() / border.len() as f64,
    })
}

/// Images as a network sees them.
pub struct OnPaper {
    /// Values of a pixel.
    pub channels: Channels,
    /// Grey images have ink 255; those in colour are as they are.
    pub pixels: Pixels,
    /// The byte of what an image that is moved leaves behind.
    pub paper: u8,
    /// Whether grey images were inverted: whether dark is ink.
    pub inverted: bool,
}

impl Decoded {
    /// Inverts grey images if dark is ink: if `invert` says so, or, with `None`, if their borders are light. Colours are
    /// never inverted; their paper is white if their borders are light, and otherwise black.
    ///
    /// # Errors
    /// Returns an error if coloured images are to be inverted, or pixels cannot be written to the scratch folder.
    pub fn on_paper(self, invert: Option<bool>, scratch: &Scratch) -> Result<OnPaper, Error> {
        let Self { channels, pixels, is_light } = self;
        match channels {
            Channels::Grey => {
                let inverted = invert.unwrap_or(is_light);
                let pixels = if inverted { inverse(pixels, scratch)? } else { pixels };
                Ok(OnPaper { channels, pixels, paper: 0, inverted })
            }
            Channels::Colour if invert == Some(true) => Err(Error::InvertedColour),
            Channels::Colour => {
                Ok(OnPaper { channels, pixels, paper: if is_light { 255 } else { 0 }, inverted: false })
            }
        }
    }
}

/// `pixels` with 255 − each byte.
fn inverse(mut pixels: Pixels, scratch: &Scratch) -> Result<Pixels, Error> {
    if let Some(bytes) = pixels.in_memory() {
        bytes.par_iter_mut().for_each(|value| *value = 255 - *value);
        return Ok(pixels);
    }
    let mut writer = scratch.writer(pixels.len())?;
    for block in pixels.blocks(1) {
        writer.write(&block.iter().map(|value| 255 - value).collect::<Vec<_>>())?;
    }
    Ok(writer.finish())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use image::{GrayImage, Luma, Rgb, RgbImage};
    use tempfile::TempDir;

    use super::*;

    /// Twenty files, of which all are grey but number `coloured`.
    fn files(coloured: Option<u8>) -> (TempDir, Vec<PathBuf>) {
        let dir = TempDir::new().expect("dir");
        let file = |number: u8| {
            let path = dir.path().join(format!("{number:02}.png"));
            let saved = match coloured == Some(number) {
                true => RgbImage::from_pixel(3, 3, Rgb([number, 200, 1])).save(&path),
                false => GrayImage::from_pixel(3, 3, Luma([number])).save(&path),
            };
            saved.expect("image");
            path
        };
        let files = (0..20).map(file).collect();
        (dir, files)
    }

    #[test]
    fn one_coloured_image_makes_a_set_coloured() {
        for (coloured, channels) in
            [(None, Channels::Grey), (Some(0), Channels::Colour), (Some(19), Channels::Colour)]
        {
            let (_dir, mut files) = files(coloured);
            files.push("nowhere.png".into());
            assert_eq!(channels_of(&files.iter().collect::<Vec<_>>()), channels);
        }
    }

    #[test]
    fn images_are_the_same_in_memory_and_in_a_file() -> Result<(), Error> {
        let (dir, files) = files(Some(3));
        let files: Vec<&PathBuf> = files.iter().collect();
        let expected =
            (0..20).flat_map(|number| if number == 3 { [3, 200, 1] } else { [number; 3] }.repeat(4));
        let expected = Pixels::from(expected.collect::<Vec<u8>>());
        for most in [0, usize::MAX] {
            let scratch = Scratch { folder: Some(dir.path()), most };
            let last = Cell::new((0, 0));
            let report = |done, all| last.set((done, all));
            let decoded = decode_files(&files, Form::colour(2), &scratch, Progress::to(&report))?;
            assert_eq!(matches!(decoded.pixels, Pixels::File(_)), most == 0);
            assert_eq!((&decoded.pixels, last.get()), (&expected, (20, 20)));
            let grey = decode_files(&files, Form::grey(2), &scratch, Progress::NONE)?;
            let inverted = grey.on_paper(Some(true), &scratch)?;
            assert_eq!((&*inverted.pixels.get(8..12), inverted.inverted), ([253; 4].as_slice(), true));
        }
        Ok(())
    }

    #[test]
    fn grey_images_are_inverted_and_coloured_ones_refuse_it() -> Result<(), Error> {
        let pixels = || Pixels::from(vec![0, 100, 255]);
        let decoded = |channels, is_light| Decoded { channels, pixels: pixels(), is_light };
        let memory = Scratch::new(None);
        let grey = decoded(Channels::Grey, true).on_paper(None, &memory)?;
        assert_eq!((grey.pixels, grey.paper, grey.inverted), (vec![255, 155, 0].into(), 0, true));
        for (is_light, paper) in [(true, 255), (false, 0)] {
            let colour = decoded(Channels::Colour, is_light).on_paper(None, &memory)?;
            assert_eq!((colour.pixels, colour.paper, colour.inverted), (pixels(), paper, false));
        }
        assert!(matches!(
            decoded(Channels::Colour, true).on_paper(Some(true), &memory),
            Err(Error::InvertedColour)
        ));
        Ok(())
    }
}
