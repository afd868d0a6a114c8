//! Tables, written as CSV and Markdown.

/// Rows of cells under named columns.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table.
    pub fn new<const N: usize>(columns: [&str; N]) -> Self {
        Self { columns: columns.map(String::from).to_vec(), rows: Vec::new() }
    }

    /// An empty table with any number of columns.
    pub fn of(columns: Vec<String>) -> Self {
        Self { columns, rows: Vec::new() }
    }

    /// Adds a row. Missing cells are empty, and surplus cells are dropped.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let mut row: Vec<String> = cells.into_iter().take(self.columns.len()).collect();
        row.resize(self.columns.len(), String::new());
        self.rows.push(row);
    }

    /// The table as CSV (RFC 4180, except that lines end with a line feed only).
    pub fn csv(&self) -> String {
        let line =
            |cells: &Vec<String>| cells.iter().map(|cell| quoted(cell)).collect::<Vec<_>>().join(",") + "\n";
        std::iter::once(&self.columns).chain(&self.rows).map(line).collect()
    }

    /// The table as Markdown.
    pub fn markdown(&self) -> String {
        let cell = |text: &String| text.replace('|', "\\|").replace('\n', " ");
        let line =
            |cells: &Vec<String>| format!("| {} |\n", cells.iter().map(cell).collect::<Vec<_>>().join(" | "));
        let rule = format!("|{}\n", "---|".repeat(self.columns.len()));
        line(&self.columns) + &rule + &self.rows.iter().map(line).collect::<String>()
    }
}

/// The cell, quoted if necessary.
fn quoted(cell: &str) -> String {
    match cell.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::Table;

    #[test]
    fn special_characters_are_escaped() {
        let mut table = Table::new(["name", "‖v‖|q"]);
        table.row(["a, \"b\"".into(), "1.5".into(), "too many".into()]);
        table.row(["c".into()]);
        assert_eq!(table.csv(), "name,‖v‖|q\n\"a, \"\"b\"\"\",1.5\nc,\n");
        assert_eq!(table.markdown(), "| name | ‖v‖\\|q |\n|---|---|\n| a, \"b\" | 1.5 |\n| c |  |\n");
    }
}
