//! What a line means: a command, or something to say.

/// The longest line that is taken, in bytes: the longest message that any server's settings allow fits. Whether it is too
/// long for this server, the server says.
pub const MAX_LINE_BYTES: usize = 32 * 1024;

/// How many messages `/history` shows unless it is told.
pub const HISTORY: u32 = 20;
/// How many it shows at most.
pub const MAX_HISTORY: u32 = 500;

/// What a line means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// Nothing.
    Blank,
    /// Something to say.
    Text(String),
    /// A command.
    Command(Command),
    /// Begins like a command, but there is none of that name.
    Unknown,
    /// A command, by its name, with something after it that it does not take.
    TooMuch(&'static str),
    /// `/logout` with something after it that names no session.
    WhichSession,
    /// `/history` with something after it that is no number, or too high a one.
    HowMany,
}

/// A command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// `/register`
    Register,
    /// `/login`
    Login,
    /// `/logout`, alone or with which sessions it means
    Logout(Which),
    /// `/history`, with how many messages
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

/// Which sessions `/logout` means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// This one.
    This,
    /// The one with this number in the last list.
    Number(usize),
    /// All but this one.
    Others,
    /// All.
    All,
}

impl Command {
    /// Every command there is.
    pub const ALL: [Command; 12] = [
        Command::Register,
        Command::Login,
        Command::Logout(Which::This),
        Command::History(HISTORY),
        Command::Sessions,
        Command::Passwd,
        Command::Otp,
        Command::Recovery,
        Command::DeleteAccount,
        Command::Whoami,
        Command::Help,
        Command::Quit,
    ];

    /// Its name, with the slash.
    pub const fn name(self) -> &'static str {
        match self {
            Command::Register => "/register",
            Command::Login => "/login",
            Command::Logout(_) => "/logout",
            Command::History(_) => "/history",
            Command::Sessions => "/sessions",
            Command::Passwd => "/passwd",
            Command::Otp => "/otp",
            Command::Recovery => "/recovery",
            Command::DeleteAccount => "/delete-account",
            Command::Whoami => "/whoami",
            Command::Help => "/help",
            Command::Quit => "/quit",
        }
    }
}

/// Reads a line. A text may begin with a slash when that is doubled; blanks around a text are not sent.
pub fn parse(line: &str) -> Line {
    let line = line.trim();
    let text = match line.strip_prefix('/') {
        Some(rest) if rest.starts_with('/') => rest,
        Some(_) => return command(line),
        None => line,
    };
    if text.is_empty() { Line::Blank } else { Line::Text(text.to_owned()) }
}

fn command(line: &str) -> Line {
    let mut words = line.split_whitespace();
    let name = words.next().unwrap_or_default();
    let Some(command) = Command::ALL.into_iter().find(|command| command.name() == name) else { return Line::Unknown };
    match (command, words.next(), words.next()) {
        (_, None, _) => Line::Command(command),
        (Command::Logout(_), Some(word), None) => {
            which(word).map_or(Line::WhichSession, |which| Line::Command(Command::Logout(which)))
        }
        (Command::Logout(_), ..) => Line::WhichSession,
        (Command::History(_), Some(word), None) => {
            how_many(word).map_or(Line::HowMany, |count| Line::Command(Command::History(count)))
        }
        (Command::History(_), ..) => Line::HowMany,
        _ => Line::TooMuch(command.name()),
    }
}

fn how_many(word: &str) -> Option<u32> {
    word.parse().ok().filter(|count| (1..=MAX_HISTORY).contains(count))
}

fn which(word: &str) -> Option<Which> {
    match word {
        "others" => Some(Which::Others),
        "all" => Some(Which::All),
        number => number.parse().ok().map(Which::Number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_command_or_something_to_say() {
        let text = |text: &str| Line::Text(text.to_owned());
        for (line, meaning) in [
            ("", Line::Blank),
            ("  \t ", Line::Blank),
            ("Привет!", text("Привет!")),
            ("  spaced  out  ", text("spaced  out")),
            ("two\nlines", text("two\nlines")),
            ("/login", Line::Command(Command::Login)),
            (" /quit ", Line::Command(Command::Quit)),
            ("/login alice", Line::TooMuch("/login")),
            ("/logout", Line::Command(Command::Logout(Which::This))),
            ("/logout  2", Line::Command(Command::Logout(Which::Number(2)))),
            ("/logout others", Line::Command(Command::Logout(Which::Others))),
            ("/logout all ", Line::Command(Command::Logout(Which::All))),
            ("/logout alice", Line::WhichSession),
            ("/logout -1", Line::WhichSession),
            ("/logout 1 2", Line::WhichSession),
            ("/history", Line::Command(Command::History(20))),
            ("/history 500", Line::Command(Command::History(500))),
            ("/history 501", Line::HowMany),
            ("/history 0", Line::HowMany),
            ("/history all", Line::HowMany),
            ("/history 1 2", Line::HowMany),
            ("/delete-account alice", Line::TooMuch("/delete-account")),
            ("/Login", Line::Unknown),
            ("/loginn", Line::Unknown),
            ("/", Line::Unknown),
            ("/etc/passwd", Line::Unknown),
            ("//", text("/")),
            ("//etc/passwd", text("/etc/passwd")),
            ("///", text("//")),
            ("not /quit", text("not /quit")),
        ] {
            assert_eq!(parse(line), meaning, "{line:?}");
        }
        for command in Command::ALL {
            assert_eq!(parse(command.name()), Line::Command(command));
        }
    }
}
