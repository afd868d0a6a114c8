//! The documentation: `docs/configuration.md` matches the program's keys, and no link is broken.
//!
//! `UPDATE=1 cargo test --test it documentation` writes `docs/configuration.md` again.

use metaburn::config::{Purpose, keys};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn configuration_md_matches_the_keys() {
    let mut text = String::from(
        "# Configuration\n\n\
         A configuration is a TOML file (see `configs/`); `--set key=value` overrides one key. Unknown keys\n\
         and invalid values are refused with a list of all faults. A run directory holds the resolved configuration.\n",
    );
    let mut section = None;
    for key in keys() {
        let (group, _) = key.key.split_once('.').unwrap_or(("", key.key));
        if section.replace(group) != Some(group) {
            let title = if group.is_empty() { "Top level" } else { group };
            write!(text, "\n## {title}\n\n| key | description | values | default |\n|---|---|---|---|\n")
                .unwrap();
        }
        let cell = |text: &str| text.trim().replace('|', "\\|");
        let cells = [key.doc, &*key.accepts, &*key.default].map(cell);
        writeln!(text, "| `{}` | {} | {} | {} |", key.key, cells[0], cells[1], cells[2]).unwrap();
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(written == text, "docs/configuration.md differs from the keys; run with UPDATE=1");
}

#[test]
fn commands_md_lists_what_may_change_after_training() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/commands.md")).unwrap();
    let (_, section) = page.split_once("## Change a run after training").expect("the section");
    let (table, _) = section.split_once("\nEverything else").expect("its end");
    for key in [Purpose::Training, Purpose::Evaluation].into_iter().flat_map(Purpose::keys) {
        let listed = if key.ends_with('.') { format!("`{key}*`") } else { format!("`{key}`") };
        assert!(table.contains(&listed), "{listed} is not listed in docs/commands.md");
    }
}

/// The files of the project that the links and pictures of a page point to.
fn links(page: &Path) -> Vec<PathBuf> {
    let text = fs::read_to_string(page).unwrap();
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
    let inside = targets.filter(|target| !target.is_empty() && !target.contains("://"));
    inside.map(|target| page.parent().unwrap().join(target)).collect()
}

#[test]
fn every_page_is_in_the_book_and_no_link_is_broken() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let listed = links(&root.join("docs/SUMMARY.md"));
    let entries = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let pages: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|ending| ending == "md")).collect();
    assert!(pages.len() > 10);
    for page in &pages {
        assert!(
            page.ends_with("SUMMARY.md") || listed.contains(page),
            "{} is not in the book",
            page.display()
        );
    }
    for page in
        pages.iter().chain(&["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(|name| root.join(name)))
    {
        for target in links(page) {
            assert!(
                target.exists(),
                "{} links to {}, which does not exist",
                page.display(),
                target.display()
            );
        }
    }
}
