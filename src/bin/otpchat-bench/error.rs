//! Why there are no figures.

use std::fmt::Display;
use std::io;

use grpc_otp_chat::client::endpoint::EndpointError;
use grpc_otp_chat::client::error::CallError;

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    /// The flags ask for something impossible.
    #[error("{0}")]
    Asked(String),
    /// The server cannot be found, or is not on this machine.
    #[error("{0}; load for another machine has to be asked for with --beyond-this-machine")]
    Endpoint(#[from] EndpointError),
    /// An account could not be made.
    #[error("{login} cannot {what}: {cause}; start the server as script/bench does, with throttles for many logins")]
    Account {
        /// Its login.
        login: String,
        /// The step that failed.
        what: &'static str,
        /// The server's answer.
        cause: CallError,
    },
    /// A connection broke.
    #[error("a connection to the server failed: {0}")]
    Connection(#[source] io::Error),
    /// The streams brought something wrong.
    #[error("wrong deliveries: {}", .0.join("; "))]
    Faults(Vec<String>),
    /// The time limit passed before everything had arrived.
    #[error("{missing} {what} were missing when the time was over; see --limit-seconds")]
    TooSlow {
        /// What was awaited.
        what: &'static str,
        /// How many are missing.
        missing: u32,
    },
    /// Calls failed.
    #[error("{0} calls failed; the server's log may say why")]
    Failed(u32),
    /// The server's process cannot be examined.
    #[error("process {0} (--server-pid) cannot be looked at: {1}")]
    Process(u32, #[source] io::Error),
    /// This machine refuses something that the generator needs.
    #[error("this machine does not do its part: {0}")]
    Machine(String),
    /// Ctrl-C.
    #[error("stopped")]
    Stopped,
}

impl BenchError {
    /// An error of this machine.
    pub(crate) fn from_machine(error: impl Display) -> BenchError {
        BenchError::Machine(error.to_string())
    }
}
