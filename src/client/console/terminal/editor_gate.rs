//! When a line may appear above the one that is being typed.
//!
//! The line editor prints for us only while it has the terminal in its hands. Before its first refresh and after Enter it
//! does not, and a line handed to it then would come out of order or wait until the next prompt. So the thread that shows
//! messages asks here first, and the editor tells when its line is on the screen.

use std::sync::{Condvar, Mutex, MutexGuard};

use crate::base::lock::{self, lock};

/// Open while the editor shows its line.
#[derive(Debug, Default)]
pub struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Closed,
    Open,
    Gone,
}

/// What waiting at the gate came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passed {
    /// The editor shows its line: it will print.
    Editor,
    /// There is no editor any more: print yourself.
    Gone,
}

impl Gate {
    /// The editor shows its line.
    pub fn open(&self) {
        self.set(State::Open);
    }

    /// The editor is about to give the terminal back.
    pub fn close(&self) {
        self.set(State::Closed);
    }

    /// There will be no editor any more.
    pub fn remove(&self) {
        *self.lock() = State::Gone;
        self.changed.notify_all();
    }

    /// Waits until something may be shown.
    pub fn pass(&self) -> Passed {
        let mut state = self.lock();
        loop {
            match *state {
                State::Open => return Passed::Editor,
                State::Gone => return Passed::Gone,
                State::Closed => state = lock::wait(&self.changed, state),
            }
        }
    }

    fn set(&self, to: State) {
        let mut state = self.lock();
        if *state != State::Gone && *state != to {
            *state = to;
            self.changed.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn nothing_passes_until_the_editor_shows_its_line_or_is_gone() {
        let gate = Arc::new(Gate::default());
        for (set, passed) in [(Gate::open as fn(&Gate), Passed::Editor), (Gate::remove, Passed::Gone)] {
            gate.close();
            let waiting = gate.clone();
            let waiter = std::thread::Builder::new().spawn(move || waiting.pass()).unwrap();
            set(&gate);
            assert_eq!(waiter.join().unwrap(), passed);
        }
        gate.open();
        assert_eq!(gate.pass(), Passed::Gone, "once gone it stays so");
    }
}
