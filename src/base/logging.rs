//! The log: lines on standard error, written by a thread of its own.
//!
//! Logging never waits for the reader of the log. When standard error is a pipe that is not read, lines are dropped and
//! counted; the server does not stop.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use env_logger::{Target, WriteStyle};

use crate::base::terminal::{Output, stderr_is_terminal};
use crate::base::threads::Thread;

/// The log target of chat lines.
pub const CHAT_TARGET: &str = "chat";

/// The most lines that may wait to be written.
const QUEUE_LINES: usize = 8_192;
/// How long the end of the program waits for the last lines.
const LAST_LINES: Duration = Duration::from_secs(1);

/// The running log. Dropping it writes the last lines.
pub struct Log {
    end: Sender<LogLine>,
    writer: Option<Thread>,
}

enum LogLine {
    Text(Vec<u8>),
    End,
}

/// The log could not be started.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter cannot be read.
    #[error("--log {filter}: {error}; write error, warn, info, debug or trace, or MODULE=LEVEL pairs with commas")]
    Filter {
        /// The filter.
        filter: String,
        /// What is wrong with it.
        error: String,
    },
    /// There is no thread for it.
    #[error("the system refuses a thread for the log: {0}")]
    Thread(#[from] io::Error),
    /// Another logger was started before.
    #[error("the log was started before")]
    Twice(#[from] log::SetLoggerError),
}

/// Starts logging what passes `filter`. Chat lines are bare, as the predecessor writes them; panics are logged as well. Lines
/// of the C core are shown from level debug on.
///
/// # Errors
/// [`LogError`].
pub fn start(filter: &str) -> Result<Log, LogError> {
    env_filter::Builder::new()
        .try_parse(filter)
        .map_err(|error| LogError::Filter { filter: filter.to_owned(), error: error.to_string() })?;
    let (sender, lines) = bounded(QUEUE_LINES);
    let dropped = Arc::new(AtomicU64::new(0));
    let writer = Thread::spawn("log", {
        let dropped = Arc::clone(&dropped);
        move || write_lines(&lines, &dropped, &Output::stderr())
    })?;
    let coloured = stderr_is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    env_logger::Builder::new()
        .parse_filters(filter)
        .target(Target::Pipe(Box::new(Pipe { lines: sender.clone(), dropped })))
        .write_style(if coloured { WriteStyle::Always } else { WriteStyle::Never })
        .format(|out, record| {
            if record.target() == CHAT_TARGET {
                return writeln!(out, "{}", record.args());
            }
            // The C core names no target. It writes a line for each failed TLS handshake of a stranger.
            if record.target().is_empty() && log::max_level() < log::LevelFilter::Debug {
                return Ok(());
            }
            let style = out.default_level_style(record.level());
            writeln!(out, "{} {style}{:5}{style:#} {}", out.timestamp(), record.level(), record.args())
        })
        .try_init()?;
    std::panic::set_hook(Box::new(|info| {
        let thread = std::thread::current();
        log::error!("panic on {}: {info}", thread.name().unwrap_or("a thread"));
    }));
    Ok(Log { end: sender, writer: Some(writer) })
}

impl Drop for Log {
    fn drop(&mut self) {
        // If the log is not read, do not wait longer.
        let _ = self.end.send_timeout(LogLine::End, LAST_LINES);
        if let Some(writer) = self.writer.take() {
            writer.join_within(LAST_LINES);
        }
    }
}

/// The logger writes into it, each record in one piece.
struct Pipe {
    lines: Sender<LogLine>,
    dropped: Arc<AtomicU64>,
}

impl Write for Pipe {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.lines.try_send(LogLine::Text(line.to_vec())).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_lines(lines: &Receiver<LogLine>, dropped: &AtomicU64, out: &Output) {
    while let Ok(LogLine::Text(line)) = lines.recv() {
        // An error of the log cannot be logged.
        let _ = out.print(&String::from_utf8_lossy(&line));
        match dropped.swap(0, Ordering::Relaxed) {
            0 => {}
            count => {
                let _ = out.print_line(&format!("{count} lines were lost: the log was not read fast enough"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::terminal::testing::Captured;

    #[test]
    fn a_full_queue_drops_and_counts_lines_and_no_logger_waits() {
        let (sender, lines) = bounded(2);
        let dropped = Arc::new(AtomicU64::new(0));
        let mut pipe = Pipe { lines: sender.clone(), dropped: Arc::clone(&dropped) };
        for n in 0..5 {
            assert_eq!(pipe.write(format!("line {n}\n").as_bytes()).unwrap(), 7);
        }
        drop((pipe, sender));
        let written = Captured::default();
        write_lines(&lines, &dropped, &written.output());
        assert_eq!(written.text(), "line 0\n3 lines were lost: the log was not read fast enough\nline 1\n");
    }
}
