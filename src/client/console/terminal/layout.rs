//! Where a text is broken in a window.

use crate::base::text_width::{letter_width, text_width};

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

/// How many rows the editor has filled with `prompt` and `line` in a window of `window` columns, including the empty row below
/// a full one. `None` if a character has no certain width.
pub fn typed_rows(prompt: &str, line: &str, window: usize) -> Option<usize> {
    let (mut rows, mut column) = (1, 0);
    for letter in prompt.chars().chain(line.chars()) {
        if letter == '\n' {
            (rows, column) = (rows + 1, 0);
            continue;
        }
        let width = letter_width(letter).filter(|&width| width > 0)?;
        if column + width > window {
            (rows, column) = (rows + 1, 0);
        }
        column += width;
    }
    Some(if column >= window { rows + 1 } else { rows })
}

/// Appends `line` to `block` and breaks it at blanks, so that only the first row of the window starts at its left edge. A long
/// word stays whole if it is made of the characters of addresses and commands, so that it can be copied; others break anywhere.
pub fn wrap_into(block: &mut String, line: &str, start: usize, indent: usize, window: usize) {
    let mut column = start;
    let break_here = |block: &mut String, column: &mut usize| {
        block.push('\n');
        block.extend(std::iter::repeat_n(' ', indent));
        *column = indent;
    };
    for word in line.split_inclusive(char::is_whitespace) {
        let width = text_width(word.trim_end());
        if column + width > window && column > indent && !(column == start && may_stay_whole(word)) {
            break_here(block, &mut column);
        }
        let whole = may_stay_whole(word);
        for letter in word.chars() {
            let width = letter_width(letter).unwrap_or(0);
            let full = column + width > window;
            if full && !whole && !letter.is_whitespace() {
                break_here(block, &mut column);
            }
            // A blank at the end of a row would move to the left edge of the next one.
            if !(full && letter.is_whitespace()) {
                block.push(letter);
            }
            column += width;
        }
    }
}

/// Whether the terminal may break the word: none of its characters can start a line of ours.
fn may_stay_whole(word: &str) -> bool {
    word.trim_end().bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~:/?#@$&'()+,;=%".contains(&byte))
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

    #[test]
    fn the_rows_of_a_typed_line_are_counted_as_the_editor_fills_them() {
        for (line, rows) in [
            ("", Some(1)),
            ("1234567", Some(1)),
            ("12345678", Some(2)),
            ("123456789", Some(2)),
            ("1234567漢", Some(2)),
            ("two\nlines", Some(2)),
            ("❤\u{fe0f}", None),
            ("\u{1b}", None),
        ] {
            assert_eq!(typed_rows("> ", line, 10), rows, "{line:?}");
        }
    }
}
