//! Where to listen, and why that may fail.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;

/// An address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// The address.
    pub address: SocketAddr,
    /// Whether a machine without such an address goes on without it.
    pub optional: bool,
    /// Whether it speaks TLS.
    pub tls: bool,
}

impl Listen {
    /// Whether strangers would talk to it unencrypted.
    pub fn exposes_plaintext(&self) -> bool {
        !self.tls && !self.address.ip().is_loopback()
    }
}

/// The server cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The port is busy, or this machine does not have the address.
    #[error(
        "cannot listen on {address}: {source}; stop the program that has the port, or choose another with --listen"
    )]
    Address {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The administrator's socket.
    #[error("cannot listen on {}: {text}", path.display())]
    Admin {
        /// The path of the socket.
        path: PathBuf,
        /// What went wrong.
        text: String,
    },
    /// The C core refused.
    #[error("cannot listen on {address}: {text}")]
    Core {
        /// The address.
        address: SocketAddr,
        /// What it said.
        text: String,
    },
}

/// Reports a busy port with the system's own error. The C core only says that it failed, and would share a port that another
/// address family has.
pub(super) fn can_bind(address: SocketAddr) -> std::io::Result<()> {
    TcpListener::bind(address).map(|_| ())
}
