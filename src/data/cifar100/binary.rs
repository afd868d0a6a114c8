//! The binary version of CIFAR-100, packed (`cifar-100-binary.tar.gz`) or unpacked.
//!
//! `train.bin` and `test.bin` are records of 3074 bytes: the superclass, the class, and 1024 bytes each of red, green and blue,
//! row by row. `coarse_label_names.txt` and `fine_label_names.txt` have a name on each line.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;

use super::DATASET;
use crate::data::raster::brightness;
use crate::data::{Channels, Error};
use crate::support::atomic_file;

/// Height and width of an image.
pub const SIDE: usize = 32;
const AREA: usize = SIDE * SIDE;
/// Bytes of labels before the pixels of a record.
const LABELS: usize = 2;
const RECORD: usize = LABELS + 3 * AREA;

const PACKED: &str = "cifar-100-binary.tar.gz";
const FOLDER: &str = "cifar-100-binary";
const COARSE: &str = "coarse_label_names.txt";
const FINE: &str = "fine_label_names.txt";
/// The files that are read, the images in order.
const FILES: [&str; 4] = ["train.bin", "test.bin", FINE, COARSE];
/// The largest file accepted, and the most bytes of an unpacked archive; the official one has 185 MB.
const MAX_BYTES: u64 = 512 << 20;

/// CIFAR-100's files.
pub struct Archive {
    /// The archive, or the folder that was unpacked from it.
    path: PathBuf,
    /// The records of the training images, then of the test images.
    records: Vec<u8>,
    /// The names of the classes.
    pub names: Vec<String>,
    /// The names of the superclasses.
    groups: Vec<String>,
}

/// Where the files are.
enum Place {
    Packed(PathBuf),
    Folder(PathBuf),
}

impl Place {
    /// Where they are in `dir`: the archive, the folder unpacked from it, or `dir` itself.
    fn find(dir: &Path) -> Result<Self, Error> {
        if !dir.is_dir() {
            return Err(Error::NoFolder { path: dir.into() });
        }
        let (packed, folder) = (dir.join(PACKED), dir.join(FOLDER));
        if packed.is_file() {
            Ok(Self::Packed(packed))
        } else if folder.is_dir() {
            Ok(Self::Folder(folder))
        } else if dir.join(FILES[0]).is_file() {
            Ok(Self::Folder(dir.into()))
        } else {
            let wanted = format!("neither `{PACKED}` nor the folder `{FOLDER}` unpacked from it");
            Err(Error::Missing { path: dir.into(), wanted, dataset: &DATASET })
        }
    }
}

/// The files that decide the images.
///
/// # Errors
/// Returns an error if there are none.
pub fn roots(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    Ok(match Place::find(dir)? {
        Place::Packed(archive) => vec![archive],
        Place::Folder(folder) => {
            FILES.iter().map(|name| folder.join(name)).filter(|path| path.exists()).collect()
        }
    })
}

impl Archive {
    /// Reads the files in `dir`.
    ///
    /// # Errors
    /// Returns an error if a file is missing or damaged.
    pub fn read(dir: &Path) -> Result<Self, Error> {
        let (path, files) = match Place::find(dir)? {
            Place::Packed(path) => {
                let files = unpack(&path).map_err(|error| damaged(&path, error.to_string()))?;
                (path, files)
            }
            Place::Folder(path) => {
                let files = FILES.map(|name| {
                    let file = path.join(name);
                    file.is_file()
                        .then(|| atomic_file::read(&file, MAX_BYTES).map_err(Error::io("read", &file)))
                        .transpose()
                });
                let mut all = vec![];
                for file in files {
                    all.push(file?);
                }
                (path, all)
            }
        };
        let mut found = vec![];
        for (name, file) in FILES.iter().zip(files) {
            let missing =
                || Error::Incomplete { path: path.clone(), found: format!("no `{name}`"), dataset: &DATASET };
            found.push(file.ok_or_else(missing)?);
        }
        let [train, test, fine, coarse] = <[Vec<u8>; 4]>::try_from(found).unwrap_or_default();
        let names = |bytes: Vec<u8>, name: &str, count: usize| {
            let text = String::from_utf8_lossy(&bytes);
            let names: Vec<String> =
                text.lines().map(|line| line.trim().to_string()).filter(|line| !line.is_empty()).collect();
            match names.len() == count {
                true => Ok(names),
                false => {
                    Err(damaged(&path, format!("`{name}` has {} names instead of {count}", names.len())))
                }
            }
        };
        let (names, groups) = (names(fine, FINE, 100)?, names(coarse, COARSE, 20)?);
        for (name, file) in FILES.iter().zip([&train, &test]) {
            if file.len() % RECORD != 0 {
                let reason = format!("`{name}` has {} bytes, which are no whole images", file.len());
                return Err(damaged(&path, reason));
            }
        }
        let mut records = train;
        records.extend(test);
        let archive = Self { path, records, names, groups };
        let wrong = archive.labels().find(|[coarse, fine]| *coarse >= 20 || *fine >= 100);
        match wrong {
            None => Ok(archive),
            Some([coarse, fine]) => {
                let reason =
                    format!("an image has label {fine} of superclass {coarse}, which does not exist");
                Err(archive.damaged(reason))
            }
        }
    }

    /// The numbers of superclass and class of each image.
    fn labels(&self) -> impl Iterator<Item = [usize; 2]> {
        self.records.chunks_exact(RECORD).map(|record| [record[0], record[1]].map(usize::from))
    }

    /// The images of the class with number `label`.
    pub fn of_class(&self, label: usize) -> impl Iterator<Item = usize> {
        self.labels().enumerate().filter(move |(_, [_, fine])| *fine == label).map(|(index, _)| index)
    }

    /// The name of the superclass of the class with number `label`; `None` if it has no images.
    pub fn group(&self, label: usize) -> Option<&str> {
        let [coarse, _] = self.labels().find(|[_, fine]| *fine == label)?;
        Some(&self.groups[coarse])
    }

    /// The image with this number, `[32, 32, channels]`.
    pub fn image(&self, index: usize, channels: Channels) -> Vec<u8> {
        let planes = &self.records[index * RECORD + LABELS..(index + 1) * RECORD];
        let colour = |pixel: usize| [0, 1, 2].map(|channel| planes[channel * AREA + pixel]);
        match channels {
            Channels::Colour => (0..AREA).flat_map(colour).collect(),
            Channels::Grey => (0..AREA).map(|pixel| brightness(colour(pixel))).collect(),
        }
    }

    /// The error of a damaged archive.
    pub fn damaged(&self, reason: String) -> Error {
        damaged(&self.path, reason)
    }
}

fn damaged(path: &Path, reason: String) -> Error {
    Error::Damaged { path: path.into(), reason, dataset: &DATASET }
}

/// The content of each of [`FILES`] in the archive at `path`.
fn unpack(path: &Path) -> io::Result<Vec<Option<Vec<u8>>>> {
    let mut found = vec![None; FILES.len()];
    let unpacked = GzDecoder::new(File::open(path)?).take(MAX_BYTES);
    let mut archive = tar::Archive::new(unpacked);
    for entry in archive.entries()? {
        let entry = entry?;
        let name = entry.path()?.file_name().map(|name| name.to_string_lossy().into_owned());
        if let Some(at) = FILES.iter().position(|file| Some(*file) == name.as_deref()) {
            found[at] = Some(atomic_file::drain(entry, MAX_BYTES)?);
        }
    }
    Ok(found)
}

/// A small archive in the same format, for tests.
#[cfg(test)]
pub mod sample {
    use std::fs;
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    /// The superclasses in the official order, with their classes.
    const GROUPS: [(&str, [&str; 5]); 20] = [
        ("aquatic_mammals", ["beaver", "dolphin", "otter", "seal", "whale"]),
        ("fish", ["aquarium_fish", "flatfish", "ray", "shark", "trout"]),
        ("flowers", ["orchid", "poppy", "rose", "sunflower", "tulip"]),
        ("food_containers", ["bottle", "bowl", "can", "cup", "plate"]),
        ("fruit_and_vegetables", ["apple", "mushroom", "orange", "pear", "sweet_pepper"]),
        ("household_electrical_devices", ["clock", "keyboard", "lamp", "telephone", "television"]),
        ("household_furniture", ["bed", "chair", "couch", "table", "wardrobe"]),
        ("insects", ["bee", "beetle", "butterfly", "caterpillar", "cockroach"]),
        ("large_carnivores", ["bear", "leopard", "lion", "tiger", "wolf"]),
        ("large_man-made_outdoor_things", ["bridge", "castle", "house", "road", "skyscraper"]),
        ("large_natural_outdoor_scenes", ["cloud", "forest", "mountain", "plain", "sea"]),
        ("large_omnivores_and_herbivores", ["camel", "cattle", "chimpanzee", "elephant", "kangaroo"]),
        ("medium_mammals", ["fox", "porcupine", "possum", "raccoon", "skunk"]),
        ("non-insect_invertebrates", ["crab", "lobster", "snail", "spider", "worm"]),
        ("people", ["baby", "boy", "girl", "man", "woman"]),
        ("reptiles", ["crocodile", "dinosaur", "lizard", "snake", "turtle"]),
        ("small_mammals", ["hamster", "mouse", "rabbit", "shrew", "squirrel"]),
        ("trees", ["maple_tree", "oak_tree", "palm_tree", "pine_tree", "willow_tree"]),
        ("vehicles_1", ["bicycle", "bus", "motorcycle", "pickup_truck", "train"]),
        ("vehicles_2", ["lawn_mower", "rocket", "streetcar", "tank", "tractor"]),
    ];

    /// The names of all classes in the official order, which is alphabetical.
    fn names() -> Vec<&'static str> {
        let mut names: Vec<&str> = GROUPS.iter().flat_map(|(_, classes)| classes).copied().collect();
        names.sort_unstable();
        names
    }

    /// The number of the class `name`.
    pub fn label(name: &str) -> u8 {
        names().iter().position(|other| *other == name).expect("a class") as u8
    }

    /// The number of the superclass `name`.
    pub fn coarse_label(name: &str) -> usize {
        GROUPS.iter().position(|(other, _)| *other == name).expect("a superclass")
    }

    /// The colour of the first row of an example; blue grows by one with each row.
    pub fn colour(label: u8, example: usize) -> [u8; 3] {
        [2 * label, 255 - label, 40 * example as u8]
    }

    /// Records of these examples of each class.
    fn records(examples: std::ops::Range<usize>) -> Vec<u8> {
        let mut bytes = vec![];
        for example in examples {
            for name in names() {
                let group = GROUPS.iter().position(|(_, classes)| classes.contains(&name)).expect("a group");
                let [red, green, blue] = colour(label(name), example);
                bytes.extend([group as u8, label(name)]);
                bytes.extend([[red; AREA], [green; AREA]].concat());
                bytes.extend((0..AREA).map(|pixel| blue.wrapping_add((pixel / SIDE) as u8)));
            }
        }
        bytes
    }

    /// The files, with so many training and test images of each class.
    fn files(train: usize, test: usize) -> [(&'static str, Vec<u8>); 4] {
        let lines = |names: Vec<&str>| (names.join("\n") + "\n\n").into_bytes();
        [
            (FILES[0], records(0..train)),
            (FILES[1], records(train..train + test)),
            (FINE, lines(names())),
            (COARSE, lines(GROUPS.iter().map(|(name, _)| *name).collect())),
        ]
    }

    /// The archive.
    pub fn archive(train: usize, test: usize) -> Vec<u8> {
        let mut builder = tar::Builder::new(GzEncoder::new(vec![], Compression::fast()));
        for (name, content) in files(train, test) {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            let path = format!("{FOLDER}/{name}");
            builder.append_data(&mut header, path, content.as_slice()).expect("memory");
        }
        let mut packed = builder.into_inner().expect("memory");
        packed.flush().expect("memory");
        packed.finish().expect("memory")
    }

    /// Writes the unpacked folder into `dir`.
    pub fn unpack(dir: &Path, train: usize, test: usize) {
        let folder = dir.join(FOLDER);
        fs::create_dir_all(&folder).expect("folder");
        for (name, content) in files(train, test) {
            fs::write(folder.join(name), content).expect("file");
        }
    }
}
