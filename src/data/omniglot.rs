//! Omniglot: 1623 handwritten characters of 50 alphabets, each drawn by 20 people.
//!
//! B. Lake, R. Salakhutdinov, J. Tenenbaum, *Human-level concept learning through probabilistic
//! program induction*, Science 2015. Read from the two official zips or from folders unpacked from
//! them; known by their content, since copies repacked by others serve as well.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::container::{self, Container, Drawing};
use super::decode::{DRAWING, decode};
use super::image_set::check_size;
use super::resize::resize;
use super::{Class, Error, ImageSet, Part};

/// People who drew each character.
const DRAWINGS: usize = 20;

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

/// Reads Omniglot from `dir` and resizes it to `size`×`size` pixels; classes are named like
/// `Korean/character07` and sorted, background alphabets are for training, evaluation ones for test.
///
/// # Errors
/// If a half is missing, damaged or incomplete, or a drawing cannot be decoded.
pub fn load(dir: &Path, size: usize) -> Result<ImageSet, Error> {
    load_halves(dir, size, &HALVES)
}

/// The two files or folders that [`load`] would read.
///
/// # Errors
/// If the folder or one of the halves is missing.
pub fn sources(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    HALVES.iter().map(|half| find(dir, half)).collect()
}

fn find(dir: &Path, half: &Half) -> Result<PathBuf, Error> {
    if !dir.is_dir() {
        return Err(Error::NoFolder { path: dir.to_path_buf() });
    }
    container::find(dir, half.name)
        .ok_or_else(|| Error::NoOmniglot { path: dir.to_path_buf(), half: half.name })
}

/// A class and where its drawings are.
struct Character<'a> {
    class: Class,
    container: &'a Container,
    drawings: Vec<Drawing>,
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

    let drawings: Vec<(&Container, &Drawing)> = characters
        .iter()
        .flat_map(|character| character.drawings.iter().map(|drawing| (character.container, drawing)))
        .collect();
    let mut pixels = vec![0; drawings.len() * size * size];
    pixels.par_chunks_exact_mut(size * size).zip(&drawings).try_for_each(
        |(image, (container, drawing))| {
            let path = container.path().join(drawing.join("/"));
            let grey = decode(&container.read(drawing)?, &path, DRAWING)?;
            let ink: Vec<u8> = grey.pixels.iter().map(|grey| 255 - grey).collect();
            image.copy_from_slice(&resize(&ink, grey.width, grey.height, size));
            Ok(())
        },
    )?;
    ImageSet::new(size, characters.into_iter().map(|character| character.class).collect(), pixels)
}

/// The characters of one half, if it is complete.
fn list<'a>(half: &Half, container: &'a Container) -> Result<Vec<Character<'a>>, Error> {
    let path = container.path();
    let drawings = container.drawings()?;
    let characters: Vec<Character> = drawings
        .chunk_by(|a, b| a[..2] == b[..2])
        .map(|drawings| {
            let (alphabet, name) = (&drawings[0][0], drawings[0][..2].join("/"));
            let class = Class::new(name, alphabet, Some(half.part), drawings.len());
            Character { class, container, drawings: drawings.to_vec() }
        })
        .collect();
    if characters.len() != half.characters {
        return Err(Error::CharacterCount {
            path: path.to_path_buf(),
            found: characters.len(),
            expected: half.characters,
            missing: gap(&characters),
        });
    }
    match characters.iter().find(|character| character.class.examples != DRAWINGS) {
        None => Ok(characters),
        Some(Character { class, .. }) => Err(Error::DrawingCount {
            path: path.to_path_buf(),
            class: class.name.clone(),
            found: class.examples,
            expected: DRAWINGS,
        }),
    }
}

/// The first character that an alphabet skips; each counts its own from `character01`.
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
    use std::collections::BTreeSet;
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

    /// The small Omniglot's files; each drawing has one black stripe of its own.
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
    fn zips_and_folders_yield_the_same_set() -> Result<(), Error> {
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
        // Drawing 3 has its stripe, a third of a new pixel wide, in new column 1.
        assert_eq!(set.image(1, 2)[..7], [0, 85, 0, 0, 0, 0, 0]);
        Ok(())
    }

    #[test]
    fn what_is_missing_is_named() {
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

        // Neither a zip in a drawing's place nor a drawing of a million and a half pixels is taken for one.
        let mut large = Cursor::new(vec![]);
        GrayImage::new(1500, 1000).write_to(&mut large, ImageFormat::Png).expect("memory");
        for odd in [b"PK\x03\x04".to_vec(), large.into_inner()] {
            hostile[79].1 = odd;
            zipped(dir.path(), &hostile);
            assert!(refusal(&dir).contains("cannot decode the image"));
        }

        zipped(dir.path(), &files());
        let whole = fs::read(&evaluation).expect("zip");
        fs::write(&evaluation, &whole[..whole.len() / 2]).expect("zip");
        let text = refusal(&dir);
        assert!(text.contains("images_evaluation.zip` is damaged"), "{text}");

        let mut flipped = whole;
        // Inside the first drawing's data, just past its header and name.
        flipped[120] ^= 0xff;
        fs::write(&evaluation, &flipped).expect("zip");
        assert!(refusal(&dir).contains("Korean/character01/0001_01.png"));
    }

    #[test]
    fn real_omniglot_is_complete() -> Result<(), Error> {
        let dir = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/datasets/omniglot"));
        if !dir.exists() {
            // Past the harness, which hides what passing tests print.
            let _ = writeln!(std::io::stderr(), "SKIPPED: real Omniglot is not at {}", dir.display());
            return Ok(());
        }
        let set = load(dir, 28)?;
        assert_eq!((set.classes().len(), set.pixels().len()), (1623, 1623 * 20 * 784));
        let alphabets: BTreeSet<_> = set.classes().iter().map(|class| &class.group).collect();
        assert_eq!(alphabets.len(), 50);
        let braille = set.classes().iter().position(|class| class.name == "Braille/character01");
        // A known property of the data: these two drawings are the same image.
        assert!(braille.is_some_and(|class| set.image(class, 2) == set.image(class, 18)));
        Ok(())
    }
}
