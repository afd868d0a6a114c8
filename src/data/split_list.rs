//! Lists of images with their classes, over one folder of images: `train.csv`, `val.csv` and `test.csv`, as the public
//! splits of miniImageNet (Ravi & Larochelle 2017) come in, or one file.
//!
//! A list is a CSV file with the columns `filename` and `label` in any order; other columns are ignored but for `part`, which
//! assigns each class to `train`, `validation` or `test` if there is only one list. `filename` is a path below the folder of
//! images. A label may name a group, `group/class`.

use std::collections::{BTreeMap, HashSet};
use std::path::{Component, Path, PathBuf};

use csv::{ReaderBuilder, StringRecord, Trim};

use super::folder::{self, ClassFiles, Found};
use super::layout::Place;
use super::{Error, Part, listing};
use crate::support::atomic_file;

/// The largest list accepted; ten million lines fit.
const MAX_BYTES: u64 = 1 << 30;

/// An image in a list.
struct Entry {
    /// The list and the line in it.
    list: PathBuf,
    line: u64,
    file: PathBuf,
    label: String,
    part: Option<Part>,
}

/// The classes that the list at `list` names, a CSV file or a folder with one for each part; sorted by name. `images` is the
/// folder of the images.
///
/// # Errors
/// Returns an error if a list is missing or unreadable, a line lacks a value or names a file that is not below `images` or
/// listed before, or a class is in two parts.
pub(super) fn find(images: &Path, list: &Path) -> Result<Found, Error> {
    if !images.is_dir() {
        return Err(Error::NoFolder { path: images.to_path_buf() });
    }
    let lists = lists(list)?;
    let (mut entries, mut seen) = (vec![], HashSet::new());
    for (file, part) in &lists {
        entries.extend(read(images, file, *part, &mut seen)?);
    }
    let mut classes: BTreeMap<String, (Option<Part>, Vec<PathBuf>)> = BTreeMap::new();
    for Entry { list, line, file, label, part } in entries {
        let (first, files) = classes.entry(label.clone()).or_insert_with(|| (part, vec![]));
        if let (Some(first), Some(second)) = (*first, part)
            && first != second
        {
            let reason = format!(
                "class `{label}` is in the {second} part here and in the {first} part before; few-shot parts must not share a \
                 class"
            );
            return Err(Error::List { path: list, line, reason });
        }
        files.push(file);
    }
    let class = |(name, (part, mut files)): (String, (Option<Part>, Vec<PathBuf>))| {
        files.sort();
        let group = name.rsplit_once('/').map_or(String::new(), |(group, _)| group.into());
        ClassFiles::new(name, &group, part, files)
    };
    let place = |(file, part): (PathBuf, Option<Part>)| Place { name: listing::name(&file), part };
    Ok(Found {
        classes: classes.into_iter().map(class).collect(),
        places: lists.into_iter().map(place).collect(),
        left_out: vec![],
    })
}

/// The files of the list, and the part that each is of.
fn lists(list: &Path) -> Result<Vec<(PathBuf, Option<Part>)>, Error> {
    if !list.is_dir() {
        return Ok(vec![(list.into(), None)]);
    }
    let mut found: Vec<(PathBuf, Option<Part>)> = std::fs::read_dir(list)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<PathBuf>>>())
        .map_err(Error::io("list the folder", list))?
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv")))
        .filter_map(|path| {
            let part = folder::part(&path.file_stem()?.to_string_lossy())?;
            Some((path, Some(part)))
        })
        .collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    if found.is_empty() { Err(Error::NoLists { path: list.into() }) } else { Ok(found) }
}

/// The entries of the list at `list`, none of which may be `seen` before.
fn read(
    images: &Path,
    list: &Path,
    part: Option<Part>,
    seen: &mut HashSet<PathBuf>,
) -> Result<Vec<Entry>, Error> {
    let bytes = atomic_file::read(list, MAX_BYTES).map_err(Error::io("read the list", list))?;
    // A byte order mark, which some programs begin text with.
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    let mut reader = ReaderBuilder::new().trim(Trim::All).from_reader(text);
    let failed = |line: u64, reason: String| Error::List { path: list.into(), line, reason };
    let header = reader.headers().map_err(|error| failed(1, error.to_string()))?.clone();
    let column = |names: &[&str]| {
        header.iter().position(|found| names.iter().any(|name| found.eq_ignore_ascii_case(name)))
    };
    let needed = |names: &[&str]| {
        column(names).ok_or_else(|| {
            let found = header.iter().collect::<Vec<_>>().join(",");
            failed(1, format!("its first line has no column `{}` but is `{found:.200}`", names[0]))
        })
    };
    let (file, label) = (needed(&["filename", "file", "path"])?, needed(&["label", "class"])?);
    let part_column = if part.is_none() { column(&["part", "split"]) } else { None };
    let mut record = StringRecord::new();
    let mut entries = vec![];
    loop {
        let line = reader.position().line();
        let is_there = reader.read_record(&mut record).map_err(|error| failed(line, error.to_string()))?;
        if !is_there {
            break;
        }
        let line = record.position().map_or(line, csv::Position::line);
        let value = |at: usize| record.get(at).unwrap_or_default();
        if value(file).is_empty() || value(label).is_empty() {
            return Err(failed(line, "it lacks a file name or a label".into()));
        }
        let Some(name) = below(value(file)) else {
            let reason = format!("`{}` is not a path below the folder of images", value(file));
            return Err(failed(line, reason));
        };
        let path = images.join(&name);
        if !path.is_file() {
            let reason = format!("there is no file `{}`", path.display());
            return Err(failed(line, reason));
        }
        if !seen.insert(path.clone()) {
            return Err(failed(line, format!("`{}` is listed before", name.display())));
        }
        let part = match part_column.map(value) {
            None => part,
            Some(named) => Some(folder::part(named).ok_or_else(|| {
                failed(line, format!("`{named:.80}` is no part; the parts are train, validation and test"))
            })?),
        };
        entries.push(Entry { list: list.into(), line, file: path, label: value(label).into(), part });
    }
    if entries.is_empty() { Err(failed(1, "it lists no images".into())) } else { Ok(entries) }
}

/// The path `name`, without `.`; `None` if it may lead out of the folder that it is in.
fn below(name: &str) -> Option<PathBuf> {
    let components = Path::new(name).components().filter(|component| *component != Component::CurDir);
    components.map(|component| matches!(component, Component::Normal(_)).then_some(component)).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    /// A folder of empty files `images/0.png` to `images/5.png`, and lists with these names and texts.
    fn folder(lists: &[(&str, &str)]) -> TempDir {
        let dir = TempDir::new().expect("dir");
        for folder in ["images", "lists"] {
            fs::create_dir(dir.path().join(folder)).expect("folder");
        }
        (0..6).for_each(|i| fs::write(dir.path().join(format!("images/{i}.png")), "").expect("file"));
        for (name, text) in lists {
            fs::write(dir.path().join("lists").join(name), text).expect("list");
        }
        dir
    }

    /// Name, group, part and number of images of a class.
    type Described = (String, String, Option<Part>, usize);

    fn found(dir: &TempDir, list: &str) -> Result<Vec<Described>, Error> {
        let found = find(&dir.path().join("images"), &dir.path().join(list))?;
        let described = found
            .classes
            .into_iter()
            .map(|found| (found.class.name, found.class.group, found.class.part, found.images.len()));
        Ok(described.collect())
    }

    #[test]
    fn a_list_for_each_part_assigns_classes_to_parts() -> Result<(), Error> {
        let dir = folder(&[
            ("train.csv", "filename,label\n0.png,n01\n1.png,n01\n2.png,n02\n"),
            ("val.csv", "\u{feff}label,filename\r\nn03,3.png\r\n"),
            ("test.csv", "filename,width,label\n\"4.png\",7,\"birds/owl, barn\"\n"),
            ("notes.csv", "anything"),
        ]);
        let class = |name: &str, group: &str, part, images| (name.into(), group.into(), Some(part), images);
        let expected = [
            class("birds/owl, barn", "birds", Part::Test, 1),
            class("n01", "", Part::Train, 2),
            class("n02", "", Part::Train, 1),
            class("n03", "", Part::Validation, 1),
        ];
        assert_eq!(found(&dir, "lists")?, expected);
        Ok(())
    }

    #[test]
    fn one_list_may_name_parts_or_leave_them_open() -> Result<(), Error> {
        let dir = folder(&[
            ("open.csv", "filename,label\n0.png,a\n1.png,b\n"),
            ("parts.csv", "filename,label,part\n0.png,a,train\n1.png,b,test\n"),
        ]);
        assert!(found(&dir, "lists/open.csv")?.iter().all(|(.., part, _)| part.is_none()));
        let parts: Vec<_> = found(&dir, "lists/parts.csv")?.into_iter().map(|(.., part, _)| part).collect();
        assert_eq!(parts, [Some(Part::Train), Some(Part::Test)]);
        Ok(())
    }

    #[test]
    fn a_path_may_begin_with_a_dot() -> Result<(), Error> {
        let dir = folder(&[("a.csv", "filename,label\n./0.png,a\n././1.png,a\n2.png,b\n")]);
        let images: Vec<_> = found(&dir, "lists/a.csv")?.into_iter().map(|(.., images)| images).collect();
        assert_eq!(images, [2, 1]);
        Ok(())
    }

    #[test]
    fn what_is_wrong_with_a_list_is_said_with_its_line() {
        for (text, words) in [
            ("name,label\n0.png,a\n", "line 1: its first line has no column `filename` but is `name,label`"),
            ("filename,label\n0.png,a\n9.png,a\n", "line 3: there is no file"),
            ("filename,label\n../lists/a.csv,a\n", "line 2: `../lists/a.csv` is not a path below"),
            ("filename,label\n/etc/hosts,a\n", "line 2: `/etc/hosts` is not a path below"),
            ("filename,label\n0.png,a\n0.png,b\n", "line 3: `0.png` is listed before"),
            ("filename,label\n0.png,a\n./0.png,b\n", "line 3: `0.png` is listed before"),
            ("filename,label\n.,a\n", "line 2: there is no file"),
            ("filename,label\n./../lists/a.csv,a\n", "line 2: `./../lists/a.csv` is not a path below"),
            ("filename,label\n0.png,\n", "line 2: it lacks a file name or a label"),
            ("filename,label\n0.png\n", "line: 2"),
            ("filename,label\n", "line 1: it lists no images"),
            ("filename,label,part\n0.png,a,trian\n", "line 2: `trian` is no part"),
        ] {
            let dir = folder(&[("a.csv", text)]);
            let error = found(&dir, "lists/a.csv").expect_err(text).to_string();
            assert!(error.contains(words) && error.contains("a.csv"), "{error}");
        }
        let dir =
            folder(&[("train.csv", "filename,label\n0.png,a\n"), ("test.csv", "filename,label\n1.png,a\n")]);
        let shared = found(&dir, "lists").expect_err("shared").to_string();
        assert!(shared.contains("train.csv`, line 2: class `a` is in the train part here"), "{shared}");
        let dir =
            folder(&[("train.csv", "filename,label\n0.png,a\n"), ("test.csv", "filename,label\n0.png,b\n")]);
        let twice = found(&dir, "lists").expect_err("an image of two classes").to_string();
        assert!(twice.contains("train.csv`, line 2: `0.png` is listed before"), "{twice}");
        let none = found(&folder(&[]), "lists").expect_err("no lists").to_string();
        assert!(none.contains("train.csv"), "{none}");
        assert!(found(&folder(&[]), "nowhere.csv").is_err());
    }
}
