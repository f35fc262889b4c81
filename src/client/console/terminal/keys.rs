//! The filter that every key passes before the line editor handles it.
//!
//! It bounds the line, so that no paste overflows the editor. It collects a paste by itself, so that one without an end can be
//! left with Ctrl-C. And at a masked prompt it lets no key put what was typed where another key could bring it back.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustyline::{Anchor, Cmd, ConditionalEventHandler, Event, EventContext, KeyCode, KeyEvent, Modifiers, RepeatCount};
use zeroize::Zeroizing;

use crate::base::clock::Stopwatch;
use crate::base::lock::lock;
use crate::base::terminal::pause;
use crate::client::console::terminal::bounded_reader::MAX_LINE_BYTES;

/// The rest of a broken paste is over after this much silence.
const PASTE_SILENCE: Duration = Duration::from_secs(1);

/// What the filter and the editor share.
#[derive(Debug, Default)]
pub struct KeyState {
    /// Whether a secret is being typed.
    masked: AtomicBool,
    /// Whether the line was given up because it became too long.
    too_long: AtomicBool,
    paste: Mutex<Paste>,
    /// The line as it was last drawn; empty at a masked prompt.
    drawn: Mutex<String>,
}

/// A paste that the terminal brackets.
#[derive(Debug, Default)]
enum Paste {
    /// There is none.
    #[default]
    None,
    /// Its text so far.
    Collecting(PastedText),
    /// It broke off. The rest of it is dropped; the time is that of its last key.
    Dropping(Stopwatch),
}

#[derive(Debug, Default)]
struct PastedText {
    text: Zeroizing<String>,
    /// Whether the last key was a carriage return, so that a line feed after it counts as one line end with it.
    after_return: bool,
    too_long: bool,
}

impl PastedText {
    fn push(&mut self, letter: char, room: usize) {
        if self.text.len() + letter.len_utf8() > room {
            self.too_long = true;
        } else {
            self.text.push(letter);
        }
    }

    fn add(&mut self, key: KeyEvent, room: usize) {
        let after_return = std::mem::replace(&mut self.after_return, key == KeyEvent(KeyCode::Enter, Modifiers::NONE));
        match key {
            KeyEvent(KeyCode::Char(letter), Modifiers::NONE) => self.push(letter, room),
            KeyEvent(KeyCode::Tab, Modifiers::NONE) => self.push('\t', room),
            KeyEvent(KeyCode::Enter, Modifiers::NONE) => self.push('\n', room),
            KeyEvent(KeyCode::Char('J'), Modifiers::CTRL) if !after_return => self.push('\n', room),
            // No other key is part of a text.
            _ => {}
        }
    }
}

impl KeyState {
    /// Starts a prompt for a secret (`masked`) or for a plain line.
    pub fn start_line(&self, masked: bool) {
        self.masked.store(masked, Ordering::SeqCst);
        self.too_long.store(false, Ordering::SeqCst);
        lock(&self.drawn).clear();
    }

    /// Whether a secret is being typed.
    pub fn is_masked(&self) -> bool {
        self.masked.load(Ordering::SeqCst)
    }

    /// The editor has drawn `line`.
    pub fn set_drawn(&self, line: &str) {
        if !self.is_masked() {
            line.clone_into(&mut lock(&self.drawn));
        }
    }

    /// The line as it was last drawn; empty at a masked prompt.
    pub fn take_drawn(&self) -> String {
        std::mem::take(&mut lock(&self.drawn))
    }

    /// Whether the line was given up because it became too long.
    pub fn was_too_long(&self) -> bool {
        self.too_long.load(Ordering::SeqCst)
    }

    /// The input broke off in the middle. If that was in a paste, the rest of it is dropped.
    pub fn input_broke(&self) {
        let mut paste = lock(&self.paste);
        if !matches!(*paste, Paste::None) {
            *paste = Paste::Dropping(Stopwatch::start());
        }
    }

    /// What to do for `key` in the middle of `line`; `None` leaves it to the editor. `repeat` is how often a key counts.
    fn command_for(&self, key: KeyEvent, repeat: RepeatCount, line: &str) -> Option<Cmd> {
        let mut paste = lock(&self.paste);
        if matches!(&*paste, Paste::Dropping(last) if last.elapsed() > PASTE_SILENCE) {
            *paste = Paste::None;
        }
        match (&mut *paste, key.0) {
            (_, KeyCode::BracketedPasteStart) => {
                *paste = Paste::Collecting(PastedText::default());
                return Some(Cmd::Noop);
            }
            (Paste::None, _) => {}
            (_, KeyCode::Char('C')) if key.1 == Modifiers::CTRL => {
                *paste = Paste::None;
                return Some(Cmd::Interrupt);
            }
            (Paste::Collecting(pasted), KeyCode::BracketedPasteEnd) => {
                let pasted = std::mem::take(pasted);
                *paste = Paste::None;
                return Some(self.insert(pasted));
            }
            (Paste::Dropping(_), KeyCode::BracketedPasteEnd) => {
                *paste = Paste::None;
                return Some(Cmd::Noop);
            }
            (Paste::Collecting(pasted), _) => {
                pasted.add(key, MAX_LINE_BYTES.saturating_sub(line.len()));
                return Some(Cmd::Noop);
            }
            (Paste::Dropping(last), _) => {
                *last = Stopwatch::start();
                return Some(Cmd::Noop);
            }
        }
        if self.is_masked() { masked_command(key, line) } else { bounded_command(key, repeat, line) }
    }

    fn insert(&self, pasted: PastedText) -> Cmd {
        if pasted.too_long {
            self.too_long.store(true, Ordering::SeqCst);
            return Cmd::Interrupt;
        }
        Cmd::Insert(1, pasted.text.to_string())
    }
}

/// At a masked prompt: typing, moving and rubbing out single letters, as usual. Keys that cut more than a letter erase the whole
/// line in a way that no key brings back. All others are ignored.
fn masked_command(key: KeyEvent, line: &str) -> Option<Cmd> {
    const CUTTING: &str = "UKW";
    const USUAL: &str = "ABCDEFHJLMVZ";
    match key {
        KeyEvent(KeyCode::Char(_), Modifiers::NONE) if line.len() > MAX_LINE_BYTES => Some(Cmd::Noop),
        KeyEvent(KeyCode::Char(_) | KeyCode::Backspace | KeyCode::Delete | KeyCode::Enter, Modifiers::NONE)
        | KeyEvent(KeyCode::Left | KeyCode::Right | KeyCode::Home | KeyCode::End, Modifiers::NONE) => None,
        KeyEvent(KeyCode::Char(letter), Modifiers::CTRL) if USUAL.contains(letter) => None,
        KeyEvent(KeyCode::Char(letter), Modifiers::CTRL) if CUTTING.contains(letter) => {
            Some(Cmd::Undo(RepeatCount::MAX))
        }
        KeyEvent(KeyCode::Backspace | KeyCode::Delete, _) => Some(Cmd::Undo(RepeatCount::MAX)),
        _ => Some(Cmd::Noop),
    }
}

/// At a plain prompt: nothing lengthens a line that is too long already, or pastes a cut text more than once.
fn bounded_command(key: KeyEvent, repeat: RepeatCount, line: &str) -> Option<Cmd> {
    let full = line.len() > MAX_LINE_BYTES;
    match key {
        KeyEvent(KeyCode::Char(_), Modifiers::NONE) if full => Some(Cmd::Noop),
        KeyEvent(KeyCode::Char('Y'), Modifiers::CTRL) if line.len() > MAX_LINE_BYTES / 2 => Some(Cmd::Noop),
        KeyEvent(KeyCode::Char('Y'), Modifiers::CTRL) if repeat > 1 => Some(Cmd::Yank(1, Anchor::Before)),
        _ => None,
    }
}

/// Gives the editor the filter's commands.
pub struct KeyFilter(pub std::sync::Arc<KeyState>);

impl ConditionalEventHandler for KeyFilter {
    fn handle(&self, event: &Event, repeat: RepeatCount, _positive: bool, context: &EventContext<'_>) -> Option<Cmd> {
        let key = *event.get(0)?;
        if key == KeyEvent::ctrl('Z') {
            // The editor stops the console, and the shell takes the terminal as it is.
            pause();
        }
        self.0.command_for(key, repeat, context.line())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(letter: char) -> KeyEvent {
        KeyEvent::new(letter, Modifiers::NONE)
    }

    fn code(code: KeyCode) -> KeyEvent {
        KeyEvent(code, Modifiers::NONE)
    }

    /// Sends a bracketed paste; returns the command at its end.
    fn paste(state: &KeyState, text: &str, line: &str) -> Option<Cmd> {
        state.command_for(code(KeyCode::BracketedPasteStart), 1, line);
        for letter in text.chars() {
            assert_eq!(state.command_for(key(letter), 1, line), Some(Cmd::Noop));
        }
        state.command_for(code(KeyCode::BracketedPasteEnd), 1, line)
    }

    #[test]
    fn a_paste_is_inserted_as_one_text_with_its_line_ends() {
        for (pasted, inserted) in [
            ("one\rtwo", "one\ntwo"),
            ("one\r\ntwo", "one\ntwo"),
            ("one\ntwo\n", "one\ntwo\n"),
            ("\r\r", "\n\n"),
            ("    if x:\t", "    if x:\t"),
            ("\x07\x01bell", "bell"),
        ] {
            let state = KeyState::default();
            assert_eq!(paste(&state, pasted, ""), Some(Cmd::Insert(1, inserted.to_owned())), "{pasted:?}");
            assert_eq!(state.command_for(key('x'), 1, ""), None, "typing goes on");
        }
    }

    #[test]
    fn a_paste_that_is_too_long_is_given_up_as_a_whole() {
        for (pasted, line) in [("\r".repeat(70_000), ""), ("ж".repeat(20_000), ""), ("x".repeat(MAX_LINE_BYTES), "y")]
        {
            let state = KeyState::default();
            assert_eq!(paste(&state, &pasted, line), Some(Cmd::Interrupt));
            assert!(state.was_too_long());
            state.start_line(false);
            assert!(!state.was_too_long());
        }
        let state = KeyState::default();
        assert!(matches!(paste(&state, &"x".repeat(MAX_LINE_BYTES), ""), Some(Cmd::Insert(1, _))));
    }

    #[test]
    fn a_paste_without_an_end_is_left_with_control_c() {
        let state = KeyState::default();
        state.command_for(code(KeyCode::BracketedPasteStart), 1, "");
        assert_eq!(state.command_for(key('x'), 1, ""), Some(Cmd::Noop));
        assert_eq!(state.command_for(key('\x03'), 1, ""), Some(Cmd::Interrupt));
        assert_eq!(state.command_for(key('x'), 1, ""), None);
    }

    #[test]
    fn the_rest_of_a_broken_paste_is_dropped_to_its_end() {
        let state = KeyState::default();
        state.command_for(code(KeyCode::BracketedPasteStart), 1, "");
        state.input_broke();
        assert_eq!(state.command_for(key('x'), 1, ""), Some(Cmd::Noop));
        assert_eq!(state.command_for(key('\r'), 1, ""), Some(Cmd::Noop), "no line of it is sent");
        assert_eq!(state.command_for(code(KeyCode::BracketedPasteEnd), 1, ""), Some(Cmd::Noop));
        assert_eq!(state.command_for(key('\r'), 1, ""), None);
        state.input_broke();
        assert_eq!(state.command_for(key('x'), 1, ""), None, "typing is not a paste");
    }

    #[test]
    fn no_key_lengthens_a_line_that_is_too_long() {
        let state = KeyState::default();
        let long = "x".repeat(MAX_LINE_BYTES + 1);
        assert_eq!(state.command_for(key('x'), 1, &long), Some(Cmd::Noop));
        assert_eq!(state.command_for(key('\x19'), 1, &long), Some(Cmd::Noop));
        assert_eq!(state.command_for(key('\x19'), 99, ""), Some(Cmd::Yank(1, Anchor::Before)));
        assert_eq!(state.command_for(key('\r'), 1, &long), None);
    }

    #[test]
    fn at_a_masked_prompt_cutting_keys_erase_and_others_do_nothing() {
        let state = KeyState::default();
        state.start_line(true);
        let erased = Some(Cmd::Undo(RepeatCount::MAX));
        for cutting in ['\x15', '\x0b', '\x17'] {
            assert_eq!(state.command_for(key(cutting), 1, "secret"), erased, "{cutting:?}");
        }
        for modifiers in [Modifiers::ALT, Modifiers::CTRL] {
            assert_eq!(state.command_for(KeyEvent(KeyCode::Backspace, modifiers), 1, "secret"), erased);
        }
        for ignored in [key('\x19'), key('\x12'), key('\x10'), key('\x18'), code(KeyCode::Up), KeyEvent::alt('d')] {
            assert_eq!(state.command_for(ignored, 1, "secret"), Some(Cmd::Noop), "{ignored:?}");
        }
        for usual in [key('x'), key('\x03'), key('\x04'), key('\r'), code(KeyCode::Backspace)] {
            assert_eq!(state.command_for(usual, 1, "secret"), None, "{usual:?}");
        }
        state.set_drawn("secret");
        assert_eq!(state.take_drawn(), "");
    }
}
