//! Where the console writes: messages and notices, on a terminal or into pipes.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use rustyline::ExternalPrinter;
use terminal_size::{Height, Width, terminal_size_of};

use crate::base::escape::one_line;
use crate::base::lock::lock;
use crate::client::console::terminal::editor_gate::{EditorGate, PrintBy};
use crate::client::console::terminal::layout;
use crate::client::console::terminal::paint::Paint;
use crate::qr::Cells;

type Sink = Box<dyn Write + Send>;

/// Prints above the line that is being typed.
pub type Printer = Box<dyn ExternalPrinter + Send>;

/// Where the console writes. Messages go to stdout. Notices of the program go there too on a terminal, and to stderr otherwise.
pub struct Screen {
    paint: Paint,
    messages: Mutex<Sink>,
    /// Without it, notices go to `messages`.
    notices: Option<Mutex<Sink>>,
    /// Present if a line editor shares the terminal with us.
    editor: Option<EditorPrinter>,
}

struct EditorPrinter {
    gate: Arc<EditorGate>,
    printer: Mutex<Printer>,
}

impl Screen {
    /// For a terminal with a line editor that opens and closes `gate`.
    pub fn beside_editor(gate: Arc<EditorGate>, printer: Printer, paint: Paint) -> Screen {
        let editor = EditorPrinter { gate, printer: Mutex::new(printer) };
        Screen { paint, messages: Mutex::new(Box::new(io::stdout())), notices: None, editor: Some(editor) }
    }

    /// For anything else, with separate sinks for messages and notices.
    pub fn plain(messages: Sink, notices: Sink, paint: Paint) -> Screen {
        Screen { paint, messages: Mutex::new(messages), notices: Some(Mutex::new(notices)), editor: None }
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
        let (Width(columns), Height(rows)) = terminal_size_of(io::stdout())?;
        // A terminal of unknown size reports 0.
        (columns > 0 && rows > 0).then_some(Cells { columns: columns.into(), rows: rows.into() })
    }

    /// Columns of the terminal; `None` without one.
    pub fn columns(&self) -> Option<usize> {
        self.window().map(|window| window.columns)
    }

    /// The line editor is gone: from now on messages are written directly.
    pub fn editor_removed(&self) {
        if let Some(editor) = &self.editor {
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
            Some(editor) => editor.print(block, &self.messages),
            None => write_to(&self.messages, block),
        }
    }

    /// Shows a notice between messages; same rules as [`Screen::message`].
    ///
    /// # Errors
    /// The screen is gone.
    pub fn notice_among_messages(&self, text: &str) -> io::Result<()> {
        let line = self.paint.dim(&self.wrapped("* ", text));
        match &self.editor {
            Some(editor) => editor.print(&line, &self.messages),
            None => write_to(self.notices(), &line),
        }
    }

    /// Shows messages while no line is being typed; same rules as [`Screen::notice`].
    ///
    /// # Errors
    /// The screen is gone.
    pub fn page(&self, block: &str) -> io::Result<()> {
        write_to(&self.messages, block)
    }

    /// Shows a notice. Only for the thread that owns the line editor, while no line is being edited.
    ///
    /// # Errors
    /// The screen is gone.
    pub fn notice(&self, text: &str) -> io::Result<()> {
        write_to(self.notices(), &self.paint.dim(&self.wrapped("* ", text)))
    }

    /// Shows an error; same rules as [`Screen::notice`].
    ///
    /// # Errors
    /// The screen is gone.
    pub fn error(&self, text: &str) -> io::Result<()> {
        write_to(self.notices(), &self.paint.red(&self.wrapped("! ", text)))
    }

    /// Shows one line without a sign before it, and in no colour; same rules as [`Screen::notice`].
    ///
    /// # Errors
    /// The screen is gone.
    pub fn line(&self, text: &str) -> io::Result<()> {
        write_to(self.notices(), &one_line(text))
    }

    /// Shows `text` unchanged, escapes and all: the caller has made it harmless. Same rules as [`Screen::notice`].
    ///
    /// # Errors
    /// The screen is gone.
    pub fn raw(&self, text: &str) -> io::Result<()> {
        write_to(self.notices(), text)
    }

    /// Removes the typed `line` after `prompt` from the terminal; same rules as [`Screen::notice`], and only right after the line
    /// was read. Does nothing if it is not certain which rows the line fills.
    ///
    /// # Errors
    /// The screen is gone.
    pub fn take_back(&self, prompt: &str, line: &str) -> io::Result<()> {
        let rows = self
            .window()
            .and_then(|window| layout::typed_rows(prompt, line, window.columns).filter(|&rows| rows < window.rows));
        match rows {
            // Up to the first row of the line, then clear everything below.
            Some(rows) => write_all(&self.messages, &format!("\x1b[{rows}A\r\x1b[J")),
            None => Ok(()),
        }
    }

    /// The program's own words on their way to the screen. Logins, paths and causes in them are escaped here.
    fn wrapped(&self, sign: &str, text: &str) -> String {
        layout::notice(sign, &one_line(text), self.columns())
    }

    fn notices(&self) -> &Mutex<Sink> {
        self.notices.as_ref().unwrap_or(&self.messages)
    }
}

impl EditorPrinter {
    fn print(&self, block: &str, fallback: &Mutex<Sink>) -> io::Result<()> {
        match self.gate.pass() {
            PrintBy::Caller => write_to(fallback, block),
            PrintBy::Editor => {
                let mut printer = lock(&self.printer);
                // It fails if the editor is gone by now.
                printer.print(format!("{block}\n")).or_else(|_| write_to(fallback, block))
            }
        }
    }
}

fn write_to(sink: &Mutex<Sink>, text: &str) -> io::Result<()> {
    if text.ends_with('\n') { write_all(sink, text) } else { write_all(sink, &format!("{text}\n")) }
}

fn write_all(sink: &Mutex<Sink>, text: &str) -> io::Result<()> {
    let mut sink = lock(sink);
    sink.write_all(text.as_bytes())?;
    sink.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Output(Arc<Mutex<Vec<u8>>>);

    impl Write for Output {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn no_notice_obeys_a_login_a_path_or_a_cause_in_it() {
        for sly in ["ali\u{202e}ce", "qr/\x1b[2J.png", "no such\nhost", "bell\x07"] {
            for show in [Screen::notice, Screen::error, Screen::line, Screen::notice_among_messages] {
                let output = Output::default();
                let screen = Screen::plain(Box::new(io::sink()), Box::new(output.clone()), Paint::None);
                show(&screen, sly).unwrap();
                let shown = String::from_utf8(output.0.lock().unwrap().clone()).unwrap();
                assert!(shown.trim_end_matches('\n').ends_with(&one_line(sly)), "{shown:?}");
                assert_eq!(shown.lines().count(), 1, "{shown:?}");
            }
        }
    }
}
