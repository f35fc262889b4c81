//! The width of texts on a terminal.
//!
//! Terminals differ. Some draw each grapheme cluster as one picture, some each character for itself; some draw ❤ with two columns,
//! some with one. So there are two widths: what most terminals do, to align columns, and what no terminal exceeds, to break rows.

use std::sync::OnceLock;

use unicode_properties::{GeneralCategory, UnicodeEmoji, UnicodeGeneralCategory};
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The grapheme clusters of a text (UAX 29): what people take for one letter.
pub fn clusters(text: &str) -> impl Iterator<Item = &str> {
    text.graphemes(true)
}

/// The columns that a text takes on most terminals.
pub fn text_width(text: &str) -> usize {
    clusters(text).map(UnicodeWidthStr::width).sum()
}

/// The most columns that a terminal takes for a cluster, whether it draws it as one or each of its characters.
pub fn greatest_width(cluster: &str) -> usize {
    let apart: usize = cluster.chars().map(greatest_letter_width).sum();
    apart.max(cluster.width())
}

/// The most columns that a terminal takes for a text.
pub fn greatest_text_width(text: &str) -> usize {
    clusters(text).map(greatest_width).sum()
}

/// The most columns that a terminal takes for one character.
fn greatest_letter_width(letter: char) -> usize {
    if letter.is_ascii() {
        return 1;
    }
    let usual = if ambiguous_is_wide() { letter.width_cjk() } else { letter.width() }.unwrap_or(1);
    let least = match letter.general_category() {
        // One that knows no format character draws a box. The second variation selector can make a letter a picture.
        GeneralCategory::Format => 1,
        _ if matches!(letter, '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}' | '\u{180b}'..='\u{180f}') => 1,
        // Marks with a width of their own, and the vowels and finals of Hangul syllables.
        GeneralCategory::SpacingMark => 1,
        _ if matches!(letter, '\u{1160}'..='\u{11ff}' | '\u{d7b0}'..='\u{d7ff}') => 1,
        _ if letter > '\u{2000}' && letter.is_emoji_char() => 2,
        _ => 0,
    };
    usual.max(least)
}

/// Whether letters that are wide in Chinese, Japanese and Korean fonts, Cyrillic among them, may take two columns here: by the
/// locale (UAX 11, class A).
fn ambiguous_is_wide() -> bool {
    static WIDE: OnceLock<bool> = OnceLock::new();
    let is_wide = || {
        let set = |name: &&str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(set).unwrap_or_default();
        ["zh", "ja", "ko"].iter().any(|language| locale.starts_with(language))
    };
    *WIDE.get_or_init(is_wide)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_and_combining_letters_take_the_columns_that_a_terminal_gives_them() {
        for (text, width) in
            [("", 0), ("Вася", 4), ("漢字", 4), ("e\u{301}", 1), ("ที่นี่", 2), ("👩\u{200d}💻", 2), ("❤\u{fe0f}", 2)]
        {
            assert_eq!(text_width(text), width, "{text:?}");
        }
    }

    #[test]
    fn the_greatest_width_is_that_of_the_terminal_that_composes_least() {
        for (cluster, width) in [
            ("a", 1),
            ("漢", 2),
            ("e\u{301}", 1),
            ("❤", 2),
            ("❤\u{fe0f}", 3),
            ("👩\u{200d}💻", 5),
            ("👍🏿", 4),
            ("🇩🇪", 4),
            ("कि", 2),
            ("\u{1112}\u{1161}\u{11ab}", 4),
        ] {
            assert_eq!(greatest_width(cluster), width, "{cluster:?}");
        }
    }
}
