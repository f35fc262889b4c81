//! Registering, logging in and out.

use std::sync::Arc;

use super::refusal::{Error, Refusal};
use super::sessions::Person;
use super::{App, Connection, Credential, Opened, factor};
use crate::security::login::{Login, LoginKey};
use crate::security::passwords::{NewPassword, PasswordHash, Verified};
use crate::security::secret::SecretText;
use crate::security::totp::Code;
use crate::store::Tx;
use crate::store::factors::{self, PendingOf};
use crate::store::sessions::{self, End, Session, SessionId, State};
use crate::store::users::{self, NewUser, User};

/// What somebody gives to log in.
#[derive(Debug)]
pub struct LoginAttempt {
    /// The login as typed.
    pub login: String,
    /// The password.
    pub password: SecretText,
    /// A code, to go on at once as the check of a code would.
    pub code: Option<SecretText>,
    /// The connection, where it may give its code without a token later.
    pub connection: Option<Connection>,
}

impl App {
    /// Creates an account without a second factor.
    ///
    /// # Errors
    /// A login or password that breaks a rule, or a login that is taken.
    pub fn register(&self, login: &str, password: SecretText, on: Option<Connection>) -> Result<(), Error> {
        let login = Login::parse(login).map_err(Refusal::from)?;
        let password = NewPassword::check(password, &login).map_err(Refusal::from)?;
        let key = login.key();
        // Saves the hash where it would be for nothing; the unique index decides.
        if self.store.read(|c| users::by_key(c, &key))?.is_some() {
            return Err(Refusal::LoginTaken.into());
        }
        let hash = self.passwords.hash(&password)?;
        let now = self.clock.now();
        self.store.write(
            move |tx| {
                let on = on.as_ref().map(|c| c.0.as_str());
                let user = NewUser::registered(&login, &key, &hash, now, on);
                users::insert(tx, &user)?.map(|_| ()).ok_or(Refusal::LoginTaken.into())
            },
            |()| (),
        )
    }

    /// Checks a password and opens a session. With a code, goes on as [`App::check_code`] would, and nothing stays behind if
    /// the code is wrong.
    ///
    /// # Errors
    /// [`Refusal::Credentials`], whatever of login, password and code was wrong.
    pub fn log_in(&self, attempt: LoginAttempt) -> Result<Opened, Error> {
        let key = LoginKey::of(&attempt.login);
        let user = self.store.read(|c| users::by_key(c, &key))?;
        // An unknown login costs the same hash, and gets the same answer.
        let verified = self.passwords.verify(&attempt.password, user.as_ref().map(|u| &u.password_hash))?;
        let (Some(user), Verified::Yes | Verified::YesButOld) = (user, verified) else {
            return Err(Refusal::Credentials.into());
        };
        if user.awaits_admin {
            return Err(Refusal::AwaitsAdmin.into());
        }
        let new_hash =
            if verified == Verified::YesButOld { Some(self.passwords.rehash(&attempt.password)?) } else { None };
        let now = self.clock.now();
        let id = SessionId::random()?;
        let (limits, vault, registry) = (self.limits.clone(), Arc::clone(&self.vault), Arc::clone(&self.sessions));
        let person = Person::new(user.id, user.login.clone());
        let code = attempt.code.as_ref().map(|text| Code::parse(text.expose()));
        let connection = attempt.connection.map(|c| c.0);
        let (session, _) = self.store.write(
            move |tx| {
                still_the_same(tx, &user, new_hash.as_ref())?;
                let active = factors::active(tx, user.id)?;
                let state = if active.is_some() { State::NeedsCode } else { State::NeedsEnrolment };
                let base_factor = active.as_ref().map(|f| f.id);
                let expires_at = now + limits.waiting_session;
                let mut session =
                    Session { id, user_id: user.id, state, base_factor, created_at: now, expires_at, connection };
                sessions::insert(tx, &session)?;
                let keep = limits.waiting_sessions_per_user;
                let mut ended =
                    sessions::end(tx, End::Oldest { user_id: user.id, in_hand: id, complete: false, keep })?;
                if let Some(code) = code {
                    let factor_id = match active {
                        Some(active) => {
                            factor::use_code(tx, &vault, user.id, &active, code.as_ref(), now)
                                .map_err(|error| which_is_not_said(error, user.id))?;
                            active.id
                        }
                        None => {
                            let pending =
                                factors::pending(tx, user.id, PendingOf::Account)?.ok_or(Refusal::Credentials)?;
                            let others = factor::confirm(tx, &vault, &session, &pending, code.as_ref(), now)
                                .map_err(|error| which_is_not_said(error, user.id))?;
                            ended.extend(others);
                            pending.id
                        }
                    };
                    factor::complete(tx, &limits, &mut session, factor_id, now, &mut ended)?;
                }
                Ok::<_, Error>((session, ended))
            },
            {
                let person = Arc::clone(&person);
                move |(session, ended): &(Session, Vec<SessionId>)| {
                    registry.changed(session, person);
                    registry.ended(ended);
                }
            },
        )?;
        let token = self.token(&session, &person.login, now)?;
        Ok(Opened { session, token })
    }

    /// Ends the session that a token names, whatever its state, with its streams.
    ///
    /// # Errors
    /// No token, a bad one, or a session that has ended.
    pub fn log_out(&self, by: &Credential) -> Result<(), Error> {
        let (id, _) = self.sessions.named(by, &self.tokens, self.clock.now())?;
        let registry = Arc::clone(&self.sessions);
        self.store.write(
            move |tx| Ok::<_, Error>(sessions::end(tx, End::One(id))?),
            move |ended: &Vec<SessionId>| registry.ended(ended),
        )?;
        Ok(())
    }
}

/// The account must be as it was when the password was verified; if its hash is to be replaced, it is now.
fn still_the_same(tx: &Tx<'_>, verified: &User, new_hash: Option<&PasswordHash>) -> Result<(), Error> {
    match users::by_id(tx, verified.id)? {
        Some(user) if user.password_hash == verified.password_hash && !user.awaits_admin => {}
        _ => return Err(Refusal::Credentials.into()),
    }
    if let Some(new_hash) = new_hash {
        users::replace_hash(tx, verified.id, &verified.password_hash, new_hash)?;
    }
    Ok(())
}

/// A refused login does not say that it was the code. The log does, of one that was used before: it may have been watched.
fn which_is_not_said(error: Error, user_id: i64) -> Error {
    match error {
        Error::Refused(refusal @ (Refusal::Code | Refusal::CodeUsed)) => {
            if refusal == Refusal::CodeUsed {
                log::warn!("a login of user {user_id} came with a code that was used before");
            }
            Refusal::Credentials.into()
        }
        other => other,
    }
}
