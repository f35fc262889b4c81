//! The console's commands for one's own account: recovery codes, sessions, password, second factor, deletion.

use crate::admin::{shown, tool_with_input};
use crate::authenticator::{Authenticator, read_png};
use crate::console::{
    CHAT, PASSWORD, give_code, give_code_only, hear, log_in, newcomer, pipe, place, recovery_codes, recovery_codes_in,
    register_by_pipe, say,
};
use crate::daemon::Daemon;
use crate::screen::Terminal;
use crate::test_server::{Peer, TestServer, environment};

const OTHER_PASSWORD: &str = "staple battery horse";

/// Runs the administrator's tool; returns its output.
fn administer(server: &Daemon, args: &[&str]) -> String {
    let (code, out, err) = tool_with_input(server.directory(), args, "");
    assert_eq!(code, Some(0), "{args:?}: {err}");
    out
}

/// Answers login and password, up to the prompt for a code.
fn begin_login(terminal: &Terminal, login: &str, password: &str) {
    terminal.answer(CHAT, "/login");
    terminal.answer("Login: > ", login);
    terminal.answer("Password: > ", password);
    terminal.wait_for_prompt("OTP code: > ");
}

/// Answers password and unused code after `command`, until `then` appears.
fn prove(terminal: &Terminal, command: &str, authenticator: &mut Authenticator, then: &str) {
    terminal.answer(CHAT, command);
    terminal.answer("Password: > ", PASSWORD);
    give_code_only(terminal, authenticator, then);
}

#[test]
fn a_recovery_code_logs_in_without_the_phone_and_sets_up_a_new_one() {
    let (server, home) = (Daemon::start(), place());
    let (before, mut lost) = newcomer(&server, home.path(), "alice");
    let codes = recovery_codes(&before);
    assert_eq!(codes.len(), 10, "{}", before.all_text());

    let alice = Terminal::start(home.path(), &server.address(), []);
    begin_login(&alice, "alice", PASSWORD);
    alice.answer("OTP code: > ", &codes[0].to_lowercase().replace('-', " "));
    alice.wait_for("This recovery code is used up.");
    alice.wait_for_prompt("OTP code: > ");
    let mut found = Authenticator::new(&read_png(&home.path().join("qr/alice.png")));
    give_code(&alice, &mut found, "You are logged in as alice");
    assert!(alice.all_text().contains("The second factor is replaced"));
    let new_codes = recovery_codes(&alice);
    assert_eq!(new_codes.len(), 10);
    assert!(new_codes.iter().all(|code| !codes.contains(code)));
    before.wait_for("The session has ended: log in again. Type /login.");
    hear(&alice, &[&alice]);

    // Neither the old factor nor an old recovery code works, used or not.
    let eve = Terminal::start(home.path(), &server.address(), []);
    begin_login(&eve, "alice", PASSWORD);
    eve.answer("OTP code: > ", &codes[0]);
    eve.wait_for_times("Login, password or code is wrong", 1);
    eve.answer("OTP code: > ", &codes[1]);
    eve.wait_for_times("Login, password or code is wrong", 2);
    eve.answer("OTP code: > ", &lost.code());
    eve.wait_for("Not logged in.");
}

#[test]
fn repeated_logins_with_the_password_do_not_keep_its_owner_out() {
    let (server, home) = (Daemon::start(), place());
    let (_, mut authenticator) = newcomer(&server, home.path(), "alice");
    let alice = Terminal::start(home.path(), &server.address(), []);
    begin_login(&alice, "alice", PASSWORD);
    let eve = Peer::connect(&environment(), server.port());
    for _ in 0..10 {
        assert!(eve.log_in("alice", PASSWORD, "").success);
    }
    give_code_only(&alice, &mut authenticator, "You are logged in as alice");
    assert!(server.log().contains("pushed out one that waited for its code"));
}

#[test]
fn a_recovery_code_renews_a_session_and_the_end_of_the_old_one_is_not_reported() {
    let (server, home) = (Daemon::start(), place());
    let (alice, _) = newcomer(&server, home.path(), "alice");
    let codes = recovery_codes(&alice);
    for (times, left) in [(1, true), (2, false)] {
        alice.answer(CHAT, "/login");
        alice.answer("Password: > ", PASSWORD);
        alice.answer("OTP code: > ", &codes[times]);
        alice.wait_for_times("This recovery code is used up.", times);
        alice.wait_for_prompt("OTP code: > ");
        if left {
            alice.type_keys("\r");
            alice.wait_for("Your present session continues.");
            say(&alice, "alice", "as before");
        }
    }
    let mut found = Authenticator::new(&read_png(&home.path().join("qr/alice.png")));
    give_code(&alice, &mut found, "The second factor is replaced");
    hear(&alice, &[&alice]);
    assert!(!alice.all_text().contains("Type /login."), "{}", alice.all_text());
}

#[test]
fn the_console_warns_of_few_recovery_codes_and_new_ones_void_the_old() {
    let (server, home) = (Daemon::start(), place());
    let (mut first, mut authenticator) = newcomer(&server, home.path(), "alice");
    let codes = recovery_codes(&first);
    first.answer(CHAT, "/quit");
    first.wait_for_end();

    let alice = Terminal::start(home.path(), &server.address(), []);
    for (used, code) in codes.iter().take(7).enumerate() {
        begin_login(&alice, "alice", PASSWORD);
        alice.answer("OTP code: > ", code);
        alice.wait_for_times("This recovery code is used up.", used + 1);
        // Cancelled: the code is used up, the old factor stays valid.
        alice.answer("OTP code: > ", "");
        alice.wait_for(&format!("Recovery codes left: {}.", 9 - used));
    }
    log_in(&alice, "alice", &mut authenticator);
    alice.wait_for("Recovery codes left: 3. /recovery makes ten new ones.");

    prove(&alice, "/recovery", &mut authenticator, "The old recovery codes are void.");
    alice.wait_for_prompt(CHAT);
    let new_codes = recovery_codes(&alice).split_off(7);
    assert_eq!(new_codes.len(), 10, "{}", alice.all_text());
    hear(&alice, &[&alice]);
    let other = Terminal::start(home.path(), &server.address(), []);
    begin_login(&other, "alice", PASSWORD);
    other.answer("OTP code: > ", &codes[9]);
    other.wait_for("Login, password or code is wrong");
    other.answer("OTP code: > ", &new_codes[9]);
    other.wait_for("This recovery code is used up.");
}

#[test]
fn sessions_are_listed_and_ended_by_number() {
    let (server, home) = (Daemon::start(), place());
    let (alice, mut authenticator) = newcomer(&server, home.path(), "alice");
    alice.answer(CHAT, "/logout 2");
    alice.wait_for("Type /sessions first");
    let other = Terminal::start(home.path(), &server.address(), []);
    log_in(&other, "alice", &mut authenticator);
    hear(&other, &[&alice, &other]);

    alice.answer(CHAT, "/sessions");
    alice.wait_for("/logout N ends one of them");
    let text = alice.all_text();
    let row = |number: &str| text.lines().find(|line| line.starts_with(number)).expect("a row").to_owned();
    assert!(row("1  ").contains("127.0.0.1") && row("1  ").ends_with("logged in  this one"), "{text}");
    assert!(row("2  ").contains("127.0.0.1") && row("2  ").ends_with("logged in"), "{text}");
    assert_eq!(text.matches("this one").count(), 2, "in the table and below it:\n{text}");

    alice.answer(CHAT, "/logout 3");
    alice.wait_for("The list has no session 3.");
    alice.answer(CHAT, "/logout 2");
    alice.wait_for("Session 2 is ended.");
    other.wait_for("The session has ended: log in again. Type /login.");
    alice.answer(CHAT, "/logout 2");
    alice.wait_for("There is no such session: list them again.");
    say(&alice, "alice", "still here");
    alice.answer(CHAT, "/logout 1");
    alice.wait_for("alice is logged out.");
    alice.answer(CHAT, "/sessions");
    alice.wait_for("You are not logged in");
    other.answer(CHAT, "/whoami");
    other.wait_for("Not logged in; server");
}

#[test]
fn password_and_unused_code_end_all_other_sessions() {
    let (server, home) = (Daemon::start(), place());
    let (alice, mut authenticator) = newcomer(&server, home.path(), "alice");
    let other = Terminal::start(home.path(), &server.address(), []);
    log_in(&other, "alice", &mut authenticator);
    hear(&other, &[&alice, &other]);

    alice.answer(CHAT, "/logout others");
    alice.answer("Password: > ", "not the password");
    alice.answer("OTP code: > ", "123456");
    alice.wait_for("Login, password or code is wrong");
    alice.answer("Password: > ", PASSWORD);
    alice.answer("OTP code: > ", &authenticator.same_code());
    alice.wait_for("This code has been used: wait for the next one.");
    give_code_only(&alice, &mut authenticator, "Other sessions ended: 1.");
    other.wait_for("The session has ended: log in again. Type /login.");
    say(&alice, "alice", "alone");
}

#[test]
fn ending_all_sessions_is_not_reported_to_the_console_that_did_it() {
    let (server, home) = (Daemon::start(), place());
    let (alice, mut authenticator) = newcomer(&server, home.path(), "alice");
    let other = Terminal::start(home.path(), &server.address(), []);
    log_in(&other, "alice", &mut authenticator);
    hear(&other, &[&alice, &other]);

    alice.answer(CHAT, "/logout all");
    alice.wait_for_prompt("Password: > ");
    alice.type_keys("\x03");
    alice.wait_for("Cancelled.");
    prove(&alice, "/logout all", &mut authenticator, "Sessions ended, this one included: 2.");
    other.wait_for("The session has ended: log in again. Type /login.");
    alice.answer(CHAT, "/whoami");
    alice.wait_for("Not logged in; server");
    assert!(!alice.all_text().contains("Type /login."), "{}", alice.all_text());
}

#[test]
fn a_new_password_needs_the_old_one_and_an_unused_code() {
    let (server, home) = (Daemon::start(), place());
    let (alice, mut authenticator) = newcomer(&server, home.path(), "alice");
    alice.answer(CHAT, "/passwd");
    alice.answer("Old password: > ", PASSWORD);
    alice.answer("OTP code: > ", &authenticator.same_code());
    alice.answer("New password: > ", "password");
    alice.answer("New password again: > ", "password");
    alice.wait_for("The password is too short, too long, too common");
    alice.answer("New password: > ", OTHER_PASSWORD);
    alice.answer("New password again: > ", "something else");
    alice.wait_for("The two passwords differ");
    alice.answer("New password: > ", OTHER_PASSWORD);
    alice.answer("New password again: > ", OTHER_PASSWORD);
    alice.wait_for("This code has been used: wait for the next one.");
    give_code_only(&alice, &mut authenticator, "The password is changed. Other sessions ended: 0.");
    say(&alice, "alice", "still here");

    let other = Terminal::start(home.path(), &server.address(), []);
    other.answer(CHAT, "/login");
    other.answer("Login: > ", "alice");
    other.answer("Password: > ", PASSWORD);
    other.wait_for("Login, password or code is wrong");
    begin_login(&other, "alice", OTHER_PASSWORD);
    give_code(&other, &mut authenticator, "You are logged in as alice");
    for terminal in [&alice, &other] {
        assert!(!terminal.ever_wrote(PASSWORD) && !terminal.ever_wrote(OTHER_PASSWORD));
    }
}

#[test]
fn a_replaced_second_factor_no_longer_works() {
    let (server, home) = (Daemon::start(), place());
    let (alice, mut old) = newcomer(&server, home.path(), "alice");
    let codes = recovery_codes(&alice);
    prove(&alice, "/otp", &mut old, "Scan this with Google Authenticator");
    alice.wait_for_prompt("OTP code: > ");
    let uri = read_png(&home.path().join("qr/alice.png"));
    assert_eq!(alice.read_qr(), uri);
    let mut new = Authenticator::new(&uri);
    give_code(&alice, &mut new, "The second factor is replaced");
    assert_eq!(recovery_codes(&alice).len(), 20);
    assert!(!home.path().join("qr/alice.png").exists(), "the picture has served");
    hear(&alice, &[&alice]);

    let other = Terminal::start(home.path(), &server.address(), []);
    begin_login(&other, "alice", PASSWORD);
    other.answer("OTP code: > ", &codes[3]);
    other.wait_for("Login, password or code is wrong");
    other.answer("OTP code: > ", &old.code());
    other.wait_for("The code is wrong");
    give_code(&other, &mut new, "You are logged in as alice");
    other.wait_for("Wrong codes since your last login: ");
    other.wait_for("change it now with /passwd.");
}

#[test]
fn deleting_an_account_needs_login_password_and_code_and_ends_its_sessions() {
    let (server, home) = (Daemon::start(), place());
    let (alice, mut authenticator) = newcomer(&server, home.path(), "alice");
    let (bob, _) = newcomer(&server, home.path(), "bob");
    let other = Terminal::start(home.path(), &server.address(), []);
    log_in(&other, "alice", &mut authenticator);
    hear(&other, &[&alice, &other]);

    alice.answer(CHAT, "/delete-account");
    alice.wait_for("This deletes the account alice permanently");
    alice.answer("Your login, to confirm: > ", "bob");
    alice.wait_for("That is not alice: nothing was done.");
    alice.answer(CHAT, "/delete-account");
    alice.answer("Your login, to confirm: > ", "alice");
    alice.answer("Password: > ", PASSWORD);
    give_code_only(&alice, &mut authenticator, "The account alice is deleted.");
    other.wait_for("The session has ended: log in again. Type /login.");
    alice.answer(CHAT, "hello?");
    alice.wait_for("You are not logged in");
    assert!(!alice.all_text().contains("Type /login."), "the end is not reported:\n{}", alice.all_text());
    say(&bob, "bob", "gone");

    other.answer(CHAT, "/login");
    other.answer("Login: > ", "alice");
    other.answer("Password: > ", PASSWORD);
    other.wait_for("Login, password or code is wrong");
    other.answer(CHAT, "/register");
    other.answer("Login: > ", "alice");
    other.answer("Password: > ", PASSWORD);
    other.answer("Password again: > ", PASSWORD);
    other.wait_for("is taken: choose another");
}

#[test]
fn wrong_guesses_are_delayed_and_the_prompt_stays() {
    let (server, home) = (Daemon::start(), place());
    let (alice, authenticator) = newcomer(&server, home.path(), "alice");
    let other = Terminal::start(home.path(), &server.address(), []);
    let wait = "Too many tries: try again in ";
    // The delay doubles with each wrong code, so it outgrows the slowness of any machine.
    let told = (0..4).any(|_| {
        begin_login(&other, "alice", PASSWORD);
        (0..3).any(|_| {
            let wrong = authenticator.wrong_code();
            other.wait_for_either([wait, "The code is wrong"], || other.answer("OTP code: > ", &wrong))
        })
    });
    assert!(told, "{}", other.all_text());
    // A delayed code is no guess: the prompt stays, and a recovery code works.
    other.answer("OTP code: > ", &recovery_codes(&alice)[0]);
    other.wait_for("This recovery code is used up.");
    say(&alice, "alice", "not disturbed");
}

#[test]
fn the_console_asks_for_an_invitation_and_keeps_login_and_password() {
    let (server, home) = (Daemon::start_with(&["--registration", "invite"]), place());
    let alice = Terminal::start(home.path(), &server.address(), []);
    alice.answer(CHAT, "/register");
    alice.answer("Login: > ", "alice");
    alice.answer("Password: > ", PASSWORD);
    alice.answer("Password again: > ", PASSWORD);
    alice.wait_for("Registration is by invitation here");
    for times in 1..=2 {
        alice.answer("Invitation: > ", "aaaa-bbbb-cccc-dddd");
        alice.wait_for_times("This invitation is wrong, has been used or has expired", times);
    }
    let invitation = shown(&administer(&server, &["invite", "new", "--note", "for Alice"]), "Invitation code");
    alice.answer("Invitation: > ", &invitation.to_lowercase());
    alice.wait_for("The account alice is created. Next: its second factor.");
    alice.wait_for_prompt("OTP code: > ");
    let mut authenticator = Authenticator::new(&read_png(&home.path().join("qr/alice.png")));
    give_code(&alice, &mut authenticator, "You are logged in as alice");
    assert_eq!(alice.all_text().matches("Login: >").count(), 1);

    let closed = Daemon::start_with(&["--registration", "closed"]);
    let bob = Terminal::start(home.path(), &closed.address(), []);
    bob.answer(CHAT, "/register");
    bob.answer("Login: > ", "bob");
    bob.answer("Password: > ", PASSWORD);
    bob.answer("Password again: > ", PASSWORD);
    bob.wait_for("Registration is closed here");
}

#[test]
fn the_administrators_code_replaces_a_lost_second_factor() {
    let (server, home) = (Daemon::start(), place());
    let (alice, _) = newcomer(&server, home.path(), "alice");
    let reset = || shown(&administer(&server, &["user", "reset-otp", "alice"]), "Enrolment code");
    let mut code = reset();
    alice.wait_for("The session has ended: log in again. Type /login.");
    for (times, left) in [(1, true), (2, false)] {
        alice.answer(CHAT, "/login");
        alice.answer("Login: > ", "alice");
        alice.answer("Password: > ", PASSWORD);
        alice.wait_for_times("This account has no second factor and waits for the administrator", times);
        alice.answer("Enrolment code: > ", "AAAA-BBBB-CCCC-DDDD");
        alice.wait_for_times("Login, password or code is wrong", times);
        alice.answer("Enrolment code: > ", &code);
        alice.wait_for_prompt("OTP code: > ");
        if left {
            alice.type_keys("\r");
            alice.wait_for("and the enrolment code is used up");
            code = reset();
        }
    }
    let mut found = Authenticator::new(&read_png(&home.path().join("qr/alice.png")));
    give_code(&alice, &mut found, "You are logged in as alice");
    assert_eq!(recovery_codes(&alice).len(), 10 + 4 + 10, "ten at each enrolment, and four that were typed");
    hear(&alice, &[&alice]);

    administer(&server, &["user", "lock", "alice"]);
    alice.wait_for_times("Type /login.", 2);
    alice.answer(CHAT, "/login");
    alice.answer("Login: > ", "alice");
    alice.answer("Password: > ", PASSWORD);
    alice.wait_for("This account is locked: ask the administrator.");
}

#[test]
fn the_console_warns_of_a_clock_skew_once_and_again_after_a_wrong_code() {
    let (server, home) = (TestServer::open(), place());
    let member = server.member("alice");
    // The clock of the server stands still, years from now.
    let alice = Terminal::start(home.path(), &format!("127.0.0.1:{}", server.running().port()), []);
    begin_login(&alice, "alice", PASSWORD);
    alice.wait_for_times("The clock of this machine is ", 1);
    let right = server.code(&member.secret, 0);
    alice.answer("OTP code: > ", if right == "000000" { "111111" } else { "000000" });
    alice.wait_for_times("The clock of this machine is ", 2);
    alice.answer("OTP code: > ", &right);
    alice.wait_for("You are logged in as alice");
    alice.wait_for_prompt(CHAT);
    assert_eq!(alice.all_text().matches("The clock of this machine is ").count(), 2);
    assert!(alice.all_text().contains(" days behind the server's."), "{}", alice.all_text());
}

#[test]
fn without_a_terminal_no_answer_to_a_dialogue_ever_goes_to_other_people() {
    let (server, home) = (Daemon::start(), place());
    let mut authenticator = register_by_pipe(&server, home.path(), "alice");
    let (bob, _) = newcomer(&server, home.path(), "bob");
    let address = server.address();
    let flags = ["--server", address.as_str()];
    let (first, second) = (authenticator.code(), authenticator.code());
    let said = pipe(
        home.path(),
        &flags,
        &format!("/login\nalice\n{PASSWORD}\n{first}\n/sessions\n/recovery\n{PASSWORD}\n{second}\nhello\n"),
    );
    let stderr = String::from_utf8_lossy(&said.stderr);
    assert_eq!(said.status.code(), Some(0), "{stderr}");
    assert!(stderr.contains("this one"), "{stderr}");
    assert_eq!(recovery_codes_in(&stderr).len(), 10, "{stderr}");
    assert!(!stderr.contains(PASSWORD));
    bob.wait_for("] alice: hello");

    // Lines that a command did not take must not go to the room, least of all answers that were meant for it.
    for wrong in ["/passswd", "/register"] {
        let code = authenticator.code();
        let lines = format!("/login\nalice\n{PASSWORD}\n{code}\n{wrong}\na secret answer\n");
        assert_eq!(pipe(home.path(), &flags, &lines).status.code(), Some(1), "{wrong}");
    }
    let refused = pipe(home.path(), &flags, &format!("/passwd\n{PASSWORD}\n123456\na secret answer\n"));
    assert_eq!(refused.status.code(), Some(1), "nobody is logged in");
    say(&bob, "bob", "that was all");
    assert!(!bob.all_text().contains("secret answer"));
}
