//! What the dialogues work with, and what several of them do.

use std::io;
use std::path::PathBuf;

use crate::base::lang::Lang;
use crate::client::console::account_session::AccountSession;
use crate::client::console::room::composer::Composer;
use crate::client::console::room::view::RoomView;
use crate::client::console::terminal::front::{AfterLine, Front};
use crate::client::console::text::{failures, room};
use crate::client::error::{CallError, ServerRefusal};
use crate::client::session::ClientSession;

/// Settings that outlive the start.
#[derive(Clone, Debug)]
pub struct ConsoleSettings {
    /// Where pictures of second factors are written.
    pub qr_dir: PathBuf,
    /// Whether such a picture is kept after the enrolment.
    pub keep_qr: bool,
    /// Whether the connection goes to another machine without TLS.
    pub exposed: bool,
}

/// What the dialogues work with, by job. The fields are dropped in this order: the outbox ends before the printer, which waits
/// until nothing can send it events.
pub struct ConsoleContext {
    /// The settings.
    pub settings: ConsoleSettings,
    /// Reads lines and tells things.
    pub front: Front,
    /// Drafts and unsent lines.
    pub composer: Composer,
    /// The common room on the screen.
    pub room: RoomView,
    /// The connection and the session.
    pub account: AccountSession,
}

impl ConsoleContext {
    /// The language of the console.
    pub fn lang(&self) -> Lang {
        self.front.lang()
    }

    /// The session that is logged in.
    pub fn session(&self) -> Option<ClientSession> {
        self.account.session()
    }

    /// Uses `session` from now on, and reads the room with it.
    ///
    /// # Errors
    /// The system refuses another thread.
    pub fn enter(&mut self, session: ClientSession) -> io::Result<()> {
        // The numbers were those of another session's list.
        self.account.listed.clear();
        let token = session.token.clone();
        let generation = self.account.current.set(session);
        self.room.read_with(self.account.link.clone(), token, generation)
    }

    /// Forgets the session, which is over; returns it.
    pub fn forget_session(&mut self) -> Option<ClientSession> {
        let session = self.account.current.take();
        self.room.stop_reading();
        self.account.listed.clear();
        session
    }

    /// Forgets the session because the server says that it is over, and tells so.
    ///
    /// # Errors
    /// The screen is gone.
    pub fn session_over(&mut self, why: &ServerRefusal) -> io::Result<AfterLine> {
        self.forget_session();
        let why = failures::refusal(why, self.lang());
        self.front.complain(room::SESSION_OVER, &[&why])
    }

    /// Tells that a call failed, and why; forgets the session if it is over.
    ///
    /// # Errors
    /// The screen is gone.
    pub fn call_failed(&mut self, error: &CallError) -> io::Result<AfterLine> {
        match error {
            CallError::Refused(refusal) if refusal.ends_session => self.session_over(refusal),
            error => {
                let why = self.account.failure(error, self.lang());
                self.front.complain_text(&why)
            }
        }
    }
}
