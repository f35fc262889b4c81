//! Where lines come from: a terminal with a line editor, a terminal without one, or a pipe.

use std::io::{self, BufReader, IsTerminal, Stdin};
use std::sync::Arc;

use rustix::termios::{self, QueueSelector};
use rustyline::error::ReadlineError;
use zeroize::Zeroizing;

use crate::base::terminal::{self, Output};
use crate::client::console::terminal::bounded_reader::{self, BoundedLine, MAX_LINE_BYTES};
use crate::client::console::terminal::editor::{self, LineEditor};
use crate::client::console::terminal::editor_gate::EditorGate;
use crate::client::console::terminal::keys::KeyState;
use crate::client::console::terminal::screen::Printer;
use crate::security::secret::SecretText;

/// Result of a question.
#[derive(Debug, PartialEq, Eq)]
pub enum InputOutcome<T> {
    /// An answer.
    Given(T),
    /// Ctrl-C.
    Cancelled,
    /// Ctrl-D, or the end of the input.
    End,
    /// The line was longer than [`MAX_LINE_BYTES`].
    TooLong,
    /// The line was not UTF-8.
    NotText,
}

impl<T> InputOutcome<T> {
    /// Changes the answer, if there is one.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> InputOutcome<U> {
        match self {
            InputOutcome::Given(answer) => InputOutcome::Given(change(answer)),
            InputOutcome::Cancelled => InputOutcome::Cancelled,
            InputOutcome::End => InputOutcome::End,
            InputOutcome::TooLong => InputOutcome::TooLong,
            InputOutcome::NotText => InputOutcome::NotText,
        }
    }
}

/// Where lines come from.
pub struct Input {
    source: Source,
    /// The line that was being typed when bytes came that are not text.
    broken_line: String,
}

enum Source {
    Editor { editor: Box<LineEditor>, gate: Arc<EditorGate>, keys: Arc<KeyState> },
    Plain { lines: BufReader<Stdin>, prompts: bool },
}

impl Input {
    /// A line editor, and the printer for messages above its line. `None` if stdin or stdout is not a terminal, or is one without
    /// editing.
    pub fn editor(gate: &Arc<EditorGate>) -> Option<(Input, Printer)> {
        if !io::stdin().is_terminal() || !terminal::stdout_is_terminal() {
            return None;
        }
        let keys = Arc::new(KeyState::default());
        let mut editor = editor::new(gate.clone(), keys.clone()).ok()?;
        let printer = editor.create_external_printer().ok()?;
        let source = Source::Editor { editor: Box::new(editor), gate: gate.clone(), keys };
        Some((Input { source, broken_line: String::new() }, Box::new(printer)))
    }

    /// Plain lines from stdin. On a terminal, prompts appear on stderr and passwords are not echoed.
    pub fn plain() -> Input {
        let source = Source::Plain { lines: BufReader::new(io::stdin()), prompts: io::stdin().is_terminal() };
        Input { source, broken_line: String::new() }
    }

    /// Whether a person answers, and so can correct mistakes.
    pub fn is_interactive(&self) -> bool {
        matches!(self.source, Source::Editor { .. } | Source::Plain { prompts: true, .. })
    }

    /// Asks for a line. A line editor starts with `draft`.
    ///
    /// # Errors
    /// The terminal or pipe failed.
    pub fn line(&mut self, prompt: &str, draft: &str) -> io::Result<InputOutcome<String>> {
        match &mut self.source {
            Source::Editor { editor, gate, keys } => {
                keys.start_line(false);
                let read = editor.readline_with_initial(prompt, (draft, ""));
                gate.close();
                let outcome = outcome(read, keys)?;
                if outcome == InputOutcome::NotText {
                    self.broken_line = keys.take_drawn();
                }
                Ok(outcome)
            }
            Source::Plain { lines, prompts } => {
                if *prompts {
                    show_prompt(prompt)?;
                }
                Ok(plain_line(lines)?.map(|line| line.to_string()))
            }
        }
    }

    /// Asks for a secret. A terminal does not echo it, and the history never holds it.
    ///
    /// # Errors
    /// The terminal or pipe failed.
    pub fn secret(&mut self, prompt: &str) -> io::Result<InputOutcome<SecretText>> {
        match &mut self.source {
            // The same editor as for everything else, so that what is typed ahead answers the right question.
            Source::Editor { editor, gate, keys } => {
                keys.start_line(true);
                let read = editor.readline(prompt);
                gate.close();
                Ok(outcome(read, keys)?.map(SecretText::new))
            }
            Source::Plain { prompts: true, .. } => {
                show_prompt(prompt)?;
                match rpassword::read_password() {
                    // It puts this in the place of bytes that are not text.
                    Ok(secret) if secret.contains(char::REPLACEMENT_CHARACTER) => Ok(InputOutcome::NotText),
                    Ok(secret) => Ok(InputOutcome::Given(SecretText::new(secret))),
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(InputOutcome::End),
                    Err(error) => Err(error),
                }
            }
            Source::Plain { lines, .. } => {
                Ok(plain_line(lines)?.map(|mut line| SecretText::new(std::mem::take(&mut *line))))
            }
        }
    }

    /// Discards what was typed since the last answer: it was meant for a question that is no longer asked. Keys that arrived in
    /// one piece with that answer are in the line editor's own buffer, which cannot be emptied.
    ///
    /// # Errors
    /// The terminal failed.
    pub fn discard_typed_ahead(&self) -> io::Result<()> {
        if self.is_interactive() {
            termios::tcflush(io::stdin(), QueueSelector::IFlush)?;
        }
        Ok(())
    }

    /// The line that was being typed when bytes came that are not text. It can be typed on.
    pub fn take_broken_line(&mut self) -> String {
        std::mem::take(&mut self.broken_line)
    }

    /// Lets the arrow keys bring `line` back.
    pub fn remember(&mut self, line: &str) {
        if let Source::Editor { editor, .. } = &mut self.source {
            // A line that the history rejects is not worth an error.
            let _ = editor.add_history_entry(line);
        }
    }
}

fn outcome(read: rustyline::Result<String>, keys: &KeyState) -> io::Result<InputOutcome<String>> {
    match read {
        Ok(line) if line.len() > MAX_LINE_BYTES => Ok(InputOutcome::TooLong),
        Ok(line) => Ok(InputOutcome::Given(line)),
        Err(ReadlineError::Interrupted) if keys.was_too_long() => Ok(InputOutcome::TooLong),
        Err(ReadlineError::Interrupted) => Ok(InputOutcome::Cancelled),
        Err(ReadlineError::Eof) => Ok(InputOutcome::End),
        Err(ReadlineError::Io(error)) if error.kind() == io::ErrorKind::InvalidData => {
            // The editor has lost the rest of what it had read. What came with it is no answer to anything.
            keys.input_broke();
            termios::tcflush(io::stdin(), QueueSelector::IFlush)?;
            Ok(InputOutcome::NotText)
        }
        Err(ReadlineError::Io(error)) => Err(error),
        Err(other) => Err(io::Error::other(other)),
    }
}

fn plain_line(lines: &mut BufReader<Stdin>) -> io::Result<InputOutcome<Zeroizing<String>>> {
    Ok(match bounded_reader::read_line(lines, MAX_LINE_BYTES)? {
        BoundedLine::Text(line) => InputOutcome::Given(line),
        BoundedLine::TooLong => InputOutcome::TooLong,
        BoundedLine::NotText => InputOutcome::NotText,
        BoundedLine::End => InputOutcome::End,
    })
}

fn show_prompt(prompt: &str) -> io::Result<()> {
    Output::stderr().print(prompt)
}
