//! Why the server could not start.

use std::io;
use std::path::PathBuf;

use crate::rpc::listen::ListenError;
use crate::security::certificate::CertificateError;
use crate::security::keys::KeyError;
use crate::security::passwords::HashError;
use crate::security::vault::VaultError;
use crate::store::upgrade::UpgradeError;
use crate::store::{OpenError, StoreError};

/// The server could not start. Each text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory cannot be made or written to.
    #[error("{}: {source}; choose a directory that this user may write to with --data-dir", path.display())]
    DataDir {
        /// The directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The database cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// An old database cannot be upgraded.
    #[error("the database of the predecessor was not upgraded: {0}")]
    Upgrade(#[from] UpgradeError),
    /// A key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The TLS certificate cannot be used.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// A key does not fit the database.
    #[error("{} is not the key that the secrets in the database are sealed under (that one has the id {wanted}): finish an interrupted `otpchatd rekey` by running it again, or restore the key from your backup", path.display())]
    OtherKey {
        /// The key file.
        path: PathBuf,
        /// The id of the key that the database needs.
        wanted: String,
    },
    /// The database cannot be read.
    #[error("the database could not be read: {0}")]
    Store(#[from] StoreError),
    /// The audit cannot be written.
    #[error("the audit could not be written: {0}")]
    Audit(String),
    /// Passwords cannot be hashed.
    #[error("{0}")]
    Hash(#[from] HashError),
    /// Secrets cannot be sealed or opened.
    #[error("{0}")]
    Vault(#[from] VaultError),
    /// The server cannot listen.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A thread cannot be started.
    #[error(
        "the system refuses another thread: {0}; raise the limit on threads (ulimit -u, or TasksMax= of the service)"
    )]
    Threads(io::Error),
}
