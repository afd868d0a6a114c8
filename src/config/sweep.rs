//! Sweep files: a base configuration, and the keys that vary.
//!
//! ```toml
//! base = "glyphs.toml"      # relative to this file; or a table [base]; default: the built-in configuration
//! seeds = [0, 1, 2]         # default: the seed of the base
//!
//! [set]                     # applied to every run
//! outer.steps = 300
//!
//! [grid]                    # every combination of these values
//! estimator.name = ["first-order", "exact"]
//! inner.rate = [0.1, 0.4]
//!
//! [[run]]                   # a named setting, combined with every combination of the grid
//! name = "wide"
//! model.filters = 128
//! ```

use super::checked::Config;
use super::error::{Error, Fault, Place};
use super::file::{self, Lines};
use super::raw::{self, Entry, RawConfig};
use super::shown;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};
use toml::{Spanned, Value};

/// The most runs of a sweep.
const MAX_RUNS: usize = 10_000;
/// The keys of a sweep file, for messages.
const KEYS: &str = "`base`, `seeds`, [set], [grid] and [[run]]";

/// The runs of a sweep file: every variant with every seed.
#[derive(Clone, Debug, PartialEq)]
pub struct Sweep {
    /// The dotted keys of the grid, in the order of the file.
    pub varied: Vec<String>,
    /// Every named setting with every combination of the grid; at least one variant.
    pub variants: Vec<Variant>,
    /// Seeds without repetition, at least one.
    pub seeds: Vec<u64>,
}

/// A configuration apart from the seed.
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    /// Its name in folders and tables: letters, digits, points, hyphens and underscores.
    pub name: String,
    /// The name of its `[[run]]`; empty if the sweep has none.
    pub run: String,
    /// Its values of [`Sweep::varied`], as TOML.
    pub values: Vec<String>,
    /// The configuration, with the first seed.
    pub config: Config,
}

impl Variant {
    /// What distinguishes it, for messages.
    fn described(&self) -> String {
        let run = (!self.run.is_empty()).then(|| self.run.clone());
        run.into_iter().chain(self.values.iter().cloned()).collect::<Vec<_>>().join(", ")
    }
}

impl Sweep {
    /// Reads the sweep in the file at `path`. `overrides` of the form `key=value` apply to every configuration.
    ///
    /// # Errors
    /// Returns an error if the file or its base cannot be read or is not TOML, or if a configuration is invalid. The
    /// message then lists the faults of all configurations with their places.
    pub fn read(path: &Path, overrides: &[String]) -> Result<Self, Error> {
        let text = file::read(path)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        Self::parse(&path.display().to_string(), &text, folder, overrides)
    }

    /// Parses the sweep in `text`. The path of its base is relative to `folder`. Messages call the sweep `name`.
    ///
    /// # Errors
    /// As for [`Sweep::read`].
    pub fn parse(name: &str, text: &str, folder: &Path, overrides: &[String]) -> Result<Self, Error> {
        let table = raw::table(name, text)?;
        let mut reader = Reader { name, lines: Lines::of(text), faults: Vec::new() };
        let plan = reader.plan(table);
        reader.check(&plan, overrides);
        match reader.faults.is_empty() {
            true => plan.sweep(name, folder, overrides),
            false => Err(Error::Invalid(sorted(reader.faults))),
        }
    }
}

/// A sweep file as written.
struct Plan {
    base: Base,
    seeds: Vec<u64>,
    set: Vec<Entry>,
    grid: Vec<Axis>,
    runs: Vec<NamedRun>,
}

enum Base {
    BuiltIn,
    File(PathBuf),
    Inline(Vec<Entry>),
}

/// A key of the grid and its values, at least one.
struct Axis {
    key: String,
    values: Vec<Value>,
    place: Place,
}

/// A named setting.
struct NamedRun {
    name: String,
    entries: Vec<Entry>,
    place: Place,
}

/// Reads a sweep file and collects its faults.
struct Reader<'a> {
    name: &'a str,
    lines: Lines,
    faults: Vec<Fault>,
}

impl Reader<'_> {
    fn plan(&mut self, table: DeTable<'_>) -> Plan {
        let mut plan = Plan { base: Base::BuiltIn, seeds: vec![], set: vec![], grid: vec![], runs: vec![] };
        for (key, value) in table {
            let offset = key.span().start;
            let key: &str = key.get_ref();
            match (key, value.into_inner()) {
                ("base", DeValue::String(path)) => plan.base = Base::File(PathBuf::from(path.into_owned())),
                ("base", DeValue::Table(table)) => plan.base = Base::Inline(self.inline_base(table)),
                ("base", _) => self.refuse(key, offset, "must be a path in quotes or a table [base]"),
                ("seeds", DeValue::Array(seeds)) => {
                    let seed = |seed: Spanned<DeValue<'_>>| {
                        u64::try_from(raw::to_value(seed.into_inner()).as_integer()?).ok()
                    };
                    match seeds.into_iter().map(seed).collect::<Option<Vec<u64>>>() {
                        Some(seeds) if !seeds.is_empty() => plan.seeds = seeds,
                        _ => self.refuse(key, offset, "must be a list of whole numbers ≥ 0"),
                    }
                }
                ("seeds", _) => self.refuse(key, offset, "must be a list of whole numbers, as in [0, 1, 2]"),
                ("set", DeValue::Table(table)) => plan.set = self.settings(table, "[set]"),
                ("grid", DeValue::Table(table)) => plan.grid = self.grid(table),
                ("set" | "grid", _) => self.refuse(key, offset, "must be a table of configuration keys"),
                ("run", DeValue::Array(runs)) => {
                    for run in runs {
                        let offset = run.span().start;
                        match run.into_inner() {
                            DeValue::Table(table) => plan.runs.extend(self.named(table, offset)),
                            _ => self.refuse(
                                key,
                                offset,
                                "must be a list of tables, each with the header [[run]]",
                            ),
                        }
                    }
                }
                ("run", _) => {
                    self.refuse(key, offset, "must be a list of tables, each with the header [[run]]")
                }
                _ => self.refuse(key, offset, &format!("is not a key of a sweep file; its keys are {KEYS}")),
            }
        }
        plan
    }

    /// The entries of a table, as overrides of the base.
    fn entries(&mut self, table: DeTable<'_>) -> Vec<Entry> {
        let mut leaves = Vec::new();
        raw::flatten("", table, &mut leaves);
        // A quoted key "inner.rate" means inner.rate. No key contains a quote.
        let entry = |(key, value, offset): (String, Value, usize)| Entry {
            key: key.replace('"', ""),
            value,
            place: Place::Sweep { name: self.name.into(), line: self.lines.number(offset) },
        };
        leaves.into_iter().map(entry).collect()
    }

    /// The entries of the table with this `header`, each of another key. TOML lets a key be written twice, dotted and in
    /// quotes.
    fn settings(&mut self, table: DeTable<'_>, header: &str) -> Vec<Entry> {
        let (mut seen, mut settings) = (BTreeSet::new(), Vec::new());
        for entry in self.entries(table) {
            if seen.insert(entry.key.clone()) {
                settings.push(entry);
            } else {
                let reason = format!("is in {header} twice; remove one of the two");
                self.refuse_at(&entry.key, entry.place, &reason);
            }
        }
        settings
    }

    /// The entries of [base], as those of a configuration file.
    fn inline_base(&mut self, table: DeTable<'_>) -> Vec<Entry> {
        let mut entries = self.settings(table, "[base]");
        for entry in &mut entries {
            if let Place::Sweep { name, line } = &entry.place {
                entry.place = Place::File { name: name.clone(), line: Some(*line) };
            }
        }
        entries
    }

    fn grid(&mut self, table: DeTable<'_>) -> Vec<Axis> {
        let mut grid: Vec<Axis> = Vec::new();
        for Entry { key, value, place } in self.entries(table) {
            match value {
                _ if grid.iter().any(|axis| axis.key == key) => {
                    self.refuse_at(&key, place, "is in [grid] twice; put all its values in one list");
                }
                Value::Array(values) if !values.is_empty() => grid.push(Axis { key, values, place }),
                _ => self.refuse_at(&key, place, "must be a list of values in [grid], as in [0.1, 0.4]"),
            }
        }
        grid
    }

    fn named(&mut self, table: DeTable<'_>, offset: usize) -> Option<NamedRun> {
        let place = Place::Sweep { name: self.name.into(), line: self.lines.number(offset) };
        let (names, entries): (Vec<_>, Vec<_>) =
            self.settings(table, "this [[run]]").into_iter().partition(|entry| entry.key == "name");
        match names.first().and_then(|entry| entry.value.as_str()) {
            Some(name) if !name.is_empty() && clean(name) == name => {
                Some(NamedRun { name: name.into(), entries, place })
            }
            _ => {
                let reason = "needs a `name` of letters, digits, dots, underscores and single hyphens";
                self.refuse_at("run", place, reason);
                None
            }
        }
    }

    /// Refuses settings that contradict each other.
    fn check(&mut self, plan: &Plan, overrides: &[String]) {
        let axes = plan.grid.iter().map(|axis| (&axis.key, &axis.place));
        let entries = plan.set.iter().chain(plan.runs.iter().flat_map(|run| &run.entries));
        let all = axes.clone().chain(entries.clone().map(|entry| (&entry.key, &entry.place)));
        for (key, place) in all.filter(|(key, _)| *key == "seed") {
            self.refuse_at(
                key,
                place.clone(),
                "cannot be set in a sweep; list the seeds in `seeds = [0, 1, 2]`",
            );
        }
        // The values of the grid would silently replace these.
        let varied: BTreeSet<&String> = plan.grid.iter().map(|axis| &axis.key).collect();
        for entry in entries.filter(|entry| varied.contains(&entry.key)) {
            let reason = "is set in [grid] too; remove it from one of the two";
            self.refuse_at(&entry.key, entry.place.clone(), reason);
        }
        for assignment in overrides {
            // An inline table sets several keys. What is no assignment is refused where it is applied.
            let mut given = RawConfig { name: String::new(), entries: vec![], without_data: false };
            let _ = given.set(assignment);
            for Entry { key, place, .. } in given.entries {
                let set = || plan.runs.iter().flat_map(|run| &run.entries);
                let varies =
                    axes.clone().any(|(known, _)| *known == key) || set().any(|entry| entry.key == key);
                if varies || key == "seed" {
                    let reason = "varies in this sweep and cannot be overridden; change the file instead";
                    self.refuse_at(&key, place, reason);
                }
            }
        }
        let name = self.name;
        let first = || Place::Sweep { name: name.into(), line: 1 };
        for (at, seed) in plan.seeds.iter().enumerate() {
            if plan.seeds[..at].contains(seed) {
                let (place, reason) = (first(), format!("contains {seed} twice; write each seed once"));
                self.refuse_at("seeds", place, &reason);
            }
        }
        let counts = plan.grid.iter().map(|axis| axis.values.len());
        let runs = counts
            .chain([plan.runs.len().max(1), plan.seeds.len().max(1)])
            .fold(1_usize, usize::saturating_mul);
        if runs > MAX_RUNS {
            let (place, reason) =
                (first(), format!("and seeds make {runs} runs; a sweep has at most {MAX_RUNS}"));
            self.refuse_at("grid", place, &reason);
        }
        for (at, run) in plan.runs.iter().enumerate() {
            if plan.runs[..at].iter().any(|other| other.name == run.name) {
                let reason =
                    format!("has the name \"{}\" of another run; give each a different name", run.name);
                self.refuse_at("run", run.place.clone(), &reason);
            }
        }
    }

    fn refuse(&mut self, key: &str, offset: usize, reason: &str) {
        let place = Place::Sweep { name: self.name.into(), line: self.lines.number(offset) };
        self.refuse_at(key, place, reason);
    }

    fn refuse_at(&mut self, key: &str, place: Place, reason: &str) {
        let key = shown::short(key);
        self.faults.push(Fault { reason: format!("`{key}` {reason}"), key, value: None, place });
    }
}

impl Plan {
    /// Checks every configuration.
    fn sweep(self, name: &str, folder: &Path, overrides: &[String]) -> Result<Sweep, Error> {
        let mut base = match self.base {
            Base::BuiltIn => RawConfig::read(None)?,
            Base::File(path) => RawConfig::read(Some(&folder.join(path)))?,
            Base::Inline(entries) => RawConfig { name: name.into(), entries, without_data: false },
        };
        base.put(self.set);
        for assignment in overrides {
            base.set(assignment)?;
        }
        if let Some(seed) = self.seeds.first() {
            base.set(&format!("seed={seed}"))?;
        }
        let unnamed = [NamedRun {
            name: String::new(),
            entries: vec![],
            place: Place::Sweep { name: name.into(), line: 1 },
        }];
        let runs = if self.runs.is_empty() { &unnamed[..] } else { &self.runs[..] };
        let (mut variants, mut faults): (Vec<Variant>, Vec<Fault>) = (Vec::new(), Vec::new());
        for run in runs {
            for combination in combinations(&self.grid) {
                let mut raw = base.clone();
                raw.put([&run.entries[..], &combination].concat());
                let (name, values) = (variant_name(run, &self.grid, &combination), values(&combination));
                match raw.check() {
                    Ok(config) => variants.push(Variant { name, run: run.name.clone(), values, config }),
                    // A fault of the base occurs in every variant.
                    Err(Error::Invalid(found)) => {
                        found.into_iter().for_each(|fault| {
                            if !faults.contains(&fault) {
                                faults.push(fault);
                            }
                        });
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        for (at, variant) in variants.iter().enumerate() {
            if let Some(other) = variants[..at].iter().find(|other| other.name == variant.name) {
                let is_twice = (&other.run, &other.values) == (&variant.run, &variant.values);
                let reason = match is_twice {
                    true => {
                        format!("makes two runs with the name \"{}\"; write each value once", variant.name)
                    }
                    false => format!(
                        "makes two runs with the name \"{}\", of {} and {}; give these settings names of their own with [[run]]",
                        variant.name,
                        other.described(),
                        variant.described()
                    ),
                };
                let place = Place::Sweep { name: name.into(), line: 1 };
                faults.push(Fault {
                    key: "grid".into(),
                    value: None,
                    place,
                    reason: format!("`grid` {reason}"),
                });
            }
        }
        let own = variants.first().map(|variant| vec![variant.config.seed]).unwrap_or_default();
        let seeds = if self.seeds.is_empty() { own } else { self.seeds };
        let varied = self.grid.into_iter().map(|axis| axis.key).collect();
        if faults.is_empty() {
            Ok(Sweep { varied, variants, seeds })
        } else {
            Err(Error::Invalid(sorted(faults)))
        }
    }
}

fn sorted(mut faults: Vec<Fault>) -> Vec<Fault> {
    faults.sort_by_key(|fault| fault.place.order());
    faults
}

/// Every combination of one value for each key. The value of the last key changes fastest.
fn combinations(grid: &[Axis]) -> Vec<Vec<Entry>> {
    let mut all: Vec<Vec<Entry>> = vec![Vec::new()];
    for axis in grid {
        let mut longer = Vec::new();
        for chosen in &all {
            for value in &axis.values {
                let (key, value, place) = (axis.key.clone(), value.clone(), axis.place.clone());
                let mut combination = chosen.clone();
                combination.push(Entry { key, value, place });
                longer.push(combination);
            }
        }
        all = longer;
    }
    all
}

fn values(combination: &[Entry]) -> Vec<String> {
    combination.iter().map(|entry| entry.value.to_string()).collect()
}

/// The name of a variant: the name of its run, and labels of its values of the grid.
fn variant_name(run: &NamedRun, grid: &[Axis], combination: &[Entry]) -> String {
    let varies = |entry: &&Entry| grid.iter().any(|axis| axis.key == entry.key && axis.values.len() > 1);
    let labels = combination.iter().filter(varies).map(|entry| label(entry, grid));
    let parts: Vec<String> =
        std::iter::once(run.name.clone()).chain(labels).filter(|part| !part.is_empty()).collect();
    if parts.is_empty() { "run".into() } else { parts.join("-") }
}

/// The label of a value: the value and the last part of its key, or the whole key if that part is ambiguous. A string
/// is its own label.
fn label(entry: &Entry, grid: &[Axis]) -> String {
    if let Value::String(word) = &entry.value {
        return clean(word);
    }
    let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_string();
    let same_last = |axis: &&Axis| axis.values.len() > 1 && last(&axis.key) == last(&entry.key);
    let same_last = grid.iter().filter(same_last).count();
    let key = if same_last > 1 { entry.key.replace('.', "-") } else { last(&entry.key) };
    clean(&format!("{key}-{}", entry.value))
}

/// `text` without the characters that are not allowed in the name of a variant.
fn clean(text: &str) -> String {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || "._".contains(letter);
    text.split(|letter| !fits(letter)).filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use bilevel::estimator::{EstimatorSettings, Exact};

    fn parse(text: &str, overrides: &[&str]) -> Result<Sweep, Error> {
        let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/configs"));
        Sweep::parse("sweep.toml", text, folder, &overrides)
    }

    fn refused(text: &str, overrides: &[&str], words: &[&str]) {
        let message = parse(text, overrides).expect_err("should be refused").to_string();
        words.iter().for_each(|word| assert!(message.contains(word), "`{word}` is not in: {message}"));
    }

    #[test]
    fn grid_yields_every_combination() {
        let text = "base = 'glyphs.toml'\nseeds = [3, 1]\nset.outer.steps = 7\n\
                    [grid]\n'estimator.name' = ['first-order', 'exact']\ninner.rate = [0.1, 0.4]\nouter.rate = [0.01]";
        let sweep = parse(text, &["task.ways=3"]).unwrap();
        assert_eq!(sweep.seeds, [3, 1]);
        assert_eq!(sweep.varied, ["estimator.name", "inner.rate", "outer.rate"]);
        let names: Vec<_> = sweep.variants.iter().map(|variant| &*variant.name).collect();
        assert_eq!(
            names,
            ["first-order-rate-0.1", "first-order-rate-0.4", "exact-rate-0.1", "exact-rate-0.4"]
        );
        let last = &sweep.variants[3];
        assert_eq!(last.values, ["\"exact\"", "0.4", "0.01"]);
        assert_eq!((last.config.inner.rate, last.config.task.ways, last.config.seed), (0.4, 3, 3));
        assert_eq!(*last.config.estimator.last(), EstimatorSettings::Exact(Exact {}));
    }

    #[test]
    fn named_run_replaces_keys_of_another_estimator() {
        let text = "[base]\nouter.steps = 5\nestimator = { name = 'ufom', q = 0.2 }\n\
                    [[run]]\nname = 'plain'\nestimator.name = 'exact'\n[[run]]\nname = 'as-it-is'";
        let sweep = parse(text, &[]).unwrap();
        let [plain, own] = &sweep.variants[..] else { panic!("two settings") };
        assert_eq!(
            (&*plain.name, plain.config.estimator.last()),
            ("plain", &EstimatorSettings::Exact(Exact {}))
        );
        assert!(matches!(own.config.estimator.last(), EstimatorSettings::Ufom(ufom) if ufom.q == 0.2));
        assert_eq!(sweep.seeds, [0]);
        assert_eq!(parse("", &[]).unwrap().variants[0].name, "run");
    }

    #[test]
    fn faults_of_all_combinations_are_listed_once_with_their_lines() {
        let text = "seeds = [0]\n[set]\ninner.setps = 3\n[grid]\nouter.rate = [-1, 0.1]\ntask.ways = [1, 5]";
        let words = [
            "3 settings",
            "sweep.toml, line 3: unknown key `inner.setps`",
            "did you mean `inner.steps`?",
            "sweep.toml, line 5: `outer.rate` must be a number > 0, got -1",
            "sweep.toml, line 6: `task.ways`",
        ];
        refused(text, &[], &words);
    }

    #[test]
    fn invalid_sweeps_are_refused_with_the_reason() {
        refused("gird = 1", &[], &["sweep.toml, line 1", "`gird`", "[grid]"]);
        refused("seeds = 3", &[], &["`seeds`", "list"]);
        refused("seeds = [1, 1]", &[], &["`seeds`", "twice"]);
        refused("seeds = [-1]", &[], &["`seeds`", "≥ 0"]);
        refused("[grid]\ninner.rate = 0.1", &[], &["line 2", "`inner.rate`", "list of values"]);
        refused("[grid]\nseed = [1, 2]", &[], &["`seed`", "seeds = "]);
        refused("[grid]\ninner.rate = [0.1, 0.1]", &[], &["rate-0.1", "once"]);
        refused("[[run]]\ninner.rate = 0.1", &[], &["`run`", "name"]);
        refused("[[run]]\nname = '../up'", &[], &["`run`", "name"]);
        refused("[[run]]\nname = 'a'\n[[run]]\nname = 'a'", &[], &["\"a\"", "different name"]);
        let both = "[grid]\ninner.rate = [0.1]\n[[run]]\nname = 'a'\ninner.rate = 0.2";
        refused(both, &[], &["line 5", "`inner.rate`", "[grid] too"]);
        let set_too = "[set]\ninner.rate = 0.2\n[grid]\ninner.rate = [0.1, 0.3]";
        refused(set_too, &[], &["line 2", "`inner.rate`", "[grid] too"]);
        for (header, words) in [("[set]", "[set] twice"), ("[base]", "[base] twice")] {
            let twice = format!("{header}\n'inner.rate' = 0.2\ninner.rate = 0.3");
            refused(&twice, &[], &["line 3", "`inner.rate`", words]);
        }
        let twice = "[[run]]\nname = 'a'\n'inner.rate' = 0.2\ninner.rate = 0.3";
        refused(twice, &[], &["line 4", "`inner.rate`", "[[run]] twice"]);
        refused("[grid]\ninner.rate = [0.1]", &["inner.rate=1"], &["--set inner.rate=1", "varies"]);
        let inline = "inner={rate=1, steps=2}";
        refused("[grid]\ninner.rate = [0.1]", &[inline], &["`inner.rate`", inline, "varies"]);
        let same = "set.data.source = 'folder'\n[grid]\ndata.path = ['a/b', 'a-b']";
        refused(same, &[], &["\"a-b\", of \"a/b\" and \"a-b\"", "[[run]]"]);
        refused("base = 'nothing.toml'", &[], &["nothing.toml", "no such file"]);
        refused("base = 7", &[], &["`base`", "path"]);
        refused("seeds = [", &[], &["sweep.toml, line 1", "not valid TOML"]);
    }
}
