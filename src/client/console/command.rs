//! Reads a line: a command, or a text to send.

use crate::base::escape::is_blank;

/// How many messages `/history` shows without a number, and a login on a terminal.
pub const DEFAULT_HISTORY: u32 = 20;
/// The most messages that `/history` shows.
pub const MAX_HISTORY: u32 = 500;

/// A line after parsing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParsedLine {
    /// An empty line.
    Blank,
    /// A text to send.
    Text(String),
    /// A command.
    Command(ConsoleCommand),
    /// It starts with a slash, but there is no such command.
    Unknown,
    /// The name of a command that takes nothing after it, and got something.
    UnexpectedArgument(&'static str),
    /// `/logout` with a word that names no session.
    BadLogoutTarget,
    /// `/history` with a word that is not a number, or a number beyond the limit.
    BadHistoryCount,
    /// `/more` with a word that is not a number.
    BadFoldNumber,
}

/// A command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsoleCommand {
    /// `/register`
    Register,
    /// `/login`
    Login,
    /// `/logout`, and the sessions that it ends
    Logout(LogoutTarget),
    /// `/history`, and how many messages it shows
    History(u32),
    /// `/more`, and the number of the folded message
    More(Option<usize>),
    /// `/sessions`
    Sessions,
    /// `/passwd`
    Passwd,
    /// `/otp`
    Otp,
    /// `/recovery`
    Recovery,
    /// `/delete-account`
    DeleteAccount,
    /// `/whoami`
    Whoami,
    /// `/help`
    Help,
    /// `/quit`
    Quit,
}

/// The sessions that `/logout` ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogoutTarget {
    /// This session.
    This,
    /// The session with this number in the last list.
    Number(usize),
    /// All sessions but this one.
    Others,
    /// All sessions.
    All,
}

impl ConsoleCommand {
    /// Every command.
    pub const ALL: [ConsoleCommand; 13] = [
        ConsoleCommand::Register,
        ConsoleCommand::Login,
        ConsoleCommand::Logout(LogoutTarget::This),
        ConsoleCommand::History(DEFAULT_HISTORY),
        ConsoleCommand::More(None),
        ConsoleCommand::Sessions,
        ConsoleCommand::Passwd,
        ConsoleCommand::Otp,
        ConsoleCommand::Recovery,
        ConsoleCommand::DeleteAccount,
        ConsoleCommand::Whoami,
        ConsoleCommand::Help,
        ConsoleCommand::Quit,
    ];

    /// Its name, with the slash.
    pub const fn name(self) -> &'static str {
        match self {
            ConsoleCommand::Register => "/register",
            ConsoleCommand::Login => "/login",
            ConsoleCommand::Logout(_) => "/logout",
            ConsoleCommand::History(_) => "/history",
            ConsoleCommand::More(_) => "/more",
            ConsoleCommand::Sessions => "/sessions",
            ConsoleCommand::Passwd => "/passwd",
            ConsoleCommand::Otp => "/otp",
            ConsoleCommand::Recovery => "/recovery",
            ConsoleCommand::DeleteAccount => "/delete-account",
            ConsoleCommand::Whoami => "/whoami",
            ConsoleCommand::Help => "/help",
            ConsoleCommand::Quit => "/quit",
        }
    }
}

/// Parses a line. A text that starts with a slash is typed with two of them. Empty lines around a text and blanks behind it are not
/// sent; those before its first letter are its indentation.
pub fn parse(line: &str) -> ParsedLine {
    let trimmed = line.trim();
    let text = match trimmed.strip_prefix('/') {
        Some(rest) if rest.starts_with('/') => rest,
        Some(_) => return command(trimmed),
        None => indented(line),
    };
    if is_blank(text) { ParsedLine::Blank } else { ParsedLine::Text(text.to_owned()) }
}

/// The text from its first line that is not empty on.
fn indented(line: &str) -> &str {
    let line = line.trim_end();
    let blanks = line.len() - line.trim_start().len();
    let begin = line.get(..blanks).and_then(|blanks| blanks.rfind('\n')).map_or(0, |at| at + 1);
    line.get(begin..).unwrap_or_default()
}

fn command(line: &str) -> ParsedLine {
    let mut words = line.split_whitespace();
    let name = words.next().unwrap_or_default();
    let Some(command) = ConsoleCommand::ALL.into_iter().find(|command| command.name() == name) else {
        return ParsedLine::Unknown;
    };
    match (command, words.next(), words.next()) {
        (_, None, _) => ParsedLine::Command(command),
        (ConsoleCommand::Logout(_), Some(word), None) => logout_target(word)
            .map_or(ParsedLine::BadLogoutTarget, |target| ParsedLine::Command(ConsoleCommand::Logout(target))),
        (ConsoleCommand::Logout(_), ..) => ParsedLine::BadLogoutTarget,
        (ConsoleCommand::History(_), Some(word), None) => history_count(word)
            .map_or(ParsedLine::BadHistoryCount, |count| ParsedLine::Command(ConsoleCommand::History(count))),
        (ConsoleCommand::History(_), ..) => ParsedLine::BadHistoryCount,
        (ConsoleCommand::More(_), Some(word), None) => word
            .parse()
            .map_or(ParsedLine::BadFoldNumber, |number| ParsedLine::Command(ConsoleCommand::More(Some(number)))),
        (ConsoleCommand::More(_), ..) => ParsedLine::BadFoldNumber,
        _ => ParsedLine::UnexpectedArgument(command.name()),
    }
}

fn history_count(word: &str) -> Option<u32> {
    word.parse().ok().filter(|count| (1..=MAX_HISTORY).contains(count))
}

fn logout_target(word: &str) -> Option<LogoutTarget> {
    match word {
        "others" => Some(LogoutTarget::Others),
        "all" => Some(LogoutTarget::All),
        number => number.parse().ok().map(LogoutTarget::Number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_command_or_a_text_to_send() {
        let text = |text: &str| ParsedLine::Text(text.to_owned());
        for (line, meaning) in [
            ("", ParsedLine::Blank),
            ("  \t ", ParsedLine::Blank),
            ("Привет!", text("Привет!")),
            ("  spaced  out  ", text("  spaced  out")),
            ("two\nlines", text("two\nlines")),
            ("    if x:\n        y\n", text("    if x:\n        y")),
            ("\n \n\tindented", text("\tindented")),
            ("\u{3000}\u{200b}\n\u{2800}", ParsedLine::Blank),
            ("  //indented", text("/indented")),
            ("/more", ParsedLine::Command(ConsoleCommand::More(None))),
            ("/more 3", ParsedLine::Command(ConsoleCommand::More(Some(3)))),
            ("/more all", ParsedLine::BadFoldNumber),
            ("/more 1 2", ParsedLine::BadFoldNumber),
            ("/login", ParsedLine::Command(ConsoleCommand::Login)),
            (" /quit ", ParsedLine::Command(ConsoleCommand::Quit)),
            ("/login alice", ParsedLine::UnexpectedArgument("/login")),
            ("/logout", ParsedLine::Command(ConsoleCommand::Logout(LogoutTarget::This))),
            ("/logout  2", ParsedLine::Command(ConsoleCommand::Logout(LogoutTarget::Number(2)))),
            ("/logout others", ParsedLine::Command(ConsoleCommand::Logout(LogoutTarget::Others))),
            ("/logout all ", ParsedLine::Command(ConsoleCommand::Logout(LogoutTarget::All))),
            ("/logout alice", ParsedLine::BadLogoutTarget),
            ("/logout -1", ParsedLine::BadLogoutTarget),
            ("/logout 1 2", ParsedLine::BadLogoutTarget),
            ("/history", ParsedLine::Command(ConsoleCommand::History(20))),
            ("/history 500", ParsedLine::Command(ConsoleCommand::History(500))),
            ("/history 501", ParsedLine::BadHistoryCount),
            ("/history 0", ParsedLine::BadHistoryCount),
            ("/history all", ParsedLine::BadHistoryCount),
            ("/history 1 2", ParsedLine::BadHistoryCount),
            ("/delete-account alice", ParsedLine::UnexpectedArgument("/delete-account")),
            ("/Login", ParsedLine::Unknown),
            ("/loginn", ParsedLine::Unknown),
            ("/", ParsedLine::Unknown),
            ("/etc/passwd", ParsedLine::Unknown),
            ("//", text("/")),
            ("//etc/passwd", text("/etc/passwd")),
            ("///", text("//")),
            ("not /quit", text("not /quit")),
        ] {
            assert_eq!(parse(line), meaning, "{line:?}");
        }
        for command in ConsoleCommand::ALL {
            assert_eq!(parse(command.name()), ParsedLine::Command(command));
        }
    }
}
