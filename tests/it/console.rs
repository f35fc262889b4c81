//! The console as people use it: on terminals, and in pipes.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::Builder;
use std::time::Duration;

use crossbeam_channel::bounded;
use tempfile::TempDir;

use crate::LIMIT;
use crate::authenticator::{Authenticator, read_png};
use crate::daemon::Daemon;
use crate::programs;
use crate::screen::Terminal;

pub(crate) const PASSWORD: &str = "correct horse battery";
pub(crate) const CHAT: &str = "> ";

pub(crate) fn place() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

/// Registers `login` on a terminal, in English, up to the chat.
pub(crate) fn register(terminal: &Terminal, directory: &Path, login: &str) -> Authenticator {
    terminal.answer(CHAT, "/register");
    terminal.answer("Login: > ", login);
    terminal.answer("Password: > ", PASSWORD);
    terminal.answer("Password again: > ", PASSWORD);
    terminal.wait_for_prompt("OTP code: > ");
    let mut authenticator = Authenticator::new(&read_png(&directory.join(format!("qr/{login}.png"))));
    give_code(terminal, &mut authenticator, &format!("You are logged in as {login}"));
    authenticator
}

/// Logs `login` in on a terminal, in English, up to the chat.
pub(crate) fn log_in(terminal: &Terminal, login: &str, authenticator: &mut Authenticator) {
    terminal.answer(CHAT, "/login");
    terminal.answer("Login: > ", login);
    terminal.answer("Password: > ", PASSWORD);
    give_code(terminal, authenticator, &format!("You are logged in as {login}"));
}

/// Gives codes until `then` appears, up to the chat.
pub(crate) fn give_code(terminal: &Terminal, authenticator: &mut Authenticator, then: &str) {
    give_code_only(terminal, authenticator, then);
    terminal.wait_for_prompt(CHAT);
}

/// Gives codes until `then` appears: one may expire on its way.
pub(crate) fn give_code_only(terminal: &Terminal, authenticator: &mut Authenticator, then: &str) {
    let accepted = (0..3).any(|_| {
        let code = authenticator.code();
        terminal.wait_for_either([then, "The code is wrong"], || terminal.answer("OTP code: > ", &code))
    });
    assert!(accepted, "a code is accepted");
}

/// A terminal with a new account in the chat, whose stream is open.
pub(crate) fn newcomer(server: &Daemon, directory: &Path, login: &str) -> (Terminal, Authenticator) {
    let terminal = Terminal::start(directory, &server.address(), []);
    let authenticator = register(&terminal, directory, login);
    hear(&terminal, &[&terminal]);
    (terminal, authenticator)
}

/// Sends messages from `speaker` until all `listeners` show one. The protocol does not say when a stream is open, and on a
/// busy machine the first message may come too early.
pub(crate) fn hear(speaker: &Terminal, listeners: &[&Terminal]) {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let heard = (1..=30).any(|_| {
        let words = format!("do you hear me, {}?", NUMBER.fetch_add(1, Ordering::Relaxed));
        speaker.answer(CHAT, &words);
        let said = format!(": {words}");
        listeners.iter().all(|listener| listener.comes_to_show(&said, Duration::from_secs(2)))
    });
    assert!(heard, "every listener shows a message");
}

/// The recovery codes on a terminal, in reading order.
pub(crate) fn recovery_codes(terminal: &Terminal) -> Vec<String> {
    recovery_codes_in(&terminal.all_text())
}

/// The recovery codes in a text.
pub(crate) fn recovery_codes_in(text: &str) -> Vec<String> {
    let of_base32 = |byte: u8| byte.is_ascii_uppercase() || (b'2'..=b'7').contains(&byte);
    let is_group = |group: &str| group.len() == 4 && group.bytes().all(of_base32);
    let is_code = |word: &&str| word.len() == 19 && word.split('-').all(is_group);
    text.split_whitespace().filter(is_code).map(str::to_owned).collect()
}

/// Sends a message and waits until it has come back.
pub(crate) fn say(terminal: &Terminal, login: &str, text: &str) {
    terminal.answer(CHAT, text);
    terminal.wait_for(&format!("] {login}: {text}"));
}

#[test]
fn registering_in_russian_works_and_leaves_no_secret_behind() {
    let (server, home) = (Daemon::start(), place());
    let picture = home.path().join("qr/user1.png");
    let mut terminal = Terminal::start(home.path(), &server.address(), ["--lang", "ru"]);
    terminal.answer(CHAT, "/register");
    terminal.answer("Логин: > ", "user1");
    terminal.answer("Пароль: > ", PASSWORD);
    terminal.answer("Пароль ещё раз: > ", "something else");
    terminal.wait_for("Пароли не совпадают");
    terminal.answer("Пароль: > ", PASSWORD);
    terminal.answer("Пароль ещё раз: > ", PASSWORD);
    terminal.wait_for_prompt("OTP код: > ");

    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(&picture), 0o600);
    let uri = read_png(&picture);
    assert!(uri.starts_with("otpauth://totp/") && uri.contains("user1"), "{uri}");
    assert_eq!(terminal.read_qr(), uri, "the terminal shows the same as the picture");
    assert!(terminal.window_text().contains("OTP код: >"), "picture and prompt are in sight together");
    let (_, key) =
        terminal.all_text().split_once("Ключ: ").map(|(a, b)| (a.to_owned(), b.to_owned())).expect("the key");
    let mut authenticator = Authenticator::with_secret(key.lines().next().expect("a line"));

    terminal.answer("OTP код: > ", "000000x");
    terminal.wait_for("В коде из приложения 6 цифр");
    terminal.answer("OTP код: > ", &authenticator.wrong_code());
    terminal.wait_for("Неверный код");
    let code = authenticator.code();
    terminal.answer("OTP код: > ", &format!("{}\u{2013}{}", &code[..3], &code[3..]));
    terminal.wait_for("Второй фактор настроен");
    terminal.wait_for("Резервные коды: каждый один раз впустит вас без телефона.");
    terminal.wait_for("Вы вошли как user1");
    let recovery_codes = recovery_codes(&terminal);
    assert_eq!(recovery_codes.len(), 10);
    say(&terminal, "user1", "Привет!");
    assert!(!picture.exists(), "the picture is deleted");
    assert!(!terminal.ever_wrote(PASSWORD) && !terminal.ever_wrote("something else"));

    terminal.answer(CHAT, "/whoami");
    terminal.wait_for(&format!("user1 на {}; сеанс закончится ", server.address()));
    terminal.answer(CHAT, "/quit");
    assert_eq!(terminal.wait_for_end().code(), Some(0));
    assert!(!terminal.ever_wrote(PASSWORD));
    for code in recovery_codes {
        assert_eq!(terminal.all_text().matches(&code).count(), 1, "shown once");
        assert!(!server.log().contains(&code));
    }
}

#[test]
fn two_people_chat_and_a_line_being_typed_stays_whole() {
    let (server, home) = (Daemon::start(), place());
    let (alice, _) = newcomer(&server, home.path(), "alice");
    let (bob, _) = newcomer(&server, home.path(), "bob");
    say(&alice, "alice", "hello");
    bob.wait_for("] alice: hello");

    alice.wait_for_prompt(CHAT);
    alice.type_keys("half a li");
    alice.wait_for_cursor_row("> half a li");
    for number in 1..=20 {
        say(&bob, "bob", &format!("line {number}"));
    }
    alice.wait_for("] bob: line 20");
    alice.wait_for_cursor_row("> half a li");
    alice.type_keys("ne\r");
    bob.wait_for("] alice: half a line");
    alice.wait_for("] alice: half a line");
    let text = alice.all_text();
    assert_eq!(text.matches("half a line").count(), 1, "own words once:\n{text}");
    let places: Vec<usize> =
        (1..=20).map(|number| text.find(&format!("] bob: line {number}\n")).expect("each of them")).collect();
    assert!(places.is_sorted(), "in order:\n{text}");

    say(&alice, "alice", "x");
    alice.answer(CHAT, "//etc/passwd");
    bob.wait_for("] alice: /etc/passwd");
    alice.answer(CHAT, "/nonsense");
    alice.wait_for("There is no such command");
    alice.answer(CHAT, "/login now");
    alice.wait_for("/login takes nothing after it");
    alice.answer(CHAT, "/logout bob");
    alice.wait_for("/logout takes nothing, a number");
    say(&alice, "alice", "the end");
    bob.wait_for("] alice: the end");
    assert!(!bob.all_text().contains("nonsense"));
}

#[test]
fn other_peoples_control_characters_are_shown_and_not_obeyed() {
    let (server, home) = (Daemon::start(), place());
    let (alice, _) = newcomer(&server, home.path(), "alice");
    let (bob, _) = newcomer(&server, home.path(), "bob");
    // A pasted block of two lines, a bidi override, and blanks up to the edge of the window.
    bob.wait_for_prompt(CHAT);
    bob.type_keys("\x1b[200~first\n[00:00:00] alice: I quit\x1b[201~\r");
    alice.wait_for("           [00:00:00] alice: I quit");
    say(&alice, "alice", "seen");
    bob.answer(CHAT, "a\u{202e}b\u{200b}c");
    alice.wait_for("] bob: a\\u{202e}b\\u{200b}c");
    bob.wait_for_prompt(CHAT);
    bob.type_keys(&format!("\x1b[200~x{}[00:00:00] alice: me too\x1b[201~\r", " ".repeat(63)));
    alice.wait_for("alice: me too");
    let text = alice.all_text();
    assert!(
        !text.lines().any(|line| line.starts_with("[00:00:00]")),
        "no text passes for another speaker's line:\n{text}"
    );
    assert!(!alice.ever_wrote("\u{202e}"));
}

#[test]
fn sessions_survive_a_restart_of_the_server() {
    let (mut server, home) = (Daemon::start(), place());
    let (alice, _) = newcomer(&server, home.path(), "alice");
    let (bob, _) = newcomer(&server, home.path(), "bob");
    say(&alice, "alice", "before");
    bob.wait_for("] alice: before");

    server.stop();
    alice.wait_for("The connection is lost");
    bob.wait_for("The connection is lost");
    alice.answer(CHAT, "not into the void");
    alice.wait_for("Not sent yet (the server cannot be reached)");
    server.start_again();
    alice.wait_for("Connected again");
    bob.wait_for("Connected again");
    alice.wait_for("Sent after waiting: 1 line.");
    alice.wait_for("] alice: not into the void");
    bob.wait_for("] alice: not into the void");
    say(&bob, "bob", "after");
    alice.wait_for("] bob: after");
    for terminal in [&alice, &bob] {
        assert_eq!(terminal.all_text().matches("OTP code").count(), 1, "nobody had to log in again");
    }
}

#[test]
fn a_login_accepts_three_wrong_codes_and_refuses_a_used_one() {
    let (server, home) = (Daemon::start(), place());
    let (mut first, mut authenticator) = newcomer(&server, home.path(), "alice");
    let used = authenticator.same_code();
    first.answer(CHAT, "/quit");
    assert_eq!(first.wait_for_end().code(), Some(0));

    let alice = Terminal::start(home.path(), &server.address(), []);
    alice.answer(CHAT, "too early");
    alice.wait_for("You are not logged in");
    alice.answer(CHAT, "/login");
    alice.answer("Login: > ", "alice");
    alice.answer("Password: > ", "not the password");
    alice.wait_for("Login, password or code is wrong");
    alice.answer(CHAT, "/login");
    alice.answer("Login: > ", "alice");
    alice.answer("Password: > ", PASSWORD);
    alice.answer("OTP code: > ", &used);
    alice.wait_for("This code has been used");
    // What cannot be a code is not sent and costs no guess.
    for (times, typed) in ["12345", "abcdef", "ABCD-EFGH-IJKL", "1234567"].into_iter().enumerate() {
        alice.answer("OTP code: > ", typed);
        alice.wait_for_times("A code from the authenticator has 6 digits", times + 1);
    }
    for times in 1..=2 {
        alice.answer("OTP code: > ", &authenticator.wrong_code());
        alice.wait_for_times("The code is wrong", times);
    }
    // After two wrong codes the server delays the next one. A delayed code is no try.
    let refused = (0..500).any(|_| {
        let wrong = authenticator.wrong_code();
        alice.wait_for_either(["Not logged in.", "Too many tries"], || alice.answer("OTP code: > ", &wrong))
    });
    assert!(refused, "{}", alice.all_text());
    alice.answer(CHAT, "/login");
    alice.answer("Login: > ", "alice");
    alice.answer("Password: > ", PASSWORD);
    // Nor is the delayed right one used up.
    let code = authenticator.code();
    let accepted = (0..500).any(|_| {
        alice.wait_for_either(["You are logged in as alice", "Too many tries"], || alice.answer("OTP code: > ", &code))
    });
    assert!(accepted, "{}", alice.all_text());
    // The line typed before the login is back in the input.
    alice.wait_for_prompt("> too early");
    alice.type_keys("\x03");
    hear(&alice, &[&alice]);
    assert!(!alice.ever_wrote(PASSWORD));
}

#[test]
fn a_session_is_renewed_without_leaving_the_chat_and_logout_ends_it() {
    let (server, home) = (Daemon::start(), place());
    let (alice, mut authenticator) = newcomer(&server, home.path(), "alice");
    let (bob, _) = newcomer(&server, home.path(), "bob");
    alice.answer(CHAT, "/login");
    alice.wait_for("Renewing the session of alice");
    alice.wait_for_prompt("Password: > ");
    alice.type_keys("\x03");
    alice.wait_for("Your present session continues.");
    say(&alice, "alice", "still here");
    alice.answer(CHAT, "/login");
    alice.answer("Password: > ", PASSWORD);
    give_code(&alice, &mut authenticator, "You are logged in as alice");
    say(&alice, "alice", "and again");
    say(&bob, "bob", "good");
    alice.wait_for("] bob: good");
    assert_eq!(alice.all_text().matches("] bob: good").count(), 1);
    assert!(!alice.all_text().contains("Type /login"), "the end of the old session is not reported");

    // Lines typed ahead answer the questions they were meant for, and passwords among them stay hidden.
    alice.wait_for_prompt(CHAT);
    alice.type_keys(&format!("one\rtwo\r/login\r{PASSWORD}\r\r"));
    alice.wait_for("] alice: two");
    alice.wait_for("Cancelled.");
    assert!(alice.all_text().contains("] alice: one"));
    assert!(!alice.ever_wrote(PASSWORD));

    alice.answer(CHAT, "/logout");
    alice.wait_for("alice is logged out.");
    alice.answer(CHAT, "/whoami");
    alice.wait_for("Not logged in; server");
    log_in(&alice, "alice", &mut authenticator);
}

#[test]
fn an_answer_typed_ahead_for_a_question_that_is_not_asked_is_discarded() {
    let (server, home) = (Daemon::start(), place());
    let (alice, _) = newcomer(&server, home.path(), "alice");
    alice.answer(CHAT, "/login");
    alice.wait_for_prompt("Password: > ");
    server.held_up(|| {
        alice.answer("Password: > ", "not it");
        // The login call is running.
        alice.wait_for_cursor_row("");
        alice.type_keys("123456\rand more");
    });
    alice.wait_for("Login, password or code is wrong");
    say(&alice, "alice", "hello");
    assert!(!alice.all_text().contains("] alice: 123456"), "{}", alice.all_text());
}

#[test]
fn login_continues_a_cancelled_enrolment() {
    let (server, home) = (Daemon::start(), place());
    let picture = home.path().join("qr/alice.png");
    let alice = Terminal::start(home.path(), &server.address(), ["--keep-qr"]);
    alice.answer(CHAT, "/register");
    alice.answer("Login: > ", "alice");
    alice.answer("Password: > ", PASSWORD);
    alice.answer("Password again: > ", PASSWORD);
    alice.answer("OTP code: > ", "/quit");
    alice.wait_for("The second factor is not set up");
    let cancelled = read_png(&picture);
    alice.answer(CHAT, "/login");
    alice.answer("Login: > ", "alice");
    alice.answer("Password: > ", PASSWORD);
    alice.wait_for("This account has no second factor yet");
    alice.wait_for_prompt("OTP code: > ");
    let uri = read_png(&picture);
    assert_ne!(uri, cancelled, "a new secret");
    give_code(&alice, &mut Authenticator::new(&uri), "You are logged in as alice");
    assert!(alice.all_text().contains("The picture stays"));
    assert!(picture.exists());
}

#[test]
fn control_c_clears_the_line_and_control_d_leaves() {
    let home = place();
    // No server listens there.
    let mut terminal = Terminal::start(home.path(), "127.0.0.1:1", []);
    terminal.wait_for_prompt(CHAT);
    terminal.type_keys("nonsense");
    terminal.wait_for_cursor_row("> nonsense");
    terminal.type_keys("\x03");
    terminal.answer(CHAT, "/register");
    terminal.wait_for_prompt("Login: > ");
    terminal.type_keys("\x04");
    terminal.wait_for("Cancelled.");
    terminal.answer(CHAT, "/login");
    terminal.answer("Login: > ", "alice");
    terminal.answer("Password: > ", PASSWORD);
    terminal.wait_for("The server 127.0.0.1:1 cannot be reached");
    terminal.wait_for_prompt(CHAT);
    terminal.type_keys("\x04");
    assert_eq!(terminal.wait_for_end().code(), Some(0));
}

/// Runs `otpchat` to its end with `lines` as stdin.
pub(crate) fn pipe(home: &Path, flags: &[&str], lines: &str) -> Output {
    let mut child = programs::otpchat(home).args(flags).spawn().expect("otpchat runs");
    let mut stdin = child.stdin.take().expect("its stdin");
    // It may end before it has read everything.
    let _ = stdin.write_all(lines.as_bytes());
    drop(stdin);
    let (done, ended) = bounded(1);
    Builder::new().spawn(move || done.send(child.wait_with_output())).expect("a thread");
    ended.recv_timeout(LIMIT).expect("it ends in time").expect("its output")
}

/// Registers `login` through pipes: the key comes on stderr.
pub(crate) fn register_by_pipe(server: &Daemon, home: &Path, login: &str) -> Authenticator {
    let mut child = programs::otpchat(home).args(["--server", &server.address()]).spawn().expect("otpchat runs");
    let mut stdin = child.stdin.take().expect("its stdin");
    write!(stdin, "/register\n{login}\n{PASSWORD}\n").expect("it reads");
    let stderr = BufReader::new(child.stderr.take().expect("its stderr"));
    let (say, said) = bounded(100);
    Builder::new()
        .spawn(move || stderr.lines().map_while(Result::ok).for_each(|line| drop(say.send(line))))
        .expect("a thread");
    let key = loop {
        let line = said.recv_timeout(LIMIT).expect("the key");
        if let Some(key) = line.strip_prefix("Key: ") {
            break key.to_owned();
        }
    };
    let mut authenticator = Authenticator::with_secret(&key);
    writeln!(stdin, "{}", authenticator.code()).expect("it reads");
    drop(stdin);
    let mut stdout = String::new();
    child.stdout.take().expect("its stdout").read_to_string(&mut stdout).expect("text");
    assert_eq!(child.wait().expect("a child").code(), Some(0));
    assert_eq!(stdout, "", "messages only");
    authenticator
}

#[test]
fn without_a_terminal_everything_is_read_line_by_line() {
    let (server, home) = (Daemon::start(), place());
    let mut authenticator = register_by_pipe(&server, home.path(), "alice");
    assert_eq!(fs::read_dir(home.path().join("qr")).expect("the directory").count(), 0, "the picture is deleted");
    let (bob, _) = newcomer(&server, home.path(), "bob");
    let address = server.address();
    let flags = ["--server", address.as_str()];
    let code = authenticator.code();

    let said =
        pipe(home.path(), &flags, &format!("/login\nalice\n{PASSWORD}\n{code}\nПривет!\n//x\n\nlast, no line feed"));
    let stderr = String::from_utf8_lossy(&said.stderr);
    assert_eq!(said.status.code(), Some(0), "{stderr}");
    for text in ["Привет!", "/x", "last, no line feed"] {
        bob.wait_for(&format!("] alice: {text}"));
    }
    assert!(stderr.contains("You are logged in as alice"));
    assert!(!stderr.contains(PASSWORD) && !stderr.contains("Login: >"), "no prompts: {stderr}");

    let wrong = pipe(home.path(), &flags, "/login\nalice\nnot the password\nhello\n");
    assert_eq!(wrong.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("Login, password or code is wrong"));
    let wrong = pipe(home.path(), &flags, &format!("/login\nalice\n{PASSWORD}\n{code}\n1\n2\nhello\n"));
    assert_eq!(wrong.status.code(), Some(1));
    let ended = pipe(home.path(), &flags, "/login\nalice\n");
    assert_eq!(ended.status.code(), Some(1), "the input ended during a login");
    let early = pipe(home.path(), &flags, "hello\n");
    assert_eq!(early.status.code(), Some(1), "nobody is logged in");
    let long = pipe(home.path(), &flags, &"x".repeat(100_000));
    assert_eq!(long.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&long.stderr).contains("longer than"));
    say(&bob, "bob", "that was all");
    assert!(!bob.all_text().contains("alice: hello"));
}

#[test]
fn the_exit_code_tells_wrong_flags_from_failures() {
    let home = place();
    for (flags, code, says) in [
        (&["--nonsense"][..], 2, "--nonsense"),
        (&["--server", "::1"], 2, "brackets"),
        (&["--lang", "de"], 2, "possible values"),
        (&["--server", "192.0.2.1:1"], 1, "--plaintext-password-exposed-to-network"),
        (&["--server", "192.0.2.1:1", "--lang", "ru"], 1, "открытым текстом"),
        (&["--server", "no-such-host.invalid:1"], 1, "cannot be found"),
        (&[], 0, ""),
        (&["--help"], 0, ""),
        (&["--version"], 0, ""),
    ] {
        let output = pipe(home.path(), flags, "");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{flags:?}: {stderr}");
        assert!(stderr.contains(says), "{flags:?}: {stderr}");
    }
    let refused = pipe(home.path(), &["--server", "127.0.0.1:1"], &format!("/login\nalice\n{PASSWORD}\n"));
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("cannot be reached"));
}
