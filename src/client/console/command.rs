//! What a line means: a command, or something to say.

/// The longest line that is taken, in bytes: the longest message that any server's settings allow fits. Whether it is too
/// long for this server, the server says.
pub const MAX_LINE_BYTES: usize = 32 * 1024;

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
    /// A command with something after it, which none takes.
    TooMuch(Command),
}

/// A command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// `/register`
    Register,
    /// `/login`
    Login,
    /// `/logout`
    Logout,
    /// `/whoami`
    Whoami,
    /// `/help`
    Help,
    /// `/quit`
    Quit,
}

impl Command {
    /// Every command there is.
    pub const ALL: [Command; 6] =
        [Command::Register, Command::Login, Command::Logout, Command::Whoami, Command::Help, Command::Quit];

    /// Its name, with the slash.
    pub const fn name(self) -> &'static str {
        match self {
            Command::Register => "/register",
            Command::Login => "/login",
            Command::Logout => "/logout",
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
    match Command::ALL.into_iter().find(|command| command.name() == name) {
        None => Line::Unknown,
        Some(command) if words.next().is_some() => Line::TooMuch(command),
        Some(command) => Line::Command(command),
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
            ("/login alice", Line::TooMuch(Command::Login)),
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
