//! Tables of text with aligned columns.

use super::text_width::text_width;

/// The space between two columns.
pub const GAP: &str = "  ";

/// A line for each row. A column is as wide as its widest cell is on a terminal; no line ends with blanks.
pub fn aligned<R: AsRef<[S]>, S: AsRef<str>>(rows: &[R]) -> String {
    let mut widths: Vec<usize> = Vec::new();
    for row in rows {
        let row = row.as_ref();
        widths.resize(widths.len().max(row.len()), 0);
        for (widest, cell) in widths.iter_mut().zip(row) {
            *widest = text_width(cell.as_ref()).max(*widest);
        }
    }
    let mut lines = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, widest) in row.as_ref().iter().map(AsRef::as_ref).zip(&widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', widest.saturating_sub(text_width(cell))));
            line.push_str(GAP);
        }
        lines.push_str(line.trim_end());
        lines.push('\n');
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_a_terminal_shows_them() {
        let rows = [vec!["LOGIN", "ID"], vec!["Вася", "1"], vec!["漢漢漢", "20"], vec!["", "3"], vec!["last"]];
        assert_eq!(aligned(&rows), "LOGIN   ID\nВася    1\n漢漢漢  20\n        3\nlast\n");
        assert_eq!(aligned::<Vec<&str>, &str>(&[]), "");
    }
}
