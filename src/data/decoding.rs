//! Decodes the image files of a set, in parallel and in blocks, so that a set need not fit into memory.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use image::ImageReader;
use rayon::prelude::*;

use super::decode::{PHOTOGRAPH, decode, decode_to};
use super::findings::Ink;
use super::fit::Form;
use super::pixels::{Pixels, Scratch};
use super::source::Progress;
use super::{Channels, Error};
use crate::support::atomic_file;
use crate::support::classified::Classified;
use bilevel::panics::catch;

/// The largest image file accepted; photographs of 200 megapixels are smaller.
const MAX_BYTES: u64 = 256 << 20;
/// The most bytes of decoded squares of one block; a block has at least one image for each thread.
const BLOCK_BYTES: usize = 32 << 20;
/// The most files that are looked at to find out whether a set is in colour.
const SAMPLE: usize = 1000;
/// A set is in colour if more than one of this many images has colours.
const FEW: usize = 20;

/// The images of many files, all of one form.
pub struct Decoded {
    /// Values of a pixel.
    pub channels: Channels,
    /// `[images, size, size, channels]`, white 255, without the files that are damaged.
    pub pixels: Pixels,
    /// Mean brightness of each image's outermost pixels, 0 to 255.
    pub borders: Vec<f64>,
    /// Number of images that have colours.
    pub coloured: usize,
    /// The faults of damaged files, by the files' indices.
    pub faults: BTreeMap<usize, Error>,
}

/// A decoded file: a square, the brightness of its border, and whether it has colours.
struct Square {
    pixels: Vec<u8>,
    border: f64,
    is_coloured: bool,
}

/// The channels of a set of `files`: three if more than one image in 20 has colours, judged by 1000 images spread evenly over
/// the set. Files that cannot be decoded have none.
pub fn channels_of(files: &[&PathBuf]) -> Channels {
    let has_colours = |path: &&PathBuf| {
        let read = || {
            let bytes = atomic_file::read(path, MAX_BYTES).ok()?;
            let reader = ImageReader::new(Cursor::new(&bytes)).with_guessed_format().ok()?;
            // Files that store grey need not be decoded.
            image::ImageDecoder::color_type(&reader.into_decoder().ok()?).has_color().then_some(())?;
            decode(&bytes, path, PHOTOGRAPH, Channels::Grey).ok()
        };
        // A decoder that panics is a fault of the file, which is reported when all are read.
        catch(read).ok().flatten().is_some_and(|raster| raster.is_coloured)
    };
    let sample = files.len().min(SAMPLE);
    let coloured =
        (0..sample).into_par_iter().filter(|at| has_colours(&files[at * files.len() / sample])).count();
    if coloured * FEW > sample { Channels::Colour } else { Channels::Grey }
}

/// Decodes `files`, in their order.
///
/// # Errors
/// Returns an error if the system fails, which is no fault of a file, or pixels cannot be written to the scratch folder.
pub fn decode_files(
    files: &[&PathBuf],
    form: Form,
    scratch: &Scratch,
    progress: Progress,
) -> Result<Decoded, Error> {
    let values = form.size * form.size * form.channels.count();
    let block = (BLOCK_BYTES / values).max(rayon::current_num_threads());
    let mut writer = scratch.writer(files.len() * values);
    let (mut borders, mut coloured, mut faults) = (Vec::with_capacity(files.len()), 0, BTreeMap::new());
    for (number, paths) in files.chunks(block).enumerate() {
        let squares: Vec<Result<Square, Error>> = paths.par_iter().map(|path| square(path, form)).collect();
        for (index, square) in squares.into_iter().enumerate() {
            match square {
                Ok(Square { pixels, border, is_coloured }) => {
                    borders.push(border);
                    coloured += usize::from(is_coloured);
                    writer.write(&pixels)?;
                }
                Err(fault) if fault.is_user_error() => {
                    faults.insert(number * block + index, fault);
                }
                Err(failure) => return Err(failure),
            }
        }
        progress.report(number * block + paths.len(), files.len());
    }
    Ok(Decoded { channels: form.channels, pixels: writer.finish(), borders, coloured, faults })
}

fn square(path: &Path, form: Form) -> Result<Square, Error> {
    let bytes = atomic_file::read(path, MAX_BYTES).map_err(Error::io("read the image", path))?;
    decode_to(&bytes, path, PHOTOGRAPH, form.channels, |raster| {
        let border = raster.border();
        Square {
            pixels: raster.square(form.size, form.fit),
            border: border.iter().sum::<f64>() / border.len() as f64,
            is_coloured: raster.is_coloured,
        }
    })
}

/// Images as a network sees them.
pub struct OnPaper {
    /// Grey images have ink 255; those in colour are as they are.
    pub pixels: Pixels,
    /// The byte of what an image that is moved leaves behind.
    pub paper: u8,
    /// Whether dark or light is ink, in grey images.
    pub ink: Option<Ink>,
}

impl Decoded {
    /// Inverts grey images if dark is ink: if `invert` says so, or, with `None`, if their borders are light. Colours are
    /// never inverted; their paper is white if their borders are light, and otherwise black.
    ///
    /// # Errors
    /// Returns an error if coloured images are to be inverted, or pixels cannot be written to the scratch folder.
    pub fn on_paper(self, invert: Option<bool>, scratch: &Scratch) -> Result<OnPaper, Error> {
        let Self { channels, pixels, borders, .. } = self;
        let ink = Ink::decide(&borders, invert);
        match channels {
            Channels::Grey => {
                let pixels = if ink.inverted { inverse(pixels, scratch)? } else { pixels };
                Ok(OnPaper { pixels, paper: 0, ink: Some(ink) })
            }
            Channels::Colour if invert == Some(true) => Err(Error::InvertedColour),
            Channels::Colour => {
                let is_light = Ink::decide(&borders, None).inverted;
                Ok(OnPaper { pixels, paper: if is_light { 255 } else { 0 }, ink: None })
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
    let mut writer = scratch.writer(pixels.len());
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

    /// Twenty files, of which all are grey but those `coloured`.
    fn files(coloured: &[u8]) -> (TempDir, Vec<PathBuf>) {
        let dir = TempDir::new().expect("dir");
        let file = |number: u8| {
            let path = dir.path().join(format!("{number:02}.png"));
            let saved = match coloured.contains(&number) {
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
    fn more_than_a_few_coloured_images_make_a_set_coloured() {
        for (coloured, channels) in
            [(&[][..], Channels::Grey), (&[19], Channels::Grey), (&[0, 19], Channels::Colour)]
        {
            let (_dir, mut files) = files(coloured);
            files.push("nowhere.png".into());
            assert_eq!(channels_of(&files.iter().collect::<Vec<_>>()), channels, "{coloured:?}");
        }
        assert_eq!(channels_of(&[]), Channels::Grey);
    }

    #[test]
    fn images_are_the_same_in_memory_and_in_a_file() -> Result<(), Error> {
        let (dir, files) = files(&[3]);
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
            assert_eq!((decoded.coloured, decoded.borders[4]), (1, 4.0));
            let grey = decode_files(&files, Form::grey(2), &scratch, Progress::NONE)?;
            let inverted = grey.on_paper(Some(true), &scratch)?;
            assert_eq!(&*inverted.pixels.get(8..12), [253; 4].as_slice());
            assert!(inverted.ink.is_some_and(|ink| ink.inverted && ink.given && ink.images == 20));
        }
        Ok(())
    }

    #[test]
    fn grey_images_are_inverted_and_coloured_ones_refuse_it() -> Result<(), Error> {
        let pixels = || Pixels::from(vec![0, 100, 255]);
        let decoded = |channels, border| Decoded {
            channels,
            pixels: pixels(),
            borders: vec![border],
            coloured: 0,
            faults: BTreeMap::new(),
        };
        let memory = Scratch::new(None);
        let grey = decoded(Channels::Grey, 250.0).on_paper(None, &memory)?;
        assert_eq!((grey.pixels, grey.paper), (vec![255, 155, 0].into(), 0));
        assert!(grey.ink.is_some_and(|ink| ink.inverted && !ink.given));
        for (border, paper) in [(250.0, 255), (5.0, 0)] {
            for invert in [None, Some(false)] {
                let colour = decoded(Channels::Colour, border).on_paper(invert, &memory)?;
                assert_eq!((colour.pixels, colour.paper, colour.ink), (pixels(), paper, None));
            }
        }
        assert!(matches!(
            decoded(Channels::Colour, 250.0).on_paper(Some(true), &memory),
            Err(Error::InvertedColour)
        ));
        Ok(())
    }
}
