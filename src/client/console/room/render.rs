//! How other people's texts reach the screen: no text can pass for another speaker's line, for a notice of the program, or for
//! a command to the terminal.

use crate::base::clock::Time;
use crate::base::escape::one_line;
use crate::base::text_width::text_width;
use crate::client::console::terminal::layout::{NARROW_INDENT, wrap_into};
use crate::client::console::terminal::paint::Paint;
use crate::client::console::terminal::screen::Screen;
use crate::client::types::ReceivedMessage;

/// Further lines of a text start below the author, where no line of the console starts.
const INDENT: usize = 11;
/// Narrower windows have a smaller indent.
const NARROW: usize = 40;
/// How many characters of a text are enough to recognise it.
const BEGINNING: usize = 40;

/// A message as it is shown, below the date if it `starts_day`.
pub fn block(message: &ReceivedMessage, starts_day: bool, screen: &Screen) -> String {
    let time = time_of_day(message.time);
    let shown = self::message(&time, &message.author, &message.text, screen.columns(), screen.paint());
    let date = date(message.time).filter(|_| starts_day);
    date.map(|date| format!("{}\n{shown}", screen.paint().dim(&date_line(&date)))).unwrap_or(shown)
}

/// A message as a block of lines, the last without a line feed: `[18:30:15] alice: text`. `window` is the width in columns;
/// without it lines are not broken.
pub fn message(clock_time: &str, author: &str, text: &str, window: Option<usize>, paint: Paint) -> String {
    let author = one_line(author);
    let head_columns = clock_time.chars().count() + 3 + text_width(&author) + 2;
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

/// The beginning of a text as one line, enough to recognise it.
pub fn beginning(text: &str) -> String {
    let beginning: String = text.chars().take(BEGINNING).collect();
    let whole = beginning.len() == text.len();
    format!("{}{}", one_line(&beginning), if whole { "" } else { "…" })
}

/// The time of day in this machine's zone, `18:30:15`; dashes for a time outside the calendar.
pub fn time_of_day(time: Option<Time>) -> String {
    time.and_then(|time| local(time, "%H:%M:%S")).unwrap_or_else(|| "--:--:--".to_owned())
}

/// The date in this machine's zone, `2026-11-24`; `None` for a time outside the calendar.
pub fn date(time: Option<Time>) -> Option<String> {
    local(time?, "%Y-%m-%d")
}

/// The line above the first message of a day. No text can imitate it, because none starts at the left edge.
pub fn date_line(date: &str) -> String {
    format!("--- {date} ---")
}

/// Date and time in this machine's zone, `2026-11-24 18:30`.
pub fn date_and_time(time: Time) -> String {
    local(time, "%Y-%m-%d %H:%M").unwrap_or_else(|| "?".to_owned())
}

fn local(time: Time, format: &str) -> Option<String> {
    let stamp = jiff::Timestamp::from_microsecond(time.as_micros()).ok()?;
    Some(stamp.to_zoned(jiff::tz::TimeZone::system()).strftime(format).to_string())
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
            "a name cannot break the line either"
        );
        assert!(message("18:30:15", "bob", "x", None, Paint::Ansi).contains("\x1b[1mbob\x1b[0m: x"));
    }

    #[test]
    fn padding_does_not_move_a_text_to_the_left_edge() {
        for blank in [" ", "\u{a0}", "\u{3000}", "\t"] {
            for padding in 0..90 {
                let text = format!("hi{}[18:30:16]{blank}bob:{blank}I{blank}quit", blank.repeat(padding));
                let shown = message("18:30:15", "eve", &text, Some(80), Paint::None);
                for row in shown.split('\n').skip(1) {
                    assert!(row.starts_with(&" ".repeat(INDENT)), "{shown}");
                }
                assert!(shown.split('\n').all(|row| text_width(row) <= 80), "{shown}");
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
    fn the_beginning_of_a_text_is_one_line_and_shows_where_it_was_cut() {
        assert_eq!(beginning("two\nlines"), "two\\u{a}lines");
        assert_eq!(beginning(&"ж".repeat(BEGINNING)), "ж".repeat(BEGINNING));
        assert_eq!(beginning(&"ж".repeat(BEGINNING + 1)), format!("{}…", "ж".repeat(BEGINNING)));
    }

    #[test]
    fn a_time_outside_the_calendar_is_dashes() {
        assert_eq!(time_of_day(None), "--:--:--");
        assert_eq!(time_of_day(Some(Time::from_secs(i64::MAX))), "--:--:--");
        assert_eq!((date(None), date(Some(Time::from_secs(i64::MAX)))), (None, None));
    }

    proptest! {
        #[test]
        fn only_the_first_row_of_a_message_starts_at_the_left_edge(
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
        fn escaping_leaves_harmless_text_alone(text in "[a-zA-Zа-яА-Я0-9 .,!?\\[\\]\\\\-]{0,200}") {
            prop_assert_eq!(one_line(&text), text);
        }
    }
}
