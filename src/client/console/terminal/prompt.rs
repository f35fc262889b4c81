//! Asks one question at a time, and ends a dialogue of several questions.

use std::io;

use zeroize::Zeroizing;

use crate::base::lang::Lang;
use crate::client::console::terminal::bounded_reader::MAX_LINE_BYTES;
use crate::client::console::terminal::front::{AfterLine, Front};
use crate::client::console::terminal::input::{Input, InputOutcome};
use crate::client::console::text::sentence::Sentence;
use crate::client::console::text::{chat, login};
use crate::security::secret::SecretText;

/// Why a dialogue ended without a result.
#[derive(Debug)]
pub enum DialogueStop {
    /// The person cancelled it. They have not been told yet.
    Cancelled,
    /// It failed. The person has been told.
    Failed,
    /// The input has ended.
    InputEnded,
    /// The terminal or pipe failed.
    Terminal(io::Error),
}

impl From<io::Error> for DialogueStop {
    fn from(error: io::Error) -> DialogueStop {
        DialogueStop::Terminal(error)
    }
}

impl Front {
    /// Asks for a login. An empty line cancels; so does a slash, which starts no login but a command.
    ///
    /// # Errors
    /// [`DialogueStop`], as with every question.
    pub fn ask_login(&mut self, prompt: Sentence) -> Result<String, DialogueStop> {
        self.ask(
            |input, lang| Ok(input.line(prompt.text(lang), "")?.map(|login| login.trim().to_owned())),
            |login| login.is_empty() || login.starts_with('/'),
        )
    }

    /// Asks for a password.
    ///
    /// # Errors
    /// [`DialogueStop`].
    pub fn ask_password(&mut self, prompt: Sentence) -> Result<SecretText, DialogueStop> {
        self.ask(|input, lang| input.secret(prompt.text(lang)), SecretText::is_empty)
    }

    /// Asks twice for a new password, until both answers agree; a script answers once.
    ///
    /// # Errors
    /// [`DialogueStop`].
    pub fn ask_new_password(&mut self, prompt: Sentence, again: Sentence) -> Result<SecretText, DialogueStop> {
        loop {
            let password = self.ask_password(prompt)?;
            if !self.is_interactive() {
                return Ok(password);
            }
            if self.ask_password(again)? == password {
                return Ok(password);
            }
            self.warn(login::PASSWORDS_DIFFER, &[])?;
        }
    }

    /// Asks for a code of any kind. Blanks are dropped, because authenticators show some.
    ///
    /// # Errors
    /// [`DialogueStop`].
    pub fn ask_code(&mut self, prompt: Sentence) -> Result<SecretText, DialogueStop> {
        self.ask(
            |input, lang| Ok(input.line(prompt.text(lang), "")?.map(without_blanks)),
            |code| code.is_empty() || code.expose().starts_with('/'),
        )
    }

    /// Reads an answer. A person whose answer cannot be read is asked again; a script has failed.
    fn ask<T>(
        &mut self,
        read: impl Fn(&mut Input, Lang) -> io::Result<InputOutcome<T>>,
        cancels: impl Fn(&T) -> bool,
    ) -> Result<T, DialogueStop> {
        let lang = self.lang();
        loop {
            match read(&mut self.input, lang)? {
                InputOutcome::Given(answer) if cancels(&answer) => return Err(DialogueStop::Cancelled),
                InputOutcome::Given(answer) => return Ok(answer),
                InputOutcome::Cancelled => return Err(DialogueStop::Cancelled),
                InputOutcome::End => return Err(DialogueStop::InputEnded),
                InputOutcome::TooLong => self.complain(chat::LINE_TOO_LONG, &[&MAX_LINE_BYTES.to_string()])?,
                InputOutcome::NotText => self.complain(chat::NOT_TEXT, &[])?,
            };
            if !self.is_interactive() {
                return Err(DialogueStop::Failed);
            }
        }
    }

    /// Ends a dialogue. After one without a result, no answer may go to the room as a message, least of all a password: lines
    /// typed ahead are discarded, and without a person the console quits, saying `failed`.
    ///
    /// # Errors
    /// The terminal or pipe failed.
    pub fn finish(&mut self, result: Result<(), DialogueStop>, failed: Sentence) -> io::Result<AfterLine> {
        match result {
            Ok(()) => return Ok(AfterLine::ReadNext),
            Err(DialogueStop::Terminal(error)) => return Err(error),
            Err(DialogueStop::Cancelled) => self.notice(chat::CANCELLED, &[])?,
            Err(DialogueStop::InputEnded) if self.is_interactive() => self.notice(chat::CANCELLED, &[])?,
            Err(DialogueStop::InputEnded | DialogueStop::Failed) => {}
        }
        if self.is_interactive() {
            self.input.discard_typed_ahead()?;
            return Ok(AfterLine::ReadNext);
        }
        self.failed = true;
        self.warn(failed, &[])?;
        Ok(AfterLine::Quit)
    }

    /// Ends a dialogue that needs a login when there is none.
    ///
    /// # Errors
    /// The terminal or pipe failed.
    pub fn needs_login(&mut self) -> io::Result<AfterLine> {
        self.complain(chat::LOG_IN_FIRST, &[])?;
        self.finish(Err(DialogueStop::Failed), chat::NOT_DONE)
    }
}

/// The code in `line`, without its blanks.
fn without_blanks(line: String) -> SecretText {
    let line = Zeroizing::new(line);
    // The whole capacity at once: a text that grows leaves copies behind.
    let mut code = String::with_capacity(line.len());
    code.extend(line.chars().filter(|letter| !letter.is_whitespace()));
    SecretText::new(code)
}
