//! The sources, cut down to what the rules are about.

use std::fs;
use std::path::Path;

/// A source file.
pub(super) struct Source {
    /// Its path in the checkout, as in `src/hub/mod.rs`.
    pub(super) path: String,
    /// What the file holds.
    pub(super) text: String,
    /// The same without unit tests, with blanks in place of comments and literals. Line breaks are kept.
    pub(super) code: String,
}

/// A function in a source.
pub(super) struct Function {
    pub(super) name: String,
    /// The number of the line that names it.
    pub(super) line: usize,
    /// From that line to the one of its closing brace.
    pub(super) lines: usize,
}

/// The sources below a folder, in the order of their paths.
pub(super) fn sources(under: &str) -> Vec<Source> {
    // Cargo runs a test in the checkout that it belongs to. The path at compile time may be that of another checkout.
    let mut open = vec![Path::new(under).to_owned()];
    let mut found = Vec::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(path).expect("a directory").map(|entry| entry.expect("an entry").path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(Source::new(path.display().to_string(), fs::read_to_string(&path).expect("a source")));
        }
    }
    assert!(!found.is_empty(), "{under} has sources");
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

impl Source {
    pub(super) fn new(path: String, text: String) -> Source {
        let code = without_tests(&without_comments_and_literals(&text));
        Source { path, text, code }
    }

    /// The functions with a body.
    pub(super) fn functions(&self) -> Vec<Function> {
        let code: Vec<char> = self.code.chars().collect();
        let line_of = |at: usize| 1 + code[..at].iter().filter(|c| **c == '\n').count();
        let starts = (0..code.len()).filter(|at| {
            let word: String = code[*at..].iter().take(3).collect();
            word == "fn " && at.checked_sub(1).is_none_or(|before| !is_name(code[before]))
        });
        let function = |start: usize| {
            let name = code[start + 3..].iter().take_while(|c| is_name(**c)).collect();
            let line = line_of(start);
            let end = end_of_item(&code, start)?;
            (code[end] == '}').then(|| Function { name, line, lines: line_of(end) + 1 - line })
        };
        starts.filter_map(function).collect()
    }
}

/// Whether a character may be part of a name.
pub(super) fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Where the item that starts at `from` ends: at the brace that closes its body, or at the semicolon of one without a body.
fn end_of_item(code: &[char], from: usize) -> Option<usize> {
    let (mut braces, mut brackets) = (0, 0);
    for (at, c) in code.iter().enumerate().skip(from) {
        match c {
            '(' | '[' => brackets += 1,
            ')' | ']' => brackets -= 1,
            '{' => braces += 1,
            '}' => {
                braces -= 1;
                if braces == 0 && brackets == 0 {
                    return Some(at);
                }
            }
            ';' if braces == 0 && brackets == 0 => return Some(at),
            _ => {}
        }
    }
    None
}

fn without_tests(code: &str) -> String {
    const TEST: &str = "#[cfg(test)]";
    let mut code: Vec<char> = code.chars().collect();
    let mut at = 0;
    while at + TEST.len() <= code.len() {
        if code[at..at + TEST.len()].iter().copied().eq(TEST.chars()) {
            let end = end_of_item(&code, at + TEST.len()).expect("an item under test");
            code[at..=end].iter_mut().filter(|c| **c != '\n').for_each(|c| *c = ' ');
            at = end;
        }
        at += 1;
    }
    code.into_iter().collect()
}

fn without_comments_and_literals(text: &str) -> String {
    let text: Vec<char> = text.chars().collect();
    let mut code = String::new();
    let mut at = 0;
    while at < text.len() {
        let end = end_of_comment_or_literal(&text, at);
        match end {
            Some(end) => {
                code.extend(text[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
                at = end;
            }
            None => {
                code.push(text[at]);
                at += 1;
            }
        }
    }
    code
}

/// The first position behind the comment or the literal that starts at `at`, if one does.
fn end_of_comment_or_literal(text: &[char], at: usize) -> Option<usize> {
    let find = |from: usize, what: &[char]| {
        let end = text[from..].windows(what.len()).position(|window| window == what);
        end.map_or(text.len(), |end| from + end + what.len())
    };
    match (text[at], text.get(at + 1)) {
        ('/', Some('/')) => Some(find(at, &['\n']) - 1),
        ('/', Some('*')) => Some(find(at, &['*', '/'])),
        ('"', _) => {
            let hashes = text[..at].iter().rev().take_while(|c| **c == '#').count();
            let is_raw = at.checked_sub(hashes + 1).is_some_and(|before| text[before] == 'r');
            if is_raw {
                return Some(find(at + 1, &[&['"'][..], &vec!['#'; hashes]].concat()));
            }
            let mut end = at + 1;
            while end < text.len() && text[end] != '"' {
                end += if text[end] == '\\' { 2 } else { 1 };
            }
            Some(end + 1)
        }
        ('\'', Some('\\')) => Some(find(at + 3, &['\''])),
        ('\'', Some(_)) if text.get(at + 2) == Some(&'\'') => Some(at + 3),
        // A lifetime, or code.
        _ => None,
    }
}

#[test]
fn code_is_told_from_comments_literals_and_unit_tests() {
    let text = "fn a() { // fn b() {}\n    let c = ['\\'', '{', '\"']; let d = \"}\\\"}\"; let e = r#\"}\"}\"#;\n}\n\
                #[cfg(test)]\nmod tests { fn f() {} }\nfn g<'a>(h: [&'a u8; 2]);\nfn i() {}\n";
    let source = Source::new("x".to_owned(), text.to_owned());
    let found: Vec<_> = source.functions().into_iter().map(|f| (f.name, f.line, f.lines)).collect();
    assert_eq!(found, [("a".to_owned(), 1, 3), ("i".to_owned(), 7, 1)]);
}
