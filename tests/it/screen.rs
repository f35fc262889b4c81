//! `otpchat` on a terminal of 80x24.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::path::Path;
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use pty_process::Size;
use pty_process::blocking::{Command, Pty, open};
use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::{LocalModes, tcgetattr};
use vt100::{Color, Parser};

use crate::LIMIT;
use crate::authenticator::read_qr;

const ROWS: u16 = 24;
const COLUMNS: u16 = 80;
/// Rows of a second, very tall screen on which nothing scrolls away.
const SHEET_ROWS: u16 = 2_000;

/// A terminal with an `otpchat` in it. Dropping it kills the program.
pub(crate) struct Terminal {
    pty: Arc<Pty>,
    child: Child,
    shared: Arc<Shared>,
    reader: Option<JoinHandle<()>>,
}

struct Shared {
    view: Mutex<View>,
    changed: Condvar,
}

struct View {
    /// The window that a person sees.
    window: Parser,
    /// The same output on a screen that never scrolls.
    tall: Parser,
    /// All bytes of the output.
    bytes: Vec<u8>,
    ended: bool,
}

impl Terminal {
    /// Starts `otpchat` in `directory` for the server at `address`.
    pub(crate) fn start<'a>(directory: &Path, address: &str, flags: impl IntoIterator<Item = &'a str>) -> Terminal {
        Terminal::start_as(directory, address, flags, "xterm-256color")
    }

    /// Starts it on a terminal of the kind `term`.
    pub(crate) fn start_as<'a>(
        directory: &Path,
        address: &str,
        flags: impl IntoIterator<Item = &'a str>,
        term: &str,
    ) -> Terminal {
        let (pty, pts) = open().expect("a pty");
        pty.resize(Size::new(ROWS, COLUMNS)).expect("its size");
        let child = Command::new(env!("CARGO_BIN_EXE_otpchat"))
            .args(["--server", address])
            .args(flags.into_iter().map(OsStr::new))
            .current_dir(directory)
            .env_clear()
            .envs([("TERM", term), ("LANG", "C.UTF-8"), ("TZ", "UTC")])
            .spawn(pts)
            .expect("otpchat runs");
        let pty = Arc::new(pty);
        let columns = NonZeroU16::new(COLUMNS).expect("some");
        let view = View {
            window: Parser::new(NonZeroU16::new(ROWS).expect("some"), columns, 0),
            tall: Parser::new(NonZeroU16::new(SHEET_ROWS).expect("some"), columns, 0),
            bytes: Vec::new(),
            ended: false,
        };
        let shared = Arc::new(Shared { view: Mutex::new(view), changed: Condvar::new() });
        let (source, sink) = (pty.clone(), shared.clone());
        let reader = Builder::new().spawn(move || sink.read_from(&source)).expect("a thread");
        Terminal { pty, child, shared, reader: Some(reader) }
    }

    /// Types `keys` unchanged.
    pub(crate) fn type_keys(&self, keys: &str) {
        self.type_bytes(keys.as_bytes());
    }

    /// Types bytes that need not be text.
    pub(crate) fn type_bytes(&self, bytes: &[u8]) {
        (&*self.pty).write_all(bytes).expect("the terminal takes keys");
    }

    /// Waits for `prompt` at the cursor, then types an answer and Enter.
    pub(crate) fn answer(&self, prompt: &str, answer: &str) {
        self.wait_for_prompt(prompt);
        self.type_keys(answer);
        self.type_keys("\r");
    }

    /// Waits until the cursor's row holds only `prompt`.
    pub(crate) fn wait_for_prompt(&self, prompt: &str) {
        self.wait_until(&format!("the prompt {prompt:?}"), |view| view.cursor_row() == prompt.trim_end());
    }

    /// Waits until the cursor's row is `row`.
    pub(crate) fn wait_for_cursor_row(&self, row: &str) {
        self.wait_until(&format!("{row:?} being typed"), |view| view.cursor_row() == row);
    }

    /// Waits until `text` has appeared, even if it has scrolled away.
    pub(crate) fn wait_for(&self, text: &str) {
        self.wait_for_times(text, 1);
    }

    /// Waits until `text` has appeared at least `times` times.
    pub(crate) fn wait_for_times(&self, text: &str, times: usize) {
        self.wait_until(&format!("{text:?}, {times} times"), |view| view.all_text().matches(text).count() >= times);
    }

    /// Whether `text` appears within `soon`.
    pub(crate) fn comes_to_show(&self, text: &str, soon: Duration) -> bool {
        let view = self.shared.lock();
        let waited = self.shared.changed.wait_timeout_while(view, soon, |view| !view.all_text().contains(text));
        !waited.expect("no panic elsewhere").1.timed_out()
    }

    /// Runs `act` and waits until one of two texts has appeared once more; returns whether it is the first.
    pub(crate) fn wait_for_either(&self, texts: [&str; 2], act: impl FnOnce()) -> bool {
        let count = |view: &View| texts.map(|text| view.all_text().matches(text).count());
        let before = count(&self.shared.lock());
        act();
        self.wait_until(&format!("one of {texts:?}"), |view| count(view) != before);
        count(&self.shared.lock())[0] != before[0]
    }

    /// Everything that was shown, even if it has scrolled away.
    pub(crate) fn all_text(&self) -> String {
        self.shared.lock().all_text()
    }

    /// All bytes that the program wrote.
    pub(crate) fn all_bytes(&self) -> String {
        String::from_utf8(self.shared.lock().bytes.clone()).expect("text")
    }

    /// The contents of the window.
    pub(crate) fn window_text(&self) -> String {
        self.shared.lock().window.screen().contents()
    }

    /// Whether the program ever wrote the bytes of `text`.
    pub(crate) fn ever_wrote(&self, text: &str) -> bool {
        self.shared.lock().bytes.windows(text.len()).any(|window| window == text.as_bytes())
    }

    /// Reads the QR code in the window.
    pub(crate) fn read_qr(&self) -> String {
        let view = self.shared.lock();
        let screen = view.window.screen();
        let painted =
            |row: u16, column: u16| screen.cell(row, column).is_some_and(|cell| cell.bgcolor() == Color::Idx(231));
        let rows: Vec<u16> = (0..ROWS).filter(|&row| painted(row, 0)).collect();
        let columns = (0..COLUMNS).take_while(|&column| painted(rows[0], column)).count();
        let letter = |x: usize, y: usize| {
            let cell = screen.cell(rows[y], u16::try_from(x).expect("a column")).expect("a cell");
            assert_eq!(cell.fgcolor(), Color::Idx(16), "black on white");
            cell.contents().to_owned()
        };
        let scale = 4;
        let letters: Vec<Vec<String>> = (0..rows.len()).map(|y| (0..columns).map(|x| letter(x, y)).collect()).collect();
        read_qr(columns * scale, rows.len() * 2 * scale, |x, y| {
            let (x, y) = (x / scale, y / scale);
            match letters[y / 2][x].as_str() {
                "█" => true,
                "▀" => y % 2 == 0,
                "▄" => y % 2 == 1,
                _ => false,
            }
        })
    }

    /// Whether the terminal echoes what is typed, as it does while no program changes that.
    pub(crate) fn echoes(&self) -> bool {
        tcgetattr(&*self.pty).expect("its modes").local_modes.contains(LocalModes::ECHO)
    }

    /// Sends a signal to the program.
    pub(crate) fn send_signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    /// Waits until the program has ended.
    pub(crate) fn wait_for_end(&mut self) -> ExitStatus {
        self.wait_until("its end", |view| view.ended);
        self.child.wait().expect("a child to wait for")
    }

    fn wait_until(&self, what: &str, is_there: impl Fn(&View) -> bool) {
        let view = self.shared.lock();
        let waited = self.shared.changed.wait_timeout_while(view, LIMIT, |view| !is_there(view) && !view.ended);
        let (view, _) = waited.expect("no panic elsewhere");
        let there = is_there(&view);
        let text = view.all_text();
        drop(view);
        assert!(there, "waited in vain for {what}; the terminal shows:\n{text}");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, View> {
        self.view.lock().expect("no panic elsewhere")
    }

    /// Feeds the screens until the program closes the terminal.
    fn read_from(&self, mut source: &Pty) {
        let mut buffer = [0; 4096];
        loop {
            // On Linux a closed terminal is an error (EIO).
            let count = source.read(&mut buffer).unwrap_or(0);
            let mut view = self.lock();
            let bytes = &buffer[..count];
            view.window.process(bytes);
            view.tall.process(bytes);
            view.bytes.extend_from_slice(bytes);
            view.ended = count == 0;
            drop(view);
            self.changed.notify_all();
            if count == 0 {
                return;
            }
        }
    }
}

impl View {
    fn all_text(&self) -> String {
        self.tall.screen().contents()
    }

    fn cursor_row(&self) -> String {
        let screen = self.tall.screen();
        let (row, _) = screen.cursor_position();
        screen.rows(0, COLUMNS).nth(usize::from(row)).unwrap_or_default().trim_end().to_owned()
    }
}
