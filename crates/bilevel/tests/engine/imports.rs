//! Which modules of a crate import which others, read from its source text.

use std::fs;
use std::path::{Path, PathBuf};

/// Asserts that every module at the top of the crate in `src` is in `order`, and that what its files name at the top of the
/// crate (as `crate::name` or `super::name`) is a module that does not come after their own. The names of modules count,
/// not those that the crate exports from them. Unit tests within a file may name anything.
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
        for used in named(&text, depth(path)) {
            let why = match place(&used) {
                Some(used) if used <= own => continue,
                Some(_) => format!("which comes after `{module}`"),
                None => "which is no module of the order; name the module that defines it".into(),
            };
            wrong.push(format!("{} uses `crate::{used}`, {why}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// How many levels below the top of the crate the module of the file at `path` is.
fn depth(path: &Path) -> usize {
    path.iter().count() - usize::from(path.ends_with("mod.rs"))
}

/// The names at the top of the crate in the paths of `text`, the source of a module `depth` levels below it. The code of
/// `macro_rules!` names things as `$crate::name` for other crates; these do not count.
fn named(text: &str, depth: usize) -> Vec<String> {
    let code = code(text);
    let begins =
        |at: usize| !code[..at].ends_with(|before: char| is_in_name(before) || "$:".contains(before));
    let starts = ["crate::", "super::"].into_iter().flat_map(|start| code.match_indices(start));
    let paths = starts.filter(|(at, _)| begins(*at)).flat_map(|(at, _)| paths(&code[at..]));
    paths.filter_map(|path| name_at_top(path, depth)).filter(|name| !name.ends_with('!')).collect()
}

/// What `path` names at the top of the crate, in a module `depth` levels below it.
fn name_at_top(path: Vec<String>, depth: usize) -> Option<String> {
    let levels = match path.first()?.as_str() {
        "crate" => 1,
        _ => path.iter().take_while(|segment| *segment == "super").count(),
    };
    let reaches_top = path[0] == "crate" || levels == depth;
    path.into_iter().nth(levels).filter(|_| reaches_top)
}

/// The paths at the start of `text`, by their segments: one, or one for each entry of the braces in it.
fn paths(text: &str) -> Vec<Vec<String>> {
    let text = text.trim_start();
    if let Some(group) = text.strip_prefix('{') {
        return entries(group).into_iter().flat_map(paths).collect();
    }
    let (name, rest) = text.split_at(text.find(|c: char| !is_in_name(c)).unwrap_or(text.len()));
    let Some(rest) = rest.strip_prefix("::") else {
        let is_macro = rest.starts_with('!') && !rest.starts_with("!=");
        return vec![vec![if is_macro { format!("{name}!") } else { name.into() }]];
    };
    let mut within = paths(rest);
    within.iter_mut().for_each(|path| path.insert(0, name.into()));
    within
}

/// The entries of the braces that `text` begins in, up to their end.
fn entries(text: &str) -> Vec<&str> {
    let (mut inner, mut start, mut found) = (0, 0, Vec::new());
    for (at, c) in text.char_indices() {
        match c {
            '{' => inner += 1,
            '}' if inner > 0 => inner -= 1,
            ',' | '}' if inner == 0 => {
                found.push(&text[start..at]);
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    found.retain(|entry| !entry.trim().is_empty());
    found
}

fn is_in_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// `text` without its comments and its unit tests, which are at its end.
fn code(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let tests =
        lines.windows(2).position(|pair| pair[0] == "#[cfg(test)]" && pair[1].ends_with("mod tests {"));
    let lines = lines[..tests.unwrap_or(lines.len())].iter();
    lines.map(|line| line.split("//").next().unwrap_or(line).to_string() + "\n").collect()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let files = files.into_iter().filter(|path| path.extension().is_some_and(|ending| ending == "rs"));
    folders.iter().flat_map(|folder| rust_files(folder)).chain(files).collect()
}

#[test]
fn named_modules_are_found_outside_of_comments_and_tests() {
    let text = "use crate::{one::{self, two}, three::Four};\n\
                use crate::{\n    five,\n    six::{seven::{eight, nine}, ten},\n    eleven,\n};\n\
                // crate::no\nfn f() { crate::twelve::g::<u8>(crate::no!(1)); super::no() }\n\
                pub(in crate::thirteen) struct S;\nmacro_rules! m { () => { $crate::no } }\n\
                #[cfg(test)]\nmod tests;\nuse crate::fourteen;\n\
                use super::super::fifteen;\nuse super::{super::{sixteen, seventeen::eighteen}, no};\n\
                #[cfg(test)]\npub mod tests {\nuse crate::no;\n}";
    let expected = "one one three five six six six eleven twelve thirteen fourteen fifteen sixteen seventeen";
    assert_eq!(named(text, 2).join(" "), expected);
    assert_eq!(named("use super::one::{self, two};\nuse crate::Export;", 1), ["Export", "one", "one"]);
}

#[test]
fn a_file_is_as_deep_as_its_module() {
    for (path, levels) in [("a.rs", 1), ("a/mod.rs", 1), ("a/b.rs", 2), ("a/b/mod.rs", 2)] {
        assert_eq!(depth(Path::new(path)), levels, "{path}");
    }
}
