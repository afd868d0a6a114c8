//! Everything that can go wrong between a file on disk and an episode.

use std::io;
use std::path::{Path, PathBuf};

use super::Part;

/// The one error of the data room: each message says what was wrong, where, and what to do.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
#[non_exhaustive]
pub enum Error {
    #[error("cannot {action} `{path}`: {source}")]
    Io { action: &'static str, path: PathBuf, source: io::Error },

    #[error("there is no folder `{path}`; check the path given with --data PATH")]
    NoFolder { path: PathBuf },

    #[error(
        "`{path}` holds neither `{half}.zip` nor an unpacked `{half}` folder; \
         run `metaburn data fetch omniglot` or point to a copy of Omniglot with --data PATH"
    )]
    NoOmniglot { path: PathBuf, half: &'static str },

    #[error("the archive `{path}` is damaged ({reason}); delete it and run `metaburn data fetch omniglot`")]
    Archive { path: PathBuf, reason: String },

    #[error(
        "`{path}` holds {found} characters instead of {expected}{}; fetch it anew with `metaburn data fetch omniglot`",
        missing.as_ref().map(|name| format!(" (`{name}` is missing)")).unwrap_or_default()
    )]
    CharacterCount { path: PathBuf, found: usize, expected: usize, missing: Option<String> },

    #[error(
        "`{class}` in `{path}` holds {found} drawings instead of {expected}; \
         fetch it anew with `metaburn data fetch omniglot`"
    )]
    DrawingCount { path: PathBuf, class: String, found: usize, expected: usize },

    #[error(
        "`{path}` holds neither `{file}.gz` nor `{file}`; \
         run `metaburn data fetch mnist` or point to a copy of MNIST with --data PATH"
    )]
    NoMnist { path: PathBuf, file: String },

    #[error("`{path}` is no sound part of MNIST ({reason}); delete it and run `metaburn data fetch mnist`")]
    Idx { path: PathBuf, reason: String },

    #[error("{bytes} bytes are not the images of {labels} labels at {pixels} pixels each")]
    Unpaired { pixels: usize, bytes: usize, labels: usize },

    #[error("a label of {label} is none of {classes} classes, which count from 0")]
    Label { label: usize, classes: usize },

    #[error("{asked} images are asked for of {found}; ask for fewer")]
    TooFewImages { asked: usize, found: usize },

    #[error(
        "a share of {share} of the labels of {classes} classes cannot be wrong; \
         choose one from 0 to 1, with at least two classes"
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

    #[error(
        "there is no folder `{path}`; --support takes a folder that holds a folder of images for each class"
    )]
    NoSupport { path: PathBuf },

    #[error("there is no image and no folder `{path}`; --query takes files and folders of images")]
    NoQuery { path: PathBuf },

    #[error("`{path}` holds no PNG or JPEG image to name, nor do its folders; give --query others")]
    NothingToName { path: PathBuf },

    #[error("images of {size}×{size} pixels cannot be made; choose a size from 1 to {most}")]
    Size { size: usize, most: usize },

    #[error("an image set of {images} images of {size}×{size} pixels cannot have {bytes} bytes of pixels")]
    Shape { images: usize, size: usize, bytes: usize },

    #[error("glyphs cannot be made with {what} = {value}; choose a number from 1 to {most}")]
    Glyphs { what: &'static str, value: usize, most: usize },

    #[error(
        "the split asks for {asked} training classes of {classes}, which leaves none to {lacking}; \
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

    #[error("{asked} validation classes cannot be carved from {train} training classes; ask for fewer")]
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
         ({shots} to learn from and {queries} to be tested on); lower task.shots or task.queries"
    )]
    TooFewExamples { part: Part, class: String, found: usize, needed: usize, shots: usize, queries: usize },

    #[error("cannot reach {url}: {reason}; check the connection or the address, then run the command again")]
    Connection { url: String, reason: String },

    #[error("the connection to {url} was lost after {done} bytes: {reason}; run the command again to resume")]
    Interrupted { url: String, done: u64, reason: String },

    #[error("{url} was answered with HTTP status {status}; check the address")]
    Status { url: String, status: u16 },

    #[error(
        "{url} sends more than {} MB, which no file of this dataset has; it was discarded: check the address",
        most >> 20
    )]
    Endless { url: String, most: u64 },

    #[error(
        "what {url} sent has md5 {found}, not {expected}; it was discarded: try again, or another address"
    )]
    Checksum { url: String, found: String, expected: &'static str },

    #[error(
        "`{path}` exists with md5 {found}, not {expected}, and is not overwritten; \
         move it away to download it anew, or keep it and skip the download"
    )]
    Different { path: PathBuf, found: String, expected: &'static str },
}

impl Error {
    /// For `map_err`: wraps what the file system said with what was tried, and where.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_path_buf(), source }
    }
}
