//! The session that is logged in, shared between the main thread, the printer and the outbox.

use std::sync::Mutex;
use std::time::Duration;

use crate::base::clock::Time;
use crate::base::lock::lock;
use crate::client::server_clock::ServerClock;
use crate::client::session::ClientSession;
use crate::model::login::is_spelling_of;

/// How long before its end the console warns of it.
const WARN_BEFORE: Duration = Duration::from_secs(15 * 60);

/// The session that is logged in, if any.
#[derive(Debug, Default)]
pub struct CurrentSession(Mutex<CurrentState>);

#[derive(Debug, Default)]
struct CurrentState {
    /// Counts the sessions, so that the end of an earlier one is not mistaken for the end of this one.
    generation: u64,
    session: Option<ClientSession>,
    /// Whether the session replaced another one, so that the room was read all along.
    renewed: bool,
    /// Whether the console has warned of its end.
    warned: bool,
    /// Whether this console is just ending it.
    end_expected: bool,
}

impl CurrentSession {
    /// The session.
    pub fn get(&self) -> Option<ClientSession> {
        lock(&self.0).session.clone()
    }

    /// Sets the session after a login; returns its generation.
    pub fn set(&self, session: ClientSession) -> u64 {
        let mut state = lock(&self.0);
        state.generation += 1;
        state.renewed = state.session.replace(session).is_some();
        state.warned = false;
        state.end_expected = false;
        state.generation
    }

    /// Takes the session out, because it is over.
    pub fn take(&self) -> Option<ClientSession> {
        lock(&self.0).session.take()
    }

    /// If `generation` is the latest: whether its session replaced another one.
    pub fn renewed(&self, generation: u64) -> Option<bool> {
        let state = lock(&self.0);
        (state.generation == generation).then_some(state.renewed)
    }

    /// Whether `author` is the login of this session.
    pub fn is_author(&self, author: &str) -> bool {
        lock(&self.0).session.as_ref().is_some_and(|session| is_spelling_of(author, &session.login))
    }

    /// Makes a call that ends the session if it succeeds. The console does not report that end, even if the stream brings it
    /// before the answer comes.
    pub fn expect_end<T, E>(&self, call: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        lock(&self.0).end_expected = true;
        let result = call();
        lock(&self.0).end_expected = result.is_ok();
        result
    }

    /// The session of `generation` is over. Returns whether to report it.
    pub fn ended(&self, generation: u64) -> bool {
        let mut state = lock(&self.0);
        state.generation == generation && state.session.take().is_some() && !state.end_expected
    }

    /// The end of the session, once, when it is time to warn of it.
    pub fn warn_of_end(&self, clock: &ServerClock) -> Option<Time> {
        let mut state = lock(&self.0);
        let end = state.session.as_ref()?.expires_at?;
        if state.warned || clock.until(end) > WARN_BEFORE {
            return None;
        }
        state.warned = true;
        Some(end)
    }
}
