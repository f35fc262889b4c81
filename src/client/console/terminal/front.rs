//! The person in front of the console, or the script: reads their lines and tells them things in their language.

use std::io;
use std::sync::Arc;

use crate::base::escape::one_line;
use crate::base::lang::Lang;
use crate::client::console::terminal::input::{Input, InputOutcome};
use crate::client::console::terminal::screen::Screen;
use crate::client::console::text::sentence::Sentence;

/// What the console does after a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterLine {
    /// It reads the next line.
    ReadNext,
    /// It quits.
    Quit,
}

/// Reads lines and tells things. Only the console's main thread uses it.
pub struct Front {
    lang: Lang,
    pub(super) input: Input,
    screen: Arc<Screen>,
    /// Whether anything failed that no person could put right.
    pub(super) failed: bool,
}

/// On every way out, also a panic, the printer must not wait for an editor that is gone.
impl Drop for Front {
    fn drop(&mut self) {
        self.screen.editor_removed();
    }
}

impl Front {
    /// Reads from `input` and writes to `screen`.
    pub fn new(lang: Lang, input: Input, screen: Arc<Screen>) -> Front {
        Front { lang, input, screen, failed: false }
    }

    /// The language of the console.
    pub fn lang(&self) -> Lang {
        self.lang
    }

    /// The screen.
    pub fn screen(&self) -> &Screen {
        &self.screen
    }

    /// Whether a person answers, and so can correct mistakes.
    pub fn is_interactive(&self) -> bool {
        self.input.is_interactive()
    }

    /// Whether anything failed that no person could put right. The exit code shows it.
    pub fn has_failed(&self) -> bool {
        self.failed
    }

    /// Reads a line. A line editor starts with `draft`.
    ///
    /// # Errors
    /// The terminal or pipe failed.
    pub fn read_line(&mut self, prompt: &str, draft: &str) -> io::Result<InputOutcome<String>> {
        self.input.line(prompt, draft)
    }

    /// The sentence with its values, which are names, paths and causes: no format character has a use in them.
    fn fill(&self, sentence: Sentence, values: &[&str]) -> String {
        let values: Vec<String> = values.iter().map(|value| one_line(value)).collect();
        sentence.with(self.lang, &values.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// The line that was being typed when bytes came that are not text.
    pub fn take_broken_line(&mut self) -> String {
        self.input.take_broken_line()
    }

    /// Lets the arrow keys bring `line` back.
    pub fn remember(&mut self, line: &str) {
        self.input.remember(line);
    }

    /// Tells a sentence, with `values` in its places.
    ///
    /// # Errors
    /// The screen is gone, as for every method that writes.
    pub fn notice(&self, sentence: Sentence, values: &[&str]) -> io::Result<()> {
        self.screen.notice(&self.fill(sentence, values))
    }

    /// Tells a sentence as an error.
    ///
    /// # Errors
    /// The screen is gone.
    pub fn warn(&self, sentence: Sentence, values: &[&str]) -> io::Result<()> {
        self.warn_text(&self.fill(sentence, values))
    }

    /// Tells a ready text as an error.
    ///
    /// # Errors
    /// The screen is gone.
    pub fn warn_text(&self, text: &str) -> io::Result<()> {
        self.screen.error(text)
    }

    /// Writes a sentence without a sign before it.
    ///
    /// # Errors
    /// The screen is gone.
    pub fn plain(&self, sentence: Sentence, values: &[&str]) -> io::Result<()> {
        self.screen.line(&self.fill(sentence, values))
    }

    /// Tells what went wrong. Without a person to put it right, the exit code shows it.
    ///
    /// # Errors
    /// The screen is gone.
    pub fn complain(&mut self, sentence: Sentence, values: &[&str]) -> io::Result<AfterLine> {
        self.complain_text(&self.fill(sentence, values))
    }

    /// The same with a ready text.
    ///
    /// # Errors
    /// The screen is gone.
    pub fn complain_text(&mut self, text: &str) -> io::Result<AfterLine> {
        self.failed |= !self.is_interactive();
        self.warn_text(text)?;
        Ok(AfterLine::ReadNext)
    }

    /// Tells that a line is not a valid command. Without a person the console quits here: the lines after it may be the answers
    /// that the command should have taken, passwords among them, and must not go to the room.
    ///
    /// # Errors
    /// The screen is gone.
    pub fn misunderstood(&mut self, sentence: Sentence, values: &[&str]) -> io::Result<AfterLine> {
        self.complain(sentence, values)?;
        Ok(if self.is_interactive() { AfterLine::ReadNext } else { AfterLine::Quit })
    }
}
