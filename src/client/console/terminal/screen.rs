//! Where the console writes: messages and notices, on a terminal or into pipes.

use std::io;
use std::sync::{Arc, Mutex};

use rustyline::{ExternalPrinter, GraphemeClusterMode};

use crate::base::lock::lock;
use crate::base::terminal::{self, AUTOWRAP_OFF, AUTOWRAP_ON, Output, harmless};
use crate::base::writing::text_line;
use crate::client::console::terminal::editor_gate::{EditorGate, PrintBy};
use crate::client::console::terminal::layout;
use crate::client::console::terminal::paint::Paint;
use crate::client::console::terminal::typed_line::TypedLine;
use crate::qr::Cells;

/// Prints above the line that is being typed.
pub type Printer = Box<dyn ExternalPrinter + Send>;

/// Where the console writes. Messages go to stdout. Notices of the program go there too on a terminal, and to stderr otherwise.
pub struct Screen {
    paint: Paint,
    messages: Output,
    /// Without it, notices go to `messages`.
    notices: Option<Output>,
    /// Present if a line editor shares the terminal with us.
    editor: Option<EditorPrinter>,
}

struct EditorPrinter {
    gate: Arc<EditorGate>,
    printer: Mutex<Printer>,
}

/// What breaks rows that are too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Breaks {
    /// We have, and the terminal must not: so no row begins with what others wrote.
    Ours,
    /// The terminal: long addresses of our own stay whole.
    Terminals,
}

impl Screen {
    /// For a terminal with a line editor that opens and closes `gate`. Until the editor is removed, the terminal shows no key by
    /// itself.
    pub fn beside_editor(gate: Arc<EditorGate>, printer: Printer, paint: Paint) -> Screen {
        terminal::stop_echo();
        let editor = EditorPrinter { gate, printer: Mutex::new(printer) };
        Screen { paint, messages: Output::stdout(), notices: None, editor: Some(editor) }
    }

    /// For anything else, with separate outputs for messages and notices.
    pub fn plain(messages: Output, notices: Output, paint: Paint) -> Screen {
        Screen { paint, messages, notices: Some(notices), editor: None }
    }

    /// Whether this is a terminal with a line editor.
    pub fn is_terminal(&self) -> bool {
        self.editor.is_some()
    }

    /// Its colours.
    pub fn paint(&self) -> Paint {
        self.paint
    }

    /// Columns and rows of the terminal; `None` without one.
    pub fn window(&self) -> Option<Cells> {
        self.editor.as_ref()?;
        terminal::window().map(|(columns, rows)| Cells { columns, rows })
    }

    /// Columns of the terminal; `None` without one.
    pub fn columns(&self) -> Option<usize> {
        self.window().map(|window| window.columns)
    }

    /// The line editor is gone: from now on messages are written directly, and the terminal breaks rows again.
    pub fn editor_removed(&self) {
        if let Some(editor) = &self.editor {
            // If the terminal is gone, nothing needs to be put back.
            let _ = self.messages.break_rows();
            terminal::echo_again();
            editor.gate.remove();
        }
    }

    /// Shows a message above the line that is being typed. Blocks while nothing may be printed (see [`EditorGate`]), so only the
    /// thread that prints messages may call it.
    ///
    /// # Errors
    /// The screen is gone.
    pub fn message(&self, block: &str) -> io::Result<()> {
        match &self.editor {
            Some(editor) => editor.print(block, Breaks::Ours, &self.messages),
            None => print_lines(&self.messages, block),
        }
    }

    /// Shows a notice between messages; same rules as [`Screen::message`].
    ///
    /// # Errors
    /// The screen is gone.
    pub fn notice_among_messages(&self, text: &str) -> io::Result<()> {
        let line = self.paint.dim(&self.wrapped("* ", text));
        match &self.editor {
            Some(editor) => editor.print(&line, Breaks::Terminals, &self.messages),
            None => print_lines(self.notices(), &line),
        }
    }

    /// Shows messages while no line is being typed; same rules as [`Screen::notice`].
    ///
    /// # Errors
    /// The screen is gone.
    pub fn page(&self, block: &str) -> io::Result<()> {
        if self.is_terminal() { self.messages.print_unbroken(block) } else { print_lines(&self.messages, block) }
    }

    /// Shows a notice. Only for the thread that owns the line editor, while no line is being edited.
    ///
    /// # Errors
    /// The screen is gone.
    pub fn notice(&self, text: &str) -> io::Result<()> {
        self.block(&self.paint.dim(&self.wrapped("* ", text)))
    }

    /// Shows an error; same rules as [`Screen::notice`].
    ///
    /// # Errors
    /// The screen is gone.
    pub fn error(&self, text: &str) -> io::Result<()> {
        self.block(&self.paint.red(&self.wrapped("! ", text)))
    }

    /// Shows one line without a sign before it, and in no colour; same rules as [`Screen::notice`].
    ///
    /// # Errors
    /// The screen is gone.
    pub fn line(&self, text: &str) -> io::Result<()> {
        self.block(&text_line(text))
    }

    /// Shows a block of lines as the caller has laid it out and coloured it; same rules as [`Screen::notice`].
    ///
    /// # Errors
    /// The screen is gone.
    pub fn block(&self, block: &str) -> io::Result<()> {
        if self.is_terminal() {
            // The last prompt has switched it off.
            self.notices().break_rows()?;
        }
        print_lines(self.notices(), block)
    }

    /// Removes the typed `line` after `prompt` from the terminal; same rules as [`Screen::notice`], and only right after the line
    /// was read. Of a line that is taller than the window it removes what is still in the window.
    ///
    /// # Errors
    /// The screen is gone.
    pub fn take_back(&self, prompt: &str, line: &str) -> io::Result<()> {
        let Some(window) = self.window() else { return Ok(()) };
        let typed = TypedLine::start(prompt, window.columns, GraphemeClusterMode::from_env());
        let rows = typed.line(line, line.len(), false).rows();
        if rows < window.rows { self.messages.erase_rows(rows) } else { self.messages.erase_window() }
    }

    /// The program's own words on their way to the screen. Logins, paths and causes in them are escaped here.
    fn wrapped(&self, sign: &str, text: &str) -> String {
        layout::notice(sign, &text_line(text), self.columns())
    }

    fn notices(&self) -> &Output {
        self.notices.as_ref().unwrap_or(&self.messages)
    }
}

impl EditorPrinter {
    fn print(&self, block: &str, breaks: Breaks, fallback: &Output) -> io::Result<()> {
        let print_directly = || match breaks {
            Breaks::Ours => fallback.print_unbroken(block),
            Breaks::Terminals => print_lines(fallback, block),
        };
        match self.gate.pass() {
            PrintBy::Caller => print_directly(),
            PrintBy::Editor => {
                // The prompt that the editor draws below switches it off again.
                let autowrap = if breaks == Breaks::Ours { AUTOWRAP_OFF } else { AUTOWRAP_ON };
                let block = format!("{autowrap}{}\n", &*harmless(block));
                // It fails if the editor is gone by now.
                lock(&self.printer).print(block).or_else(|_| print_directly())
            }
        }
    }
}

/// Prints lines and ends the last one.
fn print_lines(output: &Output, block: &str) -> io::Result<()> {
    if block.ends_with('\n') { output.print(block) } else { output.print_line(block) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::escape::one_line;
    use crate::base::terminal::testing::Captured;

    #[test]
    fn no_notice_obeys_a_login_a_path_or_a_cause_in_it() {
        for sly in ["ali\u{202e}ce", "qr/\x1b[2J.png", "no such\nhost", "bell\x07"] {
            for show in [Screen::notice, Screen::error, Screen::line, Screen::notice_among_messages] {
                let written = Captured::default();
                let screen = Screen::plain(Output::to(io::sink()), written.output(), Paint::None);
                show(&screen, sly).unwrap();
                let shown = written.text();
                assert!(shown.trim_end_matches('\n').ends_with(&one_line(sly)), "{shown:?}");
                assert_eq!(shown.lines().count(), 1, "{shown:?}");
            }
        }
    }
}
