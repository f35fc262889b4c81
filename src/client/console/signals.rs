//! What happens when the system tells the console to end: the terminal is put back, and pictures of secrets are deleted.
//!
//! At a prompt of the line editor SIGINT does not arrive here: the editor takes it as Ctrl-C.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rustix::termios::{self, OptionalActions, Termios};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};
use signal_hook::{flag, low_level};

use crate::base::terminal::put_back;
use crate::base::threads::Thread;
use crate::qr::file::delete_temporary_pictures;

const SIGNALS: [i32; 4] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM];

/// The thread that waits for such a signal. Dropping it joins the thread.
pub struct SignalGuard {
    handle: Handle,
    thread: Option<Thread>,
}

impl SignalGuard {
    /// Remembers the state of the terminal, and starts to wait. `is_terminal`: whether there is a line editor.
    ///
    /// # Errors
    /// The system refuses a handler or a thread.
    pub fn start(is_terminal: bool) -> io::Result<SignalGuard> {
        let terminal = termios::tcgetattr(io::stdin()).ok();
        let taken = Arc::new(AtomicBool::new(false));
        for signal in SIGNALS {
            // The second one ends the console at once, should the first be stuck. Order matters: this looks before the next sets.
            flag::register_conditional_default(signal, taken.clone())?;
            flag::register(signal, taken.clone())?;
        }
        let mut signals = Signals::new(SIGNALS)?;
        let handle = signals.handle();
        let thread = Thread::spawn("signals", move || {
            if let Some(signal) = signals.forever().next() {
                leave(signal, terminal.as_ref(), is_terminal);
            }
        })?;
        Ok(SignalGuard { handle, thread: Some(thread) })
    }
}

impl Drop for SignalGuard {
    fn drop(&mut self) {
        self.handle.close();
        drop(self.thread.take());
    }
}

/// Ends the process by `signal`. Nothing here may fail: the terminal may be gone, as it is after SIGHUP.
fn leave(signal: i32, terminal: Option<&Termios>, is_terminal: bool) {
    delete_temporary_pictures();
    if let Some(terminal) = terminal {
        let _ = termios::tcsetattr(io::stdin(), OptionalActions::Now, terminal);
    }
    if is_terminal {
        // Last, since a terminal that is stopped takes no bytes.
        put_back();
    }
    let _ = low_level::emulate_default_handler(signal);
}
