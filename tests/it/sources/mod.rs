//! The rules of this code base that a test can check by reading the sources. Each failure says what to do.

mod imports;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use self::imports::{Import, imports};
use self::source::{Source, sources};

/// The rooms of the library, and the binaries, the lowest first: each imports only from rooms before it.
const ROOMS: [&str; 14] = [
    "base", "proto", "model", "security", "store", "hub", "app", "rpc", "config", "server", "admin", "qr", "client",
    "bin",
];

/// Files below the first path import nothing from those below the second, although these are lower.
const STRANGERS: &[(&str, &str)] = &[
    ("src/model/", "src/proto/"),
    ("src/security/", "src/proto/"),
    ("src/store/", "src/proto/"),
    ("src/hub/", "src/proto/"),
    ("src/config/", "src/proto/"),
    ("src/qr/", "src/store/"),
    ("src/qr/", "src/app/"),
    // The client is another program: what it shares with the server is base, proto, model, and of security that which both
    // sides do.
    ("src/client/", "src/store/"),
    ("src/client/", "src/hub/"),
    ("src/client/", "src/app/"),
    ("src/client/", "src/rpc/"),
    ("src/client/", "src/config/"),
    ("src/client/", "src/server/"),
    ("src/client/", "src/admin/"),
    ("src/client/", "src/security/chain.rs"),
    ("src/client/", "src/security/codes.rs"),
    ("src/client/", "src/security/passwords.rs"),
    ("src/client/", "src/security/throttle.rs"),
    ("src/client/", "src/security/tokens.rs"),
    ("src/client/", "src/security/vault.rs"),
];

/// No function has more lines.
const MOST_LINES: usize = 70;

fn listed<'a>(imports: impl IntoIterator<Item = &'a Import>) -> String {
    imports.into_iter().map(|(from, to)| format!("\n  {from} imports {to}")).collect()
}

#[test]
fn imports_only_go_down() {
    let height = |path: &str| {
        let room = path.strip_prefix("src/").expect("below src/").split('/').next();
        ROOMS.iter().position(|name| Some(*name) == room)
    };
    let is_stranger = |from: &str, to: &str| STRANGERS.iter().any(|(a, b)| from.starts_with(a) && to.starts_with(b));
    let all = imports(&sources("src"));
    let wrong = all.iter().filter(|(from, to)| {
        // Every room may name what lib.rs holds itself; lib.rs imports from no room.
        let goes_down = height(to).is_none_or(|to| height(from).is_some_and(|from| to <= from));
        !goes_down || is_stranger(from, to)
    });
    let wrong = listed(wrong);
    assert!(
        wrong.is_empty(),
        "a room imports only from the rooms before it in {ROOMS:?}, and from no stranger: move what both need into a lower \
         room, or pass it in as a parameter{wrong}"
    );
}

#[test]
fn no_files_or_folders_import_each_other_in_a_circle() {
    // For each folder, the imports between its files and folders.
    let mut folders: BTreeMap<String, BTreeMap<(String, String), Vec<Import>>> = BTreeMap::new();
    for (from, to) in imports(&sources("src")) {
        let (a, b): (Vec<&str>, Vec<&str>) = (from.split('/').collect(), to.split('/').collect());
        let common = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
        let pair = (a[common].to_owned(), b[common].to_owned());
        folders.entry(a[..common].join("/")).or_default().entry(pair).or_default().push((from, to));
    }
    let mut wrong = String::new();
    for (folder, pairs) in &folders {
        for pair in pairs_in_circles(pairs.keys().collect()) {
            wrong += &format!("\nin {folder}, {} to {}:{}", pair.0, pair.1, listed(&pairs[pair]));
        }
    }
    assert!(
        wrong.is_empty(),
        "these imports form a circle: give what several of the files need a file of its own, below them{wrong}"
    );
}

/// The pairs whose second member leads back to their first.
fn pairs_in_circles<'a>(pairs: Vec<&'a (String, String)>) -> Vec<&'a (String, String)> {
    let leads_to = |start: &'a str, goal: &str| {
        let (mut open, mut seen) = (vec![start], BTreeSet::new());
        while let Some(name) = open.pop() {
            if name == goal {
                return true;
            }
            if seen.insert(name) {
                open.extend(pairs.iter().filter(|(from, _)| from == name).map(|(_, to)| to.as_str()));
            }
        }
        false
    };
    pairs.iter().copied().filter(|(from, to)| leads_to(to, from)).collect()
}

#[test]
fn functions_fit_on_a_screen() {
    let mut wrong = String::new();
    for source in sources("src") {
        for function in source.functions() {
            if function.lines > MOST_LINES {
                wrong += &format!("\n  {}:{}: {}, {} lines", source.path, function.line, function.name, function.lines);
            }
        }
    }
    assert!(wrong.is_empty(), "functions have at most {MOST_LINES} lines: cut these where a step has a name{wrong}");
}

/// The files below a folder whose text has a word outside of comments.
fn files_with(word: &str, under: &str) -> Vec<String> {
    let is_code = |line: &&str| !line.trim_start().starts_with("//");
    let has_word = |source: &Source| source.text.lines().filter(is_code).any(|line| line.contains(word));
    sources(under).into_iter().filter(has_word).map(|source| source.path).collect()
}

#[test]
fn rooms_below_the_wire_know_nothing_of_it() {
    for room in ["src/base", "src/model", "src/security", "src/store", "src/hub", "src/app"] {
        assert_eq!(files_with("grpcio", room), [""; 0], "{room} has plain types; translate them in src/rpc");
    }
    // The administrator's requests and answers are the same with a wire and without one.
    assert_eq!(files_with("proto::", "src/app"), ["src/app/admin.rs"]);
}

#[test]
fn only_the_store_knows_the_database() {
    for word in ["rusqlite", "r2d2", "SELECT ", "INSERT INTO", "UPDATE ", "DELETE FROM", "PRAGMA "] {
        let mut files = files_with(word, "src");
        files.retain(|path| !path.starts_with("src/store/"));
        assert_eq!(files, [""; 0], "{word}: give the statement a function with a name in src/store");
    }
}

#[test]
fn sessions_are_deleted_only_where_their_end_is_noted() {
    // `store::sessions` notes each deleted session as an effect of the transaction; a revoked session would live on otherwise.
    assert_eq!(files_with("DELETE FROM sessions", "src"), ["src/store/sessions.rs"]);
}

#[test]
fn futures_stay_where_grpcio_asks_for_them() {
    for word in ["async ", "futures_"] {
        let mut files = files_with(word, "src");
        files.retain(|path| {
            let is_wire = path.starts_with("src/rpc/") || path.starts_with("src/client/");
            !is_wire && !["src/base/wait.rs", "src/bin/otpchat-bench/grpcio_reader.rs"].contains(&path.as_str())
        });
        assert_eq!(files, [""; 0], "{word}: this program has threads; futures are for grpcio's calls alone");
    }
}

#[test]
fn headers_time_and_generated_code_have_one_file_each() {
    assert_eq!(files_with("request_headers()", "src"), ["src/rpc/caller.rs"]);
    assert_eq!(files_with("SystemTime::now", "src"), ["src/base/clock.rs"]);
    assert_eq!(files_with("OUT_DIR", "src"), ["src/proto/mod.rs"]);
}

#[test]
fn one_file_writes_to_the_terminal() {
    // Names, texts and causes come from others. `base::terminal` looks at everything once more, and lets only colours through.
    for word in ["io::stdout", "io::stderr", "::Stdout", "::Stderr", "rustix::io::write", "/dev/tty"] {
        let mut files = files_with(word, "src");
        files.retain(|path| path != "src/base/terminal.rs");
        assert_eq!(files, [""; 0], "{word}: print with base::terminal::Output");
    }
    for word in ["print!(", "println!(", "eprint!(", "eprintln!(", "dbg!("] {
        assert_eq!(files_with(word, "src"), [""; 0], "{word}: print with base::terminal::Output");
    }
    // Sequences that a terminal obeys are written in these files alone, the last two being colours.
    let control = ["src/base/terminal.rs", "src/client/console/terminal/paint.rs", "src/qr/mod.rs"];
    let is_written =
        |source: &Source| ["\\x1b", "\\u{1b}", "\\u{9b}"].iter().any(|word| program(&source.text).contains(word));
    let files: Vec<String> = sources("src").into_iter().filter(is_written).map(|source| source.path).collect();
    assert_eq!(files, control, "give the sequence a name in base::terminal, or a colour in paint.rs");
    // The line editor prints for one file only, and draws for one only.
    assert_eq!(files_with("ExternalPrinter", "src"), ["src/client/console/terminal/screen.rs"]);
    assert_eq!(files_with("impl Highlighter", "src"), ["src/client/console/terminal/editor.rs"]);
}

/// The source without its comments and tests.
fn program(text: &str) -> String {
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

#[test]
fn there_is_no_async_runtime() {
    let lock = fs::read_to_string("Cargo.lock").expect("Cargo.lock");
    for runtime in ["tokio", "async-std", "smol", "async-executor", "mio"] {
        assert!(!lock.contains(&format!("name = \"{runtime}\"\n")), "{runtime}");
    }
}

#[test]
fn no_call_takes_a_slot_before_its_message_has_arrived() {
    // For a unary call grpcio reserves one of its slots from the headers on: a thousand calls without a message would keep all
    // others out. So unary calls are registered as streams of one message (`rpc::edge::pending`).
    for word in ["add_unary_handler", "add_server_streaming_handler"] {
        assert_eq!(files_with(word, "src"), [""; 0], "register the call in src/rpc/calls.rs as the others are");
    }
}
