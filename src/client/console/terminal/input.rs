//! Where lines come from: a terminal with a line editor, a terminal without one, or a pipe.

use std::borrow::Cow;
use std::io::{self, BufReader, IsTerminal, Stdin};
use std::sync::Arc;

use rustix::termios::{self, QueueSelector};
use rustyline::completion::Completer;
use rustyline::config::{BellStyle, ColorMode};
use rustyline::error::ReadlineError;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::history::MemHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Config, Context, Editor, Helper};

use crate::client::console::command::MAX_LINE_BYTES;
use crate::client::console::terminal::bounded_reader::{self, Read};
use crate::client::console::terminal::editor_gate::Gate;
use crate::client::console::terminal::screen::Printer;
use crate::security::secret::SecretText;

/// How many lines the arrow keys bring back. They are kept in memory only.
const HISTORY_LINES: usize = 500;

/// What came of asking.
#[derive(Debug, PartialEq, Eq)]
pub enum Asked<T> {
    /// An answer.
    Given(T),
    /// Ctrl-C: not this.
    Cancelled,
    /// Ctrl-D, or the end of the input.
    End,
    /// More than [`MAX_LINE_BYTES`].
    TooLong,
    /// No UTF-8.
    NotText,
}

impl<T> Asked<T> {
    /// Changes the answer, if there is one.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Asked<U> {
        match self {
            Asked::Given(answer) => Asked::Given(change(answer)),
            Asked::Cancelled => Asked::Cancelled,
            Asked::End => Asked::End,
            Asked::TooLong => Asked::TooLong,
            Asked::NotText => Asked::NotText,
        }
    }
}

/// Where lines come from.
pub struct Input(Kind);

enum Kind {
    Editor { editor: Box<Editor<Guard, MemHistory>>, gate: Arc<Gate> },
    Plain { source: BufReader<Stdin>, prompts: bool },
}

impl Input {
    /// The line editor, with what prints above its line; `None` if stdin or stdout is no terminal, or one that cannot be
    /// edited on.
    pub fn editor(gate: &Arc<Gate>) -> Option<(Input, Printer)> {
        if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
            return None;
        }
        let mut editor = new_editor().ok()?;
        editor.set_helper(Some(Guard { gate: gate.clone(), masked: false }));
        let printer = editor.create_external_printer().ok()?;
        let kind = Kind::Editor { editor: Box::new(editor), gate: gate.clone() };
        Some((Input(kind), Box::new(printer)))
    }

    /// Plain lines from stdin. On a terminal prompts are shown (on stderr), and passwords not echoed.
    pub fn plain() -> Input {
        Input(Kind::Plain { source: BufReader::new(io::stdin()), prompts: io::stdin().is_terminal() })
    }

    /// Whether a person is there who can correct himself.
    pub fn is_interactive(&self) -> bool {
        matches!(self.0, Kind::Editor { .. } | Kind::Plain { prompts: true, .. })
    }

    /// Asks for a line, with `draft` to begin with where that can be edited.
    ///
    /// # Errors
    /// The terminal or pipe failed.
    pub fn line(&mut self, prompt: &str, draft: &str) -> io::Result<Asked<String>> {
        match &mut self.0 {
            Kind::Editor { editor, gate } => {
                let read = editor.readline_with_initial(prompt, (draft, ""));
                gate.close();
                outcome(read)
            }
            Kind::Plain { source, prompts } => {
                if *prompts {
                    show_prompt(prompt)?;
                }
                Ok(plain(source)?.map(|line| line.to_string()))
            }
        }
    }

    /// Asks for a secret, which is not echoed on a terminal and never gets into the history.
    ///
    /// # Errors
    /// The terminal or pipe failed.
    pub fn secret(&mut self, prompt: &str) -> io::Result<Asked<SecretText>> {
        match &mut self.0 {
            // The same editor as for everything else, so that what was typed ahead answers the question it was meant for.
            Kind::Editor { editor, gate } => {
                mask(editor, true);
                let read = editor.readline(prompt);
                mask(editor, false);
                gate.close();
                Ok(outcome(read)?.map(SecretText::new))
            }
            Kind::Plain { prompts: true, .. } => {
                show_prompt(prompt)?;
                match rpassword::read_password() {
                    Ok(secret) => Ok(Asked::Given(SecretText::new(secret))),
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Asked::End),
                    Err(error) => Err(error),
                }
            }
            Kind::Plain { source, .. } => {
                Ok(plain(source)?.map(|mut line| SecretText::new(std::mem::take(&mut *line))))
            }
        }
    }

    /// Forgets what was typed since the last answer was read: it was meant for a question that will not be asked any more. What
    /// came together with that answer, in one piece, is in the line editor's own buffer, which cannot be emptied.
    ///
    /// # Errors
    /// The terminal failed.
    pub fn forget_typed_ahead(&self) -> io::Result<()> {
        if self.is_interactive() {
            termios::tcflush(io::stdin(), QueueSelector::IFlush)?;
        }
        Ok(())
    }

    /// Lets the arrow keys bring `line` back.
    pub fn remember(&mut self, line: &str) {
        if let Kind::Editor { editor, .. } = &mut self.0 {
            // A line that the history does not take is not worth a word.
            let _ = editor.add_history_entry(line);
        }
    }
}

fn new_editor() -> rustyline::Result<Editor<Guard, MemHistory>> {
    let config = Config::builder()
        .max_history_size(HISTORY_LINES)?
        // Masking a password is highlighting, and that must not depend on what the terminal says about colours.
        .color_mode(ColorMode::Forced)
        .bell_style(BellStyle::None)
        .auto_add_history(false)
        .build();
    let history = MemHistory::with_config(&config);
    Editor::with_history(config, history)
}

fn mask(editor: &mut Editor<Guard, MemHistory>, masked: bool) {
    if let Some(guard) = editor.helper_mut() {
        guard.masked = masked;
    }
}

fn outcome(read: rustyline::Result<String>) -> io::Result<Asked<String>> {
    match read {
        Ok(line) if line.len() > MAX_LINE_BYTES => Ok(Asked::TooLong),
        Ok(line) => Ok(Asked::Given(line)),
        Err(ReadlineError::Interrupted) => Ok(Asked::Cancelled),
        Err(ReadlineError::Eof) => Ok(Asked::End),
        Err(other) => Err(error(other)),
    }
}

fn error(error: ReadlineError) -> io::Error {
    match error {
        ReadlineError::Io(error) => error,
        other => io::Error::other(other),
    }
}

fn plain(source: &mut BufReader<Stdin>) -> io::Result<Asked<zeroize::Zeroizing<String>>> {
    Ok(match bounded_reader::read_line(source, MAX_LINE_BYTES)? {
        Read::Line(line) => Asked::Given(line),
        Read::TooLong => Asked::TooLong,
        Read::NotText => Asked::NotText,
        Read::End => Asked::End,
    })
}

fn show_prompt(prompt: &str) -> io::Result<()> {
    use std::io::Write;
    let mut stderr = io::stderr();
    stderr.write_all(prompt.as_bytes())?;
    stderr.flush()
}

/// What the editor calls back: it hides a password, and tells the gate when the line is on the screen and when it leaves.
struct Guard {
    gate: Arc<Gate>,
    masked: bool,
}

impl Helper for Guard {}

impl Completer for Guard {
    type Candidate = String;
}

impl Hinter for Guard {
    type Hint = String;

    /// Called with every refresh, the first one included, when the terminal is in the editor's hands already.
    fn hint(&self, _line: &str, _pos: usize, _context: &Context<'_>) -> Option<String> {
        self.gate.open();
        None
    }
}

impl Highlighter for Guard {
    fn highlight<'l>(&self, line: &'l str, _pos: usize) -> Cow<'l, str> {
        if self.masked { Cow::Owned("*".repeat(line.chars().count())) } else { Cow::Borrowed(line) }
    }

    /// Without this the editor would write a typed letter out as it is, to save a refresh.
    fn highlight_char(&self, _line: &str, _pos: usize, _kind: CmdKind) -> bool {
        self.masked
    }
}

impl Validator for Guard {
    /// Called at Enter, before the editor gives the terminal back.
    fn validate(&self, _context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        self.gate.close();
        Ok(ValidationResult::Valid(None))
    }
}
