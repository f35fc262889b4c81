//! Reads a line: a command, or a text to send.

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
    pub const ALL: [ConsoleCommand; 12] = [
        ConsoleCommand::Register,
        ConsoleCommand::Login,
        ConsoleCommand::Logout(LogoutTarget::This),
        ConsoleCommand::History(DEFAULT_HISTORY),
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

/// Parses a line. A text that starts with a slash is typed with two of them; blanks around a text are not sent.
pub fn parse(line: &str) -> ParsedLine {
    let line = line.trim();
    let text = match line.strip_prefix('/') {
        Some(rest) if rest.starts_with('/') => rest,
        Some(_) => return command(line),
        None => line,
    };
    if text.is_empty() { ParsedLine::Blank } else { ParsedLine::Text(text.to_owned()) }
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
            ("  spaced  out  ", text("spaced  out")),
            ("two\nlines", text("two\nlines")),
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
