//! What people write, on terminals of every kind: it is shown as they wrote it, once, and never at the left edge.

use grpc_otp_chat::client::console::room::render;
use grpc_otp_chat::client::console::terminal::paint::Paint;
use proptest::prelude::*;

use crate::console::{CHAT, hear, newcomer, place};
use crate::daemon::Daemon;
use crate::drawing::{Drawing, DrawnScreen};

/// Letters that terminals draw with different widths, blanks, line ends, and what a liar would write.
const PIECES: [&str; 30] = [
    "a",
    "word ",
    " ",
    "\u{a0}",
    "\u{3000}",
    "\n",
    "\t",
    "[18:30:16] bob: I quit",
    "[18:30:16]\u{a0}bob:\u{a0}yes",
    "18:30:16_bob:_no",
    "* The session ends",
    "> ",
    "❤\u{fe0f}",
    "❤",
    "👩\u{200d}💻",
    "👨\u{200d}👩\u{200d}👧\u{200d}👦",
    "👍🏿",
    "🇩🇪",
    "1\u{fe0f}\u{20e3}",
    "🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}",
    "漢字",
    "한국",
    "\u{1112}\u{1161}\u{11ab}",
    "नमस्ते",
    "क्\u{200d}ष",
    "ที่นี่",
    "می\u{200c}خواهم",
    "שָׁלוֹם\u{200f}",
    "e\u{301}\u{302}",
    "co\u{ad}op",
];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn no_row_begins_with_what_the_author_chose(
        author in "[a-z漢ש0-9_.-]{2,32}",
        pieces in proptest::collection::vec(prop_oneof![proptest::sample::select(&PIECES[..]).prop_map(str::to_owned), any::<char>().prop_map(String::from)], 1..120),
        window in 24..120_usize,
    ) {
        let text = pieces.concat();
        let rows = render::message("18:30:15", &author, &text, Some(window), Paint::None);
        for drawing in Drawing::ALL {
            // Cyrillic with two columns a letter is more than rows are broken for: there the terminal breaks none.
            for obeys_autowrap in [true, drawing == Drawing::AmbiguousWide] {
                let mut screen = DrawnScreen::new(drawing, window, obeys_autowrap);
                screen.draw(&format!("\x1b[?7l{}", rows.join("\n")));
                for (number, row) in screen.rows().iter().enumerate() {
                    let ours = if number == 0 { "[18:30:15]" } else { "    " };
                    prop_assert!(row.is_empty() || row.starts_with(ours), "{:?} {}: {:?}", drawing, window, screen.rows());
                }
            }
        }
    }
}

/// What a terminal shows after `bytes`, on each kind of terminal.
fn drawn(bytes: &str) -> Vec<(Drawing, Vec<String>)> {
    let draw = |drawing| {
        let mut screen = DrawnScreen::new(drawing, 80, true);
        screen.draw(bytes);
        (drawing, screen.rows())
    };
    Drawing::ALL.into_iter().map(draw).collect()
}

#[test]
fn a_line_that_was_sent_is_there_once_whatever_its_letters() {
    let (server, home) = (Daemon::start(), place());
    let (alice, _) = newcomer(&server, home.path(), "alice");
    let lines = [
        "❤\u{fe0f} einmal".to_owned(),
        "ที่นี่น้ำ einmal".to_owned(),
        "नमस्ते क्\u{200d}ष einmal".to_owned(),
        "cafe\u{301} nin\u{303}o einmal".to_owned(),
        "👩\u{200d}💻 می\u{200c}خواهم einmal".to_owned(),
        // Rows that the editor and a terminal count differently, and one that is just full.
        format!("{} einmal", "❤\u{fe0f}".repeat(60)),
        format!("{} einmal", "👩\u{200d}💻".repeat(30)),
        format!("{}einmal", "x".repeat(72)),
        format!("{}einmal", "x".repeat(73)),
        format!("{} einmal", "нет ".repeat(50)),
    ];
    for line in &lines {
        alice.answer(CHAT, line);
        alice.wait_for_prompt(CHAT);
        hear(&alice, &[&alice]);
    }
    // Pastes with blanks, tabs and line ends.
    for paste in ["    if x:\r\teinmal\r", "\teinmal"] {
        alice.wait_for_prompt(CHAT);
        alice.type_keys(&format!("\x1b[200~{paste}\x1b[201~"));
        alice.type_keys("\r");
        alice.wait_for_prompt(CHAT);
        hear(&alice, &[&alice]);
    }
    for (drawing, rows) in drawn(&alice.all_bytes()) {
        let screen = rows.join("\n");
        let typed: Vec<&String> = rows.iter().filter(|row| row.starts_with("> ") && row.len() > 2).collect();
        // The dialogues before stay; nothing of a message does.
        assert!(!typed.iter().any(|row| row.contains("einmal") || row.contains("hear me")), "{drawing:?}\n{screen}");
        let sent = screen.matches("do you hear me, ").count();
        assert!(sent >= lines.len() + 2, "{drawing:?}: nothing else is taken back\n{screen}");
        if drawing == Drawing::AmbiguousWide {
            continue;
        }
        assert_eq!(screen.matches("einmal").count(), lines.len() + 2, "{drawing:?}\n{screen}");
        assert!(screen.contains("alice:     if x:\n               einmal"), "{drawing:?}\n{screen}");
        for line in lines.iter().filter(|line| line.chars().count() < 40) {
            assert!(screen.contains(&format!("] alice: {line}")), "{drawing:?} {line}\n{screen}");
        }
    }
}

#[test]
fn what_is_typed_ahead_stands_nowhere_and_the_terminal_shows_keys_again_at_the_end() {
    let (server, home) = (Daemon::start(), place());
    let (mut alice, _) = newcomer(&server, home.path(), "alice");
    assert!(!alice.echoes());
    // All at once: most of it comes while a line is on its way.
    let typed: String = (0..20).map(|number| format!("ahead {number}.\r")).collect();
    alice.type_keys(&typed);
    alice.wait_for("] alice: ahead 19.");
    alice.answer(CHAT, "/quit");
    alice.wait_for_end();
    assert!(alice.echoes() && alice.all_bytes().trim_end().ends_with("\x1b[?7h"), "as it was");
    for (drawing, rows) in drawn(&alice.all_bytes()) {
        let ahead: Vec<&String> = rows.iter().filter(|row| row.contains("ahead ")).collect();
        assert!(ahead.len() == 20 && ahead.iter().all(|row| row.starts_with('[')), "{drawing:?} {rows:?}");
    }
}

#[test]
fn a_message_that_would_fill_the_window_is_folded_and_shown_whole_on_demand() {
    let (server, home) = (Daemon::start(), place());
    let (alice, _) = newcomer(&server, home.path(), "alice");
    let paste = |rows: usize| {
        alice.wait_for_prompt(CHAT);
        let text: String = (1..=rows).map(|row| format!("row {row}\r")).collect();
        alice.type_keys(&format!("\x1b[200~{text}\x1b[201~"));
        alice.type_keys("\r");
    };
    paste(150);
    alice.wait_for("… 135 rows more: /more 1");
    alice.wait_for_prompt(CHAT);
    hear(&alice, &[&alice]);
    alice.answer(CHAT, "/more");
    alice.wait_for_times("           row 150", 1);
    alice.answer(CHAT, "/more 7");
    alice.wait_for("There is no such folded message.");
    // Beyond the server's bound it comes back to the prompt.
    paste(201);
    alice.wait_for("is empty or blank");
    alice.type_keys("\x03");
    alice.wait_for_prompt(CHAT);
}
