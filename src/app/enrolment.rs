//! The second factor: starting an enrolment, and checking a code. The table of session states is in docs/protocol.md,
//! "Getting in".

use std::net::IpAddr;

use super::audit_context::{AuditContext, Guessing, TxEnd};
use super::caller::Person;
use super::credential::{ConnectionId, Credential};
use super::refusal::{Error, Refusal};
use super::system::{App, Opened};
use crate::base::clock::Time;
use crate::model::ids::{FactorId, SessionId};
use crate::model::login::LoginKey;
use crate::security::passwords::Verified;
use crate::security::secret::SecretText;
use crate::security::totp::{self, Code};
use crate::store::Tx;
use crate::store::factors::{self, PendingOf};
use crate::store::sessions::{self, Session, Stage};
use crate::store::users::{self, User};

/// An enrolment as it is asked for.
#[derive(Debug)]
pub struct EnrolmentAttempt {
    /// The login of the account.
    pub login: String,
    /// What the caller shows.
    pub by: Credential,
    /// To replace an active factor: the password.
    pub password: SecretText,
    /// To replace an active factor: a fresh code of it.
    pub code: SecretText,
    /// Where it comes from.
    pub address: Option<IpAddr>,
}

impl App {
    /// Makes a pending secret and gives its `otpauth://` URI, once. Never touches an active secret.
    ///
    /// Allowed are a session that needs enrolment; a complete session, with password and a fresh code; and, for old clients,
    /// the connection that registered the login, shortly after that and without a token, while the account has no active
    /// factor.
    ///
    /// # Errors
    /// [`Refusal::Enrolment`] for every other caller, which does not say whether there is such an account.
    pub fn start_enrolment(&self, attempt: EnrolmentAttempt) -> Result<SecretText, Error> {
        let context = self.context(attempt.address);
        let now = context.now;
        let key = LoginKey::from_text(&attempt.login);
        if let Credential::NoneOn(connection) = &attempt.by {
            return self.enrol_registering_connection(&key, connection, context);
        }
        let (id, person) = self.sessions.named(&attempt.by, &self.tokens, now)?;
        if person.key != key {
            return Err(Refusal::Enrolment.into());
        }
        self.throttles.step(id)?;
        let password_is_right = self.verify_if_given(&person, &attempt.password, attempt.address)?;
        let code = Code::parse(attempt.code.expose());
        let secret = totp::new_secret()?;
        let uri = SecretText::new(totp::uri(&person.login, &secret));
        self.settle(move |tx| {
            let session = sessions::live(tx, id, now)?.ok_or(Refusal::SessionEnded)?;
            match session.stage {
                Stage::NeedsCode => return Err(Refusal::Enrolment.into()),
                Stage::NeedsEnrolment => {}
                Stage::Complete => {
                    let user = password_is_right.ok_or(Refusal::Credentials)?;
                    // The password must still be the one that was verified.
                    if users::by_id(tx, user.id)?.is_none_or(|u| u.password_hash != user.password_hash) {
                        return Err(Refusal::Credentials.into());
                    }
                    let active = factors::active(tx, user.id)?.ok_or(Refusal::Credentials)?;
                    context.use_code(tx, user.id, &active, code.as_ref(), Guessing::Counts)?;
                }
            }
            let sealed = context.keys.vault.seal(factors::place(session.user_id), &secret)?;
            factors::put_pending(tx, session.user_id, PendingOf::Session(id), &sealed, now)?;
            Ok(())
        })?;
        Ok(uri)
    }

    /// Old clients ask before they ever log in.
    fn enrol_registering_connection(
        &self,
        key: &LoginKey,
        on: &ConnectionId,
        context: AuditContext,
    ) -> Result<SecretText, Error> {
        let secret = totp::new_secret()?;
        let (key, on) = (key.clone(), on.clone());
        let since = context.now - self.limits.enrolment_without_token;
        self.settle(move |tx| {
            let user = users::by_key(tx, &key)?.ok_or(Refusal::Enrolment)?;
            let registered_here = user.registered_on.as_deref() == Some(&on.0) && user.created_at > since;
            if !registered_here
                || user.awaits_admin
                || user.locked_at.is_some()
                || factors::active(tx, user.id)?.is_some()
            {
                return Err(Refusal::Enrolment.into());
            }
            let sealed = context.keys.vault.seal(factors::place(user.id), &secret)?;
            factors::put_pending(tx, user.id, PendingOf::Account, &sealed, context.now)?;
            Ok(SecretText::new(totp::uri(&user.login, &secret)))
        })
    }

    /// Returns the account if the password was given and is right.
    fn verify_if_given(
        &self,
        person: &Person,
        password: &SecretText,
        address: Option<IpAddr>,
    ) -> Result<Option<User>, Error> {
        if password.is_empty() {
            return Ok(None);
        }
        let tried = self.throttles.password(&person.key, address)?;
        let user = self.store.read(|tx| users::by_id(tx, person.id))?;
        let verified = self.passwords.verify(password, user.as_ref().map(|u| &u.password_hash))?;
        if verified == Verified::No {
            return Ok(None);
        }
        tried.was_right();
        Ok(user)
    }

    /// Checks a code: of the active factor for a session that owes one, of the pending factor for a session that enrols. A
    /// right one completes the session.
    ///
    /// Without a token it works on the one waiting session of that login on the same connection (old clients).
    ///
    /// # Errors
    /// [`Refusal::Code`], also where there is nothing that a code could be for.
    pub fn check_code(
        &self,
        login: &str,
        code: &SecretText,
        by: &Credential,
        address: Option<IpAddr>,
    ) -> Result<Opened, Error> {
        let context = self.context(address);
        let now = context.now;
        let key = LoginKey::from_text(login);
        let which = match by {
            Credential::NoneOn(connection) => CodeFor::WaitingOn(connection.clone()),
            by => {
                let (id, person) = self.sessions.named(by, &self.tokens, now)?;
                if person.key != key {
                    return Err(Refusal::Code.into());
                }
                self.throttles.step(id)?;
                CodeFor::Named(id)
            }
        };
        let code = Code::parse(code.expose());
        let (session, login, welcome) = self.settle(move |tx| {
            let (mut session, user) = session_for_code(tx, &key, &which, now)?;
            let (factor_id, recovery_codes) = accept_code(tx, &context, &session, &user.login, code.as_ref())?;
            let mut welcome = context.complete(tx, &mut session, &user.login, factor_id)?;
            welcome.recovery_codes = recovery_codes;
            Ok((session, user.login, welcome))
        })?;
        let token = self.token(&session, &login, now)?;
        Ok(Opened { session, token, welcome })
    }
}

/// The session that a code is for.
enum CodeFor {
    Named(SessionId),
    WaitingOn(ConnectionId),
}

/// The session that a code is for.
fn session_for_code(tx: &Tx<'_>, key: &LoginKey, which: &CodeFor, now: Time) -> Result<(Session, User), TxEnd> {
    let user = users::by_key(tx, key)?.ok_or(Refusal::Code)?;
    let session = match which {
        CodeFor::Named(id) => sessions::live(tx, *id, now)?.ok_or(Refusal::SessionEnded)?,
        CodeFor::WaitingOn(connection) => {
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

/// Accepts a code for a session, by the session's stage. The session need not be inserted yet. Returns the factor that the
/// code is of, and new recovery codes if it confirmed that factor.
pub(super) fn accept_code(
    tx: &Tx<'_>,
    context: &AuditContext,
    session: &Session,
    login: &str,
    code: Option<&Code>,
) -> Result<(FactorId, Vec<SecretText>), TxEnd> {
    let user_id = session.user_id;
    let own = || factors::pending(tx, user_id, PendingOf::Session(session.id));
    let (pending, without) = match session.stage {
        Stage::NeedsCode => {
            let active = factors::active(tx, user_id)?.ok_or(Refusal::Code)?;
            context.use_code(tx, user_id, &active, code, Guessing::Counts)?;
            return Ok((active.id, Vec::new()));
        }
        Stage::NeedsEnrolment => match own()? {
            Some(own) => (Some(own), Refusal::EnrolmentNotStarted),
            None => (factors::pending(tx, user_id, PendingOf::Account)?, Refusal::EnrolmentNotStarted),
        },
        // Without an enrolment the answer is that the code is wrong, and says no more.
        Stage::Complete => (own()?, Refusal::Code),
    };
    let pending = pending.ok_or(without)?;
    let recovery_codes = context.confirm(tx, session, login, &pending, code)?;
    Ok((pending.id, recovery_codes))
}
