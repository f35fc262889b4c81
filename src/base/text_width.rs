//! The width of texts on a terminal.

use unicode_width::UnicodeWidthChar;

/// The columns that a text takes on a terminal.
pub fn text_width(text: &str) -> usize {
    text.chars().map(|letter| letter_width(letter).unwrap_or(0)).sum()
}

/// The columns that a letter takes; 0 for one that combines with the letter before. `None` for control characters, which
/// have no certain width.
pub fn letter_width(letter: char) -> Option<usize> {
    letter.width()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_and_combining_letters_take_the_columns_that_a_terminal_gives_them() {
        for (text, width) in [("", 0), ("Вася", 4), ("漢字", 4), ("e\u{301}", 1), ("\u{1b}[", 1)] {
            assert_eq!(text_width(text), width, "{text:?}");
        }
        assert_eq!((letter_width('\t'), letter_width('\u{301}')), (None, Some(0)));
    }
}
