//! Omniglot: 1623 handwritten characters of 50 alphabets, each drawn by 20 people.
//!
//! B. Lake, R. Salakhutdinov, J. Tenenbaum, *Human-level concept learning through probabilistic program induction*,
//! Science 2015. It is read from the two official zip files or from folders unpacked from them. Files are recognised by
//! their content, so repacked copies work too.

pub mod container;

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use self::container::{Container, DrawingPath};
use super::cache::SourceFiles;
use super::decode::{DRAWING, decode};
use super::image_set::check_size;
use super::resize::resize;
use super::{
    Channels, Class, Dataset, Defaults, Error, Findings, ImageSet, LoadOptions, Loaded, Location, Offer,
    Part, Remote, Rotations, Source, SplitRule,
};

/// Omniglot's entry in the registry.
pub static SOURCE: Source = Source {
    name: "omniglot",
    summary: "1623 handwritten characters of 50 alphabets, 20 drawings each (Lake et al. 2015)",
    location: Location::Default(DATASET.folder),
    splits: &[
        Offer { rule: SplitRule::RANDOM_1200, rotations: Rotations::Classes },
        Offer { rule: SplitRule::Alphabets, rotations: Rotations::None },
    ],
    defaults: Defaults::Fixed { validation: 100 },
    channels: &[Channels::Grey],
    own_images: false,
    loader,
    dataset: Some(&DATASET),
};

/// Where Omniglot's authors publish it.
static DATASET: Dataset = Dataset {
    name: "omniglot",
    title: "Omniglot",
    summary: "1623 handwritten characters of 50 alphabets, 20 drawings each",
    folder: "datasets/omniglot",
    url: "https://raw.githubusercontent.com/brendenlake/omniglot/master/python/",
    files: &[
        Remote { name: "images_background.zip", md5: "68d2efa1b9178cc56df9314c21c6e718" },
        Remote { name: "images_evaluation.zip", md5: "6b91aef0f799c5bb55b94e3f2daec811" },
    ],
    check: |folder| load(folder, 28).map(|set| set.classes().len()),
};

/// Drawings per character, each by another person.
const DRAWINGS: usize = 20;

fn loader(options: &LoadOptions) -> Result<Loaded, Error> {
    let LoadOptions { path, size, .. } = *options;
    let files = SourceFiles {
        source: SOURCE.name,
        roots: HALVES.iter().map(|half| find(path, half)).collect::<Result<_, _>>()?,
        options: String::new(),
        load: options,
    };
    files.load(Channels::Grey, |_| Ok((load(path, size)?, Findings::default())))
}

/// One of the two official archives.
struct Half {
    name: &'static str,
    part: Part,
    characters: usize,
}

const HALVES: [Half; 2] = [
    Half { name: "images_background", part: Part::Train, characters: 964 },
    Half { name: "images_evaluation", part: Part::Test, characters: 659 },
];

/// Reads Omniglot from `dir` and resizes it to `size`×`size` pixels. Classes are named like `Korean/character07` and
/// sorted; the background alphabets are for training, the evaluation alphabets for test.
///
/// # Errors
/// Returns an error if an archive is missing, damaged or incomplete, or a drawing cannot be decoded.
pub fn load(dir: &Path, size: usize) -> Result<ImageSet, Error> {
    load_halves(dir, size, &HALVES)
}

/// The file or folder in `dir` that holds `half`.
fn find(dir: &Path, half: &Half) -> Result<PathBuf, Error> {
    if !dir.is_dir() {
        return Err(Error::NotFetched { path: dir.to_path_buf(), dataset: &DATASET });
    }
    let name = half.name;
    container::find(dir, name).ok_or_else(|| Error::Missing {
        path: dir.to_path_buf(),
        wanted: format!("neither `{name}.zip` nor an unpacked `{name}` folder"),
        dataset: &DATASET,
    })
}

/// A class and its drawings.
struct Character<'a> {
    class: Class,
    container: &'a Container,
    drawings: Vec<DrawingPath>,
}

fn load_halves(dir: &Path, size: usize, halves: &[Half]) -> Result<ImageSet, Error> {
    check_size(size)?;
    let containers: Vec<Container> =
        halves.iter().map(|half| Container::open(find(dir, half)?, half.name)).collect::<Result<_, _>>()?;
    let mut characters = vec![];
    for (half, container) in halves.iter().zip(&containers) {
        characters.extend(list(half, container)?);
    }
    characters.sort_by(|a, b| a.class.name.cmp(&b.class.name));

    let drawings: Vec<(&Container, &DrawingPath)> = characters
        .iter()
        .flat_map(|character| character.drawings.iter().map(|drawing| (character.container, drawing)))
        .collect();
    let mut pixels = vec![0; drawings.len() * size * size];
    pixels.par_chunks_exact_mut(size * size).zip(&drawings).try_for_each(
        |(image, (container, drawing))| {
            let path = container.path().join(drawing.join("/"));
            let grey = decode(&container.read(drawing)?, &path, DRAWING, Channels::Grey)?;
            let ink: Vec<u8> = grey.pixels.iter().map(|grey| 255 - grey).collect();
            image.copy_from_slice(&resize(&ink, 1, [grey.width, grey.height], [size, size]));
            Ok(())
        },
    )?;
    ImageSet::new(size, characters.into_iter().map(|character| character.class).collect(), pixels)
}

/// The characters of one half, or an error if it is incomplete.
fn list<'a>(half: &Half, container: &'a Container) -> Result<Vec<Character<'a>>, Error> {
    let incomplete =
        |found: String| Error::Incomplete { path: container.path().to_path_buf(), found, dataset: &DATASET };
    let drawings = container.drawings()?;
    let characters: Vec<Character> = drawings
        .chunk_by(|a, b| a[..2] == b[..2])
        .map(|drawings| {
            let (alphabet, name) = (&drawings[0][0], drawings[0][..2].join("/"));
            let class = Class::new(name, alphabet, Some(half.part), drawings.len());
            Character { class, container, drawings: drawings.to_vec() }
        })
        .collect();
    let (found, expected) = (characters.len(), half.characters);
    if found != expected {
        let missing = gap(&characters).map(|name| format!(" (`{name}` is missing)")).unwrap_or_default();
        return Err(incomplete(format!("{found} characters instead of {expected}{missing}")));
    }
    match characters.iter().find(|character| character.class.examples != DRAWINGS) {
        None => Ok(characters),
        Some(Character { class: Class { name, examples, .. }, .. }) => {
            Err(incomplete(format!("{examples} drawings of `{name}` instead of {DRAWINGS}")))
        }
    }
}

/// The first character missing from an alphabet. Each alphabet numbers its characters from `character01`.
fn gap(characters: &[Character]) -> Option<String> {
    characters.chunk_by(|a, b| a.class.group == b.class.group).find_map(|alphabet| {
        let expected = (1..).map(|number| format!("{}/character{number:02}", alphabet[0].class.group));
        alphabet
            .iter()
            .zip(expected)
            .find(|(character, name)| character.class.name != *name)
            .map(|pair| pair.1)
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{Cursor, Write};

    use image::{GrayImage, ImageFormat, Luma};
    use tempfile::TempDir;
    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;

    const SMALL: [Half; 2] = [
        Half { name: "images_background", part: Part::Train, characters: 3 },
        Half { name: "images_evaluation", part: Part::Test, characters: 1 },
    ];

    /// The files of a small Omniglot; each drawing of a character has a black stripe in a different place.
    fn files() -> Vec<(String, Vec<u8>)> {
        let mut files = vec![];
        for (half, character) in [
            ("images_background", "Greek/character01"),
            ("images_background", "Greek/character02"),
            ("images_background", "Arcadian/character01"),
            ("images_evaluation", "Korean/character01"),
        ] {
            for drawing in 1..=20 {
                let black = |x, y| Luma([if x == drawing && y < 20 { 0 } else { 255 }]);
                let mut bytes = Cursor::new(vec![]);
                GrayImage::from_fn(21, 21, black).write_to(&mut bytes, ImageFormat::Png).expect("memory");
                files.push((format!("{half}/{character}/{drawing:04}_01.png"), bytes.into_inner()));
            }
        }
        files
    }

    fn zipped(dir: &Path, files: &[(String, Vec<u8>)]) {
        for half in &SMALL {
            let mut zip =
                ZipWriter::new(fs::File::create(dir.join(format!("{}.zip", half.name))).expect("file"));
            for (name, bytes) in
                files.iter().filter(|file| !file.0.starts_with("images_") || file.0.starts_with(half.name))
            {
                zip.start_file(name, SimpleFileOptions::default()).expect("entry");
                zip.write_all(bytes).expect("entry");
            }
            zip.finish().expect("zip");
        }
    }

    fn unpacked(dir: &Path, files: &[(String, Vec<u8>)]) {
        for (name, bytes) in files {
            let path = dir.join(name);
            fs::create_dir_all(path.parent().expect("nested")).expect("folder");
            fs::write(path, bytes).expect("file");
        }
    }

    fn refusal(dir: &TempDir) -> String {
        load_halves(dir.path(), 7, &SMALL).expect_err("incomplete").to_string()
    }

    #[test]
    fn zips_and_folders_load_the_same_set() -> Result<(), Error> {
        let (zips, folders) = (TempDir::new().expect("dir"), TempDir::new().expect("dir"));
        zipped(zips.path(), &files());
        unpacked(folders.path(), &files());
        let set = load_halves(zips.path(), 7, &SMALL)?;
        assert_eq!(set, load_halves(folders.path(), 7, &SMALL)?);
        let names: Vec<_> = set.classes().iter().map(|class| (class.name.as_str(), class.part)).collect();
        let (train, test) = (Some(Part::Train), Some(Part::Test));
        assert_eq!(
            names,
            [
                ("Arcadian/character01", train),
                ("Greek/character01", train),
                ("Greek/character02", train),
                ("Korean/character01", test)
            ]
        );
        // The stripe of drawing 3 covers a third of column 1 after resizing.
        assert_eq!(set.image(1, 2)[..7], [0, 85, 0, 0, 0, 0, 0]);
        Ok(())
    }

    #[test]
    fn missing_files_are_named() {
        let dir = TempDir::new().expect("dir");
        let text = load(&dir.path().join("nowhere"), 28).expect_err("no folder").to_string();
        assert!(text.contains("nowhere") && text.contains("--data"), "{text}");
        let text = refusal(&dir);
        assert!(
            text.contains("images_background") && text.contains("metaburn data fetch omniglot"),
            "{text}"
        );

        let mut lacking = files();
        lacking.retain(|file| !file.0.contains("Greek/character01"));
        unpacked(dir.path(), &lacking);
        let text = refusal(&dir);
        assert!(
            text.contains("2 characters instead of 3") && text.contains("`Greek/character01` is missing"),
            "{text}"
        );

        unpacked(dir.path(), &files());
        fs::remove_file(dir.path().join("images_evaluation/Korean/character01/0004_01.png")).expect("there");
        let text = refusal(&dir);
        assert!(text.contains("Korean/character01") && text.contains("19 drawings"), "{text}");
    }

    #[test]
    fn damaged_and_hostile_archives_are_refused() {
        let dir = TempDir::new().expect("dir");
        let evaluation = dir.path().join("images_evaluation.zip");
        let mut hostile = files();
        hostile.push(("../../escaped.png".into(), vec![1]));
        zipped(dir.path(), &hostile);
        assert!(load_halves(dir.path(), 7, &SMALL).is_ok());

        hostile[79].1 = vec![0; 64 << 20];
        zipped(dir.path(), &hostile);
        assert!(refusal(&dir).contains("Korean/character01/0020_01.png"));

        // A zip, and an image of 1.5 million pixels, in place of a drawing.
        let mut large = Cursor::new(vec![]);
        GrayImage::new(1500, 1000).write_to(&mut large, ImageFormat::Png).expect("memory");
        for wrong in [b"PK\x03\x04".to_vec(), large.into_inner()] {
            hostile[79].1 = wrong;
            zipped(dir.path(), &hostile);
            assert!(refusal(&dir).contains("cannot decode the image"));
        }

        zipped(dir.path(), &files());
        let whole = fs::read(&evaluation).expect("zip");
        fs::write(&evaluation, &whole[..whole.len() / 2]).expect("zip");
        let text = refusal(&dir);
        assert!(text.contains("images_evaluation.zip` is damaged"), "{text}");

        let mut flipped = whole;
        // Inside the first drawing's data, just after its header and name.
        flipped[120] ^= 0xff;
        fs::write(&evaluation, &flipped).expect("zip");
        assert!(refusal(&dir).contains("Korean/character01/0001_01.png"));
    }
}
