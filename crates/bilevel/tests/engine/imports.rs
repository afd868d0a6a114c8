//! Which modules of a crate import which others, read from its source text.

use std::fs;
use std::path::{Path, PathBuf};

/// Asserts that every module at the top of the crate in `src` is in `order`, and that its files name (as `crate::module`)
/// no module that comes after their own. Unit tests within a file may name any.
pub fn assert_modules_import_only_earlier_ones(src: &Path, order: &[&str]) {
    let place = |module: &str| order.iter().position(|name| *name == module);
    let mut wrong = Vec::new();
    for file in rust_files(src) {
        let path = file.strip_prefix(src).expect("files of the folder");
        let first = path.iter().next().expect("a file has a name").to_string_lossy();
        let module = first.trim_end_matches(".rs");
        if module == "lib" || module == "main" || module == "cli" {
            continue;
        }
        let Some(own) = place(module) else {
            wrong.push(format!("{} is in no module of the order", path.display()));
            continue;
        };
        let text = fs::read_to_string(&file).expect("source text");
        for used in named(&text) {
            if place(&used).is_some_and(|used| used > own) {
                wrong.push(format!("{} uses `crate::{used}`, which comes after `{module}`", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The modules that `text` names as `crate::module` or within `crate::{…}`, outside of comments and unit tests.
fn named(text: &str) -> Vec<String> {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text);
    let lines = code.lines().map(|line| line.split("//").next().unwrap_or(line));
    let code: String = lines.flat_map(|line| [line, "\n"]).collect();
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut found = Vec::new();
    for (_, rest) in code.match_indices("crate::").map(|(at, word)| (at, &code[at + word.len()..])) {
        if let Some(group) = rest.strip_prefix('{') {
            let names = group.split('}').next().unwrap_or(group).split(',');
            found.extend(names.filter_map(|name| name.trim().split("::").next().map(String::from)));
        } else {
            found.push(rest.chars().take_while(|c| is_name(*c)).collect());
        }
    }
    found
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let files = files.into_iter().filter(|path| path.extension().is_some_and(|ending| ending == "rs"));
    folders.iter().flat_map(|folder| rust_files(folder)).chain(files).collect()
}

#[test]
fn named_modules_are_found_outside_of_comments_and_tests() {
    let text = "use crate::{one, two::Three};\n// crate::no\nfn f() { crate::four::g() }\n#[cfg(test)]\nmod tests { use crate::no; }";
    assert_eq!(named(text), ["one", "two", "four"]);
}
