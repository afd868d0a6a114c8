//! Self-contained HTML pages.

/// `text` escaped for use in content and attributes. Control characters, which XML forbids, are replaced.
pub fn escaped(text: &str) -> String {
    let is_forbidden = |letter: char| letter.is_control() && !matches!(letter, '\n' | '\t');
    text.replace(is_forbidden, "\u{fffd}")
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// An HTML page; `body` is HTML, `title` plain text. It follows the reader's light or dark colour scheme.
pub fn document(title: &str, body: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\" xmlns=\"http://www.w3.org/1999/xhtml\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n<title>{}</title>\n\
         <style>\n{}</style>\n</head>\n<body>\n{body}</body>\n</html>\n",
        escaped(title),
        include_str!("page.css"),
    )
}

/// A table with a header row; cells are plain text.
pub fn table<const N: usize>(head: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let head = line("th", head.into_iter());
    let rows: String = rows.into_iter().map(|row| line("td", row.iter().map(String::as_str))).collect();
    format!("<div class=\"wide\"><table>\n{head}{rows}</table></div>\n")
}

fn line<'a>(tag: &str, cells: impl Iterator<Item = &'a str>) -> String {
    let cells: String = cells.map(|cell| format!("<{tag}>{}</{tag}>", escaped(cell))).collect();
    format!("<tr>{cells}</tr>\n")
}

/// A data URI with these bytes of media type `kind`.
pub fn data_uri(kind: &str, bytes: &[u8]) -> String {
    use base64::Engine;
    format!("data:{kind};base64,{}", base64::engine::general_purpose::STANDARD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_is_escaped() {
        let table = table(["<b>"], [["\"&\"".to_string()]]);
        assert!(table.contains("<th>&lt;b&gt;</th>") && table.contains("<td>&quot;&amp;&quot;</td>"));
        assert_eq!(escaped("a\u{1}\tb"), "a\u{fffd}\tb");
        assert!(document("</title>", "").contains("<title>&lt;/title&gt;</title>"));
        assert_eq!(data_uri("image/png", b"foob"), "data:image/png;base64,Zm9vYg==");
    }
}
