//! Watches the servers in this process: what they log, and whether one of their threads panics.

use std::sync::{Mutex, Once, PoisonError};

use log::{LevelFilter, Log, Metadata, Record};

use crate::house::PASSWORD;

static FAULTS: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Watch;

/// Whether a line of the log holds something that no input may put there.
fn is_faulty(line: &str) -> bool {
    // Every token begins with `{"` in base64.
    line.chars().any(char::is_control) || [PASSWORD, "eyJ", "reason=INTERNAL", "panic"].iter().any(|w| line.contains(w))
}

fn note(fault: String) {
    FAULTS.lock().unwrap_or_else(PoisonError::into_inner).push(fault);
}

impl Log for Watch {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let line = record.args().to_string();
        if is_faulty(&line) {
            note(line);
        }
    }

    fn flush(&self) {}
}

/// Starts watching.
pub(crate) fn begin() {
    static BEGUN: Once = Once::new();
    BEGUN.call_once(|| {
        log::set_logger(&Watch).expect("the first logger");
        log::set_max_level(LevelFilter::Info);
        let show = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            // Threads of a server have plain names; the names of tests are paths.
            if std::thread::current().name().is_some_and(|name| !name.contains("::") && name != "main") {
                note(format!("panic: {info}"));
            }
            show(info);
        }));
    });
}

/// What was wrong so far, with any server of this process.
pub(crate) fn faults() -> Vec<String> {
    FAULTS.lock().unwrap_or_else(PoisonError::into_inner).clone()
}
