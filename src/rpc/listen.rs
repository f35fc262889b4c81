//! Where to listen, and why that may fail.

use std::net::SocketAddr;
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

/// The server could not listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The port is taken, or the address is not this machine's.
    #[error(
        "cannot listen on {address}: {source}; stop the program that has the port, or choose another with --listen"
    )]
    Address {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The socket of the administrator's tool.
    #[error("cannot listen on {}: {text}", path.display())]
    Admin {
        /// Where.
        path: PathBuf,
        /// What went wrong.
        text: String,
    },
    /// The C core refused.
    #[error("cannot listen on {address}: {text}")]
    Core {
        /// Where.
        address: SocketAddr,
        /// What it said.
        text: String,
    },
}
