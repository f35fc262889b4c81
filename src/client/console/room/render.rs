//! How other people's texts reach the screen: no text can pass for another speaker's line, for a notice of the program, or for
//! a command to the terminal, and none fills the window.

use crate::base::clock::Time;
use crate::base::escape::one_line;
use crate::base::lang::Lang;
use crate::base::text_width::{clusters, greatest_text_width};
use crate::base::writing::{LEFT_TO_RIGHT_MARK, has_right_to_left, text_line};
use crate::client::console::room::folds::Folds;
use crate::client::console::terminal::layout::{NARROW_INDENT, Room, rows};
use crate::client::console::terminal::paint::Paint;
use crate::client::console::terminal::screen::Screen;
use crate::client::console::text::room;
use crate::client::types::ReceivedMessage;

/// Further lines of a text start below the author, where no line of the console starts.
const INDENT: usize = 11;
/// Narrower windows have a smaller indent.
const NARROW: usize = 40;
/// How many letters of a text are enough to recognise it.
const BEGINNING: usize = 40;
/// A message may take this share of the window's rows, and is folded beyond.
const FOLD_SHARE: (usize, usize) = (2, 3);
/// The fewest rows that are folded to.
const FOLD_LEAST: usize = 5;

/// A message as it is shown, below the date if it `starts_day`. One that would fill the window is folded and kept in `folds`.
pub fn block(message: &ReceivedMessage, starts_day: bool, screen: &Screen, lang: Lang, folds: &mut Folds) -> String {
    let mut rows = message_rows(message, screen);
    let most = screen.window().map(|window| (window.rows * FOLD_SHARE.0 / FOLD_SHARE.1).max(FOLD_LEAST));
    if let Some(most) = most.filter(|&most| rows.len() > most) {
        let hidden = rows.len() - (most - 1);
        rows.truncate(most - 1);
        let number = folds.keep(message.clone()).to_string();
        let note = room::FOLDED.with(lang, &[&room::rows(hidden, lang), &number]);
        rows.push(format!("{}{}", " ".repeat(indent(screen.columns())), screen.paint().dim(&note)));
    }
    let date = date(message.time).filter(|_| starts_day);
    let date = date.map(|date| screen.paint().dim(&date_line(&date)));
    date.into_iter().chain(rows).collect::<Vec<_>>().join("\n")
}

/// A message with all its rows.
pub fn whole(message: &ReceivedMessage, screen: &Screen) -> String {
    message_rows(message, screen).join("\n")
}

fn message_rows(message: &ReceivedMessage, screen: &Screen) -> Vec<String> {
    let time = time_of_day(message.time);
    self::message(&time, &message.author, &message.text, screen.columns(), screen.paint())
}

/// A message as rows: `[18:30:15] alice: text`. `window` is the width in columns; without it lines are not broken.
///
/// A row with letters that are written from right to left keeps its order on a terminal that knows them: a mark after the name, or
/// after the indent, puts what is before it and what is after it from left to right (UAX 9, section 2.6). Where the name is of
/// letters from left to right, it does that itself.
pub fn message(clock_time: &str, author: &str, text: &str, window: Option<usize>, paint: Paint) -> Vec<String> {
    let author = one_line(author);
    let turns = has_right_to_left(&author) || has_right_to_left(text) && !author.chars().any(char::is_alphabetic);
    let mark = if turns { String::from(LEFT_TO_RIGHT_MARK) } else { String::new() };
    let indent = indent(window);
    let margin = " ".repeat(indent);
    let broken = |line: &str, start: usize, less: usize| match window {
        Some(window) => rows(line, Room { start, indent, window: window.saturating_sub(less), whole_addresses: false }),
        None => vec![line.to_owned()],
    };

    let begin = clock_time.chars().count() + 3;
    // Room for the marks, and for the colon and the blank.
    let names = broken(&author, begin, 2 + 2 * mark.chars().count());
    let name_end =
        if names.len() > 1 { indent } else { begin } + names.last().map_or(0, |name| greatest_text_width(name));
    let names: Vec<String> = names.iter().map(|name| format!("{mark}{}{mark}", paint.bold(name))).collect();
    let mut shown: Vec<String> =
        format!("{} {}: ", paint.dim(&format!("[{clock_time}]")), names.join(&format!("\n{margin}")))
            .split('\n')
            .map(str::to_owned)
            .collect();

    for (number, line) in text.split('\n').enumerate() {
        let line = text_line(line);
        let start = if number == 0 { name_end + 2 + 2 * mark.chars().count() } else { indent };
        for (place, row) in broken(&line, start, usize::from(has_right_to_left(&line))).into_iter().enumerate() {
            match shown.last_mut() {
                Some(head) if number + place == 0 => head.push_str(&row),
                _ if has_right_to_left(&row) => shown.push(format!("{margin}{LEFT_TO_RIGHT_MARK}{row}")),
                _ => shown.push(format!("{margin}{row}")),
            }
        }
    }
    shown
}

fn indent(window: Option<usize>) -> usize {
    if window.is_some_and(|columns| columns < NARROW) { NARROW_INDENT } else { INDENT }
}

/// The beginning of a text as one line, enough to recognise it.
pub fn beginning(text: &str) -> String {
    let beginning: String = clusters(text).take(BEGINNING).flat_map(|letter| letter.chars().take(BEGINNING)).collect();
    let whole = beginning.len() == text.len();
    format!("{}{}", text_line(&beginning), if whole { "" } else { "…" })
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
    use crate::base::writing::is_never_shown;

    /// The rows of a message as one text.
    fn message(clock_time: &str, author: &str, text: &str, window: Option<usize>, paint: Paint) -> String {
        super::message(clock_time, author, text, window, paint).join("\n")
    }

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
                assert!(shown.split('\n').all(|row| greatest_text_width(row) <= 80), "{shown}");
            }
        }
    }

    #[test]
    fn no_word_is_long_enough_to_reach_the_left_edge() {
        let address = format!("https://example.org/{}", "18:30:16_bob:_hi/".repeat(20));
        let shown = message("18:30:15", "eve", &address, Some(80), Paint::None);
        for (number, row) in shown.split('\n').enumerate() {
            assert!(row.len() <= 80 && (number == 0 || row.starts_with(&" ".repeat(INDENT))), "{shown}");
        }
        assert_eq!(shown.replace(&format!("\n{}", " ".repeat(INDENT)), ""), format!("[18:30:15] eve: {address}"));
        let sly = format!("{}[18:30:16]_bob:_I_quit", "x".repeat(62));
        let shown = message("18:30:15", "eve", &sly, Some(80), Paint::None);
        assert!(shown.contains('\n') && !shown.contains("\n["), "{shown}");
    }

    #[test]
    fn letters_from_right_to_left_leave_time_and_name_where_they_are() {
        let mark = LEFT_TO_RIGHT_MARK;
        for (author, text, shown) in [
            ("bob", "שלום", "[18:30:15] bob: שלום".to_owned()),
            ("דוד", "רות: שלום", format!("[18:30:15] {mark}דוד{mark}: רות: שלום")),
            // Digits alone would join the letters behind them.
            ("1234", "سلام", format!("[18:30:15] {mark}1234{mark}: سلام")),
            ("1234", "hi", "[18:30:15] 1234: hi".to_owned()),
            ("bob", "a\nשלום", format!("[18:30:15] bob: a\n           {mark}שלום")),
        ] {
            for window in [None, Some(80)] {
                assert_eq!(message("18:30:15", author, text, window, Paint::None), shown);
            }
        }
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
            prop_assert!(!shown.chars().any(|letter| letter != '\n' && is_never_shown(letter)));
        }
    }
}
