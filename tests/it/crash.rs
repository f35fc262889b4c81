//! A server that is killed in the middle of a burst: what it acknowledged is there. This proves recovery from a crash of
//! the process, not from a loss of power.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use grpc_otp_chat::clock::Clock;
use grpc_otp_chat::security::totp;
use rusqlite::{Connection, OpenFlags};

use crate::daemon::Daemon;
use crate::house::{PASSWORD, Peer, environment, eventually, secret_of};

const ROUNDS: usize = 5;
const SENDERS: usize = 4;

#[test]
fn every_acknowledged_message_survives_kill_9_once_and_in_order() {
    let mut server = Daemon::start();
    let environment = environment();
    let token = enrolled(&Peer::connect(&environment, server.port()), "user1");
    let acknowledged: Mutex<BTreeMap<i64, String>> = Mutex::default();
    for round in 0..ROUNDS {
        // Every sender goes on until its server is gone; the server goes once there were enough answers.
        let answers = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for sender in 0..SENDERS {
                let (acknowledged, answers) = (&acknowledged, &answers);
                let peer = Peer::connect(&environment, server.port()).with_token(Some(&token));
                scope.spawn(move || {
                    for n in 0.. {
                        let text = format!("{round}-{sender}-{n}");
                        let Ok(answer) = peer.send(&text) else { return };
                        let id = answer.id.parse().expect("a number");
                        let before = acknowledged.lock().expect("no panic").insert(id, text);
                        assert_eq!(before, None, "an id given twice");
                        answers.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            // Another moment in each round.
            let enough = 20 + 37 * round;
            eventually("enough answers", || answers.load(Ordering::Relaxed) >= enough);
            server.kill();
        });
        server.start_again();
        let stored = stored(&server);
        for (id, text) in acknowledged.lock().expect("no panic").iter() {
            assert_eq!(stored.get(id), Some(text), "message {id} was acknowledged in or before round {round}");
        }
        let texts: std::collections::BTreeSet<&String> = stored.values().collect();
        assert_eq!(texts.len(), stored.len(), "a text stored twice");
    }
}

fn stored(server: &Daemon) -> BTreeMap<i64, String> {
    let path = server.directory().join("users.db");
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("the database");
    connection
        .prepare("SELECT id, text FROM messages")
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
