//! Key files: 32 random bytes, made at first start, readable by their owner only.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::secret::SecretBytes;
use crate::NAME;
use crate::base::clock::Time;
use crate::base::durable::{self, with_suffix};

/// The length of every key, in bytes.
pub const KEY_BYTES: usize = 32;

/// A key that cannot be used, with what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Other users may read or write the file.
    #[error("{} can be read by others (mode {mode:04o}): run `chmod 600` on it, and replace the key if another user may have read it", path.display())]
    Exposed {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file has the wrong length for a key.
    #[error("{} holds {found} bytes where a key has {KEY_BYTES}: restore the key from your backup", path.display())]
    Length {
        /// Which file.
        path: PathBuf,
        /// How many bytes it holds (counted up to one more than a key has).
        found: usize,
    },
    /// The key is one repeated byte.
    #[error("{} is not random: restore the key from your backup, or make one with `head -c {KEY_BYTES} /dev/urandom`", path.display())]
    NotRandom {
        /// Which file.
        path: PathBuf,
    },
    /// The database needs a key that is missing.
    #[error("{} is missing, and without it the database cannot be read: say where it is (--sealing-key, --jwt-key), or restore it from your backup", path.display())]
    Missing {
        /// Which file.
        path: PathBuf,
    },
    /// The file could not be read or created.
    #[error("{}: {source}; check the directory's owner and permissions", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// How we know that no other user can read a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyGuard {
    /// The file's mode: nothing for group and others.
    Mode,
    /// The place: a directory of credentials that the service manager made for this service alone. Its files may belong to
    /// root and have an access list, and then show a mode of 0440 (systemd's `LoadCredential=`).
    Place,
}

/// Reads a file that no other user may read, at most `limit` bytes of it.
///
/// # Errors
/// [`KeyError`]: it is missing, or others may read it.
pub fn read_guarded(path: &Path, guard: KeyGuard, limit: usize) -> Result<SecretBytes, KeyError> {
    let io = |source| KeyError::Io { path: path.to_owned(), source };
    let file = File::open(path).map_err(io)?;
    let about = file.metadata().map_err(io)?;
    let mode = about.mode() & 0o777;
    if guard == KeyGuard::Mode && mode & 0o077 != 0 {
        return Err(KeyError::Exposed { path: path.to_owned(), mode });
    }
    // Enough room at once: a buffer that grows leaves copies of the secret behind.
    let room = usize::try_from(about.len()).unwrap_or(limit).min(limit) + 1;
    let mut bytes = Vec::with_capacity(room);
    let read = file.take(limit as u64).read_to_end(&mut bytes);
    let bytes = SecretBytes::new(bytes);
    read.map_err(io)?;
    Ok(bytes)
}

/// Reads the key in `path`.
///
/// # Errors
/// [`KeyError`]: it is missing, others may read it, or it is not a key.
pub fn load(path: &Path, guard: KeyGuard) -> Result<SecretBytes, KeyError> {
    if !path.exists() {
        return Err(KeyError::Missing { path: path.to_owned() });
    }
    let key = read_guarded(path, guard, KEY_BYTES + 1)?;
    let bytes = key.expose();
    if bytes.len() != KEY_BYTES {
        return Err(KeyError::Length { path: path.to_owned(), found: bytes.len() });
    }
    if bytes.iter().all(|b| *b == bytes[0]) {
        return Err(KeyError::NotRandom { path: path.to_owned() });
    }
    Ok(key)
}

/// Reads the key in `path`, or creates it (mode 0600) if it is missing and `may_create` is true.
///
/// The new key is complete on disk before it gets its name, so a crash leaves no key or a whole one.
///
/// # Errors
/// As [`load`]; [`KeyError::Missing`] if it is missing and may not be created.
pub fn load_or_create(path: &Path, guard: KeyGuard, may_create: bool) -> Result<SecretBytes, KeyError> {
    if path.exists() {
        return load(path, guard);
    }
    if !may_create {
        return Err(KeyError::Missing { path: path.to_owned() });
    }
    create(path).map_err(|source| KeyError::Io { path: path.to_owned(), source })?;
    load(path, guard)
}

/// The file of the previous key: the same name with `.old` behind it.
pub fn path_of_old(path: &Path) -> PathBuf {
    with_suffix(path, ".old")
}

/// The file of a new key until everything is sealed under it: the same name with `.new` behind it.
pub fn path_of_new(path: &Path) -> PathBuf {
    with_suffix(path, ".new")
}

/// Replaces the key in `path` with a new one and keeps the old one in [`path_of_old`], in place of an older one. There is a key
/// in `path` at every moment.
///
/// # Errors
/// As [`load`]; the old key is then still there.
pub fn rotate(path: &Path) -> Result<SecretBytes, KeyError> {
    let io = |source| KeyError::Io { path: path.to_owned(), source };
    let old = path_of_old(path);
    durable::remove_if_there(&old).map_err(io)?;
    durable::replace(&old, load(path, KeyGuard::Mode)?.expose()).map_err(io)?;
    create(path).map_err(io)?;
    load(path, KeyGuard::Mode)
}

/// Keeps a copy of the key in `path` beside it, under its id, for backups made before. Returns its path.
///
/// # Errors
/// As [`load`], or the copy cannot be written.
pub fn keep_copy(path: &Path) -> Result<PathBuf, KeyError> {
    let io = |source| KeyError::Io { path: path.to_owned(), source };
    let key = load(path, KeyGuard::Mode)?;
    let kept = with_suffix(path, &format!(".{}", key_id(&key)));
    if !kept.exists() {
        durable::replace(&kept, key.expose()).map_err(io)?;
    }
    Ok(kept)
}

/// Moves the new key from [`path_of_new`] to `path`, in place of the old one.
///
/// # Errors
/// The file cannot be renamed.
pub fn take_over_new(path: &Path) -> Result<(), KeyError> {
    let io = |source| KeyError::Io { path: path.to_owned(), source };
    durable::rename(&path_of_new(path), path).map_err(io)
}

/// When the key in `path` was put there; `None` if there is none. (The time of its inode, which no program can set.)
pub fn changed_at(path: &Path) -> Option<Time> {
    Some(Time::from_secs(fs::metadata(path).ok()?.ctime()))
}

fn create(path: &Path) -> io::Result<()> {
    durable::replace(path, SecretBytes::random(KEY_BYTES).map_err(io::Error::from)?.expose())
}

/// A short name for a key that reveals nothing of it: the first 8 bytes of SHA-256 over a label and the key, in hex.
pub fn key_id(key: &SecretBytes) -> String {
    let digest = Sha256::new().chain_update(NAME).chain_update(b" key id").chain_update(key.expose()).finalize();
    data_encoding::HEXLOWER.encode(&digest[..8])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_key_is_created_once_for_its_owner_only_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jwt.key");
        let made = load_or_create(&path, KeyGuard::Mode, true).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(load_or_create(&path, KeyGuard::Mode, true).unwrap(), made);
        assert_eq!(load_or_create(&path, KeyGuard::Mode, false).unwrap(), made);
        assert_eq!(key_id(&made).len(), 16);
    }

    #[test]
    fn a_key_that_others_can_read_or_that_is_no_key_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("k");
        let check = |bytes: &[u8], mode: u32| {
            fs::write(&path, bytes).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            load(&path, KeyGuard::Mode).unwrap_err().to_string()
        };
        let good: Vec<u8> = (0..32).collect();
        assert!(check(&good, 0o640).contains("mode 0640"));
        assert!(check(&good, 0o604).contains("chmod 600"));
        assert!(check(&good[..31], 0o600).contains("31 bytes"));
        assert!(check(&[good.clone(), good.clone()].concat(), 0o600).contains("33 bytes"));
        assert!(check(&[b'x'; 32], 0o600).contains("not random"));
        fs::write(&path, &good).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o440)).unwrap();
        assert_eq!(load(&path, KeyGuard::Place).unwrap().expose(), good, "a credential of the service manager");
        assert!(matches!(
            load_or_create(&dir.path().join("none"), KeyGuard::Mode, false),
            Err(KeyError::Missing { .. })
        ));
    }
}
