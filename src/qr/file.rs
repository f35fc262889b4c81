//! Enrolment pictures on disk. A picture's name can be nothing but a file of its directory, only its owner can read it, and it is
//! deleted after use: by its owner, by a signal, or at the next start.
//!
//! A file beside each temporary picture, locked by the process that uses it, shows whether that process still lives.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use sha2::{Digest, Sha256};

use crate::base::durable;
use crate::base::lock::lock;

/// The longest stem of a file name, in bytes; the usual file systems take 255 for the whole name.
const MAX_STEM_BYTES: usize = 100;
/// Names that older systems treat as devices, whatever the extension.
const DEVICES: [&str; 4] = ["con", "prn", "aux", "nul"];

/// The name of the file that marks a temporary picture: this, the picture's name, and [`MARKER_END`].
const MARKER_START: &str = ".";
/// The end of that name.
const MARKER_END: &str = ".temporary";

/// The temporary pictures of this process, for the case that a signal ends it.
static TEMPORARY: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// A picture on disk. Dropping it deletes the file, unless it is kept.
#[derive(Debug)]
pub struct PictureFile {
    path: PathBuf,
    /// `None` if the picture is kept.
    marker: Option<Marker>,
}

impl PictureFile {
    /// Writes `png` as the picture of `login` into `directory`, which is created for its owner only if it is missing. A file of
    /// the same name is replaced in one step; a symbolic link is replaced, not followed.
    ///
    /// # Errors
    /// The file system's own.
    pub fn write(directory: &Path, login: &str, png: &[u8], keep: bool) -> io::Result<PictureFile> {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let name = file_name(login);
        let path = directory.join(&name);
        let marker = if keep { None } else { Some(Marker::create(directory, &name)?) };
        let temporary = directory.join(format!(".{:016x}.tmp", random()?));
        let written = durable::create_new(&temporary, png).and_then(|()| fs::rename(&temporary, &path));
        if let Err(error) = written {
            // Best effort: there may be nothing to remove, and the first error is the one to report.
            let _ = fs::remove_file(&temporary);
            return Err(error);
        }
        Ok(PictureFile { path, marker })
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Deletes it now, unless it is kept; returns whether it is gone.
    ///
    /// # Errors
    /// The file system's own; a file that is gone already is no error.
    pub fn delete(mut self) -> io::Result<bool> {
        // Taking the marker keeps `drop` from trying again.
        let Some(_marker) = self.marker.take() else { return Ok(false) };
        durable::remove_if_there(&self.path).map(|()| true)
    }
}

impl Drop for PictureFile {
    fn drop(&mut self) {
        if self.marker.is_some() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Marks a picture as temporary. It exists before the picture does, and until the picture is deleted.
#[derive(Debug)]
struct Marker {
    path: PathBuf,
    picture: PathBuf,
    /// Locked. The system unlocks it when the process ends.
    _file: File,
}

impl Marker {
    fn create(directory: &Path, picture: &str) -> io::Result<Marker> {
        let path = directory.join(format!("{MARKER_START}{picture}{MARKER_END}"));
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path)?;
        // Another console may have it: then the picture goes with the last of them.
        let _ = file.try_lock();
        let picture = directory.join(picture);
        lock(&TEMPORARY).extend([picture.clone(), path.clone()]);
        Ok(Marker { path, picture, _file: file })
    }
}

impl Drop for Marker {
    fn drop(&mut self) {
        lock(&TEMPORARY).retain(|path| *path != self.picture && *path != self.path);
        let _ = fs::remove_file(&self.path);
    }
}

/// Deletes the temporary pictures of this process, for the case that a signal ends it.
pub fn delete_temporary_pictures() {
    for path in lock(&TEMPORARY).drain(..) {
        let _ = fs::remove_file(path);
    }
}

/// Deletes temporary pictures in `directory` whose processes have ended without doing so. Best effort: there may be none.
pub fn remove_leftovers(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let picture = name.to_str().and_then(|name| name.strip_prefix(MARKER_START)?.strip_suffix(MARKER_END));
        let Some(picture) = picture.filter(|picture| picture.ends_with(".png")) else { continue };
        let unused = OpenOptions::new().write(true).open(entry.path()).is_ok_and(|marker| marker.try_lock().is_ok());
        if unused {
            let _ = fs::remove_file(directory.join(picture));
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// The file name of a login's picture. Letters, digits and `_ - .` stay, and anything else becomes `_`. A changed name gets eight
/// digits of its hash, so that different logins keep different pictures.
///
/// The result is always one plain component of a path: never empty, `.`, `..` or hidden, without a separator or control
/// character, no flag of a command, at most 113 bytes long, and no device name of other systems.
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

/// Whether older systems treat a name with this stem as a device: only the part before the first full stop counts.
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
    fn the_name_is_one_plain_file_and_differs_from_others_whatever_the_login() {
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
        fn no_login_leaves_the_directory(login in any::<String>()) {
            let name = file_name(&login);
            prop_assert!(is_one_plain_file(&name), "{:?} -> {:?}", login, name);
        }

        #[test]
        fn no_login_of_dangerous_characters_leaves_the_directory(login in "[./\\\\:\0a-cCONnul1-]{0,12}") {
            let name = file_name(&login);
            prop_assert!(is_one_plain_file(&name), "{:?} -> {:?}", login, name);
        }
    }

    #[test]
    fn only_its_owner_reads_a_picture_and_dropping_deletes_it() {
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
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 0, "no other file is left either");
    }

    #[test]
    fn a_kept_picture_stays_and_the_next_one_replaces_it() {
        let place = tempfile::tempdir().unwrap();
        let first = PictureFile::write(place.path(), "alice", b"first", true).unwrap();
        assert!(!first.delete().unwrap());
        let second = PictureFile::write(place.path(), "alice", b"second", false).unwrap();
        assert_eq!(fs::read(second.path()).unwrap(), b"second");
        assert!(second.delete().unwrap());
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_link_is_replaced_and_not_followed() {
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

    #[test]
    fn leftovers_of_processes_that_have_ended_are_deleted_and_nothing_else() {
        let place = tempfile::tempdir().unwrap();
        let kept = PictureFile::write(place.path(), "kept", b"kept", true).unwrap();
        let live = PictureFile::write(place.path(), "live", b"live", false).unwrap();
        let left = ["left.png", ".left.png.temporary", ".gone.png.temporary"];
        let foreign = [".notes.temporary", "other.png", ".other.png"];
        for name in left.iter().chain(&foreign) {
            fs::write(place.path().join(name), "").unwrap();
        }
        remove_leftovers(place.path());
        assert!(left.iter().all(|name| !place.path().join(name).exists()));
        assert!(foreign.iter().all(|name| place.path().join(name).exists()));
        assert!(kept.path().exists() && live.path().exists());
        remove_leftovers(&place.path().join("missing"));
    }
}
