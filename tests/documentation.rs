//! `docs/configuration.md` says what the program says. To write it anew:
//! `UPDATE=1 cargo test --test documentation`.

use metaburn::config::keys;
use std::fmt::Write;

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
