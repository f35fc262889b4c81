//! Makes untrusted text harmless for a terminal and a log: control and format characters are shown as escapes.
//!
//! [`one_line`] is for names, paths, causes and log lines, where no format character has a use. What people wrote to each other
//! passes [`crate::base::writing`] instead, which knows where their scripts need one.

use unicode_normalization::char::is_combining_mark;
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

/// Marks beyond this many on one letter are shown as escapes: a pile of them paints over its neighbours (UTS 39, section 5.4).
pub(super) const MAX_MARKS: usize = 4;

/// What a tab becomes.
pub(super) const TAB: &str = "    ";

/// The text as one line. Characters that a terminal would obey, line feeds among them, and invisible characters become escapes
/// such as `\u{202e}`. A tab becomes four spaces.
pub fn one_line(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut marks = 0;
    for letter in text.chars() {
        marks = if is_combining_mark(letter) { marks + 1 } else { 0 };
        if letter == '\t' {
            shown.push_str(TAB);
        } else if is_treacherous(letter) && !matches!(letter, '\u{fe0e}' | '\u{fe0f}') || marks > MAX_MARKS {
            shown.extend(letter.escape_unicode());
        } else {
            shown.push(letter);
        }
    }
    shown
}

/// Whether a terminal obeys a character instead of showing it, or shows nothing or anything: Unicode's categories Cc, Cf, Zl, Zp, Co
/// and Cn, its ignorable characters, and letters that look like a blank.
pub fn is_treacherous(letter: char) -> bool {
    if letter.is_ascii() {
        return letter.is_ascii_control();
    }
    is_ignorable(letter)
        || letter == '\u{2800}'
        || matches!(
            letter.general_category(),
            GeneralCategory::Control
                | GeneralCategory::Format
                | GeneralCategory::LineSeparator
                | GeneralCategory::ParagraphSeparator
                | GeneralCategory::PrivateUse
                | GeneralCategory::Surrogate
                | GeneralCategory::Unassigned
        )
}

/// Whether there is nothing to see in a text: it consists of blanks and of characters that have no look of their own.
pub fn is_blank(text: &str) -> bool {
    text.chars().all(|letter| letter.is_whitespace() || letter == '\u{2800}' || is_ignorable(letter))
}

/// Unicode's property `Default_Ignorable_Code_Point` (`DerivedCoreProperties.txt`).
fn is_ignorable(letter: char) -> bool {
    matches!(letter,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_and_invisible_characters_are_shown_as_escapes() {
        for (text, shown) in [
            ("plain, Привет, 漢字, é, 🙂", "plain, Привет, 漢字, é, 🙂"),
            ("\x1b[2Jgone", "\\u{1b}[2Jgone"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("bell\x07 and\rreturn", "bell\\u{7} and\\u{d}return"),
            ("a\u{202e}b\u{2066}c", "a\\u{202e}b\\u{2066}c"),
            ("zero\u{200b}width\u{200d}\u{feff}", "zero\\u{200b}width\\u{200d}\\u{feff}"),
            ("line\u{2028}para\u{2029}next\u{85}", "line\\u{2028}para\\u{2029}next\\u{85}"),
            ("tag\u{e0041} filler\u{3164} braille\u{2800}", "tag\\u{e0041} filler\\u{3164} braille\\u{2800}"),
            ("private\u{e000} none\u{1ffff}", "private\\u{e000} none\\u{1ffff}"),
            ("unassigned\u{378} note\u{fff9}", "unassigned\\u{378} note\\u{fff9}"),
            ("a\tb", "a    b"),
            ("heart ❤\u{fe0f}", "heart ❤\u{fe0f}"),
            ("z\u{300}\u{300}\u{300}\u{300}\u{300}", "z\u{300}\u{300}\u{300}\u{300}\\u{300}"),
        ] {
            assert_eq!(one_line(text), shown);
        }
        assert_eq!(one_line("two\nlines"), "two\\u{a}lines");
    }

    #[test]
    fn a_text_of_blanks_and_invisible_letters_is_blank() {
        for text in
            ["", " ", "\t\n \u{a0}\u{3000}", "\u{200b}\u{feff}\u{2060}", "\u{3164}\u{2800}", "\u{fe0f}\u{e0041}"]
        {
            assert!(is_blank(text), "{text:?}");
        }
        for text in [".", " a ", "\u{301}", "\u{2800}\u{2801}", "❤\u{fe0f}", "\u{e000}"] {
            assert!(!is_blank(text), "{text:?}");
        }
    }
}
