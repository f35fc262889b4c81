//! Makes untrusted text harmless for a terminal and a log: control and format characters are shown as escapes.

use unicode_normalization::char::is_combining_mark;

/// Marks beyond this many on one letter are shown as escapes: a pile of them paints over its neighbours.
const MAX_MARKS: usize = 4;

/// The text as one line. Characters that a terminal would obey, line feeds among them, and invisible characters become escapes
/// such as `\u{202e}`. A tab becomes four spaces.
pub fn one_line(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut marks = 0;
    for letter in text.chars() {
        marks = if is_combining_mark(letter) { marks + 1 } else { 0 };
        if letter == '\t' {
            shown.push_str("    ");
        } else if is_treacherous(letter) || marks > MAX_MARKS {
            shown.extend(letter.escape_unicode());
        } else {
            shown.push(letter);
        }
    }
    shown
}

/// Whether a terminal obeys a character instead of showing it: Unicode's categories Cc, Cf, Zl, Zp and Co, its ignorable characters,
/// blanks that are not spaces, and code points that are not characters. The variation selectors 15 and 16, which only choose between
/// a letter and its picture, are let through.
pub(crate) fn is_treacherous(letter: char) -> bool {
    letter.is_control()
        || matches!(letter,
            '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}'
            | '\u{8e2}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
            | '\u{e000}'..='\u{f8ff}' | '\u{fdd0}'..='\u{fdef}' | '\u{fe00}'..='\u{fe0d}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}' | '\u{fffe}'..='\u{ffff}' | '\u{110bd}' | '\u{110cd}'
            | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}' | '\u{f0000}'..='\u{10ffff}')
        || (u32::from(letter) & 0xfffe) == 0xfffe
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
            ("a\tb", "a    b"),
            ("heart ❤\u{fe0f}", "heart ❤\u{fe0f}"),
            ("z\u{300}\u{300}\u{300}\u{300}\u{300}", "z\u{300}\u{300}\u{300}\u{300}\\u{300}"),
        ] {
            assert_eq!(one_line(text), shown);
        }
        assert_eq!(one_line("two\nlines"), "two\\u{a}lines");
    }
}
