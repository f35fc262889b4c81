//! Plain English in comments and documents: subject first, present tense, and a program is "it".
//!
//! A list of words keeps no language good, but it keeps the old one from coming back. Help texts are comments too.

use std::fs;
use std::path::{Path, PathBuf};

use crate::documents::{documents, prose, read};

/// Nowhere: programs are "it", people are "they" and have a name, and nothing "is to be".
const BANNED: &[&str] = &[
    "whoever",
    "whomever",
    "whom",
    "he",
    "him",
    "his",
    "himself",
    "somebody",
    "everybody",
    "is to be",
    "are to be",
    "was to be",
    "were to be",
    "what waits",
    "what waited",
    "what is there",
    "the door",
    "at the door",
    "those that are gone",
    "that are gone",
    "that is no more",
    "in so many words",
    "hang up on",
    "hangs up on",
    "hung up on",
];

/// In comments also these: there the subject is a program. (A document may tell a person who has to do something.)
const BANNED_IN_COMMENTS: &[&str] = &["who", "nobody"];

/// In comments allowed all the same: these are people.
const ALLOWED: &[&str] = &["people who", "person who", "users who", "nobody can skip"];

/// Where comments are read.
const SOURCES: [&str; 11] =
    [".ci", "benches", "build.rs", "c-core", "fail2ban", "nginx", "proto", "script", "src", "systemd", "tests"];

/// This file: it has to name the words.
const THIS: &str = "tests/it/language.rs";

fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = SOURCES.iter().map(PathBuf::from).filter(|path| path.exists()).collect();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(&path).expect("a folder").map(|entry| entry.expect("an entry").path()));
        } else if comment_mark(&path).is_some() && path != Path::new(THIS) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// What a comment begins with; `None` for files that are not read here.
fn comment_mark(path: &Path) -> Option<&'static str> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("rs" | "proto") => Some("//"),
        Some("py" | "sh" | "conf" | "service" | "sysusers" | "cmake" | "toml") => Some("#"),
        // Scripts have no extension.
        None => Some("#"),
        Some(_) => None,
    }
}

/// The comment in a line, without its mark.
fn comment<'l>(line: &'l str, mark: &str) -> Option<&'l str> {
    let line = line.trim_start();
    let text = match line.strip_prefix(mark) {
        Some(text) => text,
        // Behind code, unless it stands in a string.
        None => {
            let at = line.find(&format!(" {mark} "))?;
            line[..at].matches('"').count().is_multiple_of(2).then(|| &line[at + 1 + mark.len()..])?
        }
    };
    Some(text.trim_start_matches(['/', '!', '#', ';']))
}

/// A run of lines that belong together: the number of the first, and their text.
type Block = (usize, String);

/// Lines that follow each other are one text: a phrase may be broken across them.
fn blocks(lines: impl Iterator<Item = (usize, String)>) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut last = 0;
    for (number, text) in lines.filter(|(_, text)| !text.trim().is_empty()) {
        match blocks.last_mut() {
            Some((_, block)) if number == last + 1 => {
                block.push(' ');
                block.push_str(&text);
            }
            _ => blocks.push((number, text)),
        }
        last = number;
    }
    blocks
}

/// In lower case, with one blank between words and none else; what is in code spans is left out.
fn words(text: &str) -> String {
    let prose: String = text.split('`').step_by(2).collect::<Vec<_>>().join(" ");
    let kept = prose.to_lowercase();
    let words = kept.split(|c: char| !c.is_alphanumeric() && !matches!(c, '-' | '_')).filter(|word| !word.is_empty());
    format!(" {} ", words.collect::<Vec<_>>().join(" "))
}

fn found_in(blocks: Vec<Block>, banned: &[&[&str]], allowed: &[&str]) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, text) in blocks {
        let mut text = words(&text);
        for phrase in allowed {
            text = text.replace(&format!(" {phrase} "), " ");
        }
        let phrases = banned.iter().flat_map(|list| list.iter());
        let hits: Vec<_> = phrases.filter(|phrase| text.contains(&format!(" {phrase} "))).copied().collect();
        if !hits.is_empty() {
            found.push((number, hits.join(", ")));
        }
    }
    found
}

fn found_in_source(path: &Path) -> Vec<(usize, String)> {
    let mark = comment_mark(path).expect("a source");
    let text = read(path);
    let lines = (1..).zip(text.lines()).filter_map(|(number, line)| Some((number, comment(line, mark)?.to_owned())));
    found_in(blocks(lines), &[BANNED, BANNED_IN_COMMENTS], ALLOWED)
}

fn report(path: &Path, found: Vec<(usize, String)>) -> Vec<String> {
    found.into_iter().map(|(number, words)| format!("{}:{number}: {words}", path.display())).collect()
}

#[test]
fn comments_are_plain_english() {
    let found: Vec<_> = sources().into_iter().flat_map(|path| report(&path, found_in_source(&path))).collect();
    assert!(found.is_empty(), "say it plainly (docs/internals.md has the glossary):\n{}", found.join("\n"));
}

#[test]
fn documents_are_plain_english() {
    let mut found = Vec::new();
    for path in documents().into_iter().filter(|path| !path.to_string_lossy().ends_with(".ru.md")) {
        let lines = prose(&read(&path));
        found.extend(report(&path, found_in(blocks(lines.into_iter()), &[BANNED], &[])));
    }
    assert!(found.is_empty(), "say it plainly:\n{}", found.join("\n"));
}

#[test]
fn the_words_are_found_and_code_and_people_are_left_alone() {
    fn check(line: &str, want: &[&str]) {
        let text = comment(line, "//").unwrap_or_default().to_owned();
        let found = found_in(vec![(1, text)], &[BANNED, BANNED_IN_COMMENTS], ALLOWED);
        let found: Vec<_> = found.iter().flat_map(|(_, words)| words.split(", ")).collect();
        assert_eq!(found, want, "{line}");
    }
    check("/// Tells whoever asks what\u{20}is to be done.", &["whoever", "is to be"]);
    check("let x = 1; // He knows.", &["he"]);
    check("let url = \"http://nobody // he\";", &[]);
    check("//! A second factor that nobody can skip, for people who chat.", &[]);
    check("// The `who` column.", &[]);
    check("// The header; hers is another.", &[]);
    let broken = blocks([(1, "It is".to_owned()), (2, "to be".to_owned()), (4, "apart".to_owned())].into_iter());
    assert_eq!(broken, [(1, "It is to be".to_owned()), (4, "apart".to_owned())]);
}
