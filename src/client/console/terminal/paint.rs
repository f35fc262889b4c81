//! Colours.

/// Colours for a terminal, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// Plain text.
    None,
    /// ANSI colours.
    Ansi,
}

impl Paint {
    /// Colours for a terminal, unless `NO_COLOR` is set to anything but the empty string (no-color.org).
    pub fn from_environment(is_terminal: bool) -> Paint {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        if is_terminal && !unwanted { Paint::Ansi } else { Paint::None }
    }

    /// `text` in dim letters.
    pub fn dim(self, text: &str) -> String {
        self.with("2", text)
    }

    /// `text` in bold letters.
    pub fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    /// `text` in red, for errors.
    pub fn red(self, text: &str) -> String {
        self.with("31", text)
    }

    fn with(self, sgr: &str, text: &str) -> String {
        match self {
            Paint::None => text.to_owned(),
            Paint::Ansi => format!("\x1b[{sgr}m{text}\x1b[0m"),
        }
    }
}
