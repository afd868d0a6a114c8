//! Decodes image files to pixels, grey or in colour, as they are shown: turned as their EXIF data say, on white. Files are not trusted.
//!
//! Colour profiles (ICC) are ignored: numbers are taken as sRGB, as most viewers without colour management do.

use std::io::Cursor;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

use super::format::{is_read, readable, unread};
pub use super::raster::{Raster, brightness};
use super::{Channels, Error};
use bilevel::panics::catch;

/// Maximum number of pixels of an Omniglot drawing: ten times the side of an official one. A hostile archive could hold
/// thousands of drawings that decode to millions of pixels from a kilobyte each.
pub const DRAWING: u64 = 1 << 20;
/// Maximum number of pixels of a photograph; telephones make 200 million.
pub const PHOTOGRAPH: u64 = 1 << 28;

/// Maximum height and width, in pixels; JPEG allows no more. Resizing allocates a row of that length per new column.
const MAX_SIDE: u32 = 65_535;
/// Maximum bytes of a decoded image: a photograph of [`PHOTOGRAPH`] pixels in three channels of 8 bits, or of fewer pixels
/// with more bits. Decoding needs up to as much besides.
const MAX_DECODED: u64 = 3 * PHOTOGRAPH;
/// Larger images are decoded and reduced one at a time, which bounds the memory of all threads together: with 16 threads,
/// 200 MB each and 1.6 GB once.
const LARGE: u64 = 1 << 24;
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Decodes the image in `bytes`, read from `path`, to these `channels` (see [`Raster::new`]). Transparent pixels are white, and
/// of an animation the first frame is returned. An EXIF orientation is applied.
///
/// # Errors
/// Returns [`Error::Decode`] if the file has a format that is not read, is damaged, or has more than `max` pixels, and if its
/// decoder panics.
pub fn decode(bytes: &[u8], path: &Path, max: u64, channels: Channels) -> Result<Raster, Error> {
    decode_to(bytes, path, max, channels, |raster| raster)
}

/// What `make` makes of the image that [`decode`] returns. No other large image is decoded meanwhile, which bounds memory.
///
/// # Errors
/// As for [`decode`].
pub fn decode_to<T>(
    bytes: &[u8],
    path: &Path,
    max: u64,
    channels: Channels,
    make: impl FnOnce(Raster) -> T,
) -> Result<T, Error> {
    let image = caught(|| picture(bytes, max));
    let (image, _alone) = image.map_err(|reason| Error::Decode { path: path.to_path_buf(), reason })?;
    Ok(make(Raster::new(image, channels)))
}

/// The result of `decode`, where a panic is an error too.
fn caught<T>(decode: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch(decode).unwrap_or_else(|panic| {
        let (message, _place) = panic.rsplit_once(" (").unwrap_or((&panic, ""));
        Err(format!("its decoder fails ({message})"))
    })
}

/// The image in `bytes` as it is shown, or why it cannot be decoded. A large image comes with a lock, to be held as long as
/// the image.
fn picture(bytes: &[u8], max: u64) -> Result<(DynamicImage, Option<MutexGuard<'static, ()>>), String> {
    let too_large = || format!("it has more than {max} pixels, or a side of more than {MAX_SIDE}");
    let damaged = |error: ImageError| match error {
        ImageError::Limits(_) => too_large(),
        error => error.to_string(),
    };
    let mut reader =
        ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|error| damaged(error.into()))?;
    match reader.format() {
        _ if bytes.is_empty() => return Err("it is empty".into()),
        Some(ImageFormat::Jpeg) => check_jpeg(bytes)?,
        Some(format) if is_read(format) => {}
        _ => {
            return Err(match unread(bytes) {
                Some(name) => format!("it is a {name} file, which is not read; convert it to PNG or JPEG"),
                None => format!("it is not {}", readable()),
            });
        }
    }
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some((max * 8).min(MAX_DECODED));
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(damaged)?;
    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    if pixels == 0 {
        return Err("it has no pixels".into());
    }
    if pixels > max {
        return Err(too_large());
    }
    if decoder.total_bytes() > MAX_DECODED {
        let [found, most] = [decoder.total_bytes(), MAX_DECODED].map(|bytes| bytes >> 20);
        return Err(format!(
            "decoded, it would take {found} MB, and the limit is {most} MB; make it smaller"
        ));
    }
    // An orientation that cannot be read is none, as in viewers.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let alone = (pixels > LARGE).then(|| ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner));
    let mut image = DynamicImage::from_decoder(decoder).map_err(damaged)?;
    image.apply_orientation(orientation);
    Ok((image, alone))
}

/// Checks that a JPEG file is complete, since the decoder would fill missing pixels with grey, and that it has components that
/// are colours.
fn check_jpeg(jpeg: &[u8]) -> Result<(), String> {
    // Bytes that may follow 0xff within the pixel data or before a marker, without being a marker.
    let is_marker = |byte: u8| !matches!(byte, 0x00 | 0x01 | 0xd0..=0xd7 | 0xff);
    let cut = || "the JPEG file is cut short".to_string();
    let mut rest = jpeg;
    while let Some(at) = rest.windows(2).position(|pair| pair[0] == 0xff && is_marker(pair[1])) {
        let marker = rest[at + 1];
        rest = &rest[at + 2..];
        let length = match (marker, rest) {
            (0xd9, _) => return Ok(()),
            (0xd8, _) => 0,
            (_, [high, low, ..]) => u16::from_be_bytes([*high, *low]).into(),
            _ => return Err(cut()),
        };
        let Some((segment, behind)) = rest.split_at_checked(length) else { return Err(cut()) };
        // A frame header: length, bits, height, width, number of components.
        let is_frame = matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc);
        let components = segment.get(7).filter(|components| is_frame && !matches!(components, 1 | 3 | 4));
        if let Some(components) = components {
            return Err(format!("it has {components} colour components; only 1, 3 or 4 are supported"));
        }
        rest = behind;
    }
    Err(cut())
}

#[cfg(test)]
mod tests {
    use std::iter::repeat_n;

    use image::{GrayImage, ImageBuffer, Luma, LumaA, Rgb, RgbImage};

    use super::*;

    const GREY: Channels = Channels::Grey;

    fn encoded(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(vec![]);
        image.into().write_to(&mut bytes, format).expect("memory");
        bytes.into_inner()
    }

    fn pixels(bytes: &[u8]) -> Vec<u8> {
        decode(bytes, Path::new("a.png"), PHOTOGRAPH, GREY).expect("an image").pixels
    }

    fn in_colour(bytes: &[u8]) -> Vec<u8> {
        decode(bytes, Path::new("a.png"), PHOTOGRAPH, Channels::Colour).expect("an image").pixels
    }

    fn refusal(bytes: &[u8], max: u64) -> String {
        let error = decode(bytes, Path::new("dir/a.png"), max, GREY).expect_err("no image").to_string();
        assert!(error.contains("`dir/a.png`") && error.contains("replace or remove it"), "{error}");
        error
    }

    /// A PNG file's chunk.
    fn chunk(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
        let bit = |crc: u32, _| (crc >> 1) ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 };
        let checked = name.iter().chain(content);
        let crc = checked.fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), bit));
        [&(content.len() as u32).to_be_bytes(), name, content, &(!crc).to_be_bytes()].concat()
    }

    /// `bytes` as a zlib stream, stored without compression.
    fn zlib(bytes: &[u8]) -> Vec<u8> {
        let length = bytes.len() as u16;
        let sums = bytes.iter().fold([1_u32, 0], |[a, b], byte| {
            let a = (a + u32::from(*byte)) % 65_521;
            [a, (a + b) % 65_521]
        });
        let adler = (sums[1] << 16) + sums[0];
        let head = [0x78, 1, 1];
        [&head, &length.to_le_bytes()[..], &(!length).to_le_bytes(), bytes, &adler.to_be_bytes()].concat()
    }

    /// A PNG file of `chunks` after the first, which holds size, bits per channel and colour type.
    fn png([width, height]: [u32; 2], bits: u8, colour: u8, chunks: &[Vec<u8>]) -> Vec<u8> {
        let sizes = [width.to_be_bytes(), height.to_be_bytes()].concat();
        let head = chunk(b"IHDR", &[&sizes, &[bits, colour, 0, 0, 0][..]].concat());
        [b"\x89PNG\r\n\x1a\n", &head[..], &chunks.concat(), &chunk(b"IEND", b"")].concat()
    }

    /// A chunk of pixels; each row starts with 0, for no filter.
    fn data(rows: &[u8]) -> Vec<u8> {
        chunk(b"IDAT", &zlib(rows))
    }

    /// A JPEG file of 8×8 equal pixels in CMYK. Each channel is 0, 128 or 255; as in the files of image editors, 255 is no
    /// ink.
    fn cmyk(inks: [u8; 4]) -> Vec<u8> {
        let segment = |marker: u8, content: &[u8]| {
            let length = (content.len() as u16 + 2).to_be_bytes();
            [&[0xff, marker], &length[..], content].concat()
        };
        // A block is coded as its mean, in units of 255/8 above 128: the number of bits, these bits, and an end code.
        let codes = inks.map(|ink| match ink {
            0 => "100110",
            128 => "00",
            _ => "101000",
        });
        let bits = codes.concat();
        let bits = bits.bytes().chain(repeat_n(b'1', 7)).collect::<Vec<_>>();
        let byte = |bits: &[u8]| bits.iter().fold(0, |byte, bit| 2 * byte + bit - b'0');
        let blocks: Vec<u8> = bits.as_chunks::<8>().0.iter().map(|bits| byte(bits)).collect();
        let component = |id: u8| [id, 0x11, 0];
        let components = [1, 2, 3, 4].map(component).concat();
        let table = |class: u8, counts: [u8; 2], symbols: &[u8]| {
            segment(0xc4, &[&[class], &counts[..], &[0; 14], symbols].concat())
        };
        [
            vec![0xff, 0xd8],
            segment(0xee, b"Adobe\0\x64\0\0\0\0\0"),
            segment(0xdb, &[&[0], &[255; 64][..]].concat()),
            segment(0xc0, &[&[8, 0, 8, 0, 8, 4], &components[..]].concat()),
            table(0x00, [1, 1], &[0, 3]),
            table(0x10, [1, 0], &[0]),
            segment(0xda, &[4, 1, 0, 2, 0, 3, 0, 4, 0, 0, 63, 0]),
            blocks,
            vec![0xff, 0xd9],
        ]
        .concat()
    }

    #[test]
    fn transparent_pixels_are_white() -> Result<(), Error> {
        let pixels = [[0, 255], [0, 0], [0, 128], [200, 255]];
        let image = image::GrayAlphaImage::from_fn(4, 1, |x, _| LumaA(pixels[x as usize]));
        let grey = decode(&encoded(image, ImageFormat::Png), Path::new("a.png"), DRAWING, GREY)?;
        assert_eq!((grey.width, grey.height, grey.is_coloured), (4, 1, false));
        assert_eq!(grey.pixels, [0, 255, 127, 200]);
        Ok(())
    }

    #[test]
    fn jpeg_and_colour_become_brightness() {
        let image = RgbImage::from_pixel(8, 8, Rgb([255, 255, 255]));
        assert!(pixels(&encoded(image, ImageFormat::Jpeg)).iter().all(|pixel| *pixel > 250));
    }

    #[test]
    fn pixels_of_any_depth_keep_their_brightness() {
        let grey = [0_u16, 0x8080, 0xffff];
        let image = ImageBuffer::from_fn(3, 1, |x, _| Luma([grey[x as usize]]));
        assert_eq!(pixels(&encoded(image, ImageFormat::Png)), [0, 128, 255]);
        let image = ImageBuffer::from_fn(3, 1, |x, _| Rgb([grey[x as usize]; 3]));
        assert_eq!(pixels(&encoded(image, ImageFormat::Png)), [0, 128, 255]);
        // One bit per pixel: grey, then an index into a palette.
        assert_eq!(pixels(&png([3, 1], 1, 0, &[data(&[0, 0b1010_0000])])), [255, 0, 255]);
        let palette = chunk(b"PLTE", &[10, 10, 10, 250, 250, 250]);
        let indexed = |chunks: &[Vec<u8>]| png([3, 1], 1, 3, chunks);
        assert_eq!(pixels(&indexed(&[palette.clone(), data(&[0, 0b1010_0000])])), [250, 10, 250]);
        let transparent = chunk(b"tRNS", &[255, 0]);
        assert_eq!(pixels(&indexed(&[palette, transparent, data(&[0, 0b0100_0000])])), [10, 255, 10]);
        refusal(&indexed(&[data(&[0, 0])]), DRAWING);
    }

    #[test]
    fn animations_decode_to_their_first_frame() {
        let frame = |number: u32| {
            let sizes = [number, 2, 1, 0, 0].map(u32::to_be_bytes).concat();
            chunk(b"fcTL", &[&sizes, &[0, 1, 0, 1, 0, 0][..]].concat())
        };
        let second = chunk(b"fdAT", &[&2_u32.to_be_bytes(), &zlib(&[0, 9, 9])[..]].concat());
        let control = chunk(b"acTL", &[0, 0, 0, 2, 0, 0, 0, 0]);
        let chunks = [control, frame(0), data(&[0, 3, 4]), frame(1), second];
        assert_eq!(pixels(&png([2, 1], 8, 0, &chunks)), [3, 4]);
    }

    #[test]
    fn lossless_formats_have_the_same_pixels() {
        let image = RgbImage::from_fn(7, 5, |x, y| {
            Rgb([[0, 0, 0], [255, 255, 255], [255, 0, 0]][(x * y) as usize % 3])
        });
        for format in [ImageFormat::Png, ImageFormat::Bmp, ImageFormat::Gif, ImageFormat::WebP] {
            assert_eq!(in_colour(&encoded(image.clone(), format)), *image, "{format:?}");
        }
    }

    /// `jpeg` with the EXIF orientation `orientation`.
    fn oriented(jpeg: &[u8], orientation: u8) -> Vec<u8> {
        // A TIFF header and a directory with one entry: tag 0x112, one 16-bit number.
        let tiff =
            [b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".as_slice(), &[orientation, 0, 0, 0, 0, 0, 0]]
                .concat();
        let segment = [b"Exif\0\0".as_slice(), &tiff].concat();
        let length = (segment.len() as u16 + 2).to_be_bytes();
        [&jpeg[..2], &[0xff, 0xe1], &length, &segment, &jpeg[2..]].concat()
    }

    #[test]
    fn exif_orientation_is_applied() {
        // Four quarters of 16 pixels a side, which JPEG keeps apart: numbers from left to right, then down.
        let jpeg = encoded(
            GrayImage::from_fn(48, 32, |x, y| {
                Luma([[0, 60, 120, 180, 240, 255][(x / 16 + 3 * (y / 16)) as usize]])
            }),
            ImageFormat::Jpeg,
        );
        let shown = |orientation| {
            let image =
                decode(&oriented(&jpeg, orientation), Path::new("a.jpg"), DRAWING, GREY).expect("sound");
            let at = |x: usize, y: usize| image.pixels[(16 * y + 8) * image.width + 16 * x + 8];
            let (columns, rows) = (image.width / 16, image.height / 16);
            let nearest = |grey: u8| {
                [0_u8, 60, 120, 180, 240, 255]
                    .iter()
                    .position(|known| known.abs_diff(grey) < 7)
                    .expect("known")
            };
            (0..rows).map(|y| (0..columns).map(|x| nearest(at(x, y))).collect::<Vec<_>>()).collect::<Vec<_>>()
        };
        // As in the EXIF standard: where row 0 and column 0 of the stored image are seen.
        assert_eq!(shown(1), [[0, 1, 2], [3, 4, 5]]);
        assert_eq!(shown(2), [[2, 1, 0], [5, 4, 3]]);
        assert_eq!(shown(3), [[5, 4, 3], [2, 1, 0]]);
        assert_eq!(shown(4), [[3, 4, 5], [0, 1, 2]]);
        assert_eq!(shown(5), [[0, 3], [1, 4], [2, 5]]);
        assert_eq!(shown(6), [[3, 0], [4, 1], [5, 2]]);
        assert_eq!(shown(7), [[5, 2], [4, 1], [3, 0]]);
        assert_eq!(shown(8), [[2, 5], [1, 4], [0, 3]]);
        assert_eq!(shown(9), shown(1), "no orientation");
    }

    #[test]
    fn a_decoder_that_panics_is_a_fault_of_the_file() {
        let panics = || -> Result<(), String> { panic!("index {} out of bounds", 2) };
        assert_eq!(caught(panics), Err("its decoder fails (index 2 out of bounds)".into()));
        assert_eq!(caught(|| Ok(3)), Ok(3));
    }

    #[test]
    fn components_that_are_no_colours_are_refused() {
        let mut jpeg = encoded(GrayImage::new(8, 8), ImageFormat::Jpeg);
        let frame = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).expect("a frame");
        jpeg[frame + 9] = 2;
        assert!(refusal(&jpeg, PHOTOGRAPH).contains("2 colour components"));
    }

    #[test]
    fn cmyk_becomes_brightness_or_colour() {
        let mean = |inks| pixels(&cmyk(inks)).iter().map(|pixel| u32::from(*pixel)).sum::<u32>() / 64;
        assert!(mean([255; 4]) >= 254, "paper");
        assert!(mean([255, 255, 255, 0]) <= 1, "black");
        assert!(mean([0, 0, 0, 255]) <= 1, "all other colours");
        assert!((120..=136).contains(&mean([255, 255, 255, 128])), "grey");
        let [cyan, yellow] = [mean([0, 255, 255, 255]), mean([255, 255, 0, 255])];
        assert!(100 < cyan && cyan < yellow && yellow < 254, "cyan {cyan}, yellow {yellow}");
        for (inks, colour) in [
            ([0, 255, 255, 255], [0, 255, 255]),
            ([255, 0, 255, 255], [255, 0, 255]),
            ([255, 255, 0, 255], [255, 255, 0]),
            ([0, 255, 255, 128], [0, 128, 128]),
        ] {
            let found = in_colour(&cmyk(inks));
            assert!(
                found.iter().zip(colour.iter().cycle()).all(|(a, b)| a.abs_diff(*b) < 9),
                "{:?}",
                &found[..3]
            );
        }
    }

    #[test]
    fn other_files_are_refused_by_name() {
        let sound = encoded(GrayImage::new(3, 3), ImageFormat::Png);
        let other = [b"GIF89a\x01\0\x01\0\0\0\0;".as_slice(), b"hello", b"", b"BM", b"\0", b"\xff\xd8\xff"];
        for bytes in other.into_iter().chain([&sound[..8], &sound[1..]]) {
            refusal(bytes, DRAWING);
        }
        assert!(refusal(b"<html>404</html>", DRAWING).contains("it is not PNG, JPEG"));
        let heic = [&b"\0\0\0\x18ftypheic"[..], &[0; 50]].concat();
        assert!(
            refusal(&heic, DRAWING).contains("a HEIC file, which is not read; convert it to PNG or JPEG")
        );
        for sizes in [[0, 1], [1, 0], [0, 0]] {
            refusal(&png(sizes, 8, 0, &[data(&[])]), DRAWING);
        }
    }

    #[test]
    fn huge_images_are_refused_before_memory_is_allocated() {
        let large = |sizes| png(sizes, 16, 6, &[data(&[])]);
        for (sizes, max) in [
            ([1025, 1024], DRAWING),
            ([16_385, 16_384], PHOTOGRAPH),
            ([MAX_SIDE + 1, 1], DRAWING),
            ([1, u32::MAX >> 1], PHOTOGRAPH),
            ([u32::MAX >> 1; 2], PHOTOGRAPH),
            ([u32::MAX; 2], PHOTOGRAPH),
        ] {
            let error = refusal(&large(sizes), max);
            let words = format!("more than {max} pixels, or a side of more than 65535");
            assert!(error.contains(&words) || sizes[0] == u32::MAX, "{sizes:?}: {error}");
        }
        // As many pixels as a photograph may have, but in four channels of 16 bits.
        refusal(&large([16_384, 16_384]), PHOTOGRAPH);
        let mut jpeg = encoded(GrayImage::new(8, 8), ImageFormat::Jpeg);
        let frame = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).expect("a frame") + 5;
        jpeg[frame..frame + 4].copy_from_slice(&[0xff; 4]);
        assert!(refusal(&jpeg, PHOTOGRAPH).contains("more than"));

        let max = encoded(GrayImage::new(1024, 1024), ImageFormat::Png);
        assert!(decode(&max, Path::new("a.png"), DRAWING, GREY).is_ok());
        assert!(decode(&max, Path::new("a.png"), DRAWING - 1, GREY).is_err());
    }

    #[test]
    fn truncated_files_are_refused_where_pixels_are_missing() {
        let image = RgbImage::from_fn(19, 23, |x, y| Rgb([(x * y) as u8, (x * 7) as u8, (y * 11) as u8]));
        let jpeg = encoded(image.clone(), ImageFormat::Jpeg);
        for length in 0..jpeg.len() {
            refusal(&jpeg[..length], DRAWING);
        }
        let png = encoded(image, ImageFormat::Png);
        let all = pixels(&png);
        let read = (0..png.len()).filter(|length| {
            let cut = decode(&png[..*length], Path::new("a.png"), DRAWING, GREY);
            cut.is_ok_and(|cut| {
                assert_eq!(cut.pixels, all, "cut to {length} of {} bytes", png.len());
                true
            })
        });
        // Only checksums and the end chunk are missing, which hold no pixels.
        assert!(read.count() <= 24);
    }

    #[test]
    fn data_after_a_jpeg_is_ignored() {
        let mut jpeg = encoded(GrayImage::new(8, 8), ImageFormat::Jpeg);
        let alone = pixels(&jpeg);
        jpeg.extend(b"\xff\xda a film that a telephone made \xff\xc4\xff");
        assert_eq!(pixels(&jpeg), alone);
    }
}
