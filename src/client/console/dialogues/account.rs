//! `/passwd`, `/otp` and `/delete-account`: the dialogues that ask for password and a fresh code, and change the account.

use std::io;

use crate::client::console::dialogues::enrolment::Purpose;
use crate::client::console::dialogues::login::CODE_TRIES;
use crate::client::console::terminal::prompt::{Again, Done, or_leave};
use crate::client::console::text::{self, Text};
use crate::client::console::{Console, Next};
use crate::client::error::CallError;
use crate::client::link::Link;
use crate::client::session::ClientSession;
use crate::client::types::{CompletedSession, OwnerProof};
use crate::model::reason::Reason;

/// A proof, and how many more may be refused as wrong.
struct Proving {
    proof: OwnerProof,
    tries: u32,
    ask_password: Text,
}

impl Console {
    /// `/passwd`: another password.
    pub(in crate::client::console) fn change_password(&mut self) -> io::Result<Next> {
        let Some(session) = self.presence.session() else { return self.needs_login() };
        let done = self.new_password(&session)?;
        self.finish(done, text::NOT_DONE)
    }

    /// `/otp`: another second factor.
    pub(in crate::client::console) fn replace_factor(&mut self) -> io::Result<Next> {
        let Some(session) = self.presence.session() else { return self.needs_login() };
        let done = self.new_factor(session)?;
        self.finish(done, text::NOT_DONE)
    }

    /// `/delete-account`
    pub(in crate::client::console) fn delete_account(&mut self) -> io::Result<Next> {
        let Some(session) = self.presence.session() else { return self.needs_login() };
        let done = self.delete(&session)?;
        self.finish(done, text::NOT_DONE)
    }

    /// A dialogue that needs a session, without one. The answers that may follow in a pipe are not to be said to everybody.
    pub(in crate::client::console) fn needs_login(&mut self) -> io::Result<Next> {
        self.complain(text::LOG_IN_FIRST.say(self.lang))?;
        self.finish(Done::Failed, text::NOT_DONE)
    }

    fn new_password(&mut self, session: &ClientSession) -> io::Result<Done<()>> {
        let mut proving = or_leave!(self.ask_proof(text::ASK_OLD_PASSWORD)?);
        let mut new = or_leave!(self.ask_new_password(text::ASK_NEW_PASSWORD, text::ASK_NEW_PASSWORD_AGAIN)?);
        loop {
            match self.link.change_password(&session.token, &proving.proof, &new) {
                Ok(ended) => {
                    self.screen.notice(&text::PASSWORD_CHANGED.with(self.lang, &[&ended.to_string()]))?;
                    return Ok(Done::With(()));
                }
                Err(CallError::Refused(refusal)) if refusal.reason == Some(Reason::WeakPassword) => {
                    self.screen.error(&text::refusal(&refusal, self.lang))?;
                    new = or_leave!(self.ask_new_password(text::ASK_NEW_PASSWORD, text::ASK_NEW_PASSWORD_AGAIN)?);
                }
                Err(error) => or_leave!(self.ask_proof_again(&error, &mut proving)?),
            }
        }
    }

    fn new_factor(&mut self, session: ClientSession) -> io::Result<Done<()>> {
        let ClientSession { login, token, .. } = session;
        let uri = or_leave!(self.prove(|link, proof| link.init_otp(&login, &token, Some(proof)))?);
        let completed = or_leave!(self.confirm_enrolment(&login, &token, &uri, Purpose::Replace)?);
        let CompletedSession { token: renewed, expires_at, .. } = completed;
        // The room is read with the session that lasts longer.
        if renewed != token {
            self.enter(ClientSession { login, token: renewed, expires_at })?;
        }
        Ok(Done::With(()))
    }

    fn delete(&mut self, session: &ClientSession) -> io::Result<Done<()>> {
        self.screen.notice(&text::DELETE_WARNING.with(self.lang, &[&session.login]))?;
        let confirmed = or_leave!(self.ask_login(text::CONFIRM_LOGIN)?);
        if confirmed != session.login {
            self.complain(&text::LOGIN_DIFFERS.with(self.lang, &[&session.login]))?;
            return Ok(Done::Failed);
        }
        let presence = self.presence.clone();
        or_leave!(self.prove(|link, proof| presence.expect_end(|| link.delete_account(&session.token, proof)))?);
        self.forget_session();
        self.outbox.forget();
        self.screen.notice(&text::DELETED.with(self.lang, &[&session.login]))?;
        Ok(Done::With(()))
    }

    /// Asks for password and a fresh code and makes the call with them, until it is done or nothing more can help.
    pub(in crate::client::console) fn prove<T>(
        &mut self,
        call: impl Fn(&Link, &OwnerProof) -> Result<T, CallError>,
    ) -> io::Result<Done<T>> {
        let mut proving = or_leave!(self.ask_proof(text::ASK_PASSWORD)?);
        loop {
            match call(&self.link, &proving.proof) {
                Ok(answer) => return Ok(Done::With(answer)),
                Err(error) => or_leave!(self.ask_proof_again(&error, &mut proving)?),
            }
        }
    }

    fn ask_proof(&mut self, ask_password: Text) -> io::Result<Done<Proving>> {
        if self.input.is_interactive() {
            self.screen.notice(text::PROOF_PLEASE.say(self.lang))?;
        }
        let password = or_leave!(self.ask_password(ask_password)?);
        let code = or_leave!(self.ask_code(text::ASK_CODE)?);
        Ok(Done::With(Proving { proof: OwnerProof { password, code }, tries: CODE_TRIES, ask_password }))
    }

    /// Says why the proof did not do, and asks again for what may have been wrong with it.
    fn ask_proof_again(&mut self, error: &CallError, proving: &mut Proving) -> io::Result<Done<()>> {
        let again = match error {
            // It may be done. To do it twice is not what was asked for.
            CallError::NoAnswer => {
                self.complain(text::DONE_PERHAPS.say(self.lang))?;
                return Ok(Done::Failed);
            }
            CallError::Refused(refusal) if refusal.ends_session => {
                self.session_over(refusal)?;
                return Ok(Done::Failed);
            }
            CallError::Refused(_) => Again::after(error),
            _ => Again::No,
        };
        self.say_failure(error)?;
        if matches!(again, Again::Guess | Again::Both) {
            proving.tries = proving.tries.saturating_sub(1);
        }
        if again == Again::No || proving.tries == 0 {
            return Ok(Done::Failed);
        }
        if again == Again::Both {
            proving.proof.password = or_leave!(self.ask_password(proving.ask_password)?);
        }
        proving.proof.code = or_leave!(self.ask_code(text::ASK_CODE)?);
        Ok(Done::With(()))
    }
}
