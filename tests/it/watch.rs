//! Watches the servers within this process: what they log, and whether a thread of theirs panics.

use std::sync::{Mutex, Once, PoisonError};

use log::{LevelFilter, Log, Metadata, Record};

use crate::house::PASSWORD;

static FAULTS: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Watch;

/// What no line of the log may be or hold, whatever was typed.
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

/// From now on.
pub(crate) fn begin() {
    static BEGUN: Once = Once::new();
    BEGUN.call_once(|| {
        log::set_logger(&Watch).expect("the first logger");
        log::set_max_level(LevelFilter::Info);
        let show = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            // Threads of the server have names; those of tests are paths, or none.
            if std::thread::current().name().is_some_and(|name| !name.contains("::") && name != "main") {
                note(format!("panic: {info}"));
            }
            show(info);
        }));
    });
}

/// What was wrong so far, with whatever server.
pub(crate) fn faults() -> Vec<String> {
    FAULTS.lock().unwrap_or_else(PoisonError::into_inner).clone()
}
