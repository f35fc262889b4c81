//! How the line that is being typed lies on the screen.
//!
//! The line editor counts rows by its own idea of widths, and the terminal may have another. So the terminal breaks no row while a
//! line is typed: it is told not to (DECAWM), and the breaks are written where the editor counts them. Then the rows are certain,
//! whatever is typed, and a sent line can be taken back without a trace and without taking anything else.

use rustyline::GraphemeClusterMode;

use crate::base::text_width::clusters;
use crate::base::writing::is_never_shown;

/// The columns between tab stops, as the editor counts them.
const TAB_STOP: usize = 8;

/// Where the next letter goes, and the text that was written so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypedLine {
    /// What to write to the terminal: each row ends with a line feed, but the last.
    pub shown: String,
    /// The row of the cursor at the end, counted from 0. A full row is followed by an empty one.
    row: usize,
    column: usize,
    window: usize,
    /// Where a row ended that is full: the terminal goes on only when it is told to.
    owes_break: bool,
    widths: GraphemeClusterMode,
}

impl TypedLine {
    /// Begins at the left edge with `prompt`, in a window of so many columns.
    pub fn start(prompt: &str, window: usize, widths: GraphemeClusterMode) -> TypedLine {
        let (shown, row, column, owes_break) = (String::new(), 0, 0, false);
        let mut typed = TypedLine { shown, row, column, window, owes_break, widths };
        typed.write(prompt, false);
        typed.end_part();
        typed
    }

    /// Goes on with `line`, with the cursor at the byte `cursor`; `masked` shows stars instead of letters. What the prompt showed is
    /// taken out first.
    pub fn line(mut self, line: &str, cursor: usize, masked: bool) -> TypedLine {
        self.shown.clear();
        let (before, after) = line.split_at_checked(cursor).unwrap_or((line, ""));
        self.write(before, masked);
        // The editor counts both parts for themselves.
        self.end_part();
        self.write(after, masked);
        self.end_part();
        self
    }

    /// How many rows the prompt and the line take, with the empty row below a full one.
    pub fn rows(&self) -> usize {
        self.row + 1
    }

    fn write(&mut self, text: &str, masked: bool) {
        for cluster in clusters(text) {
            if std::mem::take(&mut self.owes_break) {
                self.shown.push('\n');
            }
            if cluster == "\n" {
                self.next_row();
                continue;
            }
            let is_tab = cluster == "\t";
            let width =
                if is_tab { TAB_STOP - self.column % TAB_STOP } else { usize::from(self.widths.width(cluster)) };
            if self.column + width > self.window {
                self.next_row();
            }
            self.column += width;
            if is_tab || masked {
                let letter = if masked { '*' } else { ' ' };
                self.shown.extend(std::iter::repeat_n(letter, width));
            } else if cluster.chars().any(is_never_shown) {
                self.shown.extend(std::iter::repeat_n('?', width));
            } else {
                self.shown.push_str(cluster);
            }
        }
    }

    fn next_row(&mut self) {
        self.shown.push('\n');
        (self.row, self.column) = (self.row + 1, 0);
    }

    /// After a part that fills its row the editor goes on in the next one.
    fn end_part(&mut self) {
        if self.column >= self.window {
            (self.row, self.column, self.owes_break) = (self.row + 1, 0, true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(line: &str, cursor: usize) -> TypedLine {
        TypedLine::start("> ", 10, GraphemeClusterMode::WcWidth).line(line, cursor, false)
    }

    #[test]
    fn rows_are_broken_where_the_editor_counts_them() {
        for (line, shown, rows) in [
            ("", "", 1),
            ("1234567", "1234567", 1),
            // The editor writes the line feed after the last full row.
            ("12345678", "12345678", 2),
            ("123456789", "12345678\n9", 2),
            ("1234567漢", "1234567\n漢", 2),
            ("two\nlines", "two\nlines", 2),
            ("12345678\nx", "12345678\nx", 2),
            ("\tx", "      x", 1),
            ("123456\tx", "123456\n        x", 2),
            ("❤\u{fe0f}ที่นี่e\u{301}", "❤\u{fe0f}ที่นี่e\u{301}", 1),
            ("a\u{202e}b\u{7}", "ab", 1),
        ] {
            let typed = typed(line, line.len());
            assert_eq!((typed.shown.as_str(), typed.rows()), (shown, rows), "{line:?}");
        }
    }

    #[test]
    fn a_cursor_behind_a_full_row_begins_a_new_one() {
        let line = typed("12345678\nx", 8);
        assert_eq!((line.shown.as_str(), line.rows()), ("12345678\n\nx", 3));
        let line = typed("12345678x", 8);
        assert_eq!((line.shown.as_str(), line.rows()), ("12345678\nx", 2));
        let narrow = TypedLine::start("prompt> ", 8, GraphemeClusterMode::WcWidth);
        assert_eq!((narrow.shown.as_str(), narrow.rows()), ("prompt> ", 2));
        assert_eq!(narrow.line("x", 1, false).shown, "\nx");
    }

    #[test]
    fn a_masked_line_shows_a_star_for_each_column() {
        let secret = TypedLine::start("> ", 10, GraphemeClusterMode::WcWidth).line("漢pässword", 0, true);
        assert_eq!(secret.shown, "********\n**");
    }
}
