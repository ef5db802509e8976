//! Columns for a person's eyes. Floor 5.

use std::fmt;

/// Rows under a header; each column is as wide as its widest cell.
pub(super) struct Table {
    rows: Vec<Vec<String>>,
    /// Which of them no column is as wide as.
    notes: Vec<usize>,
}

impl Table {
    pub(super) fn new(header: &[&str]) -> Self {
        let header = header.iter().map(|cell| (*cell).to_owned()).collect();
        Self {
            rows: vec![header],
            notes: Vec::new(),
        }
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// A line under the last row, which begins in the second column and is as long as it is.
    pub(super) fn note(&mut self, text: String) {
        self.rows.push(vec![String::new(), text]);
        self.notes.push(self.rows.len() - 1);
    }

    fn widths(&self) -> Vec<usize> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let rows = || self.rows.iter().enumerate();
        let width = |column: usize| {
            let rows = rows().filter(|(number, _)| !self.notes.contains(number));
            let cells = rows.filter_map(|(_, row)| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        (0..columns).map(width).collect()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        for row in &self.rows {
            let cells = row.iter().zip(&widths);
            let line: Vec<_> = cells
                .map(|(cell, width)| format!("{cell:<width$}"))
                .collect();
            writeln!(f, "{}", line.join("  ").trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_each_other_and_lines_end_where_their_text_does() {
        let mut table = Table::new(&["NAME", "N"]);
        table.row(["a long name".to_owned(), "7".to_owned()]);
        table.note("as long as it likes".to_owned());
        assert_eq!(
            table.to_string(),
            "NAME         N\na long name  7\n             as long as it likes\n"
        );
    }
}
