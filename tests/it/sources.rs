//! The house rules that a test over the sources can keep.

use std::fs;
use std::path::{Path, PathBuf};

fn sources(under: &str) -> Vec<(PathBuf, String)> {
    // Cargo runs tests in the checkout that they are of; where they were compiled may have been another one.
    let root = Path::new(".");
    let mut found = Vec::new();
    let mut open = vec![root.join(under)];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(path).expect("a directory").map(|entry| entry.expect("an entry").path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a source");
            found.push((path.strip_prefix(root).expect("below the root").to_owned(), text));
        }
    }
    assert!(!found.is_empty(), "{under} has sources");
    found
}

/// Which files use a word, comments aside.
fn users_of(word: &str, under: &str) -> Vec<String> {
    let code = |line: &&str| !line.trim_start().starts_with("//");
    sources(under)
        .into_iter()
        .filter(|(_, text)| text.lines().filter(code).any(|line| line.contains(word)))
        .map(|(path, _)| path.display().to_string())
        .collect()
}

#[test]
fn what_the_system_does_knows_nothing_of_the_wire() {
    for room in ["src/app", "src/security", "src/store", "src/hub"] {
        for word in ["grpcio", "crate::rpc", "crate::client", "proto::"] {
            let mut users = users_of(word, room);
            // The administrator's requests and answers are the same with a wire and without one.
            users.retain(|file| word != "proto::" || file != "src/app/admin.rs");
            assert_eq!(users, Vec::<String>::new(), "{word} in {room}");
        }
    }
}

#[test]
fn futures_live_on_the_wire_only() {
    for word in ["async ", "futures_"] {
        let elsewhere: Vec<_> = users_of(word, "src")
            .into_iter()
            .filter(|path| !path.starts_with("src/rpc") && !path.starts_with("src/client"))
            .filter(|path| path != "src/bin/otpchat-bench/ordinary.rs" && path != "src/base/wait.rs")
            .collect();
        assert_eq!(elsewhere, Vec::<String>::new(), "{word}");
    }
}

#[test]
fn one_file_each_for_headers_time_sql_and_generated_code() {
    assert_eq!(users_of("request_headers()", "src"), ["src/rpc/caller.rs"]);
    assert_eq!(users_of("SystemTime::now", "src"), ["src/base/clock.rs"]);
    assert_eq!(users_of("OUT_DIR", "src"), ["src/proto/mod.rs"]);
    for word in ["SELECT ", "INSERT ", "UPDATE ", "DELETE "] {
        let elsewhere: Vec<_> =
            users_of(word, "src").into_iter().filter(|path| !path.starts_with("src/store")).collect();
        assert_eq!(elsewhere, Vec::<String>::new(), "{word}");
    }
}

#[test]
fn the_database_stays_in_the_store() {
    for word in ["rusqlite", "r2d2"] {
        let mut users = users_of(word, "src");
        users.retain(|path| !path.starts_with("src/store"));
        assert_eq!(users, Vec::<String>::new(), "{word}");
    }
}

#[test]
fn there_is_no_async_runtime() {
    let lock = include_str!("../../Cargo.lock");
    for runtime in ["tokio", "async-std", "smol", "async-executor", "mio"] {
        assert!(!lock.contains(&format!("name = \"{runtime}\"\n")), "{runtime}");
    }
}

#[test]
fn no_call_takes_a_place_before_its_message_has_come() {
    // grpcio keeps one of its places for a unary call from its headers on: a thousand calls without a message would keep
    // everybody out. So they are taken as streams of one message (`rpc::pending`).
    assert_eq!(users_of("add_unary_handler", "src"), Vec::<String>::new());
    assert_eq!(users_of("add_server_streaming_handler", "src"), Vec::<String>::new());
}
