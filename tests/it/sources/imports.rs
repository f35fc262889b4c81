//! Which file imports which.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::Peekable;

use super::source::{Source, is_name};

/// A file and one that it imports, by their paths.
pub(super) type Import = (String, String);

/// The full name of a module or an item: its crate first.
type Name = Vec<String>;

/// The file that each module is in.
type Modules = BTreeMap<Name, String>;

/// A token of the code, with the module that it is in.
struct Token<'a> {
    text: &'a str,
    module: Name,
}

/// The library, as its binaries name it.
const LIBRARY: &str = "grpc_otp_chat";

/// Which files import which, by `use` or by a path in the code. A module's declaration (`mod x;`) is no import.
pub(super) fn imports(sources: &[Source]) -> BTreeSet<Import> {
    let mut modules = Modules::new();
    for source in sources {
        modules.insert(module_of(&source.path), source.path.clone());
        modules.extend(tokens(source).into_iter().map(|token| (token.module, source.path.clone())));
    }
    sources.iter().flat_map(|source| imports_of(source, &modules)).collect()
}

fn imports_of(source: &Source, modules: &Modules) -> BTreeSet<Import> {
    let tokens = tokens(source);
    // What the modules that were imported are called here.
    let mut short: BTreeMap<String, Name> = BTreeMap::new();
    let mut found: BTreeSet<Name> = BTreeSet::new();
    let mut at = 0;
    while at < tokens.len() {
        let Token { text, module } = &tokens[at];
        let is = |offset: usize, text: &str| tokens.get(at + offset).is_some_and(|token| token.text == text);
        let next_semicolon = || at + tokens[at..].iter().take_while(|token| token.text != ";").count();
        match *text {
            // Not the `use<'a>` of a return type.
            "use" if !is(1, "<") => {
                let end = next_semicolon();
                let mut used = Vec::new();
                let mut words =
                    tokens[at + 1..end].iter().map(|token| token.text).filter(|text| *text != "::").peekable();
                used_names(&mut words, &[], &mut used);
                for (path, name) in used {
                    let Some(full) = resolve(&path, module, &short, modules) else { continue };
                    if modules.contains_key(&full) {
                        short.insert(name, full.clone());
                    }
                    found.insert(full);
                }
                at = end;
            }
            // A visibility, as in `pub(in crate::rpc)`.
            "pub" if is(1, "(") => at += tokens[at..].iter().take_while(|token| token.text != ")").count(),
            text if is(1, "::") && text.chars().all(is_name) => {
                let mut path = vec![text.to_owned()];
                while tokens.get(at + 1).is_some_and(|token| token.text == "::") {
                    path.extend(tokens.get(at + 2).map(|token| token.text.to_owned()));
                    at += 2;
                }
                found.extend(resolve(&path, module, &short, modules));
            }
            _ => {}
        }
        at += 1;
    }
    let file_of = |name: &Name| (1..=name.len()).rev().find_map(|length| modules.get(&name[..length])).cloned();
    let others = found.iter().filter_map(file_of).filter(|file| *file != source.path);
    others.map(|file| (source.path.clone(), file)).collect()
}

/// The paths that a `use` names, each with what the path's end is called from then on.
fn used_names<'a>(
    words: &mut Peekable<impl Iterator<Item = &'a str>>,
    prefix: &[String],
    found: &mut Vec<(Vec<String>, String)>,
) {
    let mut path = prefix.to_vec();
    while let Some(word) = words.next() {
        match word {
            "{" => {
                while words.peek().is_some_and(|word| *word != "}") {
                    used_names(words, &path, found);
                    words.next_if_eq(&",");
                }
                words.next();
                return;
            }
            // The module before it.
            "self" if !prefix.is_empty() => {}
            "*" => {}
            "as" => {
                let name = words.next().unwrap_or_default().to_owned();
                return found.push((path, name));
            }
            word => path.push(word.to_owned()),
        }
        if words.peek().is_none_or(|word| [",", "}"].contains(word)) {
            let name = path.last().cloned().unwrap_or_default();
            return found.push((path, name));
        }
    }
}

/// The full name of what a path in `module` names; `None` for other crates.
fn resolve(path: &[String], module: &[String], short: &BTreeMap<String, Name>, modules: &Modules) -> Option<Name> {
    let (first, rest) = path.split_first()?;
    let child = [module, std::slice::from_ref(first)].concat();
    let start = match first.as_str() {
        "crate" => module[..1].to_vec(),
        "self" => module.to_vec(),
        "super" => {
            let up = path.iter().take_while(|word| *word == "super").count();
            return Some([&module[..module.len() - up], &path[up..]].concat());
        }
        LIBRARY => vec![LIBRARY.to_owned()],
        name => short.get(name).cloned().or_else(|| modules.contains_key(&child).then_some(child))?,
    };
    Some([start, rest.to_vec()].concat())
}

/// The name of the module that a file is.
fn module_of(path: &str) -> Name {
    let path = path.strip_prefix("src/").unwrap_or(path).trim_end_matches(".rs");
    let words: Vec<&str> = path.split('/').collect();
    let (name, words) = match words.as_slice() {
        ["bin", binary, rest @ ..] => (*binary, rest),
        rest => (LIBRARY, rest),
    };
    let words = words.iter().filter(|word| !["mod", "lib", "main"].contains(word));
    [name].iter().chain(words).map(|word| (*word).to_owned()).collect()
}

fn tokens(source: &Source) -> Vec<Token<'_>> {
    let mut tokens: Vec<Token<'_>> = Vec::new();
    let mut module = module_of(&source.path);
    // How deep the braces are in which each inner module stands.
    let (mut depth, mut inner) = (0, Vec::new());
    let mut rest = source.code.as_str();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            c if is_name(c) => rest.find(|c| !is_name(c)).unwrap_or(rest.len()),
            ':' if rest.starts_with("::") => 2,
            c => c.len_utf8(),
        };
        let (text, behind) = rest.split_at(length);
        rest = behind;
        match text {
            "{" => {
                if let [.., before, name] = tokens.as_slice()
                    && before.text == "mod"
                {
                    module.push(name.text.to_owned());
                    inner.push(depth);
                }
                depth += 1;
            }
            "}" => {
                depth -= 1;
                if inner.pop_if(|outside| *outside == depth).is_some() {
                    module.pop();
                }
            }
            _ => {}
        }
        if !first.is_whitespace() {
            tokens.push(Token { text, module: module.clone() });
        }
    }
    tokens
}

#[test]
fn imports_are_found_however_they_are_written() {
    let file = |path: &str, text: &str| Source::new(path.to_owned(), text.to_owned());
    let sources = [
        file("src/lib.rs", "pub mod a; pub mod b;"),
        file("src/a/mod.rs", "mod x; mod y; pub use self::x::X;"),
        file(
            "src/a/x.rs",
            "use crate::b::{self as other, c::{C, D as E}}; pub(in crate::a) fn f() -> impl Sized + use<> {}",
        ),
        file("src/a/y.rs", "fn f() { super::x::f(); } mod inner { use super::super::x; }"),
        file("src/a/z.rs", "#[cfg(test)] mod tests { use crate::b::c; } // crate::b::c\n"),
        file("src/b/mod.rs", "pub mod c; fn f() { c::f(\"crate::a\") }"),
        file("src/b/c.rs", "use std::{io, fs}; fn f() { io::stdin(); }"),
        file("src/bin/tool/main.rs", "mod part; use grpc_otp_chat::b; fn main() { b::c::f(); }"),
        file("src/bin/tool/part.rs", "use crate::Thing; use grpc_otp_chat::a::*;"),
    ];
    let found: Vec<String> =
        imports(&sources).iter().map(|(from, to)| format!("{from} {to}").replace("src/", "")).collect();
    let wanted = [
        "a/mod.rs a/x.rs",
        "a/x.rs b/c.rs",
        "a/x.rs b/mod.rs",
        "a/y.rs a/x.rs",
        "b/mod.rs b/c.rs",
        "bin/tool/main.rs b/c.rs",
        "bin/tool/main.rs b/mod.rs",
        "bin/tool/part.rs a/mod.rs",
        "bin/tool/part.rs bin/tool/main.rs",
    ];
    assert_eq!(found, wanted);
}
