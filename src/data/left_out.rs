//! What below an image folder was not used, how much of it, and why.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The most examples of a kind that are kept.
const MAX_EXAMPLES: usize = 3;

/// Why a file or folder was left out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// An image of the format with this name, which is not read.
    Format(String),
    /// An image that cannot be decoded, with `data.skip_damaged`.
    Damaged,
    /// An image beside the class folders, which belongs to no class.
    Loose,
    /// A class folder without images.
    Empty,
    /// A link to something that does not exist or cannot be reached, perhaps a class folder.
    Link,
    /// A file that is no image.
    Other,
    /// A hidden file or folder, or one that an operating system makes.
    System,
}

impl Reason {
    /// Whether the user may have intended these files to be used.
    pub fn is_doubtful(&self) -> bool {
        !matches!(self, Self::Other | Self::System)
    }
}

/// The files and folders that were left out for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Group {
    /// Why.
    pub reason: Reason,
    /// How many.
    pub count: usize,
    /// The first few, relative to the image folder.
    pub examples: Vec<PathBuf>,
}

impl Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let (kind, why) = match &self.reason {
            Reason::Format(name) => {
                (format!("{name} image"), format!(": {name} is not read; convert to PNG or JPEG"))
            }
            Reason::Damaged => ("damaged image".into(), " (data.skip_damaged)".into()),
            Reason::Loose => {
                ("image beside the class folders".into(), ": in no folder, it belongs to no class".into())
            }
            Reason::Empty => ("class folder without images".into(), String::new()),
            Reason::Link => ("link that leads nowhere".into(), String::new()),
            Reason::Other => ("file that is not an image".into(), String::new()),
            Reason::System => ("hidden or system file or folder".into(), String::new()),
        };
        let kind = if self.count == 1 { kind } else { plural(&kind) };
        let examples: Vec<_> = self.examples.iter().map(|path| format!("`{}`", path.display())).collect();
        let more = if self.count > self.examples.len() { ", …" } else { "" };
        write!(f, "{} {kind} left out ({}{more}){why}", self.count, examples.join(", "))
    }
}

/// The plural of a kind: of its noun, which comes first or before a preposition.
fn plural(kind: &str) -> String {
    match kind {
        "hidden or system file or folder" => "hidden or system files and folders".into(),
        "file that is not an image" => "files that are not images".into(),
        "link that leads nowhere" => "links that lead nowhere".into(),
        kind => ["folder", "image"]
            .iter()
            .filter_map(|noun| Some(kind.find(noun)? + noun.len()))
            .min()
            .map_or_else(|| kind.into(), |end| format!("{}s{}", &kind[..end], &kind[end..])),
    }
}

/// Everything that was left out, by reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct LeftOut {
    groups: Vec<Group>,
}

impl LeftOut {
    /// The groups of what was left out of the folder `root`, whose `paths` come with their reasons.
    pub fn new(root: &Path, paths: impl IntoIterator<Item = (Reason, PathBuf)>) -> Self {
        let mut by_reason: BTreeMap<Reason, Vec<PathBuf>> = BTreeMap::new();
        for (reason, path) in paths {
            by_reason.entry(reason).or_default().push(path);
        }
        let group = |(reason, mut paths): (Reason, Vec<PathBuf>)| {
            let count = paths.len();
            paths.sort();
            paths.truncate(MAX_EXAMPLES);
            let relative = |path: PathBuf| path.strip_prefix(root).map(Path::to_path_buf).unwrap_or(path);
            Group { reason, count, examples: paths.into_iter().map(relative).collect() }
        };
        Self { groups: by_reason.into_iter().map(group).collect() }
    }

    /// The same with paths that begin with `folder`.
    #[must_use]
    pub fn below(mut self, folder: &Path) -> Self {
        for path in self.groups.iter_mut().flat_map(|group| &mut group.examples) {
            *path = folder.join(&path);
        }
        self
    }

    /// What was left out in both.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        for group in other.groups {
            match self.groups.iter_mut().find(|known| known.reason == group.reason) {
                None => self.groups.push(group),
                Some(known) => {
                    known.count += group.count;
                    known.examples.extend(group.examples);
                    known.examples.truncate(MAX_EXAMPLES);
                }
            }
        }
        self
    }

    /// The groups, those first that a user should know of.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }
}
