//! `/register`, `/login` and `/logout`: the dialogues that open and end sessions.

use std::io;
use std::time::Duration;

use crate::client::console::input::Asked;
use crate::client::console::{Console, Next, shown};
use crate::client::error::CallError;
use crate::client::link::{Completed, Opened};
use crate::client::session::Session;
use crate::client::stream::Reader;
use crate::client::text::{self, Text};
use crate::escape::one_line;
use crate::proto::SessionState;
use crate::reason::Reason;
use crate::security::secret::SecretText;

/// How many codes a login may try, as the predecessor had it.
const CODE_TRIES: u32 = 3;

/// How long a login waits for the stream of the room before it goes on without.
const OPEN_LIMIT: Duration = Duration::from_secs(2);

/// How a dialogue came to its end.
pub(super) enum Done<T> {
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

impl Console {
    /// `/register`: an account, its second factor, and a session.
    pub(super) fn register(&mut self) -> io::Result<Next> {
        if let Some(session) = self.presence.session() {
            return self.complain(&text::LOG_OUT_FIRST.with(self.lang, &[&session.login]));
        }
        let done = self.register_and_enrol()?;
        self.finish(done)
    }

    /// `/login`: a session; with one there is, a new one for the same login, and the old one goes on until then.
    pub(super) fn log_in(&mut self) -> io::Result<Next> {
        let old = self.presence.session();
        let done = self.open_session(old.as_ref().map(|session| session.login.clone()))?;
        match (&done, &old) {
            (Done::With(()), Some(old)) => {
                // Best effort: the new session is what counts, and the old one ends by itself.
                let _ = self.link.logout(&old.token);
            }
            (_, Some(_)) => self.screen.notice(text::STILL_OLD.say(self.lang))?,
            _ => {}
        }
        self.finish(done)
    }

    /// `/logout`: ends the session, here and on the server.
    pub(super) fn log_out(&mut self) -> io::Result<Next> {
        let Some(session) = self.presence.leave() else {
            return self.complain(text::LOG_IN_FIRST.say(self.lang));
        };
        self.reader = None;
        match self.link.logout(&session.token) {
            Ok(()) => self.screen.notice(&text::LOGGED_OUT.with(self.lang, &[&session.login]))?,
            Err(CallError::Refused(refusal)) if refusal.ends_session => {
                self.screen.notice(&text::LOGGED_OUT.with(self.lang, &[&session.login]))?;
            }
            Err(_) => return self.complain(text::LOGGED_OUT_HERE.say(self.lang)),
        }
        Ok(Next::Line)
    }

    /// The end of a dialogue: without a person, a login that came to nothing is the end of everything.
    fn finish(&mut self, done: Done<()>) -> io::Result<Next> {
        match done {
            Done::With(()) => return Ok(Next::Line),
            Done::Left => self.screen.notice(text::CANCELLED.say(self.lang))?,
            Done::End if self.input.is_interactive() => self.screen.notice(text::CANCELLED.say(self.lang))?,
            Done::End | Done::Failed => {}
        }
        if self.input.is_interactive() {
            return Ok(Next::Line);
        }
        self.failed = true;
        self.screen.error(text::NOT_LOGGED_IN.say(self.lang))?;
        Ok(Next::Quit)
    }

    fn register_and_enrol(&mut self) -> io::Result<Done<()>> {
        let login = or_leave!(self.ask_login()?);
        let password = or_leave!(self.ask_new_password()?);
        if let Err(error) = self.link.register(&login, &password) {
            self.complain(&self.failure(&error))?;
            return Ok(Done::Failed);
        }
        self.screen.notice(&text::REGISTERED.with(self.lang, &[&one_line(&login)]))?;
        match self.link.login(&login, &password) {
            Ok(opened) => self.complete(login, opened, false),
            Err(error) => {
                self.complain(&self.failure(&error))?;
                self.complain(text::REGISTERED_ONLY.say(self.lang))?;
                Ok(Done::Failed)
            }
        }
    }

    fn open_session(&mut self, known: Option<String>) -> io::Result<Done<()>> {
        let login = match known {
            Some(login) => {
                self.screen.notice(&text::RENEWING.with(self.lang, &[&login]))?;
                login
            }
            None => or_leave!(self.ask_login()?),
        };
        let password = or_leave!(self.ask_password(text::ASK_PASSWORD)?);
        match self.link.login(&login, &password) {
            Ok(opened) => self.complete(login, opened, true),
            Err(error) => {
                self.complain(&self.failure(&error))?;
                Ok(Done::Failed)
            }
        }
    }

    /// Gives the session what it still needs. One that does not get it is ended on the server as well.
    fn complete(&mut self, login: String, opened: Opened, say_why: bool) -> io::Result<Done<()>> {
        let Opened { token, state, expires_at } = opened;
        let done = match state {
            SessionState::COMPLETE => Done::With(Completed { token: token.clone(), expires_at }),
            SessionState::NEEDS_ENROLMENT => {
                if say_why {
                    self.screen.notice(text::NO_FACTOR_YET.say(self.lang))?;
                }
                self.enrol(&login, &token)?
            }
            SessionState::NEEDS_CODE | SessionState::SESSION_STATE_UNSPECIFIED => self.give_code(&login, &token)?,
        };
        Ok(match done {
            Done::With(Completed { token, expires_at }) => {
                self.enter(Session { login, token, expires_at })?;
                Done::With(())
            }
            other => {
                // Best effort: it ends by itself within minutes.
                let _ = self.link.logout(&token);
                match other {
                    Done::Left => Done::Left,
                    Done::End => Done::End,
                    _ => Done::Failed,
                }
            }
        })
    }

    fn give_code(&mut self, login: &str, token: &SecretText) -> io::Result<Done<Completed>> {
        for _ in 0..CODE_TRIES {
            let code = or_leave!(self.ask_code()?);
            match self.link.check_otp(login, token, &code) {
                Ok(completed) => return Ok(Done::With(completed)),
                Err(error) => {
                    self.say_failure(&error)?;
                    if !may_try_another_code(&error) {
                        return Ok(Done::Failed);
                    }
                }
            }
        }
        if self.input.is_interactive() {
            self.screen.error(text::NOT_LOGGED_IN.say(self.lang))?;
        }
        Ok(Done::Failed)
    }

    /// Logged in: from now on the room is read with this session. An earlier reader ends when the new one has begun.
    fn enter(&mut self, session: Session) -> io::Result<()> {
        let words = match session.expires_at {
            Some(end) => {
                let end = shown::date_and_time(self.clock.local(end));
                text::LOGGED_IN.with(self.lang, &[&session.login, &end])
            }
            None => text::LOGGED_IN_OPEN.with(self.lang, &[&session.login]),
        };
        let token = session.token.clone();
        let mark = self.presence.enter(session);
        let reader = Reader::start(self.link.clone(), token, mark, self.events.clone())?;
        // What is said next, by ourselves for instance, is to be seen.
        reader.wait_until_open(OPEN_LIMIT);
        self.reader = Some(reader);
        self.screen.notice(&words)
    }

    /// Says why a call failed when that may yet be put right by another try.
    pub(super) fn say_failure(&mut self, error: &CallError) -> io::Result<()> {
        self.screen.error(&self.failure(error))
    }

    fn ask_login(&mut self) -> io::Result<Done<String>> {
        let asked = self.input.line(text::ASK_LOGIN.say(self.lang), "")?.map(|login| login.trim().to_owned());
        // No login begins with a slash: somebody means a command.
        self.answer(asked, |login| login.is_empty() || login.starts_with('/'))
    }

    fn ask_password(&mut self, prompt: Text) -> io::Result<Done<SecretText>> {
        let asked = self.input.secret(prompt.say(self.lang))?;
        self.answer(asked, SecretText::is_empty)
    }

    fn ask_new_password(&mut self) -> io::Result<Done<SecretText>> {
        loop {
            let password = or_leave!(self.ask_password(text::ASK_PASSWORD)?);
            if !self.input.is_interactive() {
                return Ok(Done::With(password));
            }
            let again = or_leave!(self.ask_password(text::ASK_PASSWORD_AGAIN)?);
            if again == password {
                return Ok(Done::With(password));
            }
            self.screen.error(text::PASSWORDS_DIFFER.say(self.lang))?;
        }
    }

    /// A code, without the blanks that authenticators show in it.
    pub(super) fn ask_code(&mut self) -> io::Result<Done<String>> {
        let asked = self.input.line(text::ASK_CODE.say(self.lang), "")?;
        let asked = asked.map(|code| code.chars().filter(|letter| !letter.is_whitespace()).collect::<String>());
        self.answer(asked, |code| code.is_empty() || code.starts_with('/'))
    }

    fn answer<T>(&mut self, asked: Asked<T>, leaves: impl FnOnce(&T) -> bool) -> io::Result<Done<T>> {
        Ok(match asked {
            Asked::Given(answer) if leaves(&answer) => Done::Left,
            Asked::Given(answer) => Done::With(answer),
            Asked::Cancelled => Done::Left,
            Asked::End => Done::End,
            Asked::TooLong => {
                let bytes = crate::client::console::MAX_LINE_BYTES.to_string();
                self.complain(&text::LINE_TOO_LONG.with(self.lang, &[&bytes]))?;
                Done::Failed
            }
            Asked::NotText => {
                self.complain(text::NOT_TEXT.say(self.lang))?;
                Done::Failed
            }
        })
    }
}

/// Whether the session is still there for another code.
pub(super) fn may_try_another_code(error: &CallError) -> bool {
    match error {
        CallError::Unreachable | CallError::Tls(_) | CallError::NoAnswer => true,
        CallError::Refused(refusal) => match refusal.reason {
            Some(Reason::InvalidCode | Reason::CodeAlreadyUsed | Reason::InvalidCredentials | Reason::Overloaded) => {
                true
            }
            Some(_) => false,
            None => !refusal.ends_session,
        },
    }
}
