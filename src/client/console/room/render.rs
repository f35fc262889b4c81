//! How what others wrote reaches the screen: so that no text can pass for another speaker's line, for a line of ours, or
//! for an order to the terminal.

use unicode_width::UnicodeWidthChar;

use crate::base::clock::Time;
use crate::base::escape::one_line;

/// Further lines of a text begin below the author, where no line of anybody begins.
const INDENT: usize = 11;
/// The same in windows that are narrower than [`NARROW`].
const NARROW_INDENT: usize = 4;
const NARROW: usize = 40;
/// Below this, the two columns of the help are too narrow to be read.
const NARROW_HELP: usize = 60;

/// How many characters of a text are enough to know it again.
const BEGINNING: usize = 40;

/// Colours for a terminal, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// Plain text.
    None,
    /// ANSI colours.
    Ansi,
}

impl Paint {
    /// `text` in dim letters.
    pub fn dim(self, text: &str) -> String {
        self.with("2", text)
    }

    /// `text` in bold letters.
    pub fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    /// `text` in the colour of errors.
    pub fn red(self, text: &str) -> String {
        self.with("31", text)
    }

    fn with(self, sgr: &str, text: &str) -> String {
        match self {
            Paint::None => text.to_owned(),
            Paint::Ansi => format!("\x1b[{sgr}m{text}\x1b[0m"),
        }
    }
}

/// A message as a block of lines, the last without its line feed: `[18:30:15] alice: text`. `window` is how many columns
/// there are, if the lines are to be broken at all.
pub fn message(clock_time: &str, author: &str, text: &str, window: Option<usize>, paint: Paint) -> String {
    let author = one_line(author);
    let head_columns = clock_time.chars().count() + 3 + columns(&author) + 2;
    let head = format!("{} {}: ", paint.dim(&format!("[{clock_time}]")), paint.bold(&author));
    let indent = if window.is_some_and(|columns| columns < NARROW) { NARROW_INDENT } else { INDENT };
    let mut block = head;
    for (number, line) in text.split('\n').enumerate() {
        let mut start = head_columns;
        if number > 0 {
            block.push('\n');
            block.extend(std::iter::repeat_n(' ', indent));
            start = indent;
        }
        let line = one_line(line);
        match window {
            Some(window) => wrap_into(&mut block, &line, start, indent, window),
            None => block.push_str(&line),
        }
    }
    block
}

/// What the program itself says, behind `sign` (`* ` or `! `), which begins no message; `window` as for [`message`].
pub fn notice(sign: &str, text: &str, window: Option<usize>) -> String {
    let indent = columns(sign);
    let mut block = sign.to_owned();
    match window {
        Some(window) => wrap_into(&mut block, text, indent, indent, window),
        None => block.push_str(text),
    }
    block
}

/// What a command does, as one line of the help: the words behind the first gap of two blanks are broken below their first
/// one, or, in a narrow window, below the command. `window` as for [`message`].
pub fn help_line(line: &str, window: Option<usize>) -> String {
    let Some(window) = window else { return line.to_owned() };
    let behind = line.find("  ").map_or(0, |gap| line.len() - line.get(gap..).unwrap_or_default().trim_start().len());
    let (head, words) = line.split_at(behind);
    let narrow = window < NARROW_HELP && !head.is_empty();
    let head = if narrow { format!("{}  ", head.trim_end()) } else { head.to_owned() };
    let start = columns(&head);
    let mut block = head;
    wrap_into(&mut block, words, start, if narrow { NARROW_INDENT } else { start }, window);
    block
}

/// The beginning of a text, as one line: enough to know which it is.
pub fn beginning(text: &str) -> String {
    let beginning: String = text.chars().take(BEGINNING).collect();
    let whole = beginning.len() == text.len();
    format!("{}{}", one_line(&beginning), if whole { "" } else { "…" })
}

/// How many rows of a window of `window` columns the editor has filled with `prompt` and `line`, the one below included
/// where the last is full; `None` if that cannot be told for sure, because something in it has no width of its own.
pub fn typed_rows(prompt: &str, line: &str, window: usize) -> Option<usize> {
    let (mut rows, mut column) = (1, 0);
    for letter in prompt.chars().chain(line.chars()) {
        if letter == '\n' {
            (rows, column) = (rows + 1, 0);
            continue;
        }
        let width = letter.width().filter(|&width| width > 0)?;
        if column + width > window {
            (rows, column) = (rows + 1, 0);
        }
        column += width;
    }
    Some(if column >= window { rows + 1 } else { rows })
}

/// The time of day in the zone of this machine, `18:30:15`; dashes for a time that no calendar has.
pub fn time_of_day(time: Option<Time>) -> String {
    time.and_then(|time| local(time, "%H:%M:%S")).unwrap_or_else(|| "--:--:--".to_owned())
}

/// The date in the zone of this machine, `2026-11-24`; `None` for a time that no calendar has.
pub fn date(time: Option<Time>) -> Option<String> {
    local(time?, "%Y-%m-%d")
}

/// The line above the first message of a day. Nobody can say it: no text begins at the edge.
pub fn date_line(date: &str) -> String {
    format!("--- {date} ---")
}

/// Date and time in the zone of this machine, `2026-11-24 18:30`.
pub fn date_and_time(time: Time) -> String {
    local(time, "%Y-%m-%d %H:%M").unwrap_or_else(|| "?".to_owned())
}

fn local(time: Time, format: &str) -> Option<String> {
    let stamp = jiff::Timestamp::from_microsecond(time.as_micros()).ok()?;
    Some(stamp.to_zoned(jiff::tz::TimeZone::system()).strftime(format).to_string())
}

/// Breaks `line` at blanks so that no row of the window but the first begins at its edge. A long word of the characters
/// that addresses and commands are made of stays whole, so that it can be copied; others are broken anywhere.
pub(in crate::client::console) fn wrap_into(
    block: &mut String,
    line: &str,
    start: usize,
    indent: usize,
    window: usize,
) {
    let mut column = start;
    let break_here = |block: &mut String, column: &mut usize| {
        block.push('\n');
        block.extend(std::iter::repeat_n(' ', indent));
        *column = indent;
    };
    for word in line.split_inclusive(char::is_whitespace) {
        let width = columns(word.trim_end());
        if column + width > window && column > indent && !(column == start && may_stay_whole(word)) {
            break_here(block, &mut column);
        }
        let whole = may_stay_whole(word);
        for letter in word.chars() {
            let width = letter.width().unwrap_or(0);
            let full = column + width > window;
            if full && !whole && !letter.is_whitespace() {
                break_here(block, &mut column);
            }
            // A blank at the end of a row would only be carried over to the edge of the next one.
            if !(full && letter.is_whitespace()) {
                block.push(letter);
            }
            column += width;
        }
    }
}

/// Whether a word can be left to the terminal to break: nothing in it can begin a line of ours.
fn may_stay_whole(word: &str) -> bool {
    word.trim_end().bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~:/?#@$&'()+,;=%".contains(&byte))
}

pub(in crate::client::console) fn columns(text: &str) -> usize {
    text.chars().map(|letter| letter.width().unwrap_or(0)).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_message_is_a_line_and_further_lines_are_indented() {
        assert_eq!(message("18:30:15", "user1", "Привет!", None, Paint::None), "[18:30:15] user1: Привет!");
        assert_eq!(
            message("18:30:15", "eve", "hi\n[18:30:16] bob: I quit", None, Paint::None),
            "[18:30:15] eve: hi\n           [18:30:16] bob: I quit"
        );
        assert_eq!(
            message("18:30:15", "a\nb\x1b", "x", Some(80), Paint::None),
            "[18:30:15] a\\u{a}b\\u{1b}: x",
            "nor can a name break the line"
        );
        assert!(message("18:30:15", "bob", "x", None, Paint::Ansi).contains("\x1b[1mbob\x1b[0m: x"));
    }

    #[test]
    fn padding_does_not_bring_a_text_to_the_edge_of_the_window() {
        for blank in [" ", "\u{a0}", "\u{3000}", "\t"] {
            for padding in 0..90 {
                let text = format!("hi{}[18:30:16]{blank}bob:{blank}I{blank}quit", blank.repeat(padding));
                let shown = message("18:30:15", "eve", &text, Some(80), Paint::None);
                for row in shown.split('\n').skip(1) {
                    assert!(row.starts_with(&" ".repeat(INDENT)), "{shown}");
                }
                assert!(shown.split('\n').all(|row| columns(row) <= 80), "{shown}");
            }
        }
    }

    #[test]
    fn a_long_address_stays_whole_and_other_long_words_do_not() {
        let address = format!("https://example.org/{}", "a/".repeat(60));
        assert!(message("18:30:15", "eve", &address, Some(80), Paint::None).contains(&address));
        let sly = format!("{}[18:30:16]_bob:_I_quit", "x".repeat(62));
        let shown = message("18:30:15", "eve", &sly, Some(80), Paint::None);
        assert!(shown.contains('\n') && !shown.contains("\n["), "{shown}");
    }

    #[test]
    fn what_the_program_says_is_broken_between_words() {
        assert_eq!(notice("* ", "one two three", Some(9)), "* one two\n  three");
        assert_eq!(notice("! ", "one two three", None), "! one two three");
    }

    #[test]
    fn the_beginning_of_a_text_is_one_line_and_says_where_it_was_cut() {
        assert_eq!(beginning("two\nlines"), "two\\u{a}lines");
        assert_eq!(beginning(&"ж".repeat(BEGINNING)), "ж".repeat(BEGINNING));
        assert_eq!(beginning(&"ж".repeat(BEGINNING + 1)), format!("{}…", "ж".repeat(BEGINNING)));
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

    #[test]
    fn a_time_that_no_calendar_has_is_dashes() {
        assert_eq!(time_of_day(None), "--:--:--");
        assert_eq!(time_of_day(Some(Time::from_secs(i64::MAX))), "--:--:--");
        assert_eq!((date(None), date(Some(Time::from_secs(i64::MAX)))), (None, None));
    }

    proptest! {
        #[test]
        fn whatever_is_said_only_its_first_row_begins_at_the_edge(
            author in any::<String>(), text in any::<String>(), window in proptest::option::of(1..200_usize),
        ) {
            let shown = message("18:30:15", &author, &text, window, Paint::None);
            prop_assert!(shown.starts_with("[18:30:15] "));
            for row in shown.split('\n').skip(1) {
                prop_assert!(row.starts_with(&" ".repeat(NARROW_INDENT)));
            }
            prop_assert!(!shown.chars().any(|letter| letter != '\n' && crate::base::escape::is_treacherous(letter)));
        }

        #[test]
        fn escaping_changes_nothing_that_is_harmless(text in "[a-zA-Zа-яА-Я0-9 .,!?\\[\\]\\\\-]{0,200}") {
            prop_assert_eq!(one_line(&text), text);
        }
    }
}
