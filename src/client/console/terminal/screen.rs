//! Where the console's words go: messages and notices, on a terminal or into pipes.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use rustyline::ExternalPrinter;
use terminal_size::{Height, Width, terminal_size_of};

use crate::base::lock::lock;
use crate::client::console::room::render::{self, Paint};
use crate::client::console::terminal::editor_gate::{Gate, Passed};
use crate::qr::Cells;

type Sink = Box<dyn Write + Send>;

/// Prints above the line that is being typed.
pub type Printer = Box<dyn ExternalPrinter + Send>;

/// Where the console's words go. Messages go to stdout. What the program itself says goes there too on a terminal, and to
/// stderr otherwise.
pub struct Screen {
    paint: Paint,
    messages: Mutex<Sink>,
    /// Without it, notices go where messages go.
    notices: Option<Mutex<Sink>>,
    /// There if a line editor shares the terminal with us.
    editor: Option<Editor>,
}

struct Editor {
    gate: Arc<Gate>,
    printer: Mutex<Printer>,
}

impl Screen {
    /// For a terminal whose line editor opens and closes `gate`.
    pub fn beside_editor(gate: Arc<Gate>, printer: Printer, paint: Paint) -> Screen {
        let editor = Editor { gate, printer: Mutex::new(printer) };
        Screen { paint, messages: Mutex::new(Box::new(io::stdout())), notices: None, editor: Some(editor) }
    }

    /// For anything else: messages into the one, notices into the other.
    pub fn plain(messages: Sink, notices: Sink, paint: Paint) -> Screen {
        Screen { paint, messages: Mutex::new(messages), notices: Some(Mutex::new(notices)), editor: None }
    }

    /// Whether it is a terminal with a line editor.
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
        // A terminal that does not know its size says 0.
        (columns > 0 && rows > 0).then_some(Cells { columns: columns.into(), rows: rows.into() })
    }

    /// Shows a message, above the line that is being typed. Blocks while nothing may be shown (see [`Gate`]), so only the
    /// thread that shows messages may call it.
    ///
    /// # Errors
    /// The screen has gone.
    pub fn message(&self, block: &str) -> io::Result<()> {
        match &self.editor {
            Some(editor) => editor.print(block, &self.messages),
            None => write_to(&self.messages, block),
        }
    }

    /// Shows what the program has to say while others talk; as [`Screen::message`].
    ///
    /// # Errors
    /// The screen has gone.
    pub fn notice_among_messages(&self, text: &str) -> io::Result<()> {
        let line = self.paint.dim(&self.wrapped("* ", text));
        match &self.editor {
            Some(editor) => editor.print(&line, &self.messages),
            None => write_to(self.notices(), &line),
        }
    }

    /// Shows messages, while no line is being typed; as [`Screen::notice`].
    ///
    /// # Errors
    /// The screen has gone.
    pub fn page(&self, block: &str) -> io::Result<()> {
        write_to(&self.messages, block)
    }

    /// Shows what the program has to say. Only for the thread that owns the line editor, while that is not editing.
    ///
    /// # Errors
    /// The screen has gone.
    pub fn notice(&self, text: &str) -> io::Result<()> {
        write_to(self.notices(), &self.paint.dim(&self.wrapped("* ", text)))
    }

    /// Shows what went wrong; as [`Screen::notice`].
    ///
    /// # Errors
    /// The screen has gone.
    pub fn error(&self, text: &str) -> io::Result<()> {
        write_to(self.notices(), &self.paint.red(&self.wrapped("! ", text)))
    }

    /// Shows `text` as it is; as [`Screen::notice`].
    ///
    /// # Errors
    /// The screen has gone.
    pub fn raw(&self, text: &str) -> io::Result<()> {
        write_to(self.notices(), text)
    }

    /// Takes the typed `line` behind `prompt` off the terminal again; as [`Screen::notice`], and only right after it was
    /// read. Does nothing where it is not sure which rows that are.
    ///
    /// # Errors
    /// The screen has gone.
    pub fn take_back(&self, prompt: &str, line: &str) -> io::Result<()> {
        let rows = self
            .window()
            .and_then(|window| render::typed_rows(prompt, line, window.columns).filter(|&rows| rows < window.rows));
        match rows {
            // Up to its first row, and clear from there.
            Some(rows) => write_all(&self.messages, &format!("\x1b[{rows}A\r\x1b[J")),
            None => Ok(()),
        }
    }

    fn wrapped(&self, sign: &str, text: &str) -> String {
        render::notice(sign, text, self.window().map(|window| window.columns))
    }

    fn notices(&self) -> &Mutex<Sink> {
        self.notices.as_ref().unwrap_or(&self.messages)
    }
}

impl Editor {
    fn print(&self, block: &str, after: &Mutex<Sink>) -> io::Result<()> {
        match self.gate.pass() {
            Passed::Gone => write_to(after, block),
            Passed::Editor => {
                let mut printer = lock(&self.printer);
                // It fails when the editor went in the meantime.
                printer.print(format!("{block}\n")).or_else(|_| write_to(after, block))
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
