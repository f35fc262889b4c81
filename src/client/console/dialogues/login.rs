//! `/register`, `/login` and `/logout`: the dialogues that open and end sessions.

use std::io;
use std::time::Duration;

use crate::base::escape::one_line;
use crate::client::console::command::HISTORY;
use crate::client::console::dialogues::enrolment::Purpose;
use crate::client::console::dialogues::recovery::Typed;
use crate::client::console::room::render;
use crate::client::console::terminal::prompt::{Again, Done, or_leave};
use crate::client::console::text::{self, Text};
use crate::client::console::{Console, Next};
use crate::client::error::CallError;
use crate::client::session::ClientSession;
use crate::client::stream::{ReaderPlan, StreamReader};
use crate::client::types::{CompletedSession, LoginNotes, OpenedSession};
use crate::model::reason::Reason;
use crate::proto::SessionState;
use crate::security::secret::SecretText;

/// How many codes a login may try, as the predecessor had it, and whatever else asks for one.
pub(in crate::client::console) const CODE_TRIES: u32 = 3;

/// How long a login waits for the stream of the room before it goes on without.
const OPEN_LIMIT: Duration = Duration::from_secs(2);

/// What a login gave that asked for a code.
enum Given {
    /// A code: the session is complete.
    Code(CompletedSession),
    /// A recovery code: another session, which needs enrolment.
    Recovery(OpenedSession),
}

impl Console {
    /// `/register`: an account, its second factor, and a session.
    pub(in crate::client::console) fn register(&mut self) -> io::Result<Next> {
        if let Some(session) = self.presence.session() {
            self.complain(&text::LOG_OUT_FIRST.with(self.lang, &[&session.login]))?;
            return self.finish(Done::Failed, text::NOT_DONE);
        }
        let done = self.register_and_enrol()?;
        self.finish(done, text::NOT_LOGGED_IN)
    }

    /// `/login`: a session; with one there is, a new one for the same login, and the old one goes on until then.
    pub(in crate::client::console) fn log_in(&mut self) -> io::Result<Next> {
        let old = self.presence.session();
        let done = self.open_session(old.as_ref().map(|session| session.login.clone()))?;
        match (&done, &old) {
            (Done::With(()), Some(old)) => {
                // Best effort: the new session is what counts, and the old one ends by itself.
                let _ = self.link.logout(&old.token);
            }
            (_, Some(_)) if self.presence.session().is_some() => self.screen.notice(text::STILL_OLD.say(self.lang))?,
            _ => {}
        }
        self.finish(done, text::NOT_LOGGED_IN)
    }

    /// `/logout`: ends the session, here and on the server.
    pub(in crate::client::console) fn log_out(&mut self) -> io::Result<Next> {
        let Some(session) = self.forget_session() else {
            return self.complain(text::LOG_IN_FIRST.say(self.lang));
        };
        let unsent = self.outbox.unsent();
        if unsent > 0 {
            let lines = self.lines_said(unsent);
            self.screen.notice(&text::UNSENT_AT_LOGOUT.with(self.lang, &[&lines, &session.login]))?;
        }
        match self.link.logout(&session.token) {
            Ok(()) => self.screen.notice(&text::LOGGED_OUT.with(self.lang, &[&session.login]))?,
            Err(CallError::Refused(refusal)) if refusal.ends_session => {
                self.screen.notice(&text::LOGGED_OUT.with(self.lang, &[&session.login]))?;
            }
            Err(_) => return self.complain(text::LOGGED_OUT_HERE.say(self.lang)),
        }
        Ok(Next::Line)
    }

    /// The end of a dialogue. One that came to nothing leaves no answers behind that would be said to everybody, passwords
    /// among them: what was typed ahead is forgotten, and without a person it is the end of everything.
    pub(in crate::client::console) fn finish(&mut self, done: Done<()>, nothing: Text) -> io::Result<Next> {
        match done {
            Done::With(()) => return Ok(Next::Line),
            Done::Left => self.screen.notice(text::CANCELLED.say(self.lang))?,
            Done::End if self.input.is_interactive() => self.screen.notice(text::CANCELLED.say(self.lang))?,
            Done::End | Done::Failed => {}
        }
        if self.input.is_interactive() {
            self.input.forget_typed_ahead()?;
            return Ok(Next::Line);
        }
        self.failed = true;
        self.screen.error(nothing.say(self.lang))?;
        Ok(Next::Quit)
    }

    fn register_and_enrol(&mut self) -> io::Result<Done<()>> {
        let login = or_leave!(self.ask_login(text::ASK_LOGIN)?);
        let password = or_leave!(self.ask_new_password(text::ASK_PASSWORD, text::ASK_PASSWORD_AGAIN)?);
        or_leave!(self.create_account(&login, &password)?);
        self.screen.notice(&text::REGISTERED.with(self.lang, &[&one_line(&login)]))?;
        match self.link.login(&login, &password, None) {
            Ok(opened) => self.complete(login, &password, opened, Purpose::Registered),
            Err(error) => {
                self.complain(&self.failure(&error))?;
                self.complain(text::REGISTERED_ONLY.say(self.lang))?;
                Ok(Done::Failed)
            }
        }
    }

    /// Asks for an invitation when the server does; login and password stay.
    fn create_account(&mut self, login: &str, password: &SecretText) -> io::Result<Done<()>> {
        let mut invite = None;
        loop {
            let error = match self.link.register(login, password, invite.as_ref()) {
                Ok(()) => return Ok(Done::With(())),
                Err(error) => error,
            };
            match reason(&error) {
                Some(Reason::InviteRequired) if invite.is_none() => {
                    self.screen.notice(Reason::InviteRequired.sentence(self.lang))?;
                }
                Some(Reason::InviteInvalid) => self.say_failure(&error)?,
                _ => {
                    self.complain(&self.failure(&error))?;
                    return Ok(Done::Failed);
                }
            }
            invite = Some(or_leave!(self.ask_code(text::ASK_INVITE)?));
        }
    }

    fn open_session(&mut self, known: Option<String>) -> io::Result<Done<()>> {
        let login = match known {
            Some(login) => {
                self.screen.notice(&text::RENEWING.with(self.lang, &[&login]))?;
                login
            }
            None => or_leave!(self.ask_login(text::ASK_LOGIN)?),
        };
        let password = or_leave!(self.ask_password(text::ASK_PASSWORD)?);
        match self.link.login(&login, &password, None) {
            Ok(opened) => self.complete(login, &password, opened, Purpose::First),
            Err(error) if reason(&error) == Some(Reason::EnrolmentCodeRequired) => {
                self.screen.notice(Reason::EnrolmentCodeRequired.sentence(self.lang))?;
                let opened = or_leave!(self.open_by_enrolment_code(&login, &password)?);
                self.complete(login, &password, opened, Purpose::Reset)
            }
            Err(error) => {
                self.check_clock()?;
                self.complain(&self.failure(&error))?;
                Ok(Done::Failed)
            }
        }
    }

    /// Logs in with the administrator's one-time code.
    fn open_by_enrolment_code(&mut self, login: &str, password: &SecretText) -> io::Result<Done<OpenedSession>> {
        let mut tries = CODE_TRIES;
        loop {
            let code = or_leave!(self.ask_code(text::ASK_ENROLMENT_CODE)?);
            match self.link.login(login, password, Some(&code)) {
                Ok(opened) => return Ok(Done::With(opened)),
                Err(error) => or_leave!(self.another_code(&error, &mut tries)?),
            }
        }
    }

    /// Gives the session what it still needs. One that does not get it is ended on the server as well.
    fn complete(
        &mut self,
        login: String,
        password: &SecretText,
        opened: OpenedSession,
        why: Purpose,
    ) -> io::Result<Done<()>> {
        self.check_clock()?;
        let OpenedSession { token, state, expires_at, notes } = opened;
        let done = match state {
            SessionState::COMPLETE => Done::With(CompletedSession { token: token.clone(), expires_at, notes }),
            SessionState::NEEDS_ENROLMENT => {
                match why {
                    Purpose::First => self.screen.notice(text::NO_FACTOR_YET.say(self.lang))?,
                    Purpose::Recovery { .. } => self.screen.notice(text::RECOVERY_USED.say(self.lang))?,
                    Purpose::Registered | Purpose::Reset | Purpose::Replace => {}
                }
                self.enrol(&login, &token, why)?
            }
            SessionState::NEEDS_CODE | SessionState::SESSION_STATE_UNSPECIFIED => {
                match self.give_code(&login, password, &token)? {
                    Done::With(Given::Code(completed)) => Done::With(completed),
                    Done::With(Given::Recovery(opened)) => {
                        // Best effort: it ends by itself within minutes.
                        let _ = self.link.logout(&token);
                        let left = opened.notes.recovery_codes_left;
                        return self.complete(login, password, opened, Purpose::Recovery { left });
                    }
                    Done::Left => Done::Left,
                    Done::Failed => Done::Failed,
                    Done::End => Done::End,
                }
            }
        };
        Ok(match done {
            Done::With(CompletedSession { token, expires_at, notes }) => {
                let session = ClientSession { login, token, expires_at };
                self.enter(session.clone())?;
                self.welcome(&session, &notes)?;
                Done::With(())
            }
            other => {
                let _ = self.link.logout(&token);
                match other {
                    Done::Left => Done::Left,
                    Done::End => Done::End,
                    _ => Done::Failed,
                }
            }
        })
    }

    /// Asks for a code, or a recovery code in its place.
    fn give_code(&mut self, login: &str, password: &SecretText, token: &SecretText) -> io::Result<Done<Given>> {
        if self.input.is_interactive() {
            self.screen.raw(text::RECOVERY_HINT.say(self.lang))?;
        }
        let mut tries = CODE_TRIES;
        loop {
            let refused = match Typed::read(or_leave!(self.ask_code(text::ASK_CODE)?)) {
                Typed::Code(code) => match self.link.check_otp(login, token, &code) {
                    // Others who know the password have pushed the session out while the code was typed.
                    Err(error) if reason(&error) == Some(Reason::SessionEnded) => {
                        self.link.login_with_code(login, password, &code).map(|opened| Given::Code(opened.into()))
                    }
                    checked => checked.map(Given::Code),
                },
                Typed::Recovery(code) => self.link.login(login, password, Some(&code)).map(Given::Recovery),
                Typed::Neither => {
                    self.screen.error(text::NEITHER_CODE.say(self.lang))?;
                    continue;
                }
            };
            match refused {
                Ok(given) => return Ok(Done::With(given)),
                Err(error) => or_leave!(self.another_code(&error, &mut tries)?),
            }
        }
    }

    /// Says why a code did not do; goes on while another one may.
    fn another_code(&mut self, error: &CallError, tries: &mut u32) -> io::Result<Done<()>> {
        self.say_failure(error)?;
        match Again::after(error) {
            Again::Code => return Ok(Done::With(())),
            Again::Guess | Again::Both => *tries = tries.saturating_sub(1),
            Again::No => return Ok(Done::Failed),
        }
        if *tries > 0 {
            return Ok(Done::With(()));
        }
        if self.input.is_interactive() {
            self.screen.error(text::NOT_LOGGED_IN.say(self.lang))?;
        }
        Ok(Done::Failed)
    }

    /// From now on the room is read with this session. An earlier reader ends when the new one has begun.
    pub(in crate::client::console) fn enter(&mut self, session: ClientSession) -> io::Result<()> {
        // Their numbers were those of another session's list.
        self.listed.clear();
        let token = session.token.clone();
        let mark = self.presence.enter(session);
        let plan = ReaderPlan {
            link: self.link.clone(),
            token,
            generation: mark,
            cursor: self.cursor.clone(),
            last: self.args.history.unwrap_or(if self.screen.is_terminal() { HISTORY } else { 0 }),
            state: self.live.clone(),
        };
        let reader = StreamReader::start(plan, self.news.clone())?;
        // What was said before is to be seen first, and what is said next, by ourselves for instance, in its place.
        reader.wait_until_caught_up(OPEN_LIMIT);
        self.reader = Some(reader);
        Ok(())
    }

    /// Logged in: what there is to know.
    fn welcome(&mut self, session: &ClientSession, account: &LoginNotes) -> io::Result<()> {
        let words = match session.expires_at {
            Some(end) => {
                let end = render::date_and_time(self.clock.local(end));
                text::LOGGED_IN.with(self.lang, &[&session.login, &end])
            }
            None => text::LOGGED_IN_OPEN.with(self.lang, &[&session.login]),
        };
        self.screen.notice(&words)?;
        if account.wrong_codes > 0 {
            self.screen.error(&text::WRONG_CODES.with(self.lang, &[&account.wrong_codes.to_string()]))?;
        }
        if account.recovery_codes.is_empty() {
            self.warn_of_few(account.recovery_codes_left)?;
        }
        self.check_clock()
    }

    /// Says why a call failed when that may yet be put right by another try.
    pub(in crate::client::console) fn say_failure(&mut self, error: &CallError) -> io::Result<()> {
        self.screen.error(&self.failure(error))?;
        if reason(error) == Some(Reason::InvalidCode) {
            // It may be the reason.
            self.told_apart = false;
        }
        self.check_clock()
    }

    /// Says, once, that the server's clock and ours are too far apart.
    fn check_clock(&mut self) -> io::Result<()> {
        let apart = self.clock.skew();
        if let Some(apart) = apart
            && !self.told_apart
        {
            self.screen.error(&text::clocks_apart(apart, self.lang))?;
        }
        self.told_apart = apart.is_some();
        Ok(())
    }
}

fn reason(error: &CallError) -> Option<Reason> {
    if let CallError::Refused(refusal) = error { refusal.reason } else { None }
}
