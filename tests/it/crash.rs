//! Faults: a server killed at random moments, and a full disk. Every acknowledged message is stored, once and in order.
//! (Killing the process proves recovery from a crash of the process, not from a loss of power.)

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use grpc_otp_chat::base::clock::Clock;
use grpc_otp_chat::proto::methods;
use grpc_otp_chat::proto::{Happened, Message, SendResponse, Start};
use grpc_otp_chat::security::totp;
use grpcio::{Environment, RpcStatus};
use rusqlite::{Connection, OpenFlags};

use crate::daemon::Daemon;
use crate::house::{PASSWORD, Peer, environment, eventually, reason, secret_of};

/// How often the server is killed, unless `OTPCHAT_CRASH_ROUNDS` says otherwise.
const ROUNDS: usize = 24;
const SENDERS: usize = 4;
const READERS: usize = 3;

fn rounds() -> usize {
    std::env::var("OTPCHAT_CRASH_ROUNDS").ok().map_or(ROUNDS, |rounds| rounds.parse().expect("a number of rounds"))
}

fn send(peer: &Peer, text: &str, client_id: &str) -> Result<SendResponse, RpcStatus> {
    let message = Message { text: text.into(), client_id: client_id.into(), ..Default::default() };
    peer.call(&methods::SEND_MESSAGE, &message)
}

/// Sends one text after the other, each until it is acknowledged, through any crash of the server. Returns the acknowledged
/// texts by their ids.
fn speak(peer: &Peer, name: usize, over: &AtomicBool, answers: &AtomicUsize) -> Vec<(i64, String)> {
    let mut acknowledged = Vec::new();
    for n in 0.. {
        let text = format!("{name}-{n}");
        loop {
            if let Ok(answer) = send(peer, &text, &text) {
                acknowledged.push((answer.id.parse().expect("a number"), text));
                answers.fetch_add(1, Ordering::Relaxed);
                break;
            }
            if over.load(Ordering::Relaxed) {
                return acknowledged;
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
        if over.load(Ordering::Relaxed) {
            break;
        }
    }
    acknowledged
}

/// Reads all messages from the first on, resuming at the cursor after each lost connection, until `last` has arrived.
fn listen(peer: &Peer, last: &Mutex<Option<u64>>) -> Vec<u64> {
    let (mut heard, mut cursor) = (Vec::new(), 0);
    loop {
        let mut events = peer.subscribe(Some(Start::After(cursor)));
        while let Ok((at, happened)) = events.try_next() {
            cursor = at;
            if let Happened::Message(message) = happened {
                heard.push(message.id);
            }
            if last.lock().expect("no panic").is_some_and(|last| cursor >= last) {
                return heard;
            }
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

#[test]
fn every_acknowledged_message_survives_kill_9_and_is_delivered_once_in_order() {
    let mut server = Daemon::start_with(&["--heartbeat-seconds", "1"]);
    let environment = environment();
    let token = enrolled(&Peer::connect(&environment, server.port()), "user1");
    let (over, answers) = (AtomicBool::new(false), AtomicUsize::new(0));
    let last: Mutex<Option<u64>> = Mutex::default();
    let connect =
        |environment: &std::sync::Arc<Environment>, port| Peer::connect(environment, port).with_token(Some(&token));
    let port = server.port();
    let (acknowledged, heard) = std::thread::scope(|scope| {
        let (over, answers, last) = (&over, &answers, &last);
        let senders: Vec<_> = (0..SENDERS)
            .map(|name| {
                let peer = connect(&environment, port);
                scope.spawn(move || speak(&peer, name, over, answers))
            })
            .collect();
        let readers: Vec<_> = (0..READERS)
            .map(|_| {
                let peer = connect(&environment, port);
                scope.spawn(move || listen(&peer, last))
            })
            .collect();
        for _ in 0..rounds() {
            let enough = answers.load(Ordering::Relaxed) + 1 + getrandom::u32().expect("random") as usize % 120;
            eventually("enough answers", || answers.load(Ordering::Relaxed) >= enough);
            server.kill();
            server.start_again();
        }
        over.store(true, Ordering::Relaxed);
        let acknowledged: Vec<Vec<(i64, String)>> =
            senders.into_iter().map(|sender| sender.join().expect("no panic")).collect();
        let stored = stored(&server);
        *last.lock().expect("no panic") = stored.last_key_value().map(|(id, _)| id.unsigned_abs());
        let heard: Vec<Vec<u64>> = readers.into_iter().map(|reader| reader.join().expect("no panic")).collect();
        (acknowledged, heard)
    });
    let stored = stored(&server);
    for of_one in &acknowledged {
        assert!(of_one.windows(2).all(|pair| pair[0].0 < pair[1].0), "in the order acknowledged");
        for (id, text) in of_one {
            assert_eq!(stored.get(id), Some(text), "message {id} was acknowledged");
        }
    }
    let texts: std::collections::BTreeSet<&String> = stored.values().collect();
    assert_eq!(texts.len(), stored.len(), "a text stored twice");
    let ids: Vec<u64> = stored.keys().map(|id| id.unsigned_abs()).collect();
    for of_one in heard {
        assert_eq!(of_one, ids, "each message once, in order, across all the crashes");
    }
}

/// Limits the size of the server's files; `None` lifts the limit.
fn limit_files(server: &Daemon, bytes: Option<u64>) {
    let limit = bytes.map_or("unlimited".to_owned(), |bytes| bytes.to_string());
    let pid = server.pid().to_string();
    let set = Command::new("prlimit").args(["--pid", &pid, &format!("--fsize={limit}:unlimited")]).status();
    assert!(set.expect("prlimit runs").success());
}

#[test]
fn a_full_disk_refuses_writes_loses_nothing_and_recovers_with_free_space() {
    let server = Daemon::start();
    let environment = environment();
    let peer = Peer::connect(&environment, server.port());
    let peer = peer.with_token(Some(&enrolled(&peer, "user1")));
    let mut events = peer.subscribe(None);
    let text = |n: usize| format!("{n:06} {}", "x".repeat(4_000));
    let mut acknowledged = vec![peer.send(&text(0)).expect("there is room").id];
    let log = server.directory().join("users.db-wal");
    limit_files(&server, Some(std::fs::metadata(log).expect("a log").len() + 100_000));
    let mut refused = 0;
    for n in 1..200 {
        match peer.send(&text(n)) {
            Ok(answer) => acknowledged.push(answer.id),
            Err(status) => {
                assert_eq!(reason(&status), "STORAGE_FAILED");
                refused += 1;
                if refused == 5 {
                    break;
                }
            }
        }
    }
    assert_eq!(refused, 5, "the disk was full");
    // Readers are still served.
    let page = peer.call(&methods::HISTORY, &grpc_otp_chat::proto::HistoryRequest::new()).expect("a page");
    assert!(!page.messages.is_empty());
    limit_files(&server, None);
    acknowledged.push(peer.send("there is room again").expect("sent").id);
    let stored: Vec<String> = stored(&server).keys().map(i64::to_string).collect();
    assert_eq!(stored, acknowledged, "what was refused was not stored");
    let mut heard = Vec::new();
    while heard.len() < acknowledged.len() {
        if let (_, Happened::Message(message)) = events.next() {
            heard.push(message.id.to_string());
        }
    }
    assert_eq!(heard, acknowledged);
}

fn stored(server: &Daemon) -> BTreeMap<i64, String> {
    let path = server.directory().join("users.db");
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("the database");
    connection
        .prepare("SELECT id, text FROM events")
        .expect("the table")
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .expect("rows")
        .collect::<rusqlite::Result<_>>()
        .expect("readable rows")
}

/// Registers and enrols by the machine's clock. Returns the token.
pub(crate) fn enrolled(peer: &Peer, login: &str) -> String {
    assert!(peer.register(login, PASSWORD).success);
    let waiting = peer.with_token(Some(&peer.log_in(login, PASSWORD, "").token));
    let secret = secret_of(&waiting.init_otp(login, "", "").secret);
    let code = totp::code_at(&secret, Clock::system().now().as_secs() / 30);
    let checked = waiting.check_otp(login, code.as_str());
    assert!(checked.valid, "{}", checked.error);
    checked.token
}
