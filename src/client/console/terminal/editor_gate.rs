//! Decides when a message may be printed above the line that is being typed.
//!
//! The line editor prints for us only while it owns the terminal: after its first refresh and before Enter. A message handed
//! over at another time would appear out of order, or wait until the next prompt. So the thread that prints messages waits
//! here, and the editor opens the gate once its line is on the screen.

use std::sync::{Condvar, Mutex};

use crate::base::lock::{self, lock};

/// Open while the editor shows its line.
#[derive(Debug, Default)]
pub struct EditorGate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum GateState {
    #[default]
    Closed,
    Open,
    Removed,
}

/// What prints a message that has passed the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrintBy {
    /// The editor, which shows its line.
    Editor,
    /// The caller, because there is no editor any more.
    Caller,
}

impl EditorGate {
    /// The editor shows its line.
    pub fn open(&self) {
        self.set(GateState::Open);
    }

    /// The editor is about to give the terminal back.
    pub fn close(&self) {
        self.set(GateState::Closed);
    }

    /// There is no editor any more.
    pub fn remove(&self) {
        *lock(&self.state) = GateState::Removed;
        self.changed.notify_all();
    }

    /// Waits until a message may be printed.
    pub fn pass(&self) -> PrintBy {
        let mut state = lock(&self.state);
        loop {
            match *state {
                GateState::Open => return PrintBy::Editor,
                GateState::Removed => return PrintBy::Caller,
                GateState::Closed => state = lock::wait(&self.changed, state),
            }
        }
    }

    fn set(&self, to: GateState) {
        let mut state = lock(&self.state);
        if *state != GateState::Removed && *state != to {
            *state = to;
            self.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn nothing_passes_until_the_editor_shows_its_line_or_is_removed() {
        let gate = Arc::new(EditorGate::default());
        for (set, passed) in
            [(EditorGate::open as fn(&EditorGate), PrintBy::Editor), (EditorGate::remove, PrintBy::Caller)]
        {
            gate.close();
            let waiting = gate.clone();
            let waiter = std::thread::Builder::new().spawn(move || waiting.pass()).unwrap();
            set(&gate);
            assert_eq!(waiter.join().unwrap(), passed);
        }
        gate.open();
        assert_eq!(gate.pass(), PrintBy::Caller, "a removed gate stays removed");
    }
}
