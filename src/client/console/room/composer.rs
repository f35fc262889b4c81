//! The lines that the person writes: drafts, and those on their way to the server.

use crate::client::console::room::outbox::Outbox;

/// Drafts and unsent lines.
pub struct Composer {
    /// Sends lines.
    pub outbox: Outbox,
    /// A refused line, to be edited and sent again.
    draft: String,
    /// Whether the last line was a `/quit` that was answered with a warning about unsent lines.
    warned_of_unsent: bool,
}

impl Composer {
    /// Starts without a draft.
    pub fn new(outbox: Outbox) -> Composer {
        Composer { outbox, draft: String::new(), warned_of_unsent: false }
    }

    /// Keeps a line that could not be sent.
    pub fn keep(&mut self, line: &str) {
        line.clone_into(&mut self.draft);
    }

    /// What the next line starts with. A draft waits until a session is there, so that `/login` can be typed meanwhile.
    pub fn next_draft(&mut self, logged_in: bool) -> String {
        if !logged_in {
            return String::new();
        }
        if self.draft.is_empty() {
            return self.outbox.take_returned().unwrap_or_default();
        }
        std::mem::take(&mut self.draft)
    }

    /// How many lines a quitting person must be warned of: those unsent, unless the line before this one was warned about.
    pub fn unsent_to_warn_of(&self) -> Option<usize> {
        Some(self.outbox.unsent()).filter(|&unsent| unsent > 0 && !self.warned_of_unsent)
    }

    /// Notes whether the line just handled was a `/quit` with a warning.
    pub fn set_warned(&mut self, warned: bool) {
        self.warned_of_unsent = warned;
    }
}
