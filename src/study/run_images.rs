//! The images that the runs of a sweep or a study are trained on. Results on different images are not comparable, so runs that
//! ask for the same form of images must have the same digest.

use super::Error;
use super::folder::{read, write_json};
use crate::config::Config;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// Keys of `[data]` that change the digest of the same image files.
const FORM: [&str; 5] = ["source", "image_size", "channels", "fit", "invert"];
/// Keys of `[data]` that name the files.
const FILES: [&str; 2] = ["path", "list"];

/// For each form of images, those that runs are trained on.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct RunImages {
    /// Whether the runs differ in their data paths on purpose, as in a sweep over `data.path`.
    #[serde(skip)]
    by_path: bool,
    #[serde(flatten)]
    forms: BTreeMap<String, Images>,
}

/// The images of a form.
#[derive(Debug, Serialize, Deserialize)]
struct Images {
    digest: String,
    /// The first run that is trained on them.
    run: String,
}

impl RunImages {
    /// For runs of these configurations.
    pub fn of<'a>(configs: impl Iterator<Item = &'a Config>) -> Self {
        let mut files: Vec<Value> = configs.map(|config| entries(config, &FILES)).collect();
        files.dedup();
        Self { by_path: files.len() > 1, ..Self::default() }
    }

    /// Adds the run called `run`, whose checkpoint has the digest `digest` of its images. `config` is the configuration that the
    /// user asks for. A run on generated images is left out, as is one whose images are not known: then `digest` is empty.
    ///
    /// # Errors
    /// Returns an error if another run with the same form of images has another digest.
    pub fn add(&mut self, run: &str, config: &Config, digest: &str) -> Result<(), Error> {
        let is_read = config.data.as_ref().is_some_and(|data| data.path.is_some());
        if !is_read || digest.is_empty() {
            return Ok(());
        }
        let keys = if self.by_path { [&FORM[..], &FILES].concat() } else { FORM.to_vec() };
        let images = Images { digest: digest.into(), run: run.into() };
        let known = self.forms.entry(entries(config, &keys).to_string()).or_insert(images);
        if known.digest == digest {
            return Ok(());
        }
        Err(Error::Invalid(format!(
            "{run} and {} are trained on different images; give all runs the same --data, and other images a folder of their own \
             with --out; to train one of the two again, delete its directory",
            known.run
        )))
    }

    /// The same for a run of a study, whose other runs are in `file`, which is then updated.
    ///
    /// # Errors
    /// Returns an error in the case of [`Self::add`], or if the file cannot be read or written.
    pub fn add_to_file(file: &Path, run: &str, config: &Config, digest: &str) -> Result<(), Error> {
        let mut images: Self = read(file)?.unwrap_or_default();
        let known = images.forms.len();
        images.add(run, config, digest)?;
        if images.forms.len() > known { write_json(file, &images) } else { Ok(()) }
    }
}

/// The values of `keys` in `[data]`, those that are set.
fn entries(config: &Config, keys: &[&str]) -> Value {
    let data = json!(config.data);
    let set = keys.iter().filter_map(|key| Some(((*key).to_string(), data.get(key)?.clone())));
    Value::Object(set.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(set: &[&str]) -> Config {
        let mut raw = crate::config::RawConfig::read(None).unwrap().without_data();
        for assignment in ["data.source=folder"].iter().chain(set) {
            raw.set(assignment).unwrap();
        }
        raw.check().unwrap()
    }

    #[test]
    fn runs_on_other_images_of_the_same_form_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("images.json");
        let [a, b] = ["data.path=a", "data.path=b"].map(|path| config(&[path]));
        let small = config(&["data.path=a", "data.image_size=14"]);
        let add = |run, config, digest| RunImages::add_to_file(&file, run, config, digest);
        add("one", &a, "1").unwrap();
        add("moved", &b, "1").unwrap();
        add("small", &small, "2").unwrap();
        add("not-known", &a, "").unwrap();
        let refused = add("two", &b, "3").unwrap_err().to_string();
        assert!(refused.contains("two and one are trained on different images"), "{refused}");
        add("two", &b, "1").unwrap();

        let glyphs = crate::config::Config::load(None, &[]).unwrap();
        add("seed-0", &glyphs, "4").unwrap();
        add("seed-1", &glyphs, "5").unwrap();
    }

    #[test]
    fn a_sweep_over_paths_has_other_images_on_purpose() {
        let [a, b] = ["data.path=a", "data.path=b"].map(|path| config(&[path]));
        let mut images = RunImages::of([&a, &b].into_iter());
        images.add("a-seed-0", &a, "1").unwrap();
        images.add("b-seed-0", &b, "2").unwrap();
        assert!(images.add("b-seed-1", &b, "3").is_err());
        let mut images = RunImages::of([&a, &a].into_iter());
        images.add("seed-0", &a, "1").unwrap();
        assert!(images.add("seed-1", &a, "2").is_err());
    }
}
