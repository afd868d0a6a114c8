//! CIFAR-100: 60 000 photographs of 32×32 pixels in colour, 600 of each of 100 classes in 20 superclasses (Krizhevsky,
//! *Learning multiple layers of features from tiny images*, 2009).
//!
//! It is read from the official archive of the binary version, or from the folder unpacked from it.

pub mod binary;
pub mod splits;

use std::path::Path;

use rayon::prelude::*;

use self::binary::{Archive, SIDE};
use super::cache::SourceFiles;
use super::fit::Form;
use super::image_set::{Format, check_size};
use super::resize::resize;
use super::{
    Channels, Class, Dataset, Defaults, Error, Findings, ImageSet, LoadOptions, Loaded, Location, Offer,
    Remote, Rotations, Source, SplitRule,
};

/// CIFAR-100's entry in the registry.
pub static SOURCE: Source = Source {
    name: "cifar100",
    summary: "60 000 photographs of 100 classes, 32×32 pixels in colour (Krizhevsky 2009)",
    location: Location::Default(DATASET.folder),
    splits: &[
        Offer { rule: SplitRule::CIFAR_FS, rotations: Rotations::None },
        Offer { rule: SplitRule::FC100, rotations: Rotations::None },
        Offer { rule: SplitRule::RANDOM_80, rotations: Rotations::None },
    ],
    // Of the 80 training classes of random-80; the other splits list theirs.
    defaults: Defaults::Fixed { validation: 16 },
    channels: &[Channels::Colour, Channels::Grey],
    own_images: false,
    loader,
    dataset: Some(&DATASET),
};

/// Where CIFAR-100's authors publish it.
static DATASET: Dataset = Dataset {
    name: "cifar100",
    title: "CIFAR-100",
    summary: "60 000 photographs of 100 classes, 32×32 pixels in colour; for CIFAR-FS and FC100",
    folder: "datasets/cifar100",
    url: "https://www.cs.toronto.edu/~kriz/",
    files: &[Remote { name: "cifar-100-binary.tar.gz", md5: "03b5dce01913d631647c71ecec9e9cb8" }],
    check: |folder| load(folder, Form::colour(SIDE)).map(|set| set.classes().len()),
};

fn loader(options: &LoadOptions) -> Result<Loaded, Error> {
    let path = options.path;
    let channels = options.channels.unwrap_or(Channels::Colour);
    let files = SourceFiles {
        source: SOURCE.name,
        roots: binary::roots(path)?,
        options: String::new(),
        load: options,
    };
    files.load(channels, |_| Ok((load(path, options.form(channels))?, Findings::default())))
}

/// Reads CIFAR-100 from `dir` and brings it to `form`. Classes have the names of the fine labels, and as groups the
/// superclasses; they are sorted. A class has the images of the training file, then those of the test file.
///
/// # Errors
/// Returns an error if files are missing or damaged, or a class has no images.
pub fn load(dir: &Path, form: Form) -> Result<ImageSet, Error> {
    check_size(form.size)?;
    let archive = Archive::read(dir)?;
    let mut labels: Vec<usize> = (0..archive.names.len()).collect();
    labels.sort_by_key(|label| &archive.names[*label]);
    let format = Format { size: form.size, channels: form.channels, paper: 0 };
    let (mut classes, mut chosen) = (vec![], vec![]);
    for label in labels {
        let images: Vec<usize> = archive.of_class(label).collect();
        let name = &archive.names[label];
        let group =
            archive.group(label).ok_or_else(|| archive.damaged(format!("it has no images of `{name}`")))?;
        classes.push(Class::new(name, group, None, images.len()));
        chosen.extend(images);
    }
    let mut pixels = vec![0; chosen.len() * format.values()];
    pixels.par_chunks_exact_mut(format.values()).zip(chosen).for_each(|(image, index)| {
        let stored = archive.image(index, form.channels);
        let sides = [[SIDE; 2], [form.size; 2]];
        image.copy_from_slice(&resize(&stored, form.channels.count(), sides[0], sides[1]));
    });
    ImageSet::of(format, classes, pixels.into())
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::fs;

    use tempfile::TempDir;

    use super::binary::sample;
    use super::*;
    use crate::data::{Part, RotatedClass, Split};

    #[test]
    fn images_are_read_class_by_class_from_the_archive_and_from_its_folder() -> Result<(), Error> {
        let dir = TempDir::new().expect("dir");
        let archive = dir.path().join("cifar-100-binary.tar.gz");
        fs::write(&archive, sample::archive(2, 1)).expect("written");
        let set = load(dir.path(), Form::colour(SIDE))?;
        assert_eq!((set.classes().len(), set.images()), (100, 300));
        let names: Vec<&str> = set.classes().iter().map(|class| class.name.as_str()).collect();
        assert!(names.is_sorted());
        let apple = &set.classes()[0];
        assert_eq!((apple.name.as_str(), apple.group.as_str()), ("apple", "fruit_and_vegetables"));
        // The third image of a class is the first of the test file.
        for (class, example) in [(0, 0), (57, 2)] {
            let label = sample::label(names[class]);
            let [red, green, blue] = sample::colour(label, example);
            assert_eq!(set.image(class, example)[..3], [red, green, blue]);
            assert_eq!(set.image(class, example)[3 * SIDE..3 * SIDE + 3], [red, green, blue.wrapping_add(1)]);
        }

        let unpacked = TempDir::new().expect("dir");
        sample::unpack(unpacked.path(), 2, 1);
        assert_eq!(load(unpacked.path(), Form::colour(SIDE))?, set);
        assert_eq!(load(&unpacked.path().join("cifar-100-binary"), Form::colour(SIDE))?, set);
        let grey = load(dir.path(), Form::grey(16))?;
        let [red, green, blue] = sample::colour(sample::label("apple"), 0).map(u32::from);
        assert_eq!(u32::from(grey.image(0, 0)[0]), (2126 * red + 7152 * green + 722 * blue + 5000) / 10_000);
        assert_eq!((grey.channels(), grey.size()), (Channels::Grey, 16));
        Ok(())
    }

    #[test]
    fn the_published_splits_divide_all_classes() -> Result<(), Error> {
        let dir = TempDir::new().expect("dir");
        sample::unpack(dir.path(), 1, 0);
        let set = load(dir.path(), Form::grey(8))?;
        for (rule, sizes) in [
            (SplitRule::CIFAR_FS, [64, 16, 20]),
            (SplitRule::FC100, [60, 20, 20]),
            (SplitRule::RANDOM_80, [64, 16, 20]),
        ] {
            let split = Split::new(&set, rule, 16, false, 0)?;
            let parts = [&split.train, &split.validation, &split.test];
            assert_eq!(parts.map(Vec::len), sizes, "{rule}");
            let all: BTreeSet<usize> = parts.into_iter().flatten().map(|class| class.class).collect();
            assert_eq!(all.len(), 100, "{rule}");
        }
        let part = |rule, name: &str| -> Result<Option<Part>, Error> {
            let split = Split::new(&set, rule, 0, false, 0)?;
            let class = set.classes().iter().position(|class| class.name == name).expect("a class");
            let parts = [Part::Train, Part::Validation, Part::Test];
            Ok(parts.into_iter().find(|part| split.part(*part).contains(&RotatedClass::upright(class))))
        };
        for (name, cifar_fs, fc100) in [
            ("apple", Part::Train, Part::Train),
            ("beaver", Part::Validation, Part::Test),
            ("baby", Part::Test, Part::Test),
            ("shrew", Part::Train, Part::Validation),
        ] {
            assert_eq!(part(SplitRule::CIFAR_FS, name)?, Some(cifar_fs), "{name}");
            assert_eq!(part(SplitRule::FC100, name)?, Some(fc100), "{name}");
        }
        Ok(())
    }

    #[test]
    fn fc100_has_all_five_classes_of_the_published_superclasses() -> Result<(), Error> {
        let dir = TempDir::new().expect("dir");
        sample::unpack(dir.path(), 1, 0);
        let set = load(dir.path(), Form::grey(8))?;
        let split = Split::new(&set, SplitRule::FC100, 0, false, 0)?;
        // TADAM's authors list coarse labels, not names.
        for (part, labels) in [
            (Part::Train, &[1, 2, 3, 4, 5, 6, 9, 10, 15, 17, 18, 19][..]),
            (Part::Validation, &[8, 11, 13, 16]),
            (Part::Test, &[0, 7, 12, 14]),
        ] {
            let mut classes = BTreeMap::new();
            for class in split.part(part) {
                let group = &set.classes()[class.class].group;
                *classes.entry(sample::coarse_label(group)).or_insert(0) += 1;
            }
            let published: BTreeMap<usize, i32> = labels.iter().map(|label| (*label, 5)).collect();
            assert_eq!(classes, published, "{part}");
        }
        Ok(())
    }

    #[test]
    fn damaged_and_missing_files_are_named() {
        let dir = TempDir::new().expect("dir");
        let refusal = || load(dir.path(), Form::colour(32)).expect_err("damaged").to_string();
        let fetch = |text: String, words: &str| {
            assert!(text.contains(words) && text.contains("data fetch cifar100"), "{text}");
        };
        fetch(refusal(), "neither `cifar-100-binary.tar.gz` nor");
        let archive = dir.path().join("cifar-100-binary.tar.gz");
        let whole = sample::archive(1, 1);
        fs::write(&archive, &whole[..whole.len() / 2]).expect("written");
        fetch(refusal(), "damaged");
        fs::write(&archive, "no archive").expect("written");
        fetch(refusal(), "damaged");
        fs::remove_file(&archive).expect("there");
        sample::unpack(dir.path(), 1, 1);
        let folder = dir.path().join("cifar-100-binary");
        let train = fs::read(folder.join("train.bin")).expect("there");
        fs::write(folder.join("train.bin"), &train[1..]).expect("written");
        fetch(refusal(), "train.bin");
        let mut wrong = train.clone();
        wrong[1] = 100;
        fs::write(folder.join("train.bin"), &wrong).expect("written");
        fetch(refusal(), "label 100");
        fs::write(folder.join("train.bin"), []).expect("written");
        fs::write(folder.join("test.bin"), []).expect("written");
        fetch(refusal(), "no images of `apple`");
        fs::write(folder.join("fine_label_names.txt"), "apple\n").expect("written");
        fetch(refusal(), "fine_label_names.txt");
        fs::remove_file(folder.join("test.bin")).expect("there");
        fetch(refusal(), "test.bin");
    }
}
