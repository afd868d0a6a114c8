//! Decodes PNG and JPEG files to pixels, grey or in colour. Files are not trusted.

use std::io::Cursor;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

pub use super::raster::Raster;
use super::{Channels, Error};

/// Maximum number of pixels of an Omniglot drawing: ten times the side of an official one. A hostile archive could hold
/// thousands of drawings that decode to millions of pixels from a kilobyte each.
pub const DRAWING: u64 = 1 << 20;
/// Maximum number of pixels of a photograph; nearly all cameras stay below it.
pub const PHOTOGRAPH: u64 = 1 << 26;

/// Maximum height and width, in pixels, since resizing allocates a row of that length per new column.
const MAX_SIDE: u32 = 16_384;
/// Maximum bytes per decoded pixel: four channels of 16 bits. Decoding needs up to half as much besides.
const PIXEL_BYTES: u64 = 8;
/// Larger images are decoded one at a time, which bounds the memory of all threads together: with 16 threads, 200 MB each
/// and 800 MB once.
const LARGE: u64 = 1 << 24;
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Decodes the image in `bytes`, read from `path`, to these `channels` (see [`Raster::new`]). Transparent pixels are white,
/// and of an animation the first frame is returned.
///
/// # Errors
/// Returns [`Error::Decode`] if the file is not PNG or JPEG, is damaged, or has more than `max` pixels.
pub fn decode(bytes: &[u8], path: &Path, max: u64, channels: Option<Channels>) -> Result<Raster, Error> {
    let failed = |reason: String| Error::Decode { path: path.to_path_buf(), reason };
    let too_large = || failed(format!("it has more than {max} pixels, or a side of more than {MAX_SIDE}"));
    let damaged = |error: ImageError| match error {
        ImageError::Limits(_) => too_large(),
        error => failed(error.to_string()),
    };
    let mut reader =
        ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|error| damaged(error.into()))?;
    match reader.format() {
        Some(ImageFormat::Png) => {}
        Some(ImageFormat::Jpeg) if is_complete(bytes) => {}
        Some(ImageFormat::Jpeg) => return Err(failed("the JPEG file is cut short".into())),
        _ => return Err(failed("it is neither PNG nor JPEG".into())),
    }
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(max * PIXEL_BYTES);
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(damaged)?;
    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    if pixels > max {
        return Err(too_large());
    }
    let _alone = (pixels > LARGE).then(|| ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(Raster::new(DynamicImage::from_decoder(decoder).map_err(damaged)?, channels))
}

/// Whether a JPEG file is complete. The decoder would fill missing pixels with grey.
fn is_complete(jpeg: &[u8]) -> bool {
    // Bytes that may follow 0xff within the pixel data or before a marker, without being a marker.
    let is_marker = |byte: u8| !matches!(byte, 0x00 | 0x01 | 0xd0..=0xd7 | 0xff);
    let mut rest = jpeg;
    while let Some(at) = rest.windows(2).position(|pair| pair[0] == 0xff && is_marker(pair[1])) {
        let marker = rest[at + 1];
        rest = &rest[at + 2..];
        let length = match (marker, rest) {
            (0xd9, _) => return true,
            (0xd8, _) => 0,
            (_, [high, low, ..]) => u16::from_be_bytes([*high, *low]).into(),
            _ => return false,
        };
        let Some(behind) = rest.get(length..) else { return false };
        rest = behind;
    }
    false
}

#[cfg(test)]
mod tests {
    use std::iter::repeat_n;

    use image::{GrayImage, ImageBuffer, Luma, LumaA, Rgb, RgbImage};

    use super::*;

    const GREY: Option<Channels> = Some(Channels::Grey);

    fn encoded(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(vec![]);
        image.into().write_to(&mut bytes, format).expect("memory");
        bytes.into_inner()
    }

    fn pixels(bytes: &[u8]) -> Vec<u8> {
        decode(bytes, Path::new("a.png"), PHOTOGRAPH, GREY).expect("an image").pixels
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
        assert_eq!((grey.width, grey.height), (4, 1));
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
    fn cmyk_becomes_brightness() {
        let mean = |inks| pixels(&cmyk(inks)).iter().map(|pixel| u32::from(*pixel)).sum::<u32>() / 64;
        assert!(mean([255; 4]) >= 254, "paper");
        assert!(mean([255, 255, 255, 0]) <= 1, "black");
        assert!(mean([0, 0, 0, 255]) <= 1, "all other colours");
        assert!((120..=136).contains(&mean([255, 255, 255, 128])), "grey");
        let [cyan, yellow] = [mean([0, 255, 255, 255]), mean([255, 255, 0, 255])];
        assert!(100 < cyan && cyan < yellow && yellow < 254, "cyan {cyan}, yellow {yellow}");
    }

    #[test]
    fn other_files_are_refused_by_name() {
        let sound = encoded(GrayImage::new(3, 3), ImageFormat::Png);
        let other = [b"GIF89a\x01\0\x01\0\0\0\0;".as_slice(), b"hello", b"", b"BM", b"\0", b"\xff\xd8\xff"];
        for bytes in other.into_iter().chain([&sound[..8], &sound[1..]]) {
            refusal(bytes, DRAWING);
        }
        for sizes in [[0, 1], [1, 0], [0, 0]] {
            refusal(&png(sizes, 8, 0, &[data(&[])]), DRAWING);
        }
    }

    #[test]
    fn huge_images_are_refused_before_memory_is_allocated() {
        let large = |sizes| png(sizes, 16, 6, &[data(&[])]);
        for (sizes, max) in [
            ([1025, 1024], DRAWING),
            ([8193, 8192], PHOTOGRAPH),
            ([MAX_SIDE + 1, 1], DRAWING),
            ([1, u32::MAX >> 1], PHOTOGRAPH),
            ([u32::MAX >> 1; 2], PHOTOGRAPH),
            ([u32::MAX; 2], PHOTOGRAPH),
        ] {
            let error = refusal(&large(sizes), max);
            let words = format!("more than {max} pixels, or a side of more than 16384");
            assert!(error.contains(&words) || sizes[0] == u32::MAX, "{sizes:?}: {error}");
        }
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
