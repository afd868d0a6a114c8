//! Keys and values as messages quote them: on one line, short, control characters escaped.

use toml::Value;

/// The most characters of user text that a message repeats.
const LENGTH: usize = 60;

/// A value as a message shows it: `5`, `"five"`, `[1, 2]`, `a table`.
pub fn value(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{:?}", short(text)),
        Value::Float(number) if number.is_finite() => format!("{number:?}"), // 1e-300 stays short
        Value::Table(_) => "a table".into(),
        other => short(&other.to_string()),
    }
}

/// One part of a dotted key: as it is where TOML allows that, else in quotes.
pub fn key_part(part: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !part.is_empty() && part.chars().all(is_bare) { part.to_owned() } else { format!("{part:?}") }
}

/// Text that was never parsed, on one short line.
pub fn line(text: &str) -> String {
    let escape = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    short(text).chars().map(escape).collect()
}

/// At most the first characters of `text`, with an ellipsis where some are left out.
pub fn short(text: &str) -> String {
    match text.char_indices().nth(LENGTH) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
