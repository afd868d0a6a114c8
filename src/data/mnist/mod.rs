//! MNIST: 70 000 handwritten digits of 28×28 pixels (LeCun, Bottou, Bengio & Haffner, *Gradient-based learning
//! applied to document recognition*, 1998).
//!
//! It is read from its four official files, gzipped or not. Datasets with the same file names and format, such as
//! Fashion-MNIST, can be read too.

pub mod idx;

use std::path::{Path, PathBuf};

use super::{Dataset, Error, Labelled, Remote};

/// A mirror that keeps MNIST as its authors published it.
pub static DATASET: Dataset = Dataset {
    name: "mnist",
    title: "MNIST",
    summary: "70 000 handwritten digits, for ordinary classification (LeCun et al. 1998)",
    folder: "datasets/mnist",
    url: "https://ossci-datasets.s3.amazonaws.com/mnist/",
    files: &[
        Remote { name: "train-images-idx3-ubyte.gz", md5: "f68b3c2dcbeaaa9fbdd348bbdeb94873" },
        Remote { name: "train-labels-idx1-ubyte.gz", md5: "d53e105ee54ea40749a09fcbcd1e9432" },
        Remote { name: "t10k-images-idx3-ubyte.gz", md5: "9fb629c4189551a2d022fa330f9573f3" },
        Remote { name: "t10k-labels-idx1-ubyte.gz", md5: "ec29112dd5afa0611ce80d1b7f02629c" },
    ],
    check: |folder| load(folder).map(|_| CLASSES),
};

/// Number of digits.
const CLASSES: usize = 10;

/// MNIST's two parts.
#[derive(Clone, Debug, PartialEq)]
pub struct Mnist {
    /// 60 000 training images.
    pub train: Labelled,
    /// 10 000 test images by other writers.
    pub test: Labelled,
}

/// Reads MNIST from `dir`.
///
/// # Errors
/// Returns an error if a file is missing or damaged, or the numbers of images and labels or the sizes of images differ.
pub fn load(dir: &Path) -> Result<Mnist, Error> {
    let mnist = Mnist { train: part(dir, "train")?, test: part(dir, "t10k")? };
    let [train, test] = [&mnist.train, &mnist.test].map(Labelled::pixels);
    match train == test {
        true => Ok(mnist),
        false => {
            Err(damaged(dir)(format!("its training images have {train} pixels, its test images {test}")))
        }
    }
}

fn part(dir: &Path, part: &str) -> Result<Labelled, Error> {
    let images_file = find(dir, format!("{part}-images-idx3-ubyte"))?;
    let labels_file = find(dir, format!("{part}-labels-idx1-ubyte"))?;
    let images = idx::read::<3>(&images_file).map_err(damaged(&images_file))?;
    let labels = idx::read::<1>(&labels_file).map_err(damaged(&labels_file))?;
    let labels = labels.values.into_iter().map(usize::from).collect();
    let [_, rows, columns] = images.sizes;
    Labelled::new(rows * columns, CLASSES, images.values, labels)
        .map_err(|error| damaged(&labels_file)(error.to_string()))
}

/// For `map_err`: the error of a damaged file.
fn damaged(path: &Path) -> impl Fn(String) -> Error {
    move |reason| Error::Damaged { path: path.to_path_buf(), reason, dataset: &DATASET }
}

/// The file `name` in `dir`, gzipped or not.
fn find(dir: &Path, name: String) -> Result<PathBuf, Error> {
    let found = [dir.join(format!("{name}.gz")), dir.join(&name)].into_iter().find(|path| path.is_file());
    found.ok_or_else(|| Error::Missing {
        path: dir.to_path_buf(),
        wanted: format!("neither `{name}.gz` nor `{name}`"),
        dataset: &DATASET,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use tempfile::TempDir;

    /// A folder with three training images and one test image of 2×1 pixels.
    fn folder() -> TempDir {
        let folder = TempDir::new().expect("a folder");
        let write = |name: &str, head: &[u8], sizes: &[u8], values: &[u8]| {
            let sizes = sizes.iter().flat_map(|size| [0, 0, 0, *size]);
            let bytes: Vec<u8> = head.iter().copied().chain(sizes).chain(values.iter().copied()).collect();
            fs::write(folder.path().join(name), bytes).expect("written");
        };
        write("train-images-idx3-ubyte", &[0, 0, 8, 3], &[3, 2, 1], &[0, 1, 2, 3, 4, 5]);
        write("train-labels-idx1-ubyte", &[0, 0, 8, 1], &[3], &[9, 0, 7]);
        write("t10k-images-idx3-ubyte", &[0, 0, 8, 3], &[1, 2, 1], &[6, 7]);
        write("t10k-labels-idx1-ubyte", &[0, 0, 8, 1], &[1], &[1]);
        folder
    }

    #[test]
    fn images_and_labels_are_read_together() -> Result<(), Error> {
        let Mnist { train, test } = load(folder().path())?;
        assert_eq!((train.pixels(), train.images()), (2, [0, 1, 2, 3, 4, 5].as_slice()));
        assert_eq!((train.labels(), test.labels()), ([9, 0, 7].as_slice(), [1].as_slice()));
        Ok(())
    }

    #[test]
    fn images_of_two_sizes_are_refused() {
        let folder = folder();
        let images = [0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 6];
        fs::write(folder.path().join("t10k-images-idx3-ubyte"), images).expect("written");
        let error = load(folder.path()).expect_err("two sizes").to_string();
        assert!(error.contains("its training images have 2 pixels, its test images 1"), "{error}");
    }

    #[test]
    fn missing_and_mismatched_files_are_named() {
        let missing = folder();
        fs::remove_file(missing.path().join("t10k-labels-idx1-ubyte")).expect("removed");
        let no_digit = folder();
        fs::write(no_digit.path().join("t10k-labels-idx1-ubyte"), [0, 0, 8, 1, 0, 0, 0, 1, 10])
            .expect("written");
        let unpaired = folder();
        fs::write(unpaired.path().join("train-labels-idx1-ubyte"), [0, 0, 8, 1, 0, 0, 0, 1, 3])
            .expect("written");
        let swapped = folder();
        let images = swapped.path().join("train-images-idx3-ubyte");
        fs::copy(swapped.path().join("train-labels-idx1-ubyte"), images).expect("copied");
        for (folder, words) in [
            (&missing, ["t10k-labels-idx1-ubyte", "data fetch mnist"]),
            (&no_digit, ["t10k-labels-idx1-ubyte", "10 classes"]),
            (&unpaired, ["train-labels-idx1-ubyte", "1 label"]),
            (&swapped, ["train-images-idx3-ubyte", "3 dimensions"]),
        ] {
            let error = load(folder.path()).expect_err("damaged").to_string();
            assert!(words.iter().all(|word| error.contains(word)), "{error}");
        }
        let error = load(Path::new("no/such/place")).expect_err("missing").to_string();
        assert!(error.contains("no/such/place") && error.contains("data fetch mnist"), "{error}");
    }
}
