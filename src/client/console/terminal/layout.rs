//! Where a text is broken in a window.

use crate::base::text_width::{clusters, greatest_text_width, greatest_width, text_width};

/// Indent of further rows in a narrow window.
pub const NARROW_INDENT: usize = 4;
/// In narrower windows the two columns of the help are too narrow to read.
const NARROW_HELP: usize = 60;

/// A notice of the program after `sign` (`* ` or `! `), which starts no message. `window` is the width in columns; without it
/// the text is not broken.
pub fn notice(sign: &str, text: &str, window: Option<usize>) -> String {
    let indent = text_width(sign);
    let mut block = sign.to_owned();
    match window {
        Some(window) => wrap_into(&mut block, text, indent, indent, window),
        None => block.push_str(text),
    }
    block
}

/// One line of the help. The words after the first gap of two blanks continue below the first of them, or, in a narrow window,
/// below the command. `window` as for [`notice`].
pub fn help_line(line: &str, window: Option<usize>) -> String {
    let Some(window) = window else { return line.to_owned() };
    let behind = line.find("  ").map_or(0, |gap| line.len() - line.get(gap..).unwrap_or_default().trim_start().len());
    let (head, words) = line.split_at(behind);
    let narrow = window < NARROW_HELP && !head.is_empty();
    let head = if narrow { format!("{}  ", head.trim_end()) } else { head.to_owned() };
    let start = text_width(&head);
    let mut block = head;
    wrap_into(&mut block, words, start, if narrow { NARROW_INDENT } else { start }, window);
    block
}

/// Appends a line of the program's own to `block` and breaks it at blanks. A long word stays whole if it is made of the characters
/// of addresses and commands, so that it can be copied.
pub fn wrap_into(block: &mut String, line: &str, start: usize, indent: usize, window: usize) {
    let separator = format!("\n{}", " ".repeat(indent));
    block.push_str(&rows(line, Room { start, indent, window, whole_addresses: true }).join(&separator));
}

/// The room that a text has in a window, in columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Where its first row begins.
    pub start: usize,
    /// Where every other row begins.
    pub indent: usize,
    /// The width of the window.
    pub window: usize,
    /// Whether a long address stays whole, so that it can be copied; the terminal then breaks it at the edge. Nothing that others
    /// wrote may stay whole: its second row would begin at the left edge.
    pub whole_addresses: bool,
}

/// The rows of a line, without their indents, broken at blanks where there are any. Each fits whatever width a terminal gives its
/// characters. Blanks at the end of a row are dropped; those at the beginning of the line stay.
pub fn rows(line: &str, room: Room) -> Vec<String> {
    let (mut rows, mut row) = (Vec::new(), String::new());
    let mut column = room.start;
    // The column that the row begins at.
    let mut begin = room.start;
    for word in line.split_inclusive(char::is_whitespace) {
        let letters = word.trim_end();
        let whole = room.whole_addresses && may_stay_whole(letters);
        let width = greatest_text_width(letters);
        // One that needs more than a row fills this one first.
        let waits = if whole { column > begin } else { room.indent + width <= room.window };
        if column + width > room.window && column > room.indent && waits {
            rows.push(std::mem::take(&mut row));
            (column, begin) = (room.indent, room.indent);
        }
        for piece in pieces(word, room.window.saturating_sub(room.indent)) {
            let width = greatest_width(piece);
            let is_blank = piece.chars().all(char::is_whitespace);
            let full = column + width > room.window;
            if full && !whole && !is_blank && column > room.indent {
                rows.push(std::mem::take(&mut row));
                (column, begin) = (room.indent, room.indent);
            }
            // A blank at the end of a row would move to the left edge of the next one.
            if !(full && is_blank) {
                row.push_str(piece);
            }
            column += width;
        }
    }
    rows.push(row);
    rows
}

/// The clusters of a word. One that no row has room for, such as an endless conjunct, is cut between its characters.
fn pieces(word: &str, room: usize) -> impl Iterator<Item = &str> {
    clusters(word).flat_map(move |cluster| {
        let fits = greatest_width(cluster) <= room;
        let ends = cluster.char_indices().map(|(at, letter)| at + letter.len_utf8());
        let mut begin = 0;
        let end = cluster.len();
        ends.filter(move |&at| at == end || !fits).filter_map(move |at| {
            let piece = cluster.get(begin..at);
            begin = at;
            piece
        })
    })
}

/// Whether the terminal may break the word: none of its characters can start a line of ours.
fn may_stay_whole(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~:/?#@$&'()+,;=%".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_is_broken_between_words() {
        assert_eq!(notice("* ", "one two three", Some(9)), "* one two\n  three");
        assert_eq!(notice("! ", "one two three", None), "! one two three");
    }

    #[test]
    fn the_help_is_broken_below_its_words() {
        let line = "/quit        leave this chat";
        assert_eq!(help_line(line, None), line);
        assert_eq!(help_line(line, Some(80)), line);
        let wide = format!("{line} {}", "word ".repeat(10));
        let shown = help_line(wide.trim_end(), Some(60));
        assert!(shown.lines().skip(1).all(|row| row.starts_with("             word")), "{shown}");
        assert_eq!(help_line(line, Some(17)), "/quit  leave this\n    chat");
        assert_eq!(help_line("all of it is said", Some(9)), "all of it\nis said");
    }

    /// The rows of a text in a window, after a head of `start` columns.
    fn rows_in(text: &str, start: usize, window: usize) -> Vec<String> {
        rows(text, Room { start, indent: 4, window, whole_addresses: false })
    }

    #[test]
    fn a_row_has_room_for_the_widest_picture_of_its_letters() {
        assert_eq!(rows_in(&"❤\u{fe0f}".repeat(6), 4, 13), vec!["❤\u{fe0f}".repeat(3); 2]);
        assert_eq!(rows_in(&"👩\u{200d}💻".repeat(4), 4, 16), vec!["👩\u{200d}💻".repeat(2); 2]);
        assert_eq!(rows_in("one two", 12, 12), ["", "one two"], "a head that fills the row");
        assert_eq!(rows_in("    if x:", 4, 40), ["    if x:"]);
        let endless = "क्".repeat(100);
        assert!(
            rows_in(&endless, 4, 20).iter().all(|row| row
                .chars()
                .map(|c| greatest_width(c.encode_utf8(&mut [0; 4])))
                .sum::<usize>()
                <= 16)
        );
        assert_eq!(rows_in(&endless, 4, 20).concat(), endless);
    }

    #[test]
    fn only_an_address_of_our_own_stays_whole() {
        let address = format!("https://example.org/{}", "a/".repeat(60));
        assert!(notice("* ", &address, Some(80)).contains(&address));
        assert!(rows_in(&address, 4, 80).len() > 1);
        let sly = format!("{}[18:30:16]_bob:_I_quit", "x".repeat(72));
        assert!(!notice("* ", &sly, Some(80)).contains(&sly));
    }
}
