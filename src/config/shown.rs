//! How messages quote keys and values: on one short line, with control characters escaped.

use toml::Value;

/// The most characters of user text in a message.
const LENGTH: usize = 60;

/// A value in a message: `5`, `"five"`, `[1, 2]`, `a table`.
pub fn value(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{:?}", short(text)),
        Value::Float(number) if number.is_finite() => format!("{number:?}"), // 1e-300 stays short
        Value::Table(_) => "a table".into(),
        other => short(&other.to_string()),
    }
}

/// One part of a dotted key, in quotes if TOML requires them.
pub fn key_part(part: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !part.is_empty() && part.chars().all(is_bare) { part.to_owned() } else { format!("{part:?}") }
}

/// Unparsed text on one short line.
pub fn line(text: &str) -> String {
    let escape = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    short(text).chars().map(escape).collect()
}

/// The first characters of `text`, with an ellipsis if some are left out.
pub fn short(text: &str) -> String {
    match text.char_indices().nth(LENGTH) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
