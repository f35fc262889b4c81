//! The data directory: the database file's name, and the lock that keeps a second process out.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::error::OpenError;

/// The name of the database file in the data directory, as the predecessor has it.
pub const FILE_NAME: &str = "users.db";

/// Holds the data directory for one process. Another process that tries is refused until this is dropped.
#[derive(Debug)]
pub struct DirectoryLock {
    _file: File,
}

impl DirectoryLock {
    /// Takes the lock, without waiting.
    ///
    /// # Errors
    /// [`OpenError::InUse`], or the directory cannot be written to.
    pub fn take(data_dir: &Path) -> Result<DirectoryLock, OpenError> {
        let path = DirectoryLock::path_in(data_dir);
        let io = |source| OpenError::Io { path: path.clone(), source };
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(io)?;
        match file.try_lock() {
            Ok(()) => Ok(DirectoryLock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path }),
            Err(TryLockError::Error(source)) => Err(io(source)),
        }
    }

    /// Whether a process holds it. Makes no file.
    ///
    /// # Errors
    /// The file cannot be opened or locked.
    pub fn is_taken(data_dir: &Path) -> Result<bool, OpenError> {
        let path = DirectoryLock::path_in(data_dir);
        let io = |source| OpenError::Io { path: path.clone(), source };
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            opened => opened.map_err(io)?,
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(source)) => Err(io(source)),
        }
    }

    fn path_in(data_dir: &Path) -> PathBuf {
        data_dir.join(format!("{FILE_NAME}.lock"))
    }
}
