//! Errors of image data, from files on disk to episodes.

use std::io;
use std::path::{Path, PathBuf};

use super::{Dataset, Part};
use crate::support::classified::Classified;

/// An error of image data. Each message says what is wrong, where, and what to do.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
#[non_exhaustive]
pub enum Error {
    #[error("cannot {action} `{path}`: {source}")]
    Io { action: &'static str, path: PathBuf, source: io::Error },

    #[error("there is no folder `{path}`; check the path given with --data PATH")]
    NoFolder { path: PathBuf },

    #[error(
        "`{path}` holds {wanted}; run `metaburn data fetch {}` or point to a copy of {} with --data PATH",
        dataset.name, dataset.title
    )]
    Missing { path: PathBuf, wanted: String, dataset: &'static Dataset },

    #[error("`{path}` is damaged ({reason}); delete it and run `metaburn data fetch {}`", dataset.name)]
    Damaged { path: PathBuf, reason: String, dataset: &'static Dataset },

    #[error("`{path}` holds {found}; download it again with `metaburn data fetch {}`", dataset.name)]
    Incomplete { path: PathBuf, found: String, dataset: &'static Dataset },

    #[error("{bytes} bytes of pixels do not fit {labels} labels of images with {pixels} pixels")]
    Unpaired { pixels: usize, bytes: usize, labels: usize },

    #[error("label {label} is out of range; with {classes} classes, labels count from 0")]
    Label { label: usize, classes: usize },

    #[error("{asked} images are asked for, but there are {found}; ask for fewer")]
    TooFewImages { asked: usize, found: usize },

    #[error(
        "cannot make a fraction of {share} of the labels wrong with {classes} classes; \
         choose a fraction from 0 to 1 and at least two classes"
    )]
    Mislabelled { share: f64, classes: usize },

    #[error("cannot decode the image `{path}`: {reason}; replace or remove it")]
    Decode { path: PathBuf, reason: String },

    #[error("`{path}` holds no class folders; put each class's PNG or JPEG images in a folder of its own")]
    NoClasses { path: PathBuf },

    #[error("the class folder `{path}` holds no PNG or JPEG image; add images or remove the folder")]
    EmptyClass { path: PathBuf },

    #[error("`{path}` holds images and folders side by side; move the images into a class folder")]
    MixedFolder { path: PathBuf },

    #[error("`{path}` is nested too deep; images belong in class/ or group/class/")]
    TooDeep { path: PathBuf },

    #[error(
        "class `{class}` is in both the {first} and the {second} folder of `{path}`; \
         few-shot parts must not share a class: move it to one of them"
    )]
    SharedClass { path: PathBuf, class: String, first: Part, second: Part },

    #[error("the list `{path}`, line {line}: {reason}")]
    List { path: PathBuf, line: u64, reason: String },

    #[error("`{path}` holds no lists; it should hold train.csv, val.csv and test.csv, or some of them")]
    NoLists { path: PathBuf },

    #[error(
        "there is no folder `{path}`; --support takes a folder that holds a folder of images for each class"
    )]
    NoSupport { path: PathBuf },

    #[error("there is no image and no folder `{path}`; --query takes files and folders of images")]
    NoQuery { path: PathBuf },

    #[error("`{path}` holds no PNG or JPEG image, nor do its folders; give --query others")]
    NoImages { path: PathBuf },

    #[error("images cannot have {size}×{size} pixels; choose a size from 1 to {max}")]
    Size { size: usize, max: usize },

    #[error("an image set of {images} images of {size}×{size} pixels cannot have {bytes} bytes of pixels")]
    Shape { images: usize, size: usize, bytes: usize },

    #[error(
        "`data.invert` = true inverts grey images, and these are in colour; leave it out, or set data.channels = 1"
    )]
    InvertedColour,

    #[error(
        "`data.{key}` has {given} numbers, but the images have {channels} channels; give one number for each channel, or leave \
         it out to take it from the training images"
    )]
    ChannelNumbers { key: &'static str, given: usize, channels: usize },

    #[error("glyphs cannot be drawn with {what} = {value}; choose a number from 1 to {max}")]
    Glyphs { what: &'static str, value: usize, max: usize },

    #[error(
        "the split asks for {asked} training classes of {classes}, which leaves none for {lacking}; \
         ask for between 1 and {}", classes.saturating_sub(1)
    )]
    TrainClasses { asked: usize, classes: usize, lacking: &'static str },

    #[error("a training fraction of {0} is not between 0 and 1")]
    Fraction(f64),

    #[error(
        "a split by alphabets needs at least two groups of classes, and this data has {groups}; choose another split"
    )]
    Groups { groups: usize },

    #[error(
        "class `{class}` belongs to no listed part; use train/, validation/ and test/ folders, or choose another split"
    )]
    Unlisted { class: String },

    #[error("cannot take {asked} validation classes from {train} training classes; lower data.validation")]
    ValidationClasses { asked: usize, train: usize },

    #[error("the {part} part has no classes; choose another split")]
    EmptyPart { part: Part },

    #[error("the episode has {key} = 0; set it to at least 1")]
    EmptyEpisode { key: &'static str },

    #[error(
        "the {part} part has {found} classes, but an episode needs {needed}; lower task.ways to at most {found}"
    )]
    TooFewClasses { part: Part, found: usize, needed: usize },

    #[error(
        "class `{class}` of the {part} part has {found} images, but an episode needs {needed} of each class \
         ({shots} support and {queries} query images); lower task.shots or task.queries"
    )]
    TooFewExamples { part: Part, class: String, found: usize, needed: usize, shots: usize, queries: usize },

    #[error("cannot reach {url}: {reason}; check the connection or the address, then run the command again")]
    Connection { url: String, reason: String },

    #[error("the connection to {url} was lost after {done} bytes: {reason}; run the command again to resume")]
    Interrupted { url: String, done: u64, reason: String },

    #[error("{url} returned HTTP status {status}; check the address")]
    Status { url: String, status: u16 },

    #[error(
        "{url} sends more than {} MB, larger than any file of this dataset; it was discarded: check the address",
        max >> 20
    )]
    TooLarge { url: String, max: u64 },

    #[error(
        "the file from {url} has MD5 {found} instead of {expected} and was discarded; try again or use another address"
    )]
    Checksum { url: String, found: String, expected: &'static str },

    #[error(
        "`{path}` exists with MD5 {found} instead of {expected} and is not overwritten; \
         move it away to download it again, or keep it and skip the download"
    )]
    Different { path: PathBuf, found: String, expected: &'static str },
}

impl Error {
    /// For `map_err`: adds what was attempted and the path to an I/O error.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_path_buf(), source }
    }
}

impl Classified for Error {
    fn is_user_error(&self) -> bool {
        match self {
            Self::Io { source, .. } => source.is_user_error(),
            Self::Connection { .. }
            | Self::Interrupted { .. }
            | Self::Status { .. }
            | Self::Checksum { .. } => false,
            _ => true,
        }
    }
}
