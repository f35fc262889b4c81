//! The connection, and the session that is logged in over it.

use std::io;
use std::sync::Arc;

use crate::base::lang::Lang;
use crate::client::console::room::current_session::CurrentSession;
use crate::client::console::terminal::front::Front;
use crate::client::console::text::{failures, login};
use crate::client::error::CallError;
use crate::client::link::Link;
use crate::client::server_clock::ServerClock;
use crate::client::session::ClientSession;
use crate::client::types::ListedSession;
use crate::model::reason::Reason;

/// The connection, and the session that is logged in over it.
pub struct AccountSession {
    /// The connection.
    pub link: Arc<Link>,
    /// The session.
    pub current: Arc<CurrentSession>,
    /// The server's clock.
    pub clock: Arc<ServerClock>,
    /// The sessions as they were last listed; `/logout` takes their numbers.
    pub listed: Vec<ListedSession>,
    /// Whether the present clock skew was mentioned.
    skew_mentioned: bool,
}

impl AccountSession {
    /// Starts logged out.
    pub fn new(link: Arc<Link>, current: Arc<CurrentSession>, clock: Arc<ServerClock>) -> AccountSession {
        AccountSession { link, current, clock, listed: Vec::new(), skew_mentioned: false }
    }

    /// The session that is logged in.
    pub fn session(&self) -> Option<ClientSession> {
        self.current.get()
    }

    /// The server's name as it was given.
    pub fn server(&self) -> String {
        self.link.server().to_string()
    }

    /// Why a call failed, as a sentence.
    pub fn failure(&self, error: &CallError, lang: Lang) -> String {
        failures::failure(error, &self.server(), lang)
    }

    /// Tells why a call failed, if another try may still succeed.
    ///
    /// # Errors
    /// The screen is gone.
    pub fn warn_of_failure(&mut self, front: &Front, error: &CallError) -> io::Result<()> {
        front.warn_text(&self.failure(error, front.lang()))?;
        if reason(error) == Some(Reason::InvalidCode) {
            // A clock skew may be the cause.
            self.skew_mentioned = false;
        }
        self.warn_of_skew(front)
    }

    /// Tells, once, that the server's clock and ours differ.
    ///
    /// # Errors
    /// The screen is gone.
    pub fn warn_of_skew(&mut self, front: &Front) -> io::Result<()> {
        let skew = self.clock.skew();
        if let Some(skew) = skew
            && !self.skew_mentioned
        {
            front.warn_text(&login::clock_skew(skew, front.lang()))?;
        }
        self.skew_mentioned = skew.is_some();
        Ok(())
    }
}

/// The reason of a refusal, if this client knows it.
pub fn reason(error: &CallError) -> Option<Reason> {
    if let CallError::Refused(refusal) = error { refusal.reason } else { None }
}
