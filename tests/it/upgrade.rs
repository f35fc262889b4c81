//! A database of the predecessor: it is upgraded as a whole or not at all, and no old secret is left in it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use data_encoding::{BASE32_NOPAD, HEXLOWER};
use grpc_otp_chat::base::clock::Clock;
use grpc_otp_chat::security::secret::SecretBytes;
use grpc_otp_chat::security::totp;
use rusqlite::Connection;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::daemon::Daemon;
use crate::house::{Peer, environment};

pub(crate) struct OldUser {
    pub(crate) login: String,
    pub(crate) password: String,
    pub(crate) secret: Vec<u8>,
}

impl OldUser {
    pub(crate) fn numbered(n: u8) -> OldUser {
        // Password and secret would be refused today.
        OldUser {
            login: format!("Old User {n}"),
            password: format!("pw{n}"),
            secret: vec![n.wrapping_mul(7) ^ 0x5a; 10],
        }
    }

    fn hash(&self) -> String {
        HEXLOWER.encode(&Sha256::digest(&self.password))
    }
}

pub(crate) fn old_database(directory: &Path, users: &[OldUser]) -> Connection {
    let connection = Connection::open(directory.join("users.db")).expect("a database");
    connection
        .execute_batch("CREATE TABLE users(id INTEGER PRIMARY KEY, login TEXT UNIQUE, password_hash TEXT, secret TEXT)")
        .expect("the table");
    for user in users {
        connection
            .execute(
                "INSERT INTO users (login, password_hash, secret) VALUES (?1, ?2, ?3)",
                [user.login.clone(), user.hash(), BASE32_NOPAD.encode(&user.secret)],
            )
            .expect("a row");
    }
    connection
}

/// A code of the user's secret, `steps` steps from now.
pub(crate) fn code_of(user: &OldUser, steps: i64) -> String {
    let secret = SecretBytes::new(user.secret.clone());
    totp::code_at(&secret, Clock::system().now().as_secs() / 30 + steps).as_str().to_owned()
}

fn can_log_in(server: &Daemon, user: &OldUser) -> String {
    Peer::connect(&environment(), server.port()).log_in(&user.login, &user.password, &code_of(user, 0)).reason
}

/// The files in the directory that hold one of the texts, except the copy of the old database.
fn traces(directory: &Path, texts: &[String]) -> Vec<String> {
    let files = fs::read_dir(directory).expect("the directory").map(|entry| entry.expect("an entry").path());
    files
        .filter(|path| !path.display().to_string().contains("before-upgrade"))
        .filter(|path| {
            let bytes = fs::read(path).unwrap_or_default();
            texts.iter().any(|text| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
        })
        .map(|path| path.display().to_string())
        .collect()
}

fn secrets_of(users: &[OldUser]) -> Vec<String> {
    users.iter().flat_map(|user| [user.hash(), BASE32_NOPAD.encode(&user.secret)]).collect()
}

#[test]
fn an_upgrade_keeps_passwords_and_authenticators_and_leaves_no_old_secret() {
    let directory = tempfile::tempdir().expect("a directory");
    let users: Vec<OldUser> = (1..=5).map(OldUser::numbered).collect();
    drop(old_database(directory.path(), &users));
    let mut server = Daemon::start_in(directory);
    assert_eq!(traces(server.directory(), &secrets_of(&users)), Vec::<String>::new());
    for user in &users {
        assert_eq!(can_log_in(&server, user), "", "{}", user.login);
    }
    server.stop();
    assert_eq!(traces(server.directory(), &secrets_of(&users)), Vec::<String>::new());
    let copies: Vec<_> = fs::read_dir(server.directory())
        .expect("the directory")
        .map(|entry| entry.expect("an entry"))
        .filter(|entry| entry.file_name().to_string_lossy().contains("before-upgrade"))
        .collect();
    assert_eq!(copies.len(), 1);
    assert_eq!(copies[0].metadata().expect("metadata").permissions().mode() & 0o777, 0o600);
    let log = server.log();
    assert!(log.contains("in the clear: delete it once people could log in"), "{log}");
}

#[test]
fn logins_that_count_as_one_today_stop_the_upgrade_before_any_change() {
    let directory = tempfile::tempdir().expect("a directory");
    let named = |login: &str| OldUser { login: login.into(), ..OldUser::numbered(1) };
    drop(old_database(directory.path(), &[named("Bob"), named("alice"), named("bob"), named("аlice")]));
    let before = fs::read(directory.path().join("users.db")).expect("the old one");
    let output = Command::new(env!("CARGO_BIN_EXE_otpchatd"))
        .args(["--listen", "127.0.0.1:0", "--data-dir"])
        .arg(directory.path())
        .output()
        .expect("otpchatd runs");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text.contains("\"Bob\" (id 1), \"bob\" (id 3)") && text.contains("\"alice\" (id 2), \"аlice\" (id 4)"),
        "{text}"
    );
    assert_eq!(fs::read(directory.path().join("users.db")).expect("still there"), before);
    let left: Vec<_> =
        fs::read_dir(directory.path()).expect("the directory").map(|e| e.expect("an entry").file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("upgrad")), "{left:?}");
}

#[test]
fn an_account_without_a_readable_secret_waits_for_the_administrator() {
    let directory = tempfile::tempdir().expect("a directory");
    let user = OldUser::numbered(1);
    let connection = old_database(directory.path(), std::slice::from_ref(&user));
    connection.execute("UPDATE users SET secret = 'not base32!'", []).expect("an update");
    connection
        .execute("INSERT INTO users (login, password_hash, secret) VALUES ('none', ?1, NULL)", [user.hash()])
        .expect("a row");
    drop(connection);
    let server = Daemon::start_in(directory);
    assert_eq!(can_log_in(&server, &user), "ENROLMENT_CODE_REQUIRED");
    assert_eq!(
        can_log_in(&server, &OldUser { login: "none".into(), ..OldUser::numbered(1) }),
        "ENROLMENT_CODE_REQUIRED"
    );
    assert_eq!(can_log_in(&server, &OldUser { password: "wrong".into(), ..user }), "INVALID_CREDENTIALS");
}

/// The next start continues from whichever it finds.
#[test]
fn a_killed_upgrade_leaves_the_old_database_or_the_new_one() {
    let users: Vec<OldUser> = (1..=30).map(OldUser::numbered).collect();
    let mut directory = tempfile::tempdir().expect("a directory");
    drop(old_database(directory.path(), &users));
    for moment in
        ["upgrading accounts: 0 of 30", "upgrading accounts: 15 of 30", "upgrading accounts: 30 of 30", "upgraded 30"]
    {
        directory = start_and_kill(directory, moment);
        let connection = Connection::open(directory.path().join("users.db")).expect("a database");
        let integrity: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("a check");
        assert_eq!(integrity, "ok");
        let users: i64 = connection.query_row("SELECT count(*) FROM users", [], |row| row.get(0)).expect("a count");
        assert_eq!(users, 30, "at {moment:?}");
        let old = connection.prepare("SELECT secret FROM users").is_ok();
        let new = connection.prepare("SELECT login_key FROM users").is_ok();
        assert!(old ^ new, "at {moment:?}");
    }
    let server = Daemon::start_in(directory);
    assert_eq!(can_log_in(&server, &users[0]), "");
    assert_eq!(can_log_in(&server, &users[29]), "");
    assert_eq!(traces(server.directory(), &secrets_of(&users)), Vec::<String>::new());
}

/// Starts a server and kills it once its log holds a text, or once it serves.
fn start_and_kill(directory: TempDir, moment: &str) -> TempDir {
    let mut child = Command::new(env!("CARGO_BIN_EXE_otpchatd"))
        .args(["--listen", "127.0.0.1:0", "--data-dir"])
        .arg(directory.path())
        .env_clear()
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("otpchatd runs");
    let log = BufReader::new(child.stderr.take().expect("its log"));
    for line in log.lines().map_while(Result::ok) {
        if line.contains(moment) || line.contains("listening on") {
            break;
        }
    }
    child.kill().expect("killed");
    child.wait().expect("ended");
    directory
}

/// A running server of the predecessor must not write into a database that is being replaced.
#[test]
fn no_other_process_can_write_while_the_upgrade_runs() {
    let directory = tempfile::tempdir().expect("a directory");
    let users: Vec<OldUser> = (1..=30).map(OldUser::numbered).collect();
    let other = old_database(directory.path(), &users);
    other.busy_timeout(std::time::Duration::ZERO).expect("a timeout");
    let insert = "INSERT INTO users (login, password_hash, secret) VALUES ('late', 'x', NULL)";
    let mut child = Command::new(env!("CARGO_BIN_EXE_otpchatd"))
        .args(["--listen", "127.0.0.1:0", "--data-dir"])
        .arg(directory.path())
        .env_clear()
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("otpchatd runs");
    let log = BufReader::new(child.stderr.take().expect("its log"));
    let mut tries = 0;
    for line in log.lines().map_while(Result::ok) {
        if line.contains("listening on") {
            break;
        }
        // The upgrade is running between two lines of its progress.
        if line.contains(" of 30") && !line.contains("30 of 30") {
            assert!(other.execute(insert, []).is_err(), "written behind the upgrade's back at {line:?}");
            tries += 1;
        }
    }
    child.kill().expect("killed");
    child.wait().expect("ended");
    assert!(tries >= 5, "{tries} tries");
}
