//! Enrolment pictures on disk: under names that can be nothing but a file of their directory, for their owner's eyes
//! only, and gone when they have served.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::base::durable;

/// The longest stem of a file name, in bytes; the usual file systems take 255 for the whole name.
const MAX_STEM_BYTES: usize = 100;
/// Names that older systems take for devices, whatever the extension.
const DEVICES: [&str; 4] = ["con", "prn", "aux", "nul"];

/// A picture on disk. Dropping it deletes it, unless it is to be kept.
#[derive(Debug)]
pub struct PictureFile {
    path: PathBuf,
    keep: bool,
}

impl PictureFile {
    /// Writes `png` as the picture of `login` into `directory`, which is made (for its owner only) if it is missing. A
    /// picture of that name, or whatever else stands there under it, is replaced in one step; a symbolic link there is
    /// replaced, not followed.
    ///
    /// # Errors
    /// What the file system says.
    pub fn write(directory: &Path, login: &str, png: &[u8], keep: bool) -> io::Result<PictureFile> {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let path = directory.join(file_name(login));
        let temporary = directory.join(format!(".{:016x}.tmp", random()?));
        let written = durable::create_new(&temporary, png).and_then(|()| fs::rename(&temporary, &path));
        if let Err(error) = written {
            // Best effort: there may be nothing to remove, and the first error is the one to tell.
            let _ = fs::remove_file(&temporary);
            return Err(error);
        }
        Ok(PictureFile { path, keep })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Deletes it now, unless it is to be kept; says whether it is gone.
    ///
    /// # Errors
    /// What the file system says; a file that is gone already is none.
    pub fn delete(mut self) -> io::Result<bool> {
        if self.keep {
            return Ok(false);
        }
        // Once is enough: dropping must not try again.
        self.keep = true;
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(true),
        }
    }
}

impl Drop for PictureFile {
    fn drop(&mut self) {
        if !self.keep {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The file name of a login's picture: letters, digits and `_ - .` stay, anything else becomes `_`. A name that had to
/// be changed gets eight digits of its hash, so that different logins keep different pictures.
///
/// Whatever goes in, what comes out is one plain component of a path: never empty, `.`, `..` or hidden, without a
/// separator or control character, no flag to a command, at most 113 bytes long, and no device name of other systems.
pub fn file_name(login: &str) -> String {
    let mut stem = String::new();
    for letter in login.chars() {
        let fine = letter.is_alphanumeric() || letter == '_' || (matches!(letter, '.' | '-') && !stem.is_empty());
        let letter = if fine { letter } else { '_' };
        if stem.len() + letter.len_utf8() > MAX_STEM_BYTES {
            break;
        }
        stem.push(letter);
    }
    if stem != login || is_device(&stem) || stem.is_empty() {
        let digest = Sha256::digest(login.as_bytes());
        stem.push('-');
        stem.extend(digest.iter().take(4).map(|byte| format!("{byte:02x}")));
        if is_device(&stem) || stem.starts_with('-') {
            stem.insert(0, '_');
        }
    }
    stem.push_str(".png");
    stem
}

/// Whether older systems take a name with this stem for a device: what counts is what stands before the first full stop.
fn is_device(stem: &str) -> bool {
    let first = stem.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let numbered = |kind: &str| first.strip_prefix(kind).is_some_and(|rest| rest.chars().count() == 1);
    DEVICES.contains(&first.as_str()) || numbered("com") || numbered("lpt")
}

fn random() -> io::Result<u64> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(u64::from_ne_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Component;

    use proptest::prelude::*;

    use super::*;

    fn is_one_plain_file(name: &str) -> bool {
        let mut parts = Path::new(name).components();
        let plain = matches!((parts.next(), parts.next()), (Some(Component::Normal(part)), None) if part == name);
        plain
            && name.len() <= 120
            && !name.starts_with(['.', '-'])
            && !name.contains(['/', '\\', ':', '\0'])
            && !name.chars().any(char::is_control)
            && !is_device(name.strip_suffix(".png").unwrap_or_default())
    }

    #[test]
    fn a_usual_login_is_its_own_file_name() {
        for login in ["alice", "user1", "a.b-c_d", "Жора", "漢字"] {
            assert_eq!(file_name(login), format!("{login}.png"));
        }
    }

    #[test]
    fn whatever_the_login_the_name_is_one_plain_file_and_differs_from_others() {
        let long = "x".repeat(300);
        let wild = [
            "",
            ".",
            "..",
            "...",
            "../x",
            "/etc/x",
            "a/b",
            "a\\b",
            "c:\\x",
            "x\0y",
            "\0",
            "-rf",
            ".hidden",
            "con",
            "NUL",
            "nul.txt",
            "com1",
            "LPT9.x",
            "a b",
            "a\nb",
            "\u{202e}x",
            "~",
            "$HOME",
            "*",
            &long,
            "é/è",
            " ",
        ];
        let names: Vec<String> = wild.iter().map(|login| file_name(login)).collect();
        for (login, name) in wild.iter().zip(&names) {
            assert!(is_one_plain_file(name), "{login:?} -> {name:?}");
        }
        let mut unique = names.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), names.len(), "{names:?}");
    }

    proptest! {
        #[test]
        fn no_login_at_all_leaves_the_directory(login in any::<String>()) {
            let name = file_name(&login);
            prop_assert!(is_one_plain_file(&name), "{:?} -> {:?}", login, name);
        }

        #[test]
        fn nor_does_one_made_of_what_is_dangerous(login in "[./\\\\:\0a-cCONnul1-]{0,12}") {
            let name = file_name(&login);
            prop_assert!(is_one_plain_file(&name), "{:?} -> {:?}", login, name);
        }
    }

    #[test]
    fn the_picture_is_for_its_owner_only_and_goes_when_dropped() {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().join("qr");
        let file = PictureFile::write(&directory, "alice", b"picture", false).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&directory), 0o700);
        assert_eq!(mode(file.path()), 0o600);
        assert_eq!(fs::read(file.path()).unwrap(), b"picture");
        let path = file.path().to_owned();
        drop(file);
        assert!(!path.exists());
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 0, "no temporary file is left either");
    }

    #[test]
    fn a_picture_to_be_kept_stays_and_is_replaced_by_the_next() {
        let place = tempfile::tempdir().unwrap();
        let first = PictureFile::write(place.path(), "alice", b"first", true).unwrap();
        assert!(!first.delete().unwrap());
        let second = PictureFile::write(place.path(), "alice", b"second", false).unwrap();
        assert_eq!(fs::read(second.path()).unwrap(), b"second");
        assert!(second.delete().unwrap());
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_link_in_its_place_is_replaced_and_not_followed() {
        let place = tempfile::tempdir().unwrap();
        let elsewhere = place.path().join("elsewhere");
        fs::write(&elsewhere, "untouched").unwrap();
        let directory = place.path().join("qr");
        fs::create_dir(&directory).unwrap();
        symlink(&elsewhere, directory.join("alice.png")).unwrap();
        let file = PictureFile::write(&directory, "alice", b"picture", false).unwrap();
        assert!(fs::symlink_metadata(file.path()).unwrap().is_file());
        assert_eq!(fs::read(&elsewhere).unwrap(), b"untouched");
    }
}
