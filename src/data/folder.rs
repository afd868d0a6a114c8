//! Folders of images, one folder per class.
//!
//! Images are in `class/` or `group/class/`, optionally below `train/`, `validation/` (or `val/`) and
//! `test/` folders that assign each class to a part. They are PNG or JPEG of any size, grey or colour, and are
//! resized to squares of one size.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::cache::SourceFiles;
use super::decoding::{OnPaper, channels_of, decode_files};
use super::fit::Form;
use super::image_set::{Format, check_size};
use super::pixels::Scratch;
use super::source::Progress;
use super::{
    Channels, Class, Defaults, Error, ImageSet, LoadOptions, Loaded, Location, Offer, Part, Rotations,
    Source, SplitRule, split_list,
};

/// A folder's entry in the registry.
pub static SOURCE: Source = Source {
    name: "folder",
    summary: "your own images, one folder per class",
    location: Location::Required,
    splits: &[
        Offer { rule: SplitRule::FRACTION, rotations: Rotations::None },
        Offer { rule: SplitRule::Listed, rotations: Rotations::None },
    ],
    defaults: Defaults::FromImages,
    channels: &[],
    own_images: true,
    loader,
    dataset: None,
};

fn loader(options: &LoadOptions) -> Result<Loaded, Error> {
    let LoadOptions { path, channels, fit, invert, list, .. } = *options;
    let files = SourceFiles {
        source: SOURCE.name,
        roots: [path].into_iter().chain(list).map(Path::to_path_buf).collect(),
        options: format!("fit {fit} invert {invert:?} list {list:?}"),
        load: options,
    };
    let found = || match list {
        Some(list) => split_list::classes(path, list),
        None => classes(path),
    };
    let channels = match channels {
        Some(channels) => channels,
        None => files.channels(|| Ok(channels_of(&images(&found()?))))?,
    };
    files.load(channels, || {
        assemble(found()?, options.form(channels), invert, &options.scratch(), options.progress)
            .map(|(set, _)| set)
    })
}

/// The files of all images, class by class.
fn images(found: &[ClassFiles]) -> Vec<&PathBuf> {
    found.iter().flat_map(|found| &found.images).collect()
}

/// Reads the images below `dir` and brings them to `form`.
///
/// `invert` says whether dark is ink, in grey images. With `None` the images' borders decide: if they are light on average
/// over the folder, dark is ink and the images are inverted. Images in colour are not.
///
/// # Errors
/// Returns an error if there are no classes, a class has no images, two parts share a class, an image cannot be
/// decoded, or images in colour are to be inverted.
pub fn load(dir: &Path, form: Form, invert: Option<bool>) -> Result<ImageSet, Error> {
    read(dir, form, invert).map(|(set, _)| set)
}

/// Like [`load`], and also returns whether images were inverted.
pub(super) fn read(dir: &Path, form: Form, invert: Option<bool>) -> Result<(ImageSet, bool), Error> {
    check_size(form.size)?;
    assemble(classes(dir)?, form, invert, &Scratch::new(None), Progress::NONE)
}

/// Decodes the images of the classes `found`; also returns whether they were inverted.
fn assemble(
    found: Vec<ClassFiles>,
    form: Form,
    invert: Option<bool>,
    scratch: &Scratch,
    progress: Progress,
) -> Result<(ImageSet, bool), Error> {
    check_size(form.size)?;
    let OnPaper { channels, pixels, paper, inverted } =
        decode_files(&images(&found), form, scratch, progress)?.on_paper(invert, scratch)?;
    let format = Format { size: form.size, channels, paper };
    let set = ImageSet::of(format, found.into_iter().map(|found| found.class).collect(), pixels)?;
    Ok((set, inverted))
}

/// The images in `files`, `[files, size, size, channels]`; `inverted` says whether grey images have dark ink.
pub(super) fn ink(files: &[&PathBuf], form: Form, inverted: bool) -> Result<Vec<u8>, Error> {
    let scratch = Scratch::new(None);
    let decoded = decode_files(files, form, &scratch, Progress::NONE)?;
    let invert = (form.channels == Channels::Grey).then_some(inverted);
    let pixels = decoded.on_paper(invert, &scratch)?.pixels;
    Ok(pixels.get(0..pixels.len()).into_owned())
}

/// A class and the files of its images.
pub(super) struct ClassFiles {
    pub class: Class,
    pub images: Vec<PathBuf>,
}

/// All classes below `dir`, sorted by name.
fn classes(dir: &Path) -> Result<Vec<ClassFiles>, Error> {
    if !dir.is_dir() {
        return Err(Error::NoFolder { path: dir.to_path_buf() });
    }
    let top = Listing::of(dir)?;
    if !top.images.is_empty() {
        return Err(Error::MixedFolder { path: dir.to_path_buf() });
    }
    let parts: Option<Vec<Part>> = top.folders.iter().map(|folder| part(&name(folder))).collect();
    let mut found = vec![];
    match parts {
        Some(parts) => {
            for (folder, part) in top.folders.iter().zip(parts) {
                for child in Listing::of(folder)?.folders {
                    collect(&child, Some(part), &name(folder), &mut found)?;
                }
            }
        }
        None => {
            for child in &top.folders {
                collect(child, None, &name(dir), &mut found)?;
            }
        }
    }
    if found.is_empty() {
        return Err(Error::NoClasses { path: dir.to_path_buf() });
    }
    let mut seen = BTreeMap::new();
    for ClassFiles { class, .. } in &found {
        if let (Some(first), Some(second)) = (seen.insert(&class.name, class.part).flatten(), class.part) {
            let (path, class) = (dir.to_path_buf(), class.name.clone());
            return Err(Error::SharedClass { path, class, first, second });
        }
    }
    found.sort_by(|a, b| a.class.name.cmp(&b.class.name));
    Ok(found)
}

/// Adds the class in `folder`, whose group is `parent`, or the classes of the group in `folder`.
fn collect(
    folder: &Path,
    part: Option<Part>,
    parent: &str,
    found: &mut Vec<ClassFiles>,
) -> Result<(), Error> {
    let path = || folder.to_path_buf();
    let Listing { folders, images } = Listing::of(folder)?;
    match (folders.is_empty(), images.is_empty()) {
        (true, true) => return Err(Error::EmptyClass { path: path() }),
        (false, false) => return Err(Error::MixedFolder { path: path() }),
        (true, false) => found.push(ClassFiles::new(name(folder), parent, part, images)),
        (false, true) => {
            for child in folders {
                let listing = Listing::of(&child)?;
                if !listing.folders.is_empty() {
                    return Err(Error::TooDeep { path: child });
                }
                if listing.images.is_empty() {
                    return Err(Error::EmptyClass { path: child });
                }
                let group = name(folder);
                found.push(ClassFiles::new(
                    format!("{group}/{}", name(&child)),
                    &group,
                    part,
                    listing.images,
                ));
            }
        }
    }
    Ok(())
}

impl ClassFiles {
    pub fn new(name: String, group: &str, part: Option<Part>, images: Vec<PathBuf>) -> Self {
        Self { class: Class::new(name, group, part, images.len()), images }
    }
}

/// A folder's subfolders and images, sorted. Hidden files and other files are ignored.
pub(super) struct Listing {
    pub folders: Vec<PathBuf>,
    pub images: Vec<PathBuf>,
}

impl Listing {
    pub fn of(folder: &Path) -> Result<Self, Error> {
        let mut paths: Vec<PathBuf> = fs::read_dir(folder)
            .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect())
            .map_err(Error::io("list the folder", folder))?;
        paths.retain(|path| !name(path).starts_with('.'));
        paths.sort();
        let (folders, mut images): (Vec<_>, Vec<_>) = paths.into_iter().partition(|path| path.is_dir());
        images.retain(|path| {
            let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
            ["png", "jpg", "jpeg"].iter().any(|known| extension == *known)
        });
        Ok(Self { folders, images })
    }
}

pub(super) fn name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

pub(super) fn part(folder: &str) -> Option<Part> {
    match folder.to_ascii_lowercase().as_str() {
        "train" => Some(Part::Train),
        "val" | "valid" | "validation" => Some(Part::Validation),
        "test" => Some(Part::Test),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use image::{GrayImage, Luma, RgbImage};
    use tempfile::TempDir;

    use super::*;

    /// A folder with an image at each of `paths`, dark in the middle of `paper`.
    fn folder(paths: &[&str], paper: u8) -> TempDir {
        let dir = TempDir::new().expect("dir");
        for path in paths {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().expect("nested")).expect("folder");
            let inside = |i: u32| (3..9).contains(&i);
            GrayImage::from_fn(12, 12, |x, y| {
                Luma([if inside(x) && inside(y) { 255 - paper } else { paper }])
            })
            .save(path)
            .expect("image");
        }
        dir
    }

    fn refusal(dir: &TempDir) -> String {
        load(dir.path(), Form::grey(4), None).expect_err("unusable").to_string()
    }

    #[test]
    fn classes_are_found_one_or_two_levels_down() -> Result<(), Error> {
        let dir = folder(&["cats/a.png", "birds/owl/b.png", "birds/owl/a.PNG", "birds/emu/a.jpg"], 255);
        fs::write(dir.path().join("cats/notes.txt"), "mine").expect("file");
        let set = load(dir.path(), Form::grey(4), None)?;
        let classes: Vec<_> = set.classes().iter().map(|c| (c.name.as_str(), c.examples, c.part)).collect();
        assert_eq!(classes, [("birds/emu", 1, None), ("birds/owl", 2, None), ("cats", 1, None)]);
        assert_eq!(set.classes()[1].group, "birds");
        Ok(())
    }

    #[test]
    fn the_border_decides_inversion_unless_set() -> Result<(), Error> {
        for paper in [0, 255] {
            let dir = folder(&["a/1.png", "b/1.png"], paper);
            let ink = |invert| {
                load(dir.path(), Form::grey(4), invert).map(|set| [0, 5].map(|i| set.image(0, 0)[i]))
            };
            assert_eq!(ink(None)?, [0, 255]);
            assert_eq!(ink(Some(false))?, [paper, 255 - paper]);
            assert_eq!(ink(Some(true))?, [255 - paper, paper]);
        }
        Ok(())
    }

    #[test]
    fn colour_images_of_any_size_are_resized_to_squares() -> Result<(), Error> {
        let dir = folder(&["a/1.png"], 255);
        RgbImage::new(50, 3).save(dir.path().join("a/2.png")).expect("image");
        let set = load(dir.path(), Form::grey(4), Some(true))?;
        assert_eq!(*set.image(0, 1), [255; 16]);
        Ok(())
    }

    #[test]
    fn part_folders_assign_classes_to_parts() -> Result<(), Error> {
        let dir = folder(&["train/a/1.png", "val/b/1.png", "test/g/c/1.png"], 255);
        let set = load(dir.path(), Form::grey(4), None)?;
        let parts: Vec<_> = set.classes().iter().map(|c| (c.name.as_str(), c.part)).collect();
        let expected = [("a", Part::Train), ("b", Part::Validation), ("g/c", Part::Test)];
        assert_eq!(parts, expected.map(|(name, part)| (name, Some(part))));

        let dir = folder(&["train/a/1.png", "test/a/1.png"], 255);
        assert!(refusal(&dir).contains("class `a` is in both"));
        Ok(())
    }

    #[test]
    fn unusable_folders_are_refused_with_the_reason() {
        let dir = folder(&["a/1.png", "b/1.png"], 255);
        fs::write(dir.path().join("b/1.png"), "not a picture").expect("file");
        assert!(refusal(&dir).contains("1.png"));
        fs::remove_file(dir.path().join("b/1.png")).expect("there");
        assert!(refusal(&dir).contains("holds no PNG or JPEG"));
        assert!(refusal(&folder(&[], 255)).contains("no class folders"));
        assert!(refusal(&folder(&["a/1.png", "1.png"], 255)).contains("side by side"));
        assert!(refusal(&folder(&["a/b/c/1.png"], 255)).contains("too deep"));
        let missing = load(&dir.path().join("nowhere"), Form::grey(4), None);
        assert!(matches!(missing, Err(Error::NoFolder { .. })));
        assert!(matches!(load(dir.path(), Form::grey(0), None), Err(Error::Size { .. })));
    }
}
