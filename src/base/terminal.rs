//! The only way to a terminal: everything that the programs print passes here.
//!
//! Texts are made harmless where it is known what they are: by [`super::escape`] and [`super::writing`]. What passes here is looked
//! at once more. So no text, whichever way it came, makes a terminal do anything but print it in colours.

use std::io::{self, IsTerminal, Write};
use std::ops::Deref;
use std::sync::Mutex;

use rustix::termios::{self, LocalModes, OptionalActions, Termios};
use terminal_size::{Height, Width, terminal_size_of};
use zeroize::Zeroizing;

use super::escape::TAB;
use super::lock::lock;
use super::writing::is_never_shown;

/// Lets the terminal break rows at its edge, as it does when it starts (DECAWM).
pub const AUTOWRAP_ON: &str = "\x1b[?7h";
/// Keeps the terminal from breaking rows: what does not fit is not shown.
pub const AUTOWRAP_OFF: &str = "\x1b[?7l";
/// Ends bracketed paste, which the line editor switches on, and what else is not as it was.
const PUT_BACK: &[u8] = b"\x1b[?2004l\x1b[?7h\n";

/// Standard output, standard error, or what stands in their place in a test.
pub struct Output(Mutex<Box<dyn Write + Send>>);

impl Output {
    /// Writes to `sink`.
    pub fn to(sink: impl Write + Send + 'static) -> Output {
        Output(Mutex::new(Box::new(sink)))
    }

    /// Standard output.
    #[expect(clippy::disallowed_methods, reason = "this is the way to it")]
    pub fn stdout() -> Output {
        Output::to(io::stdout())
    }

    /// Standard error.
    #[expect(clippy::disallowed_methods, reason = "this is the way to it")]
    pub fn stderr() -> Output {
        Output::to(io::stderr())
    }

    /// Prints a text, line feeds and colours included.
    ///
    /// # Errors
    /// The terminal or pipe is gone.
    pub fn print(&self, text: &str) -> io::Result<()> {
        self.write(&[&harmless(text)])
    }

    /// Prints a text and ends its line.
    ///
    /// # Errors
    /// The terminal or pipe is gone.
    pub fn print_line(&self, text: &str) -> io::Result<()> {
        self.write(&[&harmless(text), "\n"])
    }

    /// Prints a text, ended as a line, on a terminal that must break no row by itself: then none begins with what stands in the
    /// middle of another.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn print_unbroken(&self, text: &str) -> io::Result<()> {
        self.write(&[AUTOWRAP_OFF, &harmless(text), "\n", AUTOWRAP_ON])
    }

    /// Lets the terminal break rows again.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn break_rows(&self) -> io::Result<()> {
        self.write(&[AUTOWRAP_ON])
    }

    /// Erases the last `rows` rows above the cursor.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn erase_rows(&self, rows: usize) -> io::Result<()> {
        self.write(&[&format!("\x1b[{rows}A\r\x1b[J")])
    }

    /// Erases the whole window. What has scrolled out of it stays.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn erase_window(&self) -> io::Result<()> {
        self.write(&["\x1b[H\x1b[J"])
    }

    fn write(&self, parts: &[&str]) -> io::Result<()> {
        let mut sink = lock(&self.0);
        for part in parts {
            sink.write_all(part.as_bytes())?;
        }
        sink.flush()
    }
}

/// Whether standard output is a terminal.
#[expect(clippy::disallowed_methods, reason = "nothing is written")]
pub fn stdout_is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Whether standard error is a terminal.
#[expect(clippy::disallowed_methods, reason = "nothing is written")]
pub fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// Columns and rows of the terminal at standard output; `None` without one, or if it does not know them.
#[expect(clippy::disallowed_methods, reason = "nothing is written")]
pub fn window() -> Option<(usize, usize)> {
    let (Width(columns), Height(rows)) = terminal_size_of(io::stdout())?;
    // A terminal of unknown size reports 0.
    (columns > 0 && rows > 0).then_some((columns.into(), rows.into()))
}

/// The modes of the terminal before [`stop_echo`].
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// Keeps the terminal from showing keys by itself. What is typed while no program reads would stand on the screen otherwise, in
/// rows that are not counted; the line editor shows it once it is read.
pub fn stop_echo() {
    let Ok(before) = termios::tcgetattr(io::stdin()) else { return };
    let mut quiet = before.clone();
    quiet.local_modes.remove(LocalModes::ECHO);
    if termios::tcsetattr(io::stdin(), OptionalActions::Now, &quiet).is_ok() {
        *lock(&BEFORE) = Some(before);
    }
}

/// Lets the terminal show keys again, if [`stop_echo`] has stopped it.
pub fn echo_again() {
    if let Some(before) = lock(&BEFORE).take() {
        // If the terminal is gone, nothing needs to be put back.
        let _ = termios::tcsetattr(io::stdin(), OptionalActions::Now, &before);
    }
}

/// Lets the terminal break rows again and ends bracketed paste, without waiting for the lock of an output: for a program that
/// is ended by a signal.
#[expect(clippy::disallowed_methods, reason = "a lock may be held by a thread that never goes on")]
pub fn put_back() {
    echo_again();
    let _ = rustix::io::write(io::stdout(), PUT_BACK);
}

/// Lets the terminal break rows again before the program is stopped by the terminal.
#[expect(clippy::disallowed_methods, reason = "the line editor owns the terminal")]
pub fn pause() {
    let _ = rustix::io::write(io::stdout(), AUTOWRAP_ON.as_bytes());
}

/// A text that is harmless for a terminal. A changed one is wiped after use: it may be a secret in colours.
#[derive(Debug)]
pub enum Harmless<'t> {
    /// It was harmless.
    Unchanged(&'t str),
    /// Something in it was looked at and copied, or became an escape.
    Changed(Zeroizing<String>),
}

impl Deref for Harmless<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Harmless::Unchanged(text) => text,
            Harmless::Changed(text) => text,
        }
    }
}

/// The text with an escape in the place of everything that a terminal obeys or that no text has a use for; line feeds, and the
/// sequences that set colours, stay.
pub fn harmless(text: &str) -> Harmless<'_> {
    let is_bad = |letter| letter != '\n' && is_never_shown(letter);
    if !text.chars().any(is_bad) {
        return Harmless::Unchanged(text);
    }
    // Without an escape it is no longer than it was. A text that grows leaves copies behind.
    let mut shown = Zeroizing::new(String::with_capacity(text.len()));
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let taken = if letter == '\x1b' { colour(rest).map(str::len) } else { None }.unwrap_or(letter.len_utf8());
        let (part, behind) = rest.split_at(taken);
        match letter {
            '\t' => shown.push_str(TAB),
            letter if taken == letter.len_utf8() && is_bad(letter) => {
                shown.extend(letter.escape_unicode());
            }
            _ => shown.push_str(part),
        }
        rest = behind;
    }
    Harmless::Changed(shown)
}

/// The sequence at the beginning of a text that sets colour or weight (ECMA-48, SGR). Blinking and hidden letters are not among them.
fn colour(text: &str) -> Option<&str> {
    let parameters = text.strip_prefix("\x1b[")?;
    let parameters = parameters.get(..parameters.find('m')?)?;
    let mut numbers = parameters.split(';').map(|number| number.parse::<u8>().ok());
    while let Some(number) = numbers.next() {
        match number? {
            // One of 256 colours.
            38 | 48 => {
                (numbers.next()?? == 5).then_some(())?;
                numbers.next()??;
            }
            0..=2 | 22 | 30..=37 | 39..=47 | 49 | 90..=97 => {}
            _ => return None,
        }
    }
    text.get(.."\x1b[".len() + parameters.len() + "m".len())
}

/// A text of JSON in which no character is obeyed by a terminal: such a character is an escape of JSON, and means the same.
pub fn harmless_json(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for letter in json.chars() {
        if is_never_shown(letter) && letter != '\n' {
            shown.extend(letter.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            shown.push(letter);
        }
    }
    shown
}

#[cfg(test)]
pub(crate) mod testing {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use super::Output;

    /// Keeps what is written to its outputs.
    #[derive(Clone, Default)]
    pub(crate) struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Captured {
        pub(crate) fn output(&self) -> Output {
            Output::to(self.clone())
        }

        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_terminal_obeys_nothing_but_colours() {
        for (text, shown) in [
            ("plain\n\x1b[2m[18:30:15]\x1b[0m \x1b[38;5;16;48;5;231m█\x1b[0m", None),
            ("\x1b[2J\x1b[31mred", Some("\\u{1b}[2J\x1b[31mred")),
            ("\x1b[8mhidden \x1b[5mblinks \x1b[38;5mm", Some("\\u{1b}[8mhidden \\u{1b}[5mblinks \\u{1b}[38;5mm")),
            ("\x1b]0;title\x07 \u{9b}31m \r\t\x1b", Some("\\u{1b}]0;title\\u{7} \\u{9b}31m \\u{d}    \\u{1b}")),
            ("a\u{202e}b\u{2066} می\u{200c}خواهم", Some("a\\u{202e}b\\u{2066} می\u{200c}خواهم")),
        ] {
            assert_eq!(&*harmless(text), shown.unwrap_or(text), "{text:?}");
        }
    }

    #[test]
    fn json_keeps_its_meaning_without_a_character_that_is_obeyed() {
        let value = serde_json::Value::from("a\u{202e}\u{9b}\u{e0001}\u{1b}\n é");
        let shown = harmless_json(&format!("{value}\n"));
        assert_eq!(shown, "\"a\\u202e\\u009b\\udb40\\udc01\\u001b\\n é\"\n");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
    }

    proptest! {
        #[test]
        fn whatever_is_printed_holds_no_sequence_but_of_colours(text in any::<String>(), sequence in "\x1b[\\[\\]]?[0-9;]{0,9}[a-zA-Z]") {
            let shown = harmless(&format!("{sequence}{text}")).to_owned();
            for (at, _) in shown.match_indices('\x1b') {
                prop_assert!(colour(&shown[at..]).is_some(), "{:?}", shown);
            }
            prop_assert!(!shown.chars().any(|letter| letter != '\n' && letter != '\x1b' && is_never_shown(letter)));
            prop_assert_eq!(&*harmless(&shown), shown.as_str());
        }
    }
}
