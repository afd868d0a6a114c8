//! Image formats: which are read, and which are known by name only.

use image::ImageFormat;
use std::path::Path;

/// What a file is, judged by the ending of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// An image that is read.
    Image,
    /// An image of the format with this name, which is not read.
    Unread(&'static str),
    /// No image.
    Other,
}

/// The formats that are read: the format, its name, and the endings of its files.
const READ: &[(ImageFormat, &str, &[&str])] = &[
    (ImageFormat::Png, "PNG", &["png", "apng"]),
    (ImageFormat::Jpeg, "JPEG", &["jpg", "jpeg", "jpe", "jfif", "jif", "mpo"]),
    (ImageFormat::WebP, "WebP", &["webp"]),
    (ImageFormat::Gif, "GIF", &["gif"]),
    (ImageFormat::Bmp, "BMP", &["bmp", "dib"]),
];

/// A format that is not read: its name, the endings of its files, and how they begin after a number of bytes.
type Unread = (&'static str, &'static [&'static str], usize, &'static [&'static [u8]]);

/// The formats that are not read.
const UNREAD: &[Unread] = &[
    ("HEIC", &["heic", "heif", "hif"], 4, &[b"ftyphei", b"ftyphev", b"ftypmif1", b"ftypmsf1"]),
    ("AVIF", &["avif"], 4, &[b"ftypavi"]),
    ("TIFF", &["tif", "tiff"], 0, &[b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"]),
    ("JPEG XL", &["jxl"], 0, &[b"\xff\x0a", b"\0\0\0\x0cJXL "]),
    ("JPEG 2000", &["jp2", "j2k", "jpf", "jpx"], 0, &[b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51"]),
    ("camera raw", &["dng", "cr2", "cr3", "nef", "arw", "orf", "rw2", "raf"], 0, &[]),
    ("SVG", &["svg"], 0, &[b"<svg"]),
    ("Photoshop", &["psd"], 0, &[b"8BPS"]),
    ("Netpbm", &["ppm", "pgm", "pbm", "pnm"], 0, &[b"P1\n", b"P2\n", b"P3\n", b"P4\n", b"P5\n", b"P6\n"]),
    ("TGA", &["tga"], 0, &[]),
    ("OpenEXR", &["exr"], 0, &[b"\x76\x2f\x31\x01"]),
    ("icon", &["ico"], 0, &[b"\0\0\x01\0"]),
    ("PDF", &["pdf"], 0, &[b"%PDF"]),
];

/// What the file at `path` is, by the ending of its name.
pub fn ending(path: &Path) -> Ending {
    let ending = path.extension().unwrap_or_default().to_ascii_lowercase();
    let has = |endings: &[&str]| endings.iter().any(|known| ending == *known);
    if READ.iter().any(|(_, _, endings)| has(endings)) {
        return Ending::Image;
    }
    let unread = UNREAD.iter().find(|(_, endings, ..)| has(endings));
    unread.map_or(Ending::Other, |(name, ..)| Ending::Unread(name))
}

/// Whether files of `format` are read.
pub fn is_read(format: ImageFormat) -> bool {
    READ.iter().any(|(read, ..)| *read == format)
}

/// The format, among those that are not read, of a file with these `bytes`.
pub fn unread(bytes: &[u8]) -> Option<&'static str> {
    let begins =
        |skipped: usize, with: &[u8]| bytes.get(skipped..).is_some_and(|rest| rest.starts_with(with));
    UNREAD
        .iter()
        .find(|(_, _, skipped, beginnings)| beginnings.iter().any(|with| begins(*skipped, with)))
        .map(|(name, ..)| *name)
}

/// The names of the formats that are read, as in "PNG, JPEG or GIF".
pub fn readable() -> String {
    let names: Vec<&str> = READ.iter().map(|(_, name, _)| *name).collect();
    match names.split_last() {
        Some((last, first)) if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        _ => names.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_by_name_and_by_content() {
        for name in ["a.png", "A.PNG", "b.JPEG", "c.jfif", "d.jpe", "e.webp", "f.gif", "g.bmp"] {
            assert_eq!(ending(Path::new(name)), Ending::Image, "{name}");
        }
        assert_eq!(ending(Path::new("IMG_1.HEIC")), Ending::Unread("HEIC"));
        assert_eq!(ending(Path::new("labels.csv")), Ending::Other);
        assert_eq!(ending(Path::new("png")), Ending::Other);
        assert_eq!(unread(b"\0\0\0\x18ftypheic\0\0"), Some("HEIC"));
        assert_eq!(unread(b"\0\0\0\x20ftypavif"), Some("AVIF"));
        assert_eq!(unread(b"hello"), None);
        assert_eq!(readable(), "PNG, JPEG, WebP, GIF or BMP");
    }
}
