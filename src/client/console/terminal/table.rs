//! Tables that are readable in any window: as columns if they fit, otherwise one block per row.

use crate::base::table::{GAP, aligned};
use crate::base::text_width::text_width;
use crate::client::console::terminal::layout::wrap_into;

/// A table with `heads` above its columns. If a row does not fit into `window` columns, each row becomes a block: its first and
/// last cell in one line, then each other cell in a line after its head.
pub fn table<const N: usize>(heads: [&str; N], rows: &[[String; N]], window: Option<usize>) -> String {
    let body = rows.iter().map(|row| row.each_ref().map(String::as_str));
    let whole = aligned(&std::iter::once(heads).chain(body).collect::<Vec<_>>());
    match window {
        Some(window) if whole.lines().any(|line| text_width(line) > window) => blocks(heads, rows, window),
        _ => whole,
    }
}

fn blocks<const N: usize>(heads: [&str; N], rows: &[[String; N]], window: usize) -> String {
    let mut block = String::new();
    for row in rows {
        let [first, others @ .., last] = row.as_slice() else { continue };
        block.push_str(format!("{first}{GAP}{last}").trim_end());
        block.push('\n');
        for (head, cell) in heads.iter().skip(1).zip(others) {
            block.push_str(GAP);
            wrap_into(&mut block, &format!("{head}: {cell}"), GAP.len(), GAP.len(), window);
            block.push('\n');
        }
    }
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<[String; 4]> {
        [["1", "2026-11-23 15:14", "127.0.0.1", "этот"], ["10", "2026-11-23 16:00", "2001:db8::1", ""]]
            .map(|row| row.map(str::to_owned))
            .to_vec()
    }

    #[test]
    fn a_table_that_fits_has_columns() {
        let shown = "    открыт            откуда\n\
                     1   2026-11-23 15:14  127.0.0.1    этот\n\
                     10  2026-11-23 16:00  2001:db8::1\n";
        for window in [None, Some(80), Some(39)] {
            assert_eq!(table(["", "открыт", "откуда", ""], &rows(), window), shown, "{window:?}");
        }
    }

    #[test]
    fn a_table_that_does_not_fit_becomes_blocks() {
        let shown = table(["", "opened", "from", ""], &rows(), Some(27));
        let blocks = "1  этот\n  opened: 2026-11-23 15:14\n  from: 127.0.0.1\n\
                      10\n  opened: 2026-11-23 16:00\n  from: 2001:db8::1\n";
        assert_eq!(shown, blocks);
        let narrow = table(["", "opened", "from", ""], &rows(), Some(20));
        assert!(narrow.lines().all(|line| text_width(line) <= 20), "{narrow}");
    }
}
