//! Errors of image data, from files on disk to episodes.

use std::io;
use std::path::{Path, PathBuf};

use super::format::readable;
use super::left_out::LeftOut;
use super::listing::MAX_DEPTH;
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
        "`{path}` holds {wanted}; run `metaburn data fetch {}`, or point to a copy of {} with --data PATH. For images of your \
         own, set data.source=folder",
        dataset.name, dataset.title
    )]
    Missing { path: PathBuf, wanted: String, dataset: &'static Dataset },

    #[error(
        "there is no folder `{path}`; run `metaburn data fetch {}{}`, which makes it, or point to a copy of {} with --data PATH",
        dataset.name,
        if path == Path::new(dataset.folder) { String::new() } else { format!(" --to {}", path.display()) },
        dataset.title
    )]
    NotFetched { path: PathBuf, dataset: &'static Dataset },

    #[error("`{path}` is damaged ({reason}); delete it and run `metaburn data fetch {}`", dataset.name)]
    Damaged { path: PathBuf, reason: String, dataset: &'static Dataset },

    #[error("`{path}` holds {found}; download it again with `metaburn data fetch {}`", dataset.name)]
    Incomplete { path: PathBuf, found: String, dataset: &'static Dataset },

    #[error("{bytes} bytes of pixels do not fit {labels} labels of images with {pixels} pixels")]
    Unpaired { pixels: usize, bytes: usize, labels: usize },

    #[error("label {label} is out of range; with {classes} classes, labels count from 0")]
    Label { label: usize, classes: usize },

    #[error("{asked} images were requested, but there are only {found}; request fewer")]
    TooFewImages { asked: usize, found: usize },

    #[error(
        "cannot make a fraction of {share} of the labels wrong with {classes} classes; \
         choose a fraction from 0 to 1 and at least two classes"
    )]
    Mislabelled { share: f64, classes: usize },

    #[error("cannot decode the image `{path}`: {reason}; replace or remove it")]
    Decode { path: PathBuf, reason: String },

    #[error("{}", unreadable(faults, *may_skip))]
    Unreadable { faults: Vec<Error>, may_skip: bool },

    #[error("{} faults:{}", .0.len(), list(.0))]
    Several(Vec<Error>),

    #[error(
        "`{path}` is a file{}; give the folder that holds the class folders with --data PATH",
        if is_archive(path) { ": unpack it" } else { "" }
    )]
    NotAFolder { path: PathBuf },

    #[error("`{path}` holds no class folders{}; {}", held(*images, others), wanted(others))]
    NoClasses { path: PathBuf, images: usize, others: Vec<PathBuf> },

    #[error(
        "the class folder `{path}` holds no usable image ({}){}; add such images or remove the folder",
        readable(),
        holding(holds)
    )]
    EmptyClass { path: PathBuf, holds: LeftOut },

    #[error(
        "`{path}` holds images beside the folder `{}`; move the images into their own class folder, or move that folder away",
        file_name(folder)
    )]
    MixedFolder { path: PathBuf, folder: PathBuf },

    #[error(
        "`{path}` holds folders nested more than {MAX_DEPTH} levels deep; if a link leads back to a folder above it, remove the \
         link; otherwise move the class folders up"
    )]
    TooDeep { path: PathBuf },

    #[error(
        "`{path}` has the folder{} {} beside {}, which {} a part of the split, so {} to no part; move {} away, or into one \
         of train/, validation/ and test/",
        if others.len() == 1 { "" } else { "s" },
        names(others),
        names(parts),
        if parts.len() == 1 { "is" } else { "are each" },
        if others.len() == 1 { "its classes belong" } else { "their classes belong" },
        if others.len() == 1 { "it" } else { "them" },
    )]
    BesideParts { path: PathBuf, parts: Vec<String>, others: Vec<String> },

    #[error("the list `{path}`, line {line}: {reason}")]
    List { path: PathBuf, line: u64, reason: String },

    #[error("`{path}` holds no lists; it should hold train.csv, val.csv and test.csv, or some of them")]
    NoLists { path: PathBuf },

    #[error(
        "both `{first}` and `{second}` in `{path}` are names of the {part} part; merge them, or move one of them away"
    )]
    SamePart { path: PathBuf, part: Part, first: String, second: String },

    #[error(
        "class `{class}` is in both `{}` and `{}`; the parts of a few-shot split must not share a class: move it to one of \
         them, or give --data one of these folders, whose classes are then divided",
        first.display(), second.display()
    )]
    SharedClass { class: String, first: PathBuf, second: PathBuf },

    #[error("{}; --support takes a folder that holds a folder of images for each class", no_folder(path))]
    NoSupport { path: PathBuf },

    #[error("there is no image or folder `{path}`; --query takes files and folders of images")]
    NoQuery { path: PathBuf },

    #[error(
        "neither `{path}` nor its folders hold a usable image ({}){}; give --query other images",
        readable(),
        holding(holds)
    )]
    NoImages { path: PathBuf, holds: LeftOut },

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
        "the split asks for {asked} training classes of {classes}, which leaves none for {lacking}; {}",
        match *classes {
            0 | 1 => "a split needs at least 2 classes".into(),
            classes => format!("ask for between 1 and {}", classes - 1),
        }
    )]
    TrainClasses { asked: usize, classes: usize, lacking: &'static str },

    #[error("a training fraction of {0} is not between 0 and 1")]
    Fraction(f64),

    #[error(
        "a split by alphabets needs at least two groups of classes, and this data has {groups}; choose another split"
    )]
    Groups { groups: usize },

    #[error(
        "class `{class}` belongs to no listed part; use train/, validation/ and test/ folders, or set data.split to another \
         rule"
    )]
    Unlisted { class: String },

    #[error(
        "cannot take {asked} validation classes from {train} training classes, of which at least one must be left"
    )]
    ValidationClasses { asked: usize, train: usize },

    #[error(
        "data.validation = {asked}, but the split lists {}, and these are used; leave data.validation out or set it to {found}; \
         to train without validation, set data.validation = 0 and eval.every = 0",
        count(*found, "validation class", "validation classes")
    )]
    ListedValidation { asked: usize, found: usize },

    #[error("the {part} part has no classes")]
    EmptyPart { part: Part },

    #[error("the episode has {key} = 0; set it to at least 1")]
    EmptyEpisode { key: &'static str },

    #[error("the {part} part has {}, but an episode needs {}", count(*found, "class", "classes"), ways(*part, *needed))]
    TooFewClasses { part: Part, found: usize, needed: usize },

    #[error(
        "{} of the {part} part {} fewer images than the {needed} of each class that an episode needs ({shots} support and \
         {queries} query images): {}",
        count(small.len(), "class", "classes"),
        if small.len() == 1 { "has" } else { "have" },
        sizes(small)
    )]
    TooFewExamples { part: Part, small: Vec<(String, usize)>, needed: usize, shots: usize, queries: usize },

    #[error(
        "{} of the {of} validation and test classes {} among those that the network was trained on ({}), so an accuracy on \
         them would be meaningless; leave out the settings that change the split or the images, or list the parts by train/, \
         validation/ and test/ folders, with these classes in train/",
        leaked.len(),
        if leaked.len() == 1 { "is" } else { "are" },
        names(leaked)
    )]
    Leak { leaked: Vec<String>, of: usize },

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
    /// `faults` as one error, of which there is at least one.
    pub(super) fn several(mut faults: Vec<Error>) -> Self {
        if faults.len() == 1 { faults.remove(0) } else { Self::Several(faults) }
    }

    /// The `faults` of files that cannot be used as images. `may_skip` says whether `data.skip_damaged` would help.
    pub(super) fn unreadable(faults: Vec<Error>, may_skip: bool) -> Self {
        Self::Unreadable { faults, may_skip }
    }

    /// The same, where no setting leaves out what is damaged.
    pub(super) fn not_to_skip(self) -> Self {
        match self {
            Self::Unreadable { faults, .. } => Self::Unreadable { faults, may_skip: false },
            other => other,
        }
    }

    /// For `map_err`: adds what was attempted and the path to an I/O error.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_path_buf(), source }
    }
}

/// The most faults, classes and files that a message lists.
const LISTED: usize = 20;

/// `faults`, one a line.
fn list(faults: &[Error]) -> String {
    let lines: String = faults.iter().take(LISTED).map(|fault| format!("\n  {fault}")).collect();
    lines + &more(faults.len(), "\n  ")
}

/// The end of a list of which the first [`LISTED`] of `count` are shown.
fn more(count: usize, between: &str) -> String {
    if count > LISTED { format!("{between}… and {} more", count - LISTED) } else { String::new() }
}

/// The faults of files that are no images, and what to do.
fn unreadable(faults: &[Error], may_skip: bool) -> String {
    let skip =
        if may_skip { ", or leave out what is damaged with `--set data.skip_damaged=true`" } else { "" };
    let reason = |fault: &Error| match fault {
        Error::Decode { path, reason } => format!("`{}`: {reason}", path.display()),
        Error::Io { path, source, .. } => format!("`{}`: {source}", path.display()),
        other => other.to_string(),
    };
    match faults {
        [one] => format!("cannot decode the image {}; replace or remove it{skip}", reason(one)),
        all => {
            let lines: String =
                all.iter().take(LISTED).map(|fault| format!("\n  {}", reason(fault))).collect();
            let more = more(all.len(), "\n  ");
            format!("cannot decode {} images:{lines}{more}\nreplace or remove them{skip}", all.len())
        }
    }
}

/// Whether a file's name is that of an archive.
fn is_archive(path: &Path) -> bool {
    let ending = path.extension().unwrap_or_default().to_ascii_lowercase();
    ["zip", "tar", "gz", "tgz", "bz2", "xz", "7z", "rar"].iter().any(|archive| ending == *archive)
}

/// What a folder without class folders holds instead.
fn held(images: usize, others: &[PathBuf]) -> String {
    let images = (images > 0).then(|| count(images, "image", "images"));
    let names: Vec<_> = others.iter().take(3).map(|path| file_name(path)).collect();
    let others = (!names.is_empty()).then(|| format!("files such as {}", self::names(&names)));
    let held: Vec<_> = images.into_iter().chain(others).collect();
    if held.is_empty() { String::new() } else { format!(", but {}", held.join(" and ")) }
}

/// What is wanted instead of a folder without class folders.
fn wanted(others: &[PathBuf]) -> String {
    let has = |endings: &[&str]| {
        others
            .iter()
            .any(|path| endings.iter().any(|ending| path.extension().is_some_and(|end| end == *ending)))
    };
    let not_read = if has(&["csv", "txt", "json"]) {
        "to use a list of files and labels, set data.list to it; otherwise "
    } else if has(&["pickle", "pkl", "npz", "npy", "h5", "mat", "tar", "zip", "gz"]) {
        "archives and arrays are not read: unpack them, and "
    } else {
        ""
    };
    format!(
        "{not_read}put the images of each class in a folder of its own, such as cat/1.png; to list the classes of each part, put \
         these folders below train/, validation/ and test/"
    )
}

/// That there is no folder at `path`.
fn no_folder(path: &Path) -> String {
    let shown = path.display();
    if path.exists() { format!("`{shown}` is not a folder") } else { format!("there is no folder `{shown}`") }
}

/// What a folder without images holds instead.
fn holding(holds: &LeftOut) -> String {
    let groups: Vec<_> = holds.groups().iter().map(ToString::to_string).collect();
    if groups.is_empty() { String::new() } else { format!("; {}", groups.join("; ")) }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// The first of `names` in quotation marks, separated by commas.
fn names(names: &[String]) -> String {
    let quoted: Vec<_> = names.iter().take(LISTED).map(|name| format!("`{name}`")).collect();
    quoted.join(", ") + &more(names.len(), ", ")
}

/// The number of classes that an episode of `part` needs, and the key that sets it.
fn ways(part: Part, needed: usize) -> String {
    let or = if part == Part::Train { "" } else { " (or eval.ways, if it is set)" };
    format!("task.ways = {needed}{or}")
}

/// `1 class` or `3 classes`.
fn count(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// Small classes with their numbers of images.
fn sizes(small: &[(String, usize)]) -> String {
    let sizes: Vec<_> = small
        .iter()
        .take(LISTED)
        .map(|(class, found)| format!("`{class}` has {}", count(*found, "image", "images")))
        .collect();
    sizes.join(", ") + &more(small.len(), ", ")
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
