//! Bounds of what the system does.

use std::time::Duration;

use super::throttles::ThrottleLimits;
use crate::model::text::TextLimits;
use crate::store::guesses::GuessLimits;
use crate::store::messages::Retention;

/// Bounds of what the system does.
#[derive(Clone, Debug)]
pub struct AppLimits {
    /// How long a session may wait for its code or enrolment.
    pub waiting_session: Duration,
    /// How many sessions of an account may wait.
    pub waiting_sessions_per_user: usize,
    /// How long a complete session lasts, from its code.
    pub complete_session: Duration,
    /// How many complete sessions an account may have; the oldest goes.
    pub complete_sessions_per_user: usize,
    /// How long an account may stay without a second factor.
    pub unenrolled_account: Duration,
    /// How long the connection that registered an account may enrol it without a token (old clients).
    pub enrolment_without_token: Duration,
    /// How much a text may hold.
    pub text: TextLimits,
    /// Which registrations are taken.
    pub registration: Registration,
    /// How often passwords may be tried and accounts registered.
    pub throttles: ThrottleLimits,
    /// How often codes may be guessed.
    pub guesses: GuessLimits,
    /// How much of the messages is kept.
    pub retention: Retention,
    /// How many messages a page of the history has at most.
    pub history_page: usize,
    /// How many recovery codes an enrolment gives.
    pub recovery_codes: usize,
    /// How long the administrator's enrolment code is good.
    pub enrolment_code: Duration,
    /// Whether messages of a deleted account stay, under a neutral name.
    pub keep_messages_of_deleted: bool,
}

/// Which registrations are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registration {
    /// Anyone that reaches the port.
    Open,
    /// People with an invitation.
    Invite,
    /// None: accounts are made by the administrator.
    Closed,
}
