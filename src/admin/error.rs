//! Why a command of the administrator failed.

use std::io;

use crate::app::refusal;
use crate::security::keys::KeyError;
use crate::server::StartError;
use crate::store::{OpenError, StoreError, sealed};

/// A command could not be carried out. Each text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// The server, or the system, refused, with these words.
    #[error("{0}")]
    Refused(String),
    /// The data directory may not be read by this user.
    #[error("{0} is closed to this user: run this as root, or as the user of the server")]
    Closed(String),
    /// There is no database.
    #[error("there is no database in {0}: give the server's directory with --data-dir")]
    NoDatabase(String),
    /// The database is still the predecessor's.
    #[error("the database in {0} is still the predecessor's: start the server once, which upgrades it")]
    NotUpgraded(String),
    /// Files that the command made would belong to another user than the server's.
    #[error("{path} belongs to another user: run this as that one, as in `sudo -u '#{owner}' otpchatd ...`")]
    OtherOwner {
        /// The data directory.
        path: String,
        /// The number of the user that owns it.
        owner: u32,
    },
    /// A server runs, but does not answer.
    #[error(
        "a server is using {path}, but does not answer on its socket: {why}; run this as its user or as root, or stop the server first"
    )]
    Unanswered {
        /// The data directory.
        path: String,
        /// What happened.
        why: String,
    },
    /// The command needs a stopped server.
    #[error("stop the server first: its secrets are sealed anew while nobody uses them")]
    ServerRuns,
    /// The database could not be opened.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The database could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The database could not be read.
    #[error("the database could not be read: {0}")]
    Store(#[from] StoreError),
    /// A key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The secrets could not be sealed anew.
    #[error(transparent)]
    Reseal(#[from] sealed::ResealError),
    /// The answer to a question is missing, or another one than needed.
    #[error("{0}")]
    Unasked(&'static str),
    /// The audit has gaps or changed rows; their number.
    #[error("the audit was tampered with: {0} findings")]
    Tampered(usize),
    /// The terminal failed.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl From<refusal::Error> for ToolError {
    fn from(error: refusal::Error) -> ToolError {
        ToolError::Refused(error.to_string())
    }
}
