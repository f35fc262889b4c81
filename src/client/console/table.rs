//! Tables that are whole in any window: as columns where these fit, otherwise one block a row.

use crate::client::console::shown::{columns, wrap_into};

/// Between two columns.
const GAP: &str = "  ";

/// A table with `heads` over its columns. Where a row would not fit into `window` columns, each row becomes a block: its
/// first and last cell in one line, then each of the others in a line behind its head.
pub(super) fn table<const N: usize>(heads: [&str; N], rows: &[[String; N]], window: Option<usize>) -> String {
    let widths: [usize; N] = std::array::from_fn(|column| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| columns(cell));
        cells.chain(heads.get(column).map(|head| columns(head))).max().unwrap_or_default()
    });
    let whole = widths.iter().sum::<usize>() + GAP.len() * N.saturating_sub(1);
    match window {
        Some(window) if whole > window => blocks(heads, rows, window),
        _ => {
            let head = in_columns(&heads, &widths);
            let body = rows.iter().map(|row| in_columns(row, &widths));
            std::iter::once(head).chain(body).collect()
        }
    }
}

fn in_columns<S: AsRef<str>, const N: usize>(cells: &[S; N], widths: &[usize; N]) -> String {
    let mut line = String::new();
    for (cell, &width) in cells.iter().zip(widths) {
        let cell = cell.as_ref();
        line.push_str(cell);
        line.extend(std::iter::repeat_n(' ', width.saturating_sub(columns(cell))));
        line.push_str(GAP);
    }
    line.truncate(line.trim_end().len());
    line.push('\n');
    line
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
    fn one_that_does_not_fit_has_blocks_of_lines_that_do() {
        let shown = table(["", "opened", "from", ""], &rows(), Some(27));
        let blocks = "1  этот\n  opened: 2026-11-23 15:14\n  from: 127.0.0.1\n\
                      10\n  opened: 2026-11-23 16:00\n  from: 2001:db8::1\n";
        assert_eq!(shown, blocks);
        let narrow = table(["", "opened", "from", ""], &rows(), Some(20));
        assert!(narrow.lines().all(|line| columns(line) <= 20), "{narrow}");
    }
}
