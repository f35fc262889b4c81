//! The line editor, as the console sets it up.

use std::borrow::Cow;
use std::sync::{Arc, Mutex};

use rustyline::completion::Completer;
use rustyline::config::{BellStyle, ColorMode};
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::history::MemHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Config, Context, Editor, Event, EventHandler, GraphemeClusterMode, Helper};

use crate::base::lock::lock;
use crate::base::terminal::{self, AUTOWRAP_OFF};
use crate::client::console::terminal::editor_gate::EditorGate;
use crate::client::console::terminal::keys::{KeyFilter, KeyState};
use crate::client::console::terminal::typed_line::TypedLine;

/// How many lines the arrow keys bring back. They are kept in memory only.
const HISTORY_LINES: usize = 500;

/// The columns of a terminal that does not know its own.
const USUAL_COLUMNS: usize = 80;

/// The line editor of the console.
pub type LineEditor = Editor<EditorHelper, MemHistory>;

/// Makes a line editor that opens `gate` while its line is on the screen, and whose keys pass the filter of `keys`.
///
/// # Errors
/// The terminal cannot be edited on.
pub fn new(gate: Arc<EditorGate>, keys: Arc<KeyState>) -> rustyline::Result<LineEditor> {
    let config = Config::builder()
        .max_history_size(HISTORY_LINES)?
        // Masking a password counts as highlighting; it must not depend on what the terminal says about colours.
        .color_mode(ColorMode::Forced)
        .bell_style(BellStyle::None)
        .auto_add_history(false)
        .build();
    let history = MemHistory::with_config(&config);
    let mut editor = Editor::with_history(config, history)?;
    editor.bind_sequence(Event::Any, EventHandler::Conditional(Box::new(KeyFilter(keys.clone()))));
    editor.set_helper(Some(EditorHelper { gate, keys, prompt: Mutex::new(None) }));
    Ok(editor)
}

/// The editor's callbacks: it lays out what is typed, hides a password, and opens and closes the gate.
pub struct EditorHelper {
    gate: Arc<EditorGate>,
    keys: Arc<KeyState>,
    /// The prompt that was drawn last, until the line after it is drawn.
    prompt: Mutex<Option<TypedLine>>,
}

impl Helper for EditorHelper {}

impl Completer for EditorHelper {
    type Candidate = String;
}

impl Hinter for EditorHelper {
    type Hint = String;

    /// The editor calls this with every refresh. At the first one it already owns the terminal.
    fn hint(&self, line: &str, _pos: usize, _context: &Context<'_>) -> Option<String> {
        self.keys.set_drawn(line);
        self.gate.open();
        None
    }
}

impl EditorHelper {
    /// The prompt as it lies on the screen, to go on with the line after it.
    fn typed_after(&self, prompt: &str) -> TypedLine {
        // The editor assumes 80 columns too where the terminal does not know.
        let columns = terminal::window().map_or(USUAL_COLUMNS, |(columns, _)| columns);
        TypedLine::start(prompt, columns, GraphemeClusterMode::from_env())
    }
}

impl Highlighter for EditorHelper {
    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, _default: bool) -> Cow<'b, str> {
        let typed = self.typed_after(prompt);
        let shown = format!("{AUTOWRAP_OFF}{}", typed.shown);
        *lock(&self.prompt) = Some(typed);
        Cow::Owned(shown)
    }

    fn highlight<'l>(&self, line: &'l str, pos: usize) -> Cow<'l, str> {
        let after_prompt = lock(&self.prompt).take().unwrap_or_else(|| self.typed_after(""));
        Cow::Owned(after_prompt.line(line, pos, self.keys.is_masked()).shown)
    }

    /// Without this the editor would echo a typed letter directly, to save a refresh.
    fn highlight_char(&self, line: &str, _pos: usize, _kind: CmdKind) -> bool {
        self.keys.is_masked() || line.bytes().any(|byte| !matches!(byte, b' '..=b'~'))
    }
}

impl Validator for EditorHelper {
    /// The editor calls this at Enter, before it gives the terminal back.
    fn validate(&self, _context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        self.gate.close();
        Ok(ValidationResult::Valid(None))
    }
}
