//! Starting: what the server prints, and what it prints when it cannot start.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::crash::enrolled;
use crate::daemon::Daemon;
use crate::house::{Peer, environment, eventually};

/// Runs a server that is expected to refuse to start. Returns exit code and standard error.
fn refused(listen: &str, directory: &Path, args: &[&str]) -> (Option<i32>, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_otpchatd"))
        .args(["--listen", listen, "--data-dir"])
        .arg(directory)
        .args(args)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("otpchatd runs");
    // It writes there only if it starts, and would then run for ever.
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("its stdout")).read_line(&mut line).expect("a line or the end");
    if !line.is_empty() {
        child.kill().expect("killed");
    }
    let output = child.wait_with_output().expect("its end");
    assert_eq!(line, "", "it started with {args:?}");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

pub(crate) fn check(directory: &Path, args: &[&str], code: i32, says: &[&str]) {
    let (got, text) = refused("127.0.0.1:0", directory, args);
    assert_eq!(got, Some(code), "{args:?}: {text}");
    for part in says {
        assert!(text.contains(part), "{args:?} should say {part:?}: {text}");
    }
}

#[test]
fn a_busy_port_is_reported_with_exit_code_1() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let directory = tempfile::tempdir().expect("a directory");
    let (code, text) = refused(&address, directory.path(), &[]);
    assert_eq!(code, Some(1));
    assert!(text.contains(&format!("cannot listen on {address}")) && text.contains("--listen"), "{text}");
    assert_eq!(text.matches("in use").count(), 1, "the cause is said once: {text}");
}

#[test]
fn an_unusable_directory_is_reported_with_exit_code_1() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("file");
    fs::write(&file, "").expect("a file");
    check(&file.join("below"), &[], 1, &["file/below", "--data-dir"]);
    check(&file, &[], 1, &["--data-dir"]);
}

#[test]
fn a_newer_or_foreign_database_is_reported_with_exit_code_1() {
    let directory = tempfile::tempdir().expect("a directory");
    let database = directory.path().join("users.db");
    let connection = rusqlite::Connection::open(&database).expect("a database");
    connection.execute_batch("CREATE TABLE cats(name TEXT)").expect("a table");
    check(directory.path(), &[], 1, &["is not a database of otpchatd"]);
    connection
        .execute_batch("DROP TABLE cats; PRAGMA application_id = 0x6f747063; PRAGMA user_version = 999")
        .expect("newer");
    check(directory.path(), &[], 1, &["was written by a newer otpchatd"]);
}

#[test]
fn a_second_server_on_the_same_database_is_refused() {
    let server = Daemon::start();
    check(server.directory(), &[], 1, &["another otpchatd uses"]);
}

#[test]
fn a_key_that_is_readable_by_others_or_lost_stops_the_start() {
    let mut server = Daemon::start();
    enrolled(&Peer::connect(&environment(), server.port()), "user1");
    server.stop();
    let key = server.directory().join("sealing.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).expect("chmod");
    check(server.directory(), &[], 1, &["mode 0640", "chmod 600"]);
    let bytes = fs::read(&key).expect("the key");
    fs::remove_file(&key).expect("gone");
    check(server.directory(), &[], 1, &["sealing.key is missing", "backup"]);
    assert!(!key.exists(), "and no new one is made in its place");
    fs::write(&key, bytes.iter().map(|b| b ^ 1).collect::<Vec<_>>()).expect("another key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("chmod");
    check(server.directory(), &[], 1, &["is not the key"]);
    fs::write(&key, bytes).expect("the key is back");
    server.start_again();
}

#[test]
fn wrong_flags_are_reported_with_exit_code_2() {
    let directory = tempfile::tempdir().expect("a directory");
    check(directory.path(), &["--no-such-flag"], 2, &["--no-such-flag"]);
    check(directory.path(), &["--listen", "example.org:1"], 2, &["HOST:PORT"]);
    check(directory.path(), &["--listen", "0.0.0.0:0"], 2, &["beyond loopback", "--plaintext-exposed-to-network"]);
    check(directory.path(), &["--max-streams", "0"], 2, &["--max-streams"]);
    check(directory.path(), &["--legacy-clients", "maybe"], 2, &["on, off"]);
    check(directory.path(), &["--log", "otpchatd=loud"], 2, &["--log"]);
}

#[test]
fn chat_lines_are_logged_escaped_and_can_be_switched_off() {
    let environment = environment();
    let say = |server: &Daemon| {
        let peer = Peer::connect(&environment, server.port());
        let peer = peer.with_token(Some(&enrolled(&peer, "user1")));
        peer.send("Привет!\n[00:00:00] admin: forged\u{202e}").expect("sent");
    };
    let mut server = Daemon::start();
    say(&server);
    server.stop();
    let log = server.log();
    let line = log.lines().find(|line| line.contains("user1: Привет!")).expect("a chat line");
    assert_eq!(line.find("] user1: Привет!"), Some("[18:30:15".len()), "{line}");
    assert!(line.contains("\\u{a}[00:00:00] admin: forged\\u{202e}"), "{line}");
    assert!(!log.lines().any(|line| line.starts_with("[00:00:00]")), "{log}");

    let mut server = Daemon::start_with(&["--chat-log", "off"]);
    say(&server);
    server.stop();
    assert!(!server.log().contains("Привет!"));
}

/// A service manager or a pager that does not read must not stop the chat.
#[test]
fn a_log_pipe_that_is_not_read_does_not_stop_the_chat() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut child = Command::new(env!("CARGO_BIN_EXE_otpchatd"))
        .args(["--listen", "127.0.0.1:0", "--data-dir"])
        .arg(directory.path())
        .env_clear()
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("otpchatd runs");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("its stdout")).read_line(&mut line).expect("a line");
    let port = line.trim().rsplit(' ').next().and_then(|port| port.parse().ok()).expect("a port");
    let peer = Peer::connect(&environment(), port);
    let member = peer.with_token(Some(&enrolled(&peer, "user1")));
    // Each is a line of the log; a pipe holds 64 KiB.
    for _ in 0..1_500 {
        assert!(peer.send("no token").is_err());
    }
    member.send("still served").expect("sent");
    child.kill().expect("killed");
    child.wait().expect("ended");
}

/// A client that reads nothing holds its stream open; the grace period is longer than this test waits for anything.
#[test]
fn a_second_signal_skips_the_grace_period() {
    let mut server =
        Daemon::start_with(&["--grace-seconds", "300", "--stream-stall-seconds", "300", "--chat-log", "off"]);
    let peer = Peer::connect(&environment(), server.port());
    let member = peer.with_token(Some(&enrolled(&peer, "user1")));
    let reader = Peer::connect(&environment(), server.port()).with_token(member.token.as_deref());
    let _unread = reader.unread_stream();
    // Far more than the windows of a connection hold.
    let text = "x".repeat(4096);
    (0..500).for_each(|_| drop(member.send(&text).expect("sent")));
    server.ask_to_stop();
    eventually("it is stopping", || server.log().contains("stopping: 1 streams"));
    server.stop();
}
