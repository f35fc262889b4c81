//! Older messages and lost connections: no message appears twice or is missing, and each line is sent once.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::Builder;

use crossbeam_channel::bounded;
use rusqlite::Connection;

use crate::LIMIT;
use crate::console::{CHAT, PASSWORD, log_in, newcomer, pipe, place, register, register_by_pipe, say};
use crate::daemon::Daemon;
use crate::programs;
use crate::screen::Terminal;

/// The texts of all messages on a terminal, in order.
fn texts(terminal: &Terminal) -> Vec<String> {
    let said = |line: &str| {
        let (head, text) = line.split_once(": ")?;
        (head.starts_with('[') && head.contains("] ")).then(|| text.trim_end().to_owned())
    };
    terminal.all_text().lines().filter_map(said).collect()
}

/// Index of the first row that holds `text`.
fn row_of(terminal: &Terminal, text: &str) -> usize {
    let shown = terminal.all_text();
    shown.lines().position(|row| row.contains(text)).unwrap_or_else(|| panic!("no {text:?} in\n{shown}"))
}

#[test]
fn a_login_shows_the_last_messages_and_history_continues_before_them() {
    let (server, home) = (Daemon::start(), place());
    let (mut alice, mut authenticator) = newcomer(&server, home.path(), "alice");
    let before: Vec<String> = texts(&alice);
    for number in 1..=30 {
        say(&alice, "alice", &format!("line {number}."));
    }
    alice.answer(CHAT, "/quit");
    assert_eq!(alice.wait_for_end().code(), Some(0));

    let alice = Terminal::start(home.path(), &server.address(), []);
    log_in(&alice, "alice", &mut authenticator);
    alice.wait_for("Those were the last messages");
    let expected: Vec<String> = (11..=30).map(|number| format!("line {number}.")).collect();
    assert_eq!(texts(&alice), expected);
    say(&alice, "alice", "now");
    assert!(row_of(&alice, "line 30.") < row_of(&alice, "Those were the last messages"));
    assert!(row_of(&alice, "Those were the last messages") < row_of(&alice, "] alice: now"));

    alice.answer(CHAT, "/history 7");
    alice.wait_for("There are older messages: /history.");
    let mut expected: Vec<String> = expected.into_iter().chain(["now".to_owned()]).collect();
    expected.extend((4..=10).map(|number| format!("line {number}.")));
    assert_eq!(texts(&alice), expected);
    alice.answer(CHAT, "/history");
    alice.wait_for("There are no older messages.");
    expected.extend(before);
    expected.extend((1..=3).map(|number| format!("line {number}.")));
    assert_eq!(texts(&alice), expected, "each message once, whichever way it came");
    alice.answer(CHAT, "/history 501");
    alice.wait_for("a number from 1 to 500");
    alice.answer(CHAT, "/history");
    alice.wait_for_times("There are no older messages.", 2);
    assert_eq!(texts(&alice), expected);

    // None at the login, then two by command.
    let quiet = Terminal::start(home.path(), &server.address(), ["--history", "0"]);
    log_in(&quiet, "alice", &mut authenticator);
    say(&quiet, "alice", "live");
    assert_eq!(texts(&quiet), ["live"]);
    assert!(!quiet.all_text().contains("Those were the last messages"));
    quiet.answer(CHAT, "/history 2");
    quiet.wait_for("There are older messages: /history.");
    assert_eq!(texts(&quiet), ["live", "line 30.", "now"]);
}

#[test]
fn lines_typed_while_the_server_is_down_appear_once_and_in_the_same_order_for_everybody() {
    let (mut server, home) = (Daemon::start(), place());
    let (alice, _) = newcomer(&server, home.path(), "alice");
    let (bob, _) = newcomer(&server, home.path(), "bob");
    say(&alice, "alice", "before");
    bob.wait_for("] alice: before");
    server.kill();
    alice.wait_for("The connection is lost");
    bob.wait_for("The connection is lost");
    for number in 1..=3 {
        alice.answer(CHAT, &format!("a{number}"));
        bob.answer(CHAT, &format!("b{number}"));
    }
    alice.wait_for("Not sent yet: 3 lines.");
    bob.wait_for("Not sent yet: 3 lines.");
    server.start_again();
    for terminal in [&alice, &bob] {
        terminal.wait_for("Connected again");
        terminal.wait_for("Sent after waiting: 3 lines.");
    }
    say(&alice, "alice", "the end");
    bob.wait_for("] alice: the end");
    let shown = |terminal: &Terminal| {
        let shown = texts(terminal);
        let begin = shown.iter().position(|text| text == "before").expect("it was said");
        shown[begin..].to_vec()
    };
    let seen = shown(&alice);
    assert_eq!(seen, shown(&bob));
    let of = |who: char| seen.iter().filter(|text| text.starts_with(who)).map(String::as_str).collect::<Vec<_>>();
    assert_eq!((of('a'), of('b')), (vec!["a1", "a2", "a3"], vec!["before", "b1", "b2", "b3"]));
}

/// Alice behind a relay that is cut, and Bob on a connection to the server. Both have seen the message `before`.
fn cut_off(server: &Daemon, home: &Path) -> (Relay, Terminal, Terminal) {
    let relay = Relay::start(server.port());
    let alice = Terminal::start(home, &relay.address(), []);
    register(&alice, home, "alice");
    let (bob, _) = newcomer(server, home, "bob");
    say(&bob, "bob", "before");
    alice.wait_for("] bob: before");
    relay.cut();
    alice.wait_for("The connection is lost");
    (relay, alice, bob)
}

#[test]
fn missed_messages_come_and_are_counted_once_the_connection_is_back() {
    let (server, home) = (Daemon::start(), place());
    let (relay, alice, bob) = cut_off(&server, home.path());
    for text in ["one", "two", "three"] {
        say(&bob, "bob", text);
    }
    relay.mend();
    alice.wait_for("Connected again: 3 messages came while the connection was lost.");
    relay.cut();
    alice.wait_for_times("The connection is lost", 2);
    relay.mend();
    alice.wait_for("Connected again, nothing was missed.");
    say(&alice, "alice", "after");
    bob.wait_for("] alice: after");
    assert_eq!(texts(&alice), texts(&bob));
    assert!(row_of(&alice, "The connection is lost") < row_of(&alice, "] bob: one"));
    assert!(row_of(&alice, "] bob: three") < row_of(&alice, "Connected again: 3"));
}

#[test]
fn purged_messages_are_reported_as_missing_and_a_date_line_marks_another_day() {
    let (mut server, home) = (Daemon::start(), place());
    let (relay, alice, bob) = cut_off(&server, home.path());
    for text in ["gone", "days ago", "today"] {
        say(&bob, "bob", text);
    }
    server.stop();
    let database = Connection::open(server.directory().join("users.db")).expect("the database");
    let days: i64 = 3 * 86_400_000_000;
    // In the way the server purges.
    let purge = "UPDATE room_logs SET purged_through = (SELECT id FROM events WHERE text = 'gone');
                 DELETE FROM events WHERE id <= (SELECT purged_through FROM room_logs);";
    database.execute_batch(purge).expect("purged");
    database.execute("UPDATE events SET sent_at = sent_at - ?1 WHERE text = 'days ago'", [days]).expect("made older");
    drop(database);
    server.start_again();
    relay.mend();
    alice.wait_for("Connected again: 2 messages came while the connection was lost.");
    assert!(row_of(&alice, "Some messages are missing here") < row_of(&alice, "] bob: days ago"));
    let shown = alice.all_text();
    let rows: Vec<&str> = shown.lines().collect();
    for text in ["days ago", "today"] {
        assert!(rows[row_of(&alice, &format!("] bob: {text}")) - 1].starts_with("--- 2"), "{shown}");
    }
}

#[test]
fn the_console_starts_over_on_an_older_copy_of_the_database() {
    let (mut server, home) = (Daemon::start(), place());
    let (alice, _) = newcomer(&server, home.path(), "alice");
    say(&alice, "alice", "kept");
    server.stop();
    alice.wait_for("The connection is lost");
    let (database, copy) = (server.directory().join("users.db"), home.path().join("copy.db"));
    std::fs::copy(&database, &copy).expect("a copy");
    server.start_again();
    alice.wait_for("Connected again, nothing was missed.");
    for number in 1..=5 {
        say(&alice, "alice", &format!("lost {number}"));
    }
    server.stop();
    alice.wait_for_times("The connection is lost", 2);
    std::fs::copy(&copy, &database).expect("the copy back");
    server.start_again();
    alice.wait_for("The server does not know the messages above");
    alice.wait_for_times("] alice: kept", 2);
    alice.wait_for("Those were the last messages");
    say(&alice, "alice", "goes on");
}

#[test]
fn a_console_that_logs_out_and_in_again_continues_where_it_stopped() {
    let (server, home) = (Daemon::start(), place());
    let (alice, mut authenticator) = newcomer(&server, home.path(), "alice");
    let (bob, _) = newcomer(&server, home.path(), "bob");
    say(&bob, "bob", "before");
    alice.wait_for("] bob: before");
    alice.answer(CHAT, "/logout");
    alice.wait_for("alice is logged out.");
    say(&bob, "bob", "meanwhile");
    log_in(&alice, "alice", &mut authenticator);
    alice.wait_for("While you were logged out here, 1 message came.");
    say(&bob, "bob", "after");
    alice.wait_for("] bob: after");
    let shown = texts(&alice);
    assert!(shown.ends_with(&["before", "meanwhile", "after"].map(str::to_owned)), "{shown:?}");
    assert_eq!(shown.iter().filter(|text| *text == "before").count(), 1);
}

#[test]
fn leaving_with_unsent_lines_takes_a_second_quit() {
    let (mut server, home) = (Daemon::start(), place());
    let (mut alice, _) = newcomer(&server, home.path(), "alice");
    server.kill();
    alice.wait_for("The connection is lost");
    alice.answer(CHAT, "kept");
    alice.wait_for("Not sent yet (the server cannot be reached)");
    alice.answer(CHAT, "/quit");
    alice.wait_for("Not sent yet: 1 line. /quit once more");
    alice.answer(CHAT, "/whoami");
    alice.answer(CHAT, "/quit");
    alice.wait_for_times("Not sent yet: 1 line. /quit once more", 2);
    alice.answer(CHAT, "/quit");
    assert_eq!(alice.wait_for_end().code(), Some(0));
}

#[test]
fn without_a_terminal_a_line_is_retried_until_the_server_is_back_and_stored_once() {
    let (mut server, home) = (Daemon::start(), place());
    let mut authenticator = register_by_pipe(&server, home.path(), "alice");
    let mut child = programs::otpchat(home.path()).args(["--server", &server.address()]).spawn().expect("otpchat runs");
    let mut stdin = child.stdin.take().expect("its stdin");
    let stderr = BufReader::new(child.stderr.take().expect("its stderr"));
    let (tell, told) = bounded(100);
    Builder::new()
        .spawn(move || stderr.lines().map_while(Result::ok).for_each(|line| drop(tell.send(line))))
        .expect("a thread");
    let wait_for = |text: &str| while !told.recv_timeout(LIMIT).expect("to be told").contains(text) {};
    write!(stdin, "/login\nalice\n{PASSWORD}\n{}\n", authenticator.code()).expect("it reads");
    wait_for("You are logged in as alice");
    server.kill();
    wait_for("The connection is lost");
    write!(stdin, "first\nsecond\n").expect("it reads");
    drop(stdin);
    server.start_again();
    assert_eq!(child.wait().expect("a child").code(), Some(0));

    let code = authenticator.code();
    let lines = format!("/login\nalice\n{PASSWORD}\n{code}\n/history 10\n");
    let read = pipe(home.path(), &["--server", &server.address()], &lines);
    let stdout = String::from_utf8_lossy(&read.stdout);
    let said: Vec<&str> =
        stdout.lines().filter_map(|line| line.split_once("] alice: ")).map(|(_, text)| text).collect();
    assert_eq!(said, ["first", "second"], "{stdout}");
}

/// A TCP relay that can be cut.
struct Relay {
    port: u16,
    state: Arc<Mutex<Wire>>,
}

#[derive(Default)]
struct Wire {
    cut: bool,
    open: Vec<TcpStream>,
}

impl Relay {
    /// Relays a free port to `port` until the test ends.
    fn start(port: u16) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let relay = Relay { port: listener.local_addr().expect("its address").port(), state: Arc::default() };
        let state = relay.state.clone();
        Builder::new()
            .spawn(move || {
                for client in listener.incoming().map_while(Result::ok) {
                    let mut state = state.lock().expect("no panic elsewhere");
                    if state.cut {
                        continue;
                    }
                    let server = TcpStream::connect(("127.0.0.1", port)).expect("the server");
                    for (from, to) in [(&client, &server), (&server, &client)] {
                        let (from, to) = (from.try_clone().expect("a copy"), to.try_clone().expect("a copy"));
                        Builder::new().spawn(move || pass_on(from, to)).expect("a thread");
                    }
                    state.open.extend([client, server]);
                }
            })
            .expect("a thread");
        relay
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn cut(&self) {
        let mut state = self.state.lock().expect("no panic elsewhere");
        state.cut = true;
        for end in state.open.drain(..) {
            let _ = end.shutdown(Shutdown::Both);
        }
    }

    fn mend(&self) {
        self.state.lock().expect("no panic elsewhere").cut = false;
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}
