//! `/sessions`, and `/logout` for sessions by number, all others, or all.

use std::io;

use crate::base::clock::Time;
use crate::base::escape::one_line;
use crate::client::console::command::Which;
use crate::client::console::room::render;
use crate::client::console::table::table;
use crate::client::console::terminal::prompt::{Done, or_leave};
use crate::client::console::text;
use crate::client::console::{Console, Next};
use crate::client::error::CallError;
use crate::client::session::ClientSession;
use crate::client::types::ListedSession;
use crate::proto::{SessionState, WhichSessions};

impl Console {
    /// `/sessions`: the account's sessions, with the numbers that `/logout` takes.
    pub(in crate::client::console) fn list_sessions(&mut self) -> io::Result<Next> {
        let Some(session) = self.presence.session() else {
            return self.complain(text::LOG_IN_FIRST.say(self.lang));
        };
        match self.link.list_sessions(&session.token) {
            Ok(listed) => self.listed = listed,
            Err(error) => return self.call_failed(&error),
        }
        let heads = [text::OPENED, text::FROM, text::ENDS, text::STATE].map(|head| head.say(self.lang));
        let [opened, from, ends, state] = heads;
        let rows: Vec<[String; 6]> =
            self.listed.iter().enumerate().map(|(place, session)| self.row(place + 1, session)).collect();
        let window = self.screen.window().map(|window| window.columns);
        self.screen.raw(&table(["", opened, from, ends, state, ""], &rows, window))?;
        if self.input.is_interactive() && self.listed.len() > 1 {
            self.screen.notice(text::SESSIONS_HINT.say(self.lang))?;
        }
        Ok(Next::Line)
    }

    /// `/logout`, with whatever stands after it.
    pub(in crate::client::console) fn end_sessions(&mut self, which: Which) -> io::Result<Next> {
        match which {
            Which::This => self.log_out(),
            Which::Number(number) => self.end_session(number),
            Which::Others => self.end_many(Self::end_others),
            Which::All => self.end_many(Self::end_all),
        }
    }

    fn end_session(&mut self, number: usize) -> io::Result<Next> {
        let Some(session) = self.presence.session() else {
            return self.complain(text::LOG_IN_FIRST.say(self.lang));
        };
        if self.listed.is_empty() {
            return self.complain(text::LIST_FIRST.say(self.lang));
        }
        let number_said = number.to_string();
        let Some(listed) = number.checked_sub(1).and_then(|place| self.listed.get(place)) else {
            return self.complain(&text::NO_SUCH_NUMBER.with(self.lang, &[&number_said]));
        };
        if listed.current {
            return self.log_out();
        }
        match self.link.end_session(&session.token, &listed.id) {
            Ok(()) => self.screen.notice(&text::SESSION_N_ENDED.with(self.lang, &[&number_said])).map(|()| Next::Line),
            Err(error) => self.call_failed(&error),
        }
    }

    fn end_many(&mut self, end: fn(&mut Self, &ClientSession) -> io::Result<Done<()>>) -> io::Result<Next> {
        let Some(session) = self.presence.session() else { return self.needs_login() };
        let done = end(self, &session)?;
        self.finish(done, text::NOT_DONE)
    }

    fn end_others(&mut self, session: &ClientSession) -> io::Result<Done<()>> {
        let others = WhichSessions::OTHERS;
        let ended = or_leave!(self.prove(|link, proof| link.end_sessions(&session.token, others, proof))?);
        self.screen.notice(&text::OTHERS_ENDED.with(self.lang, &[&ended.to_string()]))?;
        Ok(Done::With(()))
    }

    fn end_all(&mut self, session: &ClientSession) -> io::Result<Done<()>> {
        let (all, presence) = (WhichSessions::ALL, self.presence.clone());
        let ended = or_leave!(self.prove(|link, proof| presence.expect_end(|| link.end_sessions(
            &session.token,
            all,
            proof
        )))?);
        self.forget_session();
        self.screen.notice(&text::ALL_ENDED.with(self.lang, &[&ended.to_string()]))?;
        Ok(Done::With(()))
    }

    /// A call of the session's failed: says why, and that the session is over if it is.
    pub(in crate::client::console) fn call_failed(&mut self, error: &CallError) -> io::Result<Next> {
        match error {
            CallError::Refused(refusal) if refusal.ends_session => self.session_over(refusal),
            error => self.complain(&self.failure(error)),
        }
    }

    fn row(&self, number: usize, session: &ListedSession) -> [String; 6] {
        let time = |time: Option<Time>| {
            time.map_or_else(|| "?".to_owned(), |time| render::date_and_time(self.clock.local(time)))
        };
        let state = match session.state {
            SessionState::COMPLETE => text::STATE_COMPLETE.say(self.lang),
            SessionState::NEEDS_CODE => text::STATE_NEEDS_CODE.say(self.lang),
            SessionState::NEEDS_ENROLMENT => text::STATE_NEEDS_ENROLMENT.say(self.lang),
            SessionState::SESSION_STATE_UNSPECIFIED => "?",
        };
        let address = if session.address.is_empty() { "?".to_owned() } else { one_line(&session.address) };
        let this = if session.current { text::THIS_ONE.say(self.lang) } else { "" };
        [
            number.to_string(),
            time(session.opened_at),
            address,
            time(session.expires_at),
            state.to_owned(),
            this.to_owned(),
        ]
    }
}
