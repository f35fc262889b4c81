//! The second factor: starting an enrolment, and checking a code. `wire.md`'s table of sessions, as code.

use std::sync::Arc;

use super::refusal::{Error, Refusal};
use super::sessions::Person;
use super::{App, Connection, Credential, Opened, factor};
use crate::clock::Time;
use crate::security::login::LoginKey;
use crate::security::passwords::Verified;
use crate::security::secret::SecretText;
use crate::security::totp::{self, Code};
use crate::security::vault::Vault;
use crate::store::Tx;
use crate::store::factors::{self, PendingOf};
use crate::store::sessions::{self, Session, SessionId, State};
use crate::store::users::{self, User};

/// What somebody gives to start an enrolment.
#[derive(Debug)]
pub struct EnrolmentAttempt {
    /// Whose second factor.
    pub login: String,
    /// Who he says he is.
    pub by: Credential,
    /// To replace an active factor: the password.
    pub password: SecretText,
    /// To replace an active factor: a fresh code of it.
    pub code: SecretText,
}

impl App {
    /// Makes a pending secret and gives its `otpauth://` URI, once. Never touches an active secret.
    ///
    /// Three may do it, and nobody else: a session that needs enrolment; a complete session, with password and a fresh code;
    /// and, for old clients, the connection that registered the login, shortly after that and without a token, while the
    /// account has no active factor.
    ///
    /// # Errors
    /// [`Refusal::Enrolment`] for everybody else, which does not say whether there is such an account.
    pub fn start_enrolment(&self, attempt: EnrolmentAttempt) -> Result<SecretText, Error> {
        let now = self.clock.now();
        let key = LoginKey::of(&attempt.login);
        if let Credential::NoneOn(connection) = &attempt.by {
            return self.enrol_registering_connection(&key, connection, now);
        }
        let (id, person) = self.sessions.named(&attempt.by, &self.tokens, now)?;
        if person.key != key {
            return Err(Refusal::Enrolment.into());
        }
        let password_is_right = self.verify_if_given(person.id, &attempt.password)?;
        let code = Code::parse(attempt.code.expose());
        let secret = totp::new_secret()?;
        let uri = SecretText::new(totp::uri(&person.login, &secret));
        let vault = Arc::clone(&self.vault);
        self.store.write(
            move |tx| {
                let session = sessions::live(tx, id, now)?.ok_or(Refusal::SessionEnded)?;
                match session.state {
                    State::NeedsCode => return Err(Refusal::Enrolment.into()),
                    State::NeedsEnrolment => {}
                    State::Complete => {
                        let Some(user) = password_is_right else { return Err(Refusal::Credentials.into()) };
                        // The password must still be the one that was verified.
                        if users::by_id(tx, user.id)?.is_none_or(|u| u.password_hash != user.password_hash) {
                            return Err(Refusal::Credentials.into());
                        }
                        let active = factors::active(tx, user.id)?.ok_or(Refusal::Credentials)?;
                        factor::use_code(tx, &vault, user.id, &active, code.as_ref(), now)?;
                    }
                }
                let sealed = vault.seal(session.user_id, &secret)?;
                factors::put_pending(tx, session.user_id, PendingOf::Session(id), &sealed, now)?;
                Ok::<_, Error>(())
            },
            |()| (),
        )?;
        Ok(uri)
    }

    /// The way of old clients, which ask before they ever log in.
    fn enrol_registering_connection(&self, key: &LoginKey, on: &Connection, now: Time) -> Result<SecretText, Error> {
        let secret = totp::new_secret()?;
        let (key, on, vault) = (key.clone(), on.clone(), Arc::clone(&self.vault));
        let since = now - self.limits.enrolment_without_token;
        self.store.write(
            move |tx| {
                let user = users::by_key(tx, &key)?.ok_or(Refusal::Enrolment)?;
                let registered_here = user.registered_on.as_deref() == Some(&on.0) && user.created_at > since;
                if !registered_here || user.awaits_admin || factors::active(tx, user.id)?.is_some() {
                    return Err(Refusal::Enrolment.into());
                }
                let sealed = vault.seal(user.id, &secret)?;
                factors::put_pending(tx, user.id, PendingOf::Account, &sealed, now)?;
                Ok::<_, Error>(SecretText::new(totp::uri(&user.login, &secret)))
            },
            |_| (),
        )
    }

    /// The account, if the password was given and is right.
    fn verify_if_given(&self, user_id: i64, password: &SecretText) -> Result<Option<User>, Error> {
        if password.is_empty() {
            return Ok(None);
        }
        let user = self.store.read(|c| users::by_id(c, user_id))?;
        let verified = self.passwords.verify(password, user.as_ref().map(|u| &u.password_hash))?;
        Ok(user.filter(|_| verified != Verified::No))
    }

    /// Checks a code: of the active factor for a session that owes one, of the pending factor for a session that enrols. A
    /// right one completes the session.
    ///
    /// Without a token it works on the one waiting session of that login on the same connection (old clients).
    ///
    /// # Errors
    /// [`Refusal::Code`], also where there is nothing that a code could be for.
    pub fn check_code(&self, login: &str, code: &SecretText, by: &Credential) -> Result<Opened, Error> {
        let now = self.clock.now();
        let key = LoginKey::of(login);
        let which = match by {
            Credential::NoneOn(connection) => Which::WaitingOn(connection.clone()),
            by => {
                let (id, person) = self.sessions.named(by, &self.tokens, now)?;
                if person.key != key {
                    return Err(Refusal::Code.into());
                }
                Which::Named(id)
            }
        };
        let code = Code::parse(code.expose());
        let (limits, vault, registry) = (self.limits.clone(), Arc::clone(&self.vault), Arc::clone(&self.sessions));
        let checked = self.store.write(
            move |tx| {
                let (mut session, user) = find(tx, &key, &which, now)?;
                let mut ended = Vec::new();
                let factor_id = pass(tx, &vault, &session, code.as_ref(), now, &mut ended)?;
                factor::complete(tx, &limits, &mut session, factor_id, now, &mut ended)?;
                let person = Person::new(user.id, user.login);
                Ok::<_, Error>(Checked { session, person, ended })
            },
            move |checked: &Checked| {
                registry.changed(&checked.session, Arc::clone(&checked.person));
                registry.ended(&checked.ended);
            },
        )?;
        let token = self.token(&checked.session, &checked.person.login, now)?;
        Ok(Opened { session: checked.session, token })
    }
}

enum Which {
    Named(SessionId),
    WaitingOn(Connection),
}

struct Checked {
    session: Session,
    person: Arc<Person>,
    ended: Vec<SessionId>,
}

/// The session that a code is for.
fn find(tx: &Tx<'_>, key: &LoginKey, which: &Which, now: Time) -> Result<(Session, User), Error> {
    let user = users::by_key(tx, key)?.ok_or(Refusal::Code)?;
    let session = match which {
        Which::Named(id) => sessions::live(tx, *id, now)?.ok_or(Refusal::SessionEnded)?,
        Which::WaitingOn(connection) => {
            let mut waiting = sessions::waiting_on(tx, user.id, &connection.0, now)?;
            match (waiting.pop(), waiting.is_empty()) {
                (Some(session), true) => session,
                _ => return Err(Refusal::Code.into()),
            }
        }
    };
    if session.user_id != user.id {
        return Err(Refusal::Code.into());
    }
    Ok((session, user))
}

/// Lets a code pass for a session, by its state. Returns the factor that it passed on.
fn pass(
    tx: &Tx<'_>,
    vault: &Vault,
    session: &Session,
    code: Option<&Code>,
    now: Time,
    ended: &mut Vec<SessionId>,
) -> Result<i64, Error> {
    let user_id = session.user_id;
    let own = || factors::pending(tx, user_id, PendingOf::Session(session.id));
    let (pending, without) = match session.state {
        State::NeedsCode => {
            let active = factors::active(tx, user_id)?.ok_or(Refusal::Code)?;
            factor::use_code(tx, vault, user_id, &active, code, now)?;
            return Ok(active.id);
        }
        State::NeedsEnrolment => match own()? {
            Some(own) => (Some(own), Refusal::EnrolmentNotStarted),
            None => (factors::pending(tx, user_id, PendingOf::Account)?, Refusal::EnrolmentNotStarted),
        },
        // It tests nothing, and says no more than that the code is wrong.
        State::Complete => (own()?, Refusal::Code),
    };
    let pending = pending.ok_or(without)?;
    ended.extend(factor::confirm(tx, vault, session, &pending, code, now)?);
    Ok(pending.id)
}
