//! What a keyboard, a paste or the system can do to a console on a terminal: nothing ends it, deafens it, or brings a secret back.

use std::path::Path;

use rustix::process::Signal;

use crate::authenticator::{Authenticator, read_png};
use crate::console::{CHAT, PASSWORD, give_code, hear, newcomer, place};
use crate::daemon::Daemon;
use crate::screen::Terminal;

/// Registers on a terminal up to the prompt for the first code: the picture is on disk.
fn up_to_enrolment(terminal: &Terminal, login: &str) {
    terminal.answer(CHAT, "/register");
    terminal.answer("Login: > ", login);
    terminal.answer("Password: > ", PASSWORD);
    terminal.answer("Password again: > ", PASSWORD);
    terminal.wait_for_prompt("OTP code: > ");
}

fn files_in(directory: &Path) -> usize {
    std::fs::read_dir(directory).expect("the directory").count()
}

#[test]
fn no_bytes_from_keyboard_or_paste_end_or_deafen_the_console() {
    let (server, home) = (Daemon::start(), place());
    let (mut alice, _) = newcomer(&server, home.path(), "alice");
    // KOI8-R, Latin-1, and a lone continuation byte. The line typed so far stays.
    for (times, bytes) in [&b"\xc1"[..], b"\xe9t", b"\x80"].into_iter().enumerate() {
        alice.wait_for_prompt(CHAT);
        alice.type_keys("kept");
        alice.wait_for_cursor_row("> kept");
        alice.type_bytes(bytes);
        alice.wait_for_times("The line is not UTF-8; nothing was sent.", times + 1);
        alice.wait_for_cursor_row("> kept");
        alice.type_keys("\x15");
    }
    // A paste beyond every window, and one in the middle of which the encoding changes.
    alice.wait_for_prompt(CHAT);
    alice.type_keys(&format!("\x1b[200~{}\x1b[201~", "\r".repeat(70_000)));
    alice.wait_for_times("The line is longer than 32768 bytes; nothing was sent.", 1);
    alice.wait_for_prompt(CHAT);
    alice.type_bytes(b"\x1b[200~first\rsecond \xe9t\xe9\rthird\r\x1b[201~");
    alice.wait_for_times("The line is not UTF-8; nothing was sent.", 4);
    // A paste that never ends is left with Ctrl-C.
    alice.wait_for_prompt(CHAT);
    alice.type_keys("\x1b[200~never ends\r");
    alice.type_keys("\x03");
    alice.wait_for_prompt(CHAT);
    // Ctrl-C also drops what is typed close behind it.
    hear(&alice, &[&alice]);
    for text in ["first", "second", "third", "never ends"] {
        assert!(!alice.all_text().contains(&format!("] alice: {text}")), "{}", alice.all_text());
    }
    alice.answer(CHAT, "/quit");
    assert_eq!(alice.wait_for_end().code(), Some(0));
}

#[test]
fn a_password_that_was_rubbed_out_at_its_prompt_comes_back_nowhere() {
    let (server, home) = (Daemon::start(), place());
    let (alice, _) = newcomer(&server, home.path(), "alice");
    // Ctrl-U, Ctrl-W, Ctrl-A Ctrl-K, Alt-Backspace, Alt-D, and Ctrl-C.
    for erase in ["\x15", "\x17", "\x01\x0b", "\x1b\x7f", "\x01\x1bd\x0b", "\x03"] {
        alice.answer(CHAT, "/login");
        alice.wait_for_prompt("Password: > ");
        alice.type_keys(PASSWORD);
        alice.wait_for_cursor_row(&format!("Password: > {}", "*".repeat(PASSWORD.len())));
        alice.type_keys(erase);
        if erase != "\x03" {
            alice.wait_for_cursor_row("Password: >");
            alice.type_keys("\x19\r");
        }
        // Yank, the last line, an undo, and a search.
        alice.wait_for_prompt(CHAT);
        alice.type_keys("\x19\x1b[A\x15\x1f\x19\x12correct\x07\x15said");
        alice.type_keys("\r");
        alice.wait_for_prompt(CHAT);
    }
    assert!(!alice.ever_wrote(PASSWORD) && !alice.ever_wrote("battery"), "{}", alice.all_text());
}

#[test]
fn a_terminal_without_a_line_editor_survives_bytes_that_are_no_text() {
    let (server, home) = (Daemon::start(), place());
    let mut alice = Terminal::start_as(home.path(), &server.address(), [], "dumb");
    alice.wait_for_prompt(CHAT);
    alice.type_bytes(b"\xc1\xf2\r");
    alice.wait_for("The line is not UTF-8; nothing was sent.");
    alice.answer(CHAT, "/whoami");
    alice.wait_for("Not logged in; server");
    alice.answer(CHAT, "/login");
    alice.answer("Login: > ", "alice");
    alice.wait_for_prompt("Password: > ");
    alice.type_bytes(b"\xe9t\xe9\r");
    alice.wait_for_times("The line is not UTF-8; nothing was sent.", 2);
    alice.wait_for_prompt("Password: > ");
    alice.type_keys("\r");
    alice.answer(CHAT, "/quit");
    assert_eq!(alice.wait_for_end().code(), Some(0));
}

#[test]
fn a_signal_puts_the_terminal_back_and_deletes_the_picture() {
    let (server, home) = (Daemon::start(), place());
    for (number, signal) in [Signal::TERM, Signal::HUP, Signal::QUIT].into_iter().enumerate() {
        let mut terminal = Terminal::start(home.path(), &server.address(), []);
        up_to_enrolment(&terminal, &format!("alice{number}"));
        assert!(!terminal.echoes(), "the line editor echoes by itself");
        assert_eq!(files_in(&home.path().join("qr")), 2);
        terminal.send_signal(signal);
        terminal.wait_for_end();
        assert!(terminal.echoes(), "{signal:?}");
        assert!(terminal.ever_wrote("\x1b[?2004l"));
        assert_eq!(files_in(&home.path().join("qr")), 0, "{signal:?}");
    }
}

#[test]
fn a_picture_that_a_killed_console_left_is_deleted_at_the_next_start_and_a_kept_one_is_not() {
    let (server, home) = (Daemon::start(), place());
    let pictures = home.path().join("qr");
    let mut killed = Terminal::start(home.path(), &server.address(), []);
    up_to_enrolment(&killed, "alice");
    let kept = Terminal::start(home.path(), &server.address(), ["--keep-qr"]);
    up_to_enrolment(&kept, "bob");
    let alive = Terminal::start(home.path(), &server.address(), []);
    up_to_enrolment(&alive, "carol");
    killed.send_signal(Signal::KILL);
    killed.wait_for_end();
    assert!(pictures.join("alice.png").exists());
    Terminal::start(home.path(), &server.address(), []).wait_for_prompt(CHAT);
    assert!(!pictures.join("alice.png").exists());
    assert!(pictures.join("bob.png").exists() && pictures.join("carol.png").exists());
    give_code(&alive, &mut Authenticator::new(&read_png(&pictures.join("carol.png"))), "You are logged in as carol");
    assert!(!pictures.join("carol.png").exists());
}
