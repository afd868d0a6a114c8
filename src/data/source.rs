//! The one front door: where images come from.

use std::fs;
use std::path::{Path, PathBuf};

use super::fingerprint::fingerprint;
use super::{Error, Glyphs, ImageSet, cache, folder, omniglot};

/// A place that images come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// Omniglot's two official zips, or the folders unpacked from them, in `dir`.
    Omniglot {
        /// Where they lie.
        dir: PathBuf,
    },
    /// Class folders of images; `invert` as in [`folder::load`].
    Folder {
        /// The folder of class folders.
        dir: PathBuf,
        /// Whether dark is ink; decided from the images' borders if nobody says.
        invert: Option<bool>,
    },
    /// Characters made up on the spot; needs no files.
    Glyphs(Glyphs),
}

/// An [`ImageSet`], and what to tell the user about how it was come by.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The images.
    pub set: ImageSet,
    /// Why the next run will be as slow as this one, if it will.
    pub warning: Option<String>,
}

impl Source {
    /// Images of `size`×`size` pixels; those that were decoded from files are kept in the folder
    /// `cache`, if one is given, until the files change.
    ///
    /// # Errors
    /// If the source is missing, incomplete or damaged; never because of the cache.
    pub fn load(&self, size: usize, cache: Option<&Path>) -> Result<Loaded, Error> {
        match self {
            Self::Omniglot { dir } => {
                let kept =
                    Kept { kind: "omniglot", dir, roots: omniglot::sources(dir)?, options: String::new() };
                kept.load(size, cache, || omniglot::load(dir, size))
            }
            Self::Folder { dir, invert } => {
                let options = format!("invert {invert:?}");
                let kept = Kept { kind: "folder", dir, roots: vec![dir.clone()], options };
                kept.load(size, cache, || folder::load(dir, size, *invert))
            }
            Self::Glyphs(glyphs) => Ok(Loaded { set: glyphs.draw(size)?, warning: None }),
        }
    }
}

/// What decides the name and the freshness of a cache file.
struct Kept<'a> {
    kind: &'static str,
    dir: &'a Path,
    roots: Vec<PathBuf>,
    options: String,
}

impl Kept<'_> {
    fn load(
        &self,
        size: usize,
        cache: Option<&Path>,
        build: impl FnOnce() -> Result<ImageSet, Error>,
    ) -> Result<Loaded, Error> {
        let (Some(cache), true) = (cache, self.dir.is_dir()) else {
            return Ok(Loaded { set: build()?, warning: None });
        };
        let place = fs::canonicalize(self.dir).map_err(Error::io("look at", self.dir))?;
        let what = format!("{} {size} {} {}", self.kind, self.options, place.display());
        // One file for each source and size, overwritten when the source changes.
        let name = fingerprint(&[], &what)?;
        let file = cache.join(format!("{}-{size}px-{}.images", self.kind, &name[..12]));
        let (set, warning) = cache::cached(&file, &fingerprint(&self.roots, &what)?, build)?;
        Ok(Loaded { set, warning })
    }
}

#[cfg(test)]
mod tests {
    use image::{GrayImage, Luma};
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn a_changed_folder_is_read_anew() -> Result<(), Error> {
        let (images, cache) = (TempDir::new().expect("dir"), TempDir::new().expect("dir"));
        fs::create_dir(images.path().join("a")).expect("folder");
        let draw = |grey, name: &str| {
            GrayImage::from_pixel(3, 3, Luma([grey]))
                .save(images.path().join("a").join(name))
                .expect("image");
        };
        let source = |invert| Source::Folder { dir: images.path().into(), invert };
        let load = |invert| source(invert).load(2, Some(cache.path()));
        draw(10, "1.png");
        let first = load(None)?;
        assert_eq!((first.set.image(0, 0), first.warning), ([10; 4].as_slice(), None));
        assert_eq!(load(None)?.set, first.set);
        assert_eq!(load(Some(true))?.set.image(0, 0), [245; 4]);
        draw(20, "2.png");
        assert_eq!(load(None)?.set.examples(0), 2);
        assert_eq!(fs::read_dir(cache.path()).expect("cache").count(), 2);
        Ok(())
    }

    #[test]
    fn a_missing_folder_is_named_with_or_without_a_cache() {
        let dir = PathBuf::from("no/such/place");
        for cache in [None, Some(Path::new("cache"))] {
            for source in
                [Source::Omniglot { dir: dir.clone() }, Source::Folder { dir: dir.clone(), invert: None }]
            {
                let error = source.load(28, cache).expect_err("missing").to_string();
                assert!(error.contains("no/such/place"), "{error}");
            }
        }
    }
}
