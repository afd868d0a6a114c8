//! `docs/configuration.md` says what the program says. To write it anew:
//! `UPDATE=1 cargo test --test documentation`.

use metaburn::config::keys;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn every_key_is_documented_as_it_is() {
    let mut text = String::from(
        "# Configuration\n\n\
         A configuration is a TOML file (see `configs/`); `--set key=value` sets one key over it. Unknown keys and\n\
         impossible values are refused, all of them at once. A run directory holds the resolved configuration.\n",
    );
    let mut section = None;
    for key in keys() {
        let (group, _) = key.key.split_once('.').unwrap_or(("", key.key));
        if section.replace(group) != Some(group) {
            let title = if group.is_empty() { "Above all sections" } else { group };
            write!(text, "\n## {title}\n\n| key | what | takes | default |\n|---|---|---|---|\n").unwrap();
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
    assert!(written == text, "docs/configuration.md is not what the keys say; run with UPDATE=1");
}

/// Where the links and pictures of a page lead, within the project.
fn links(page: &Path) -> Vec<PathBuf> {
    let text = fs::read_to_string(page).unwrap();
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
    let inside = targets.filter(|target| !target.is_empty() && !target.contains("://"));
    inside.map(|target| page.parent().unwrap().join(target)).collect()
}

#[test]
fn every_page_is_in_the_book_and_every_link_leads_somewhere() {
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
            assert!(target.exists(), "{} leads to {}, which is not there", page.display(), target.display());
        }
    }
}
