//! Asking, one question at a time, and how a dialogue of several questions comes to its end.

use std::io;

use zeroize::Zeroizing;

use crate::client::console::Console;
use crate::client::console::command::MAX_LINE_BYTES;
use crate::client::console::terminal::input::Asked;
use crate::client::console::text::{self, Text};
use crate::client::error::CallError;
use crate::model::reason::Reason;
use crate::security::secret::SecretText;

/// How a dialogue came to its end.
pub(in crate::client::console) enum Done<T> {
    /// With an answer.
    With(T),
    /// Without: the person left it. To be said so.
    Left,
    /// Without: it failed, which has been said.
    Failed,
    /// Without: the input has ended.
    End,
}

/// Goes on with the answer, or leaves the function with how the dialogue ended.
macro_rules! or_leave {
    ($done:expr) => {
        match $done {
            Done::With(answer) => answer,
            Done::Left => return Ok(Done::Left),
            Done::Failed => return Ok(Done::Failed),
            Done::End => return Ok(Done::End),
        }
    };
}
pub(in crate::client::console) use or_leave;

/// What may help after a refused code or password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::client::console) enum Again {
    /// Another code. It is no guess that was used up.
    Code,
    /// Another code, but not for ever: it was a guess.
    Guess,
    /// Another password and another code; likewise.
    Both,
    /// Nothing.
    No,
}

impl Again {
    /// What may help after `error`, as long as the session is there.
    pub(in crate::client::console) fn after(error: &CallError) -> Again {
        let CallError::Refused(refusal) = error else { return Again::Guess };
        match refusal.reason {
            Some(Reason::CodeAlreadyUsed | Reason::Throttled | Reason::GuessesSpent) => Again::Code,
            Some(Reason::InvalidCode | Reason::Overloaded) => Again::Guess,
            Some(Reason::InvalidCredentials) => Again::Both,
            None if !refusal.ends_session => Again::Guess,
            Some(_) | None => Again::No,
        }
    }
}

impl Console {
    pub(in crate::client::console) fn ask_login(&mut self, prompt: Text) -> io::Result<Done<String>> {
        let asked = self.input.line(prompt.say(self.lang), "")?.map(|login| login.trim().to_owned());
        // No login begins with a slash: somebody means a command.
        self.answer(asked, |login| login.is_empty() || login.starts_with('/'))
    }

    pub(in crate::client::console) fn ask_password(&mut self, prompt: Text) -> io::Result<Done<SecretText>> {
        let asked = self.input.secret(prompt.say(self.lang))?;
        self.answer(asked, SecretText::is_empty)
    }

    /// Asks with the one prompt, and until both are the same with the other; without a person once is enough.
    pub(in crate::client::console) fn ask_new_password(
        &mut self,
        prompt: Text,
        again: Text,
    ) -> io::Result<Done<SecretText>> {
        loop {
            let password = or_leave!(self.ask_password(prompt)?);
            if !self.input.is_interactive() {
                return Ok(Done::With(password));
            }
            let repeated = or_leave!(self.ask_password(again)?);
            if repeated == password {
                return Ok(Done::With(password));
            }
            self.screen.error(text::PASSWORDS_DIFFER.say(self.lang))?;
        }
    }

    /// A code of any kind, without the blanks that authenticators show in it.
    pub(in crate::client::console) fn ask_code(&mut self, prompt: Text) -> io::Result<Done<SecretText>> {
        let asked = self.input.line(prompt.say(self.lang), "")?.map(|line| {
            let line = Zeroizing::new(line);
            // Room for all of it at once: a text that grows leaves copies behind.
            let mut code = String::with_capacity(line.len());
            code.extend(line.chars().filter(|letter| !letter.is_whitespace()));
            SecretText::new(code)
        });
        self.answer(asked, |code| code.is_empty() || code.expose().starts_with('/'))
    }

    fn answer<T>(&mut self, asked: Asked<T>, leaves: impl FnOnce(&T) -> bool) -> io::Result<Done<T>> {
        Ok(match asked {
            Asked::Given(answer) if leaves(&answer) => Done::Left,
            Asked::Given(answer) => Done::With(answer),
            Asked::Cancelled => Done::Left,
            Asked::End => Done::End,
            Asked::TooLong => {
                self.complain(&text::LINE_TOO_LONG.with(self.lang, &[&MAX_LINE_BYTES.to_string()]))?;
                Done::Failed
            }
            Asked::NotText => {
                self.complain(text::NOT_TEXT.say(self.lang))?;
                Done::Failed
            }
        })
    }
}
