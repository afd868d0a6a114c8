//! The input of a prediction: a few images of each class to adapt to, and new images to classify.

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::findings::{Findings, Ink};
use super::fit::Form;
use super::folder::{self, Reading};
use super::left_out::{LeftOut, Reason};
use super::listing::{Listing, MAX_DEPTH};
use super::{Class, Error, ImageSet, Normalisation};

/// Support images to adapt to and query images to classify, all inverted or none.
#[derive(Clone, Debug)]
pub struct Request {
    /// The support images, by class.
    pub support: ImageSet,
    /// The query images.
    pub queries: Vec<Query>,
    /// Which pixels are ink, in all image files, and what the borders of the support images say; `None` in colour.
    pub ink: Option<Ink>,
    /// What was found out about support and query images together, without the decision about ink.
    pub findings: Findings,
    /// The queries' pixels, `[queries, size, size, channels]`.
    query_pixels: Vec<u8>,
}

/// An image to classify.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Its file.
    pub file: PathBuf,
    /// Its class, if its folder has the name of one.
    pub class: Option<usize>,
}

impl Request {
    /// Reads the class folders below `support`, laid out as for [`folder::load`], and the images in `queries`: files, or
    /// folders with images at any depth. All are brought to `form`.
    ///
    /// `invert` says whether dark is ink, in grey images. With `None` the borders of the support images decide, for the queries too.
    ///
    /// # Errors
    /// Returns an error if a file or folder is missing, a folder holds no images, or images cannot be decoded; it names all
    /// of them.
    pub fn read(
        support: &Path,
        queries: &[PathBuf],
        form: Form,
        invert: Option<bool>,
    ) -> Result<Self, Error> {
        if !support.is_dir() {
            return Err(Error::NoSupport { path: support.into() });
        }
        let (mut files, mut left_out) = (Vec::new(), Vec::new());
        for path in queries {
            find(path, &mut files, &mut left_out)?;
        }
        let reading = Reading { form, invert, skip_damaged: false };
        // Prediction has no setting to skip them.
        let (support_set, found) = reading.read(support).map_err(Error::not_to_skip)?;
        let inverted = found.ink.is_some_and(|ink| ink.inverted);
        let (query_pixels, coloured) = folder::ink(&files.iter().collect::<Vec<_>>(), form, inverted)?;
        let query = |file: PathBuf| Query { class: named_after(&file, support_set.classes()), file };
        let queries = files.into_iter().map(query).collect();
        let left_out = LeftOut::new(Path::new(""), left_out).and(found.left_out.below(support));
        let findings = Findings { coloured: found.coloured + coloured, left_out, ..Findings::default() };
        Ok(Self { queries, support: support_set, ink: found.ink, findings, query_pixels })
    }

    /// The support images as a network's input, `[images, size, size, channels]`, in order of their classes.
    pub fn support_values(&self, normalisation: &Normalisation) -> Vec<f32> {
        let pixels = self.support.pixels();
        normalisation.values(&pixels.get(0..pixels.len()))
    }

    /// The class of each support image.
    pub fn support_labels(&self) -> Vec<usize> {
        let classes = self.support.classes().iter().enumerate();
        classes.flat_map(|(label, class)| std::iter::repeat_n(label, class.examples)).collect()
    }

    /// The pixels of a query image, stored like those of the support images.
    ///
    /// # Panics
    /// Panics if there is no such query.
    pub fn query_pixels(&self, query: usize) -> &[u8] {
        let values = self.support.format().values();
        &self.query_pixels[query * values..(query + 1) * values]
    }

    /// The query images in `range` as a network's input, `[range, size, size, channels]`.
    ///
    /// # Panics
    /// Panics if `range` is out of bounds.
    pub fn query_values(&self, range: Range<usize>, normalisation: &Normalisation) -> Vec<f32> {
        let values = self.support.format().values();
        normalisation.values(&self.query_pixels[range.start * values..range.end * values])
    }
}

/// Adds the image at `path`, or those in the folder at `path`, and what is left out there.
fn find(path: &Path, found: &mut Vec<PathBuf>, left_out: &mut Vec<(Reason, PathBuf)>) -> Result<(), Error> {
    if path.is_dir() {
        let (before, mut others) = (found.len(), Vec::new());
        collect(path, MAX_DEPTH, found, &mut others)?;
        if found.len() == before {
            return Err(Error::NoImages { path: path.into(), holds: LeftOut::new(path, others) });
        }
        left_out.extend(others);
    } else if path.exists() {
        found.push(path.into());
    } else {
        return Err(Error::NoQuery { path: path.into() });
    }
    Ok(())
}

fn collect(
    folder: &Path,
    deep: usize,
    found: &mut Vec<PathBuf>,
    left_out: &mut Vec<(Reason, PathBuf)>,
) -> Result<(), Error> {
    let Listing { folders, images, left_out: others } = Listing::of(folder)?;
    found.extend(images);
    left_out.extend(others);
    if deep == 0 && !folders.is_empty() {
        return Err(Error::TooDeep { path: folder.into() });
    }
    folders.iter().try_for_each(|child| collect(child, deep - 1, found, left_out))
}

/// The index of the class that has the name of the folder of `file`.
fn named_after(file: &Path, classes: &[Class]) -> Option<usize> {
    let folder = file.parent()?;
    let named = classes.iter().enumerate().filter(|(_, class)| folder.ends_with(&class.name));
    // `owl` and `birds/owl` may both be classes.
    named.max_by_key(|(_, class)| class.name.len()).map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use image::{GrayImage, Luma};
    use tempfile::TempDir;

    use super::*;
    use crate::data::Channels;

    /// A folder with a uniformly grey image at each of `paths`.
    fn folder(paths: &[(&str, u8)]) -> TempDir {
        let dir = TempDir::new().expect("dir");
        for (path, grey) in paths {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().expect("nested")).expect("folder");
            GrayImage::from_pixel(4, 4, Luma([*grey])).save(path).expect("image");
        }
        dir
    }

    fn read(dir: &TempDir, queries: &[&str], invert: Option<bool>) -> Result<Request, Error> {
        let queries: Vec<_> = queries.iter().map(|query| dir.path().join(query)).collect();
        Request::read(&dir.path().join("shots"), &queries, Form::grey(2), invert)
    }

    #[test]
    fn queries_are_files_and_folders_inverted_like_the_support_images() -> Result<(), Error> {
        let dir = folder(&[
            ("shots/cat/1.png", 250),
            ("shots/owl/1.png", 240),
            ("shots/owl/2.png", 230),
            ("new/owl/9.png", 0),
            ("new/cow/3.png", 10),
            ("new/1.png", 20),
            ("one.png", 30),
        ]);
        let request = read(&dir, &["one.png", "new"], None)?;
        assert!(request.ink.is_some_and(|ink| ink.inverted), "the support's paper is white");
        let found: Vec<_> = request
            .queries
            .iter()
            .map(|query| (query.file.strip_prefix(dir.path()).expect("below").to_path_buf(), query.class))
            .collect();
        let expected =
            [("one.png", None), ("new/1.png", None), ("new/cow/3.png", None), ("new/owl/9.png", Some(1))];
        assert_eq!(found, expected.map(|(file, class)| (PathBuf::from(file), class)));
        assert_eq!(request.support_labels(), [0, 1, 1]);
        let none = Normalisation::none(Channels::Grey);
        assert_eq!(request.support_values(&none)[..4], [5.0 / 255.0; 4]);
        // By their own borders, the dark query images would not be inverted.
        assert_eq!(request.query_values(3..4, &none), [1.0; 4]);
        assert_eq!(read(&dir, &["new"], Some(false))?.query_values(2..3, &none), [0.0; 4]);
        Ok(())
    }

    #[test]
    fn missing_images_are_reported_with_their_flag() {
        let dir = folder(&[("shots/cat/1.png", 250), ("shots/owl/1.png", 240)]);
        fs::create_dir(dir.path().join("empty")).expect("folder");
        let refusal = |queries: &[&str]| read(&dir, queries, None).expect_err("unusable").to_string();
        assert!(refusal(&["nowhere.png"]).contains("--query"));
        assert!(refusal(&["shots", "empty"]).contains("empty` nor its folders hold a usable image (PNG"));
        let gone =
            Request::read(&dir.path().join("gone"), &[], Form::grey(2), None).expect_err("gone").to_string();
        assert!(gone.contains("--support"), "{gone}");
    }
}
