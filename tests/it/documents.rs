//! The documents: they name everything that the programs take and answer, and every link leads somewhere.
//!
//! Parts of them are generated from the programs: `OTPCHAT_WRITE_DOCS=1 cargo test --release --locked --test it documents`
//! writes these parts anew, and without the variable the tests compare them.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use clap::{ArgAction, CommandFactory};
use grpc_otp_chat::admin::args::CommandLine;
use grpc_otp_chat::base::lang::Lang;
use grpc_otp_chat::client::console::args::Args;
use grpc_otp_chat::client::console::command::ConsoleCommand;
use grpc_otp_chat::model::reason::Reason;

/// Set: the generated parts are written.
const WRITE: &str = "OTPCHAT_WRITE_DOCS";
const BEGIN: &str = "<!-- generated: ";
const END: &str = "<!-- end -->";

/// Folders that hold documents.
const FOLDERS: [&str; 4] = [".", "docs", "c-core", "qr"];
/// Link targets that come with work that is not merged yet.
const NOT_YET: &[&str] = &["c-core/README.md"];

pub(crate) fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every Markdown file of the project.
pub(crate) fn documents() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in FOLDERS.iter().map(Path::new).filter(|folder| folder.is_dir()) {
        let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
        found.extend(entries.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    }
    found.sort();
    found
}

/// The lines outside of fenced code, with their numbers, and without the code spans in them.
pub(crate) fn prose(text: &str) -> Vec<(usize, String)> {
    let mut fenced = false;
    let mut lines = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            lines.push((number, line.split('`').step_by(2).collect::<Vec<_>>().join(" ")));
        }
    }
    lines
}

fn is_writing() -> bool {
    std::env::var_os(WRITE).is_some()
}

/// Compares the generated parts of a document, by their names, with what they should hold; or writes them.
fn generated(path: &str, parts: &[(&str, String)]) {
    let have = read(path);
    let mut want = have.clone();
    for (name, part) in parts {
        let begin = want.find(&format!("{BEGIN}{name} -->")).unwrap_or_else(|| panic!("{path} has no part {name}"));
        let from = begin + want[begin..].find('\n').expect("the marker has a line of its own") + 1;
        let to = from + want[from..].find(END).expect("the part ends");
        want.replace_range(from..to, &format!("\n{part}\n"));
    }
    if is_writing() {
        fs::write(path, want).expect("the document can be written");
    } else {
        assert!(
            have == want,
            "{path} differs from the programs: run this test with {WRITE}=1, and look at the difference"
        );
    }
}

/// A cell of a table: one line, without a bar that would end it.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

/// One row for each flag, below the headings that `--help` has.
fn flags_of(command: &clap::Command) -> String {
    let mut headings: Vec<Option<&str>> = Vec::new();
    for arg in command.get_arguments() {
        if !headings.contains(&arg.get_help_heading()) {
            headings.push(arg.get_help_heading());
        }
    }
    let tables = headings.into_iter().map(|heading| {
        let rows = command.get_arguments().filter(|arg| arg.get_help_heading() == heading).map(flag);
        let title = heading.map(|heading| format!("### {heading}\n\n")).unwrap_or_default();
        format!("{title}| flag | environment | default | |\n|---|---|---|---|\n{}", rows.collect::<String>())
    });
    tables.collect::<Vec<_>>().join("\n")
}

fn flag(arg: &clap::Arg) -> String {
    let long = arg.get_long().expect("every flag has a long name");
    let takes_value = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
    // A name that only repeats the flag says nothing.
    let automatic = arg.get_id().as_str().to_uppercase();
    let named = arg.get_value_names().unwrap_or_default().iter().find(|name| name.as_str() != automatic);
    let possible: Vec<_> = arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
    let value = match named {
        _ if !takes_value => String::new(),
        Some(name) => format!(" {name}"),
        None if possible.is_empty() => String::new(),
        None => format!(" {}", possible.join("|")),
    };
    let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
    // Where clap knows no default, the text tells it.
    let (help, told) = match help.split_once("[default: ") {
        Some((before, rest)) => {
            let (told, after) = rest.split_once(']').expect("the bracket is closed");
            (format!("{}{after}", before.trim_end()), Some(told.to_owned()))
        }
        None => (help, None),
    };
    let defaults: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
    let default = match told {
        Some(told) => told,
        None if !takes_value => "off".to_owned(),
        None if defaults.is_empty() => "none".to_owned(),
        None => format!("`{}`", defaults.join(",")),
    };
    let env = arg.get_env().expect("every flag has an environment variable").to_string_lossy().into_owned();
    let flag = cell(&format!("--{long}{value}"));
    format!("| `{flag}` | `{env}` | {} | {} |\n", cell(&default), cell(help.trim_end_matches('.')))
}

#[test]
fn the_settings_are_those_of_the_programs() {
    let (server, console) = (CommandLine::command(), Args::command());
    generated("docs/settings.md", &[("otpchatd", flags_of(&server)), ("otpchat", flags_of(&console))]);
}

/// One row for each reason. The only reader of the tables in the code.
fn reasons() -> String {
    let mut table = String::from("| reason | status | level | in words |\n|---|---|---|---|\n");
    for &reason in Reason::ALL {
        let (code, level) = (reason.status().name(), reason.level().as_str().to_lowercase());
        table.push_str(&format!("| `{}` | {code} | {level} | {} |\n", reason.word(), cell(reason.sentence(Lang::En))));
    }
    table
}

#[test]
fn the_reasons_are_those_of_the_server() {
    generated("docs/protocol.md", &[("reasons", reasons())]);
}

#[test]
fn every_call_of_the_protocol_is_documented() {
    let text = read("docs/protocol.md");
    for proto in ["auth", "otp", "messaging"] {
        let proto = read(format!("proto/{proto}.proto"));
        let mut service = "";
        for line in proto.lines().map(str::trim_start) {
            if let Some(rest) = line.strip_prefix("service ") {
                service = rest.split_whitespace().next().unwrap_or_default();
            } else if let Some(rest) = line.strip_prefix("rpc ") {
                let call = format!("| `{service}.{}` |", rest.split('(').next().unwrap_or_default());
                assert!(text.contains(&call), "docs/protocol.md has no row for {call}");
            }
        }
        assert!(!service.is_empty());
    }
}

/// Every subcommand that does something, as it is typed, with its flags.
fn subcommands(command: &clap::Command, path: &str) -> Vec<(String, Vec<String>)> {
    let inner =
        command.get_subcommands().map(|inner| (inner, format!("{path} {}", inner.get_name()).trim().to_owned()));
    let mut found = Vec::new();
    for (inner, path) in inner {
        let flags = inner.get_arguments().filter_map(|arg| arg.get_long()).map(|long| format!("--{long}"));
        if inner.has_subcommands() {
            found.extend(subcommands(inner, &path));
        } else {
            found.push((path, flags.collect()));
        }
    }
    found
}

#[test]
fn every_subcommand_and_its_flags_are_documented() {
    let text = read("docs/operating.md");
    let commands = subcommands(&CommandLine::command(), "");
    assert!(commands.len() > 10, "{commands:?}");
    for (command, flags) in commands {
        assert!(text.contains(&format!("{command} ")) || text.contains(&format!("`{command}`")), "{command}");
        for flag in flags {
            assert!(text.contains(&flag), "docs/operating.md does not mention {flag} of {command}");
        }
    }
}

/// The words of a text that begin with two hyphens.
fn flags_in(text: &str) -> HashSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit() && c != '-');
    words.filter(|word| word.len() > 2 && word.starts_with("--") && !word.starts_with("---")).collect()
}

#[test]
fn people_read_the_same_in_both_languages() {
    let (english, russian) = (read("docs/using.md"), read("docs/using.ru.md"));
    for command in ConsoleCommand::ALL {
        for text in [&english, &russian] {
            assert!(text.contains(&format!("`{}", command.name())), "{}", command.name());
        }
    }
    assert_eq!(flags_in(&english), flags_in(&russian));
    let lines = |text: &str, start: &str| text.lines().filter(|line| line.starts_with(start)).count();
    for start in ["#", "- ", "| ", "```"] {
        assert_eq!(lines(&english, start), lines(&russian, start), "lines that begin with {start:?}");
    }
}

#[test]
fn every_flag_that_a_document_names_exists() {
    let mut known: HashSet<String> = HashSet::new();
    let mut open = vec![CommandLine::command(), Args::command()];
    while let Some(command) = open.pop() {
        known.extend(command.get_arguments().filter_map(|arg| arg.get_long()).map(|long| format!("--{long}")));
        open.extend(command.get_subcommands().cloned());
    }
    for (path, text) in ["README.md", "docs/using.md", "docs/settings.md"].map(|path| (path, read(path))) {
        let text = text.replace("--release", "").replace("--locked", "").replace("--test", "").replace("--help", "");
        let unknown: Vec<_> = flags_in(&text).into_iter().filter(|flag| !known.contains(*flag)).collect();
        assert!(unknown.is_empty(), "{path} names {unknown:?}");
    }
}

#[test]
fn the_first_page_is_short() {
    let lines = |path: &str| read(path).lines().count();
    assert!((120..=150).contains(&lines("README.md")), "README.md has {} lines", lines("README.md"));
    assert!(lines("README.ru.md") <= 70, "README.ru.md has {} lines", lines("README.ru.md"));
}

#[test]
fn russian_is_where_people_who_chat_read_it() {
    let is_russian = |c: char| ('\u{400}'..='\u{4ff}').contains(&c);
    for path in documents().into_iter().filter(|path| !path.to_string_lossy().ends_with(".ru.md")) {
        for (number, line) in (1..).zip(read(&path).lines()) {
            // The way to the Russian page.
            let is_link = line.contains(".ru.md)");
            assert!(is_link || !line.contains(is_russian), "{}:{number}: {line}", path.display());
        }
    }
}

/// What GitHub makes of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn anchors(text: &str) -> HashSet<String> {
    let mut fenced = false;
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut anchors = HashSet::new();
    for line in text.lines() {
        fenced ^= line.trim_start().starts_with("```");
        let title = line.trim_start_matches('#');
        if fenced || title.len() == line.len() || !title.starts_with(' ') {
            continue;
        }
        let anchor = anchor(title);
        let before = seen.entry(anchor.clone()).or_default();
        anchors.insert(if *before == 0 { anchor } else { format!("{anchor}-{before}") });
        *before += 1;
    }
    anchors
}

/// The targets of the links in a line.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split(')').next())
}

#[test]
fn every_link_leads_somewhere() {
    if is_writing() {
        // Other tests are writing what this one would read.
        return;
    }
    let mut count = 0;
    for path in documents() {
        let text = read(&path);
        for (number, line) in prose(&text) {
            for link in links(&line).filter(|link| !link.contains("://")) {
                count += 1;
                let at = format!("{}:{number}: {link}", path.display());
                let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
                let target = if file.is_empty() { path.clone() } else { path.parent().expect("a folder").join(file) };
                if NOT_YET.iter().any(|later| target.ends_with(later)) && !target.exists() {
                    continue;
                }
                assert!(target.exists(), "{at}: there is no such file");
                assert!(
                    anchor.is_empty() || anchors(&read(&target)).contains(anchor),
                    "{at}: there is no such heading"
                );
            }
        }
    }
    assert!(count > 50, "{count} links were found");
}

#[test]
fn headings_become_anchors_as_on_github() {
    assert_eq!(anchor("The administrator's commands"), "the-administrators-commands");
    assert_eq!(anchor(" Если связь пропала"), "если-связь-пропала");
    assert_eq!(anchors("# A `b`\n```\n# no\n```\n## A b\n"), HashSet::from(["a-b".to_owned(), "a-b-1".to_owned()]));
}
