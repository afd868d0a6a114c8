//! Folders of images, one folder per class.
//!
//! A folder that holds images is a class; one that holds folders is a group, of classes or of groups. At the top there may be
//! folders that assign each class to a part: `train/`, `validation/` and `test/`, or other usual names of these. Images have
//! any size, grey or colour, and one of the formats of [`format`](super::format); all are brought to one [`Form`]. What is left
//! out is counted, with its reason.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::cache::SourceFiles;
use super::decoding::{OnPaper, channels_of, decode_files};
use super::findings::Findings;
use super::fit::Form;
use super::image_set::{Format, check_size};
use super::layout::{Layout, Place};
use super::left_out::{LeftOut, Reason};
use super::listing::{Listing, MAX_DEPTH, name};
use super::pixels::Scratch;
use super::source::Progress;
use super::{
    Channels, Class, Defaults, Error, ImageSet, LoadOptions, Loaded, Location, Offer, Part, Rotations,
    Source, SplitRule, split_list,
};
use crate::support::paths::absolute;

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

/// Changes when the same files are read to other pixels, so that images cached before are not used.
const READING: u32 = 3;

fn loader(options: &LoadOptions) -> Result<Loaded, Error> {
    let LoadOptions { path, channels, fit, invert, skip_damaged, list, .. } = *options;
    let files = SourceFiles {
        source: SOURCE.name,
        roots: [path].into_iter().chain(list).map(Path::to_path_buf).collect(),
        options: format!(
            "reading {READING}, fit {fit}, invert {invert:?}, skip damaged {skip_damaged}, list {:?}",
            list.map(absolute)
        ),
        load: options,
    };
    let found = || match list {
        Some(list) => split_list::find(path, list),
        None => find(path),
    };
    let channels = match channels {
        Some(channels) => channels,
        None => files.channels(|| Ok(channels_of(&images(&found()?.classes))))?,
    };
    files.load(channels, |scratch| {
        let reading = Reading { form: options.form(channels), invert, skip_damaged };
        reading.assemble(path, found()?, scratch, options.progress)
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
/// Returns an error that names all faults of one kind: folders that are no classes, or images that cannot be decoded. Images in
/// colour that are to be inverted are an error too.
pub fn load(dir: &Path, form: Form, invert: Option<bool>) -> Result<ImageSet, Error> {
    Reading { form, invert, skip_damaged: false }.read(dir).map(|(set, _)| set)
}

/// How the images of a folder are read.
#[derive(Clone, Copy)]
pub(super) struct Reading {
    /// What all images are brought to.
    pub form: Form,
    /// As in [`load`].
    pub invert: Option<bool>,
    /// Whether images that cannot be decoded are left out.
    pub skip_damaged: bool,
}

impl Reading {
    /// Like [`load`], and also returns what was found out.
    pub fn read(self, dir: &Path) -> Result<(ImageSet, Findings), Error> {
        check_size(self.form.size)?;
        self.assemble(dir, find(dir)?, &Scratch::new(None), Progress::NONE)
    }

    /// Decodes the images that were `found` in `dir`.
    fn assemble(
        self,
        dir: &Path,
        found: Found,
        scratch: &Scratch,
        progress: Progress,
    ) -> Result<(ImageSet, Findings), Error> {
        let Self { form, invert, skip_damaged } = self;
        check_size(form.size)?;
        let Found { classes, places, mut left_out } = found;
        let mut decoded = decode_files(&images(&classes), form, scratch, progress)?;
        let (faults, coloured) = (std::mem::take(&mut decoded.faults), decoded.coloured);
        if !faults.is_empty() && !skip_damaged {
            return Err(Error::unreadable(faults.into_values().collect(), true));
        }
        let mut index = 0..;
        let mut kept = vec![];
        for ClassFiles { mut class, images } in classes {
            let damaged: Vec<_> =
                images.iter().zip(&mut index).filter(|(_, index)| faults.contains_key(index)).collect();
            class.examples -= damaged.len();
            left_out.extend(damaged.into_iter().map(|(path, _)| (Reason::Damaged, path.clone())));
            if class.examples > 0 {
                kept.push(class);
            } else if let Some(folder) = images.first().and_then(|image| image.parent()) {
                left_out.push((Reason::Empty, folder.to_path_buf()));
            }
        }
        if kept.is_empty() {
            return Err(Error::unreadable(faults.into_values().collect(), false));
        }
        let OnPaper { pixels, paper, ink } = decoded.on_paper(invert, scratch)?;
        let (layout, left_out) = (Some(Layout::new(places, &kept)), LeftOut::new(dir, left_out));
        let format = Format { size: form.size, channels: form.channels, paper };
        Ok((ImageSet::of(format, kept, pixels)?, Findings { layout, ink, coloured, left_out }))
    }
}

/// The images in `files`, `[files, size, size, channels]`, and how many have colours; `inverted` says whether grey images have
/// dark ink.
pub(super) fn ink(files: &[&PathBuf], form: Form, inverted: bool) -> Result<(Vec<u8>, usize), Error> {
    let scratch = Scratch::new(None);
    let mut decoded = decode_files(files, form, &scratch, Progress::NONE)?;
    let (faults, coloured) = (std::mem::take(&mut decoded.faults), decoded.coloured);
    if !faults.is_empty() {
        return Err(Error::unreadable(faults.into_values().collect(), false));
    }
    let invert = (form.channels == Channels::Grey).then_some(inverted);
    let pixels = decoded.on_paper(invert, &scratch)?.pixels;
    Ok((pixels.get(0..pixels.len()).into_owned(), coloured))
}

/// A class and the files of its images.
pub(super) struct ClassFiles {
    pub class: Class,
    pub images: Vec<PathBuf>,
}

/// The classes below a folder.
#[derive(Default)]
pub(super) struct Found {
    /// Sorted by name.
    pub classes: Vec<ClassFiles>,
    /// What says which classes are in which part.
    pub places: Vec<Place>,
    /// What was not used.
    pub left_out: Vec<(Reason, PathBuf)>,
}

/// All classes below `dir`, sorted by name.
fn find(dir: &Path) -> Result<Found, Error> {
    if dir.is_file() {
        return Err(Error::NotAFolder { path: dir.to_path_buf() });
    }
    if !dir.is_dir() {
        return Err(Error::NoFolder { path: dir.to_path_buf() });
    }
    let top = Listing::of(dir)?;
    let (loose, parts) = (top.images.len(), parts(dir, &top.folders)?);
    let others: Vec<PathBuf> = top.left_out.iter().map(|(_, path)| path.clone()).collect();
    let mut found = Found::default();
    found.left_out.extend(top.left_out);
    found.left_out.extend(top.images.into_iter().map(|path| (Reason::Loose, path)));
    let mut faults = vec![];
    for folder in &top.folders {
        let part = parts.iter().find(|(path, _)| path == folder).map(|(_, part)| *part);
        if part.is_none() {
            found.collect(folder, "", None, MAX_DEPTH, &mut faults)?;
            continue;
        }
        let listing = Listing::of(folder)?;
        found.left_out.extend(listing.left_out);
        found.left_out.extend(listing.images.into_iter().map(|path| (Reason::Loose, path)));
        for child in listing.folders {
            found.collect(&child, "", part, MAX_DEPTH - 1, &mut faults)?;
        }
    }
    if !faults.is_empty() {
        return Err(Error::several(faults));
    }
    if found.classes.is_empty() {
        return Err(Error::NoClasses { path: dir.to_path_buf(), images: loose, others });
    }
    let mut seen = BTreeMap::new();
    for ClassFiles { class, .. } in &found.classes {
        if let (Some(first), Some(second)) = (seen.insert(&class.name, class.part).flatten(), class.part) {
            let folder = |part| parts.iter().find(|(_, other)| *other == part).map(|(path, _)| path.clone());
            faults.push(Error::SharedClass {
                class: class.name.clone(),
                first: folder(first).unwrap_or_default(),
                second: folder(second).unwrap_or_default(),
            });
        }
    }
    if !faults.is_empty() {
        return Err(Error::several(faults));
    }
    found.classes.sort_by(|a, b| a.class.name.cmp(&b.class.name));
    found.places = parts
        .into_iter()
        .map(|(folder, part)| Place { name: name(&folder) + "/", part: Some(part) })
        .collect();
    Ok(found)
}

/// Those of the `folders` in `dir` that are parts: that have the name of a part and hold folders, not images.
///
/// # Errors
/// Returns an error if there are other folders beside parts, or two folders for one part.
fn parts(dir: &Path, folders: &[PathBuf]) -> Result<Vec<(PathBuf, Part)>, Error> {
    let mut parts: Vec<(PathBuf, Part)> = vec![];
    let mut others = vec![];
    for folder in folders {
        let listing = Listing::of(folder)?;
        match part(&name(folder)) {
            Some(part) if !listing.folders.is_empty() && listing.images.is_empty() => {
                if let Some((first, _)) = parts.iter().find(|(_, other)| *other == part) {
                    let (first, second) = (name(first), name(folder));
                    return Err(Error::SamePart { path: dir.to_path_buf(), part, first, second });
                }
                parts.push((folder.clone(), part));
            }
            _ if listing.is_empty() => {}
            _ => others.push(name(folder)),
        }
    }
    if parts.is_empty() || others.is_empty() {
        return Ok(parts);
    }
    let parts = parts.iter().map(|(folder, _)| name(folder)).collect();
    Err(Error::BesideParts { path: dir.to_path_buf(), parts, others })
}

impl Found {
    /// Adds the class in `folder`, or the classes of the group in `folder`, which is in `group`; what is wrong with them is added
    /// to `faults`. At most `depth` levels of folders are below.
    fn collect(
        &mut self,
        folder: &Path,
        group: &str,
        part: Option<Part>,
        depth: usize,
        faults: &mut Vec<Error>,
    ) -> Result<(), Error> {
        let listing = Listing::of(folder)?;
        let path = || folder.to_path_buf();
        let name = if group.is_empty() { name(folder) } else { format!("{group}/{}", name(folder)) };
        match (listing.folders.is_empty(), listing.images.is_empty()) {
            (false, false) => {
                faults.push(Error::MixedFolder { path: path(), folder: listing.folders[0].clone() });
            }
            (false, true) if depth == 0 => return Err(Error::TooDeep { path: path() }),
            (false, true) => {
                self.left_out.extend(listing.left_out);
                for child in listing.folders {
                    self.collect(&child, &name, part, depth - 1, faults)?;
                }
            }
            (true, _) => self.add(path(), name, group, part, listing, faults),
        }
        Ok(())
    }

    /// Adds the `class` in `folder`.
    fn add(
        &mut self,
        folder: PathBuf,
        class: String,
        group: &str,
        part: Option<Part>,
        listing: Listing,
        faults: &mut Vec<Error>,
    ) {
        if listing.is_empty() {
            self.left_out.push((Reason::Empty, folder));
        } else if listing.images.is_empty() {
            faults.push(Error::EmptyClass {
                path: folder,
                holds: LeftOut::new(Path::new(""), listing.left_out),
            });
            return;
        } else {
            self.classes.push(ClassFiles::new(class, group, part, listing.images));
        }
        self.left_out.extend(listing.left_out);
    }
}

impl ClassFiles {
    pub fn new(name: String, group: &str, part: Option<Part>, images: Vec<PathBuf>) -> Self {
        Self { class: Class::new(name, group, part, images.len()), images }
    }
}

/// The part that a folder or a list of this name stands for.
pub(super) fn part(folder: &str) -> Option<Part> {
    let letters: String = folder.chars().filter(|letter| letter.is_alphanumeric()).collect();
    let letters = letters.to_lowercase();
    let plain = ["meta", "images"].iter().find_map(|prefix| letters.strip_prefix(prefix)).unwrap_or(&letters);
    match plain {
        "train" | "training" | "trainset" | "base" | "background" => Some(Part::Train),
        "val" | "valid" | "validation" | "valset" | "dev" => Some(Part::Validation),
        "test" | "testing" | "testset" | "eval" | "evaluation" | "novel" => Some(Part::Test),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

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

    fn read(dir: &Path, invert: Option<bool>, skip_damaged: bool) -> Result<(ImageSet, Findings), Error> {
        Reading { form: Form::grey(4), invert, skip_damaged }.read(dir)
    }

    fn refusal(dir: &TempDir) -> String {
        load(dir.path(), Form::grey(4), None).expect_err("unusable").to_string()
    }

    #[test]
    fn classes_are_found_at_any_depth() -> Result<(), Error> {
        let dir = folder(
            &["cats/a.png", "birds/owl/b.png", "birds/owl/a.PNG", "birds/emu/a.jpg", "x/y/z/c/1.png"],
            255,
        );
        fs::write(dir.path().join("cats/notes.txt"), "mine").expect("file");
        let set = load(dir.path(), Form::grey(4), None)?;
        let classes: Vec<_> =
            set.classes().iter().map(|c| (c.name.as_str(), c.group.as_str(), c.examples)).collect();
        let expected =
            [("birds/emu", "birds", 1), ("birds/owl", "birds", 2), ("cats", "", 1), ("x/y/z/c", "x/y/z", 1)];
        assert_eq!(classes, expected);
        assert!(set.classes().iter().all(|class| class.part.is_none()));
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
        let error = refusal(&dir);
        assert!(error.contains("class `a` is in both") && error.contains("test` and"), "{error}");
        Ok(())
    }

    #[test]
    fn parts_have_usual_names_and_no_others_beside_them() -> Result<(), Error> {
        let dir = folder(&["base/a/1.png", "Meta-Val/b/1.png", "novel/c/1.png"], 255);
        let set = load(dir.path(), Form::grey(4), None)?;
        let parts: Vec<_> = set.classes().iter().map(|class| class.part).collect();
        assert_eq!(parts, [Part::Train, Part::Validation, Part::Test].map(Some));

        let dir = folder(&["train/a/1.png", "test/b/1.png", "extra/c/1.png"], 255);
        assert!(refusal(&dir).contains("the folder `extra` beside `test`, `train`"), "{}", refusal(&dir));
        let dir = folder(&["train/a/1.png", "test/b/1.png", "eval/c/1.png"], 255);
        assert!(refusal(&dir).contains("both `eval` and `test`"), "{}", refusal(&dir));
        // A class may have the name of a part.
        let dir = folder(&["train/1.png", "bus/1.png", "test/1.png"], 255);
        assert!(load(dir.path(), Form::grey(4), None)?.classes().iter().all(|class| class.part.is_none()));
        Ok(())
    }

    #[test]
    fn what_is_left_out_is_counted_with_its_reason() -> Result<(), Error> {
        let dir = folder(
            &["a/1.png", "b/1.png", "b/._1.png", "__MACOSX/a/1.png", "a/@eaDir/1.png", "over.png", "out.png"],
            255,
        );
        fs::create_dir(dir.path().join("c")).expect("folder");
        fs::create_dir(dir.path().join("lost+found")).expect("folder");
        for name in ["a/2.HEIC", "b/3.heic", "labels.csv", "a/Thumbs.db"] {
            fs::write(dir.path().join(name), "x").expect("file");
        }
        let (set, findings) = read(dir.path(), None, false)?;
        assert_eq!(set.classes().iter().map(|class| class.examples).collect::<Vec<_>>(), [1, 1]);
        let groups: Vec<String> = findings.left_out.groups().iter().map(ToString::to_string).collect();
        assert_eq!(
            groups,
            [
                "2 HEIC images left out (`a/2.HEIC`, `b/3.heic`): HEIC is not read; convert to PNG or JPEG",
                "2 images beside the class folders left out (`out.png`, `over.png`): in no folder, it belongs to no class",
                "1 class folder without images left out (`c`)",
                "1 file that is not an image left out (`labels.csv`)",
                "5 hidden or system files and folders left out (`__MACOSX`, `a/@eaDir`, `a/Thumbs.db`, …)",
            ]
        );
        Ok(())
    }

    #[test]
    fn damaged_images_are_all_named_or_left_out() -> Result<(), Error> {
        let dir = folder(&["a/1.png", "a/2.png", "b/1.png", "c/1.png"], 255);
        for name in ["a/1.png", "b/0.jpg", "c/1.png"] {
            fs::write(dir.path().join(name), "not a picture").expect("file");
        }
        let error = refusal(&dir);
        for words in ["3 images", "a/1.png`", "b/0.jpg`", "c/1.png`", "data.skip_damaged=true"] {
            assert!(error.contains(words), "{error}");
        }
        let whole = |invert| read(dir.path(), invert, true);
        let (set, findings) = whole(Some(true))?;
        let classes: Vec<_> =
            set.classes().iter().map(|class| (class.name.as_str(), class.examples)).collect();
        assert_eq!(classes, [("a", 1), ("b", 1)]);
        assert_eq!([set.image(0, 0)[5], set.image(1, 0)[5]], [255, 255]);
        let groups = findings.left_out.groups();
        assert_eq!((&groups[0].reason, groups[0].count), (&Reason::Damaged, 3));
        assert_eq!((&groups[1].reason, groups[1].count), (&Reason::Empty, 1));
        Ok(())
    }

    #[test]
    fn a_class_does_not_depend_on_the_name_of_the_data_folder() -> Result<(), Error> {
        let dir = folder(&["one/a/1.png", "one/b/1.png"], 255);
        let digest = |name: &str| load(&dir.path().join(name), Form::grey(4), None).map(|set| set.digest());
        let first = digest("one")?;
        fs::rename(dir.path().join("one"), dir.path().join("two")).expect("renamed");
        assert_eq!(digest("two")?, first);
        Ok(())
    }

    #[test]
    fn unusable_folders_are_refused_with_the_reason() {
        let dir = folder(&["a/1.png", "b/1.png"], 255);
        fs::write(dir.path().join("b/1.png"), "not a picture").expect("file");
        assert!(refusal(&dir).contains("1.png"));
        fs::rename(dir.path().join("b/1.png"), dir.path().join("b/1.heic")).expect("there");
        let error = refusal(&dir);
        assert!(error.contains("b` holds no usable image") && error.contains("1 HEIC image"), "{error}");
        assert!(refusal(&folder(&[], 255)).contains("no class folders"));
        assert!(refusal(&folder(&["1.png", "2.png"], 255)).contains("no class folders, but 2 images"));
        assert!(refusal(&folder(&["a/1.png", "a/b/1.png"], 255)).contains("images beside the folder `b`"));
        let deep = format!("{}1.png", "a/".repeat(MAX_DEPTH + 2));
        assert!(refusal(&folder(&[&deep], 255)).contains("more than 16 levels"));
        let several = refusal(&folder(&["a/1.png", "a/b/1.png", "d/1.png", "d/e/1.png"], 255));
        assert!(several.contains("2 faults"), "{several}");
        let missing = load(&dir.path().join("nowhere"), Form::grey(4), None);
        assert!(matches!(missing, Err(Error::NoFolder { .. })));
        let file = load(&dir.path().join("b/1.heic"), Form::grey(4), None);
        assert!(matches!(file, Err(Error::NotAFolder { .. })));
        assert!(matches!(load(dir.path(), Form::grey(0), None), Err(Error::Size { .. })));
    }
}
