//! Quoting for commands that are printed to be typed.

use std::path::Path;

/// `path` as one shell word: in single quotes if it has unusual characters.
pub fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let usual = |letter: char| letter.is_alphanumeric() || "/._-+=:@%,".contains(letter);
    let plain = !text.is_empty() && text.chars().all(usual);
    if plain { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_path_is_one_shell_word() {
        assert_eq!(quoted(Path::new("checkpoints/run-001")), "checkpoints/run-001");
        assert_eq!(quoted(Path::new("my runs/it's")), r"'my runs/it'\''s'");
    }
}
