//! What the system does, without a word about gRPC: accounts, enrolment, sessions, messages, and the administrator's commands
//! (whose requests and answers are the protocol's types, with a wire and without one).

pub mod accounts;
pub mod admin;
pub mod audit_context;
pub mod caller;
mod credential;
pub mod enrolment;
mod limits;
pub mod messages;
pub mod own_account;
pub mod reauth;
pub mod refusal;
pub mod sessions;
mod sweep;
mod system;
pub mod throttles;

pub use self::credential::{ConnectionId, Credential};
pub use self::limits::{AppLimits, Registration};
pub use self::system::{App, Opened, TokenKey};
