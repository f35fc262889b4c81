//! Registering, logging in and out.

use std::net::IpAddr;

use super::audit_context::{AuditContext, TxEnd, Welcome};
use super::credential::{ConnectionId, Credential};
use super::enrolment::accept_code;
use super::limits::Registration;
use super::refusal::{Error, Refusal};
use super::system::{App, Opened};
use crate::base::escape::one_line;
use crate::model::ids::{SessionId, UserId};
use crate::model::login::{Login, LoginKey};
use crate::security::codes::{CodePurpose, OneTimeCode};
use crate::security::passwords::{NewPassword, PasswordHash, Verified};
use crate::security::secret::SecretText;
use crate::security::totp::Code;
use crate::store::factors;
use crate::store::sessions::{self, End, Session, Stage};
use crate::store::users::{self, NewUser, User};
use crate::store::{Tx, codes};

/// A registration as it is asked for.
#[derive(Debug)]
pub struct RegisterAttempt {
    /// The login as typed.
    pub login: String,
    /// The password.
    pub password: SecretText,
    /// An invitation, where registration is by invitation; else empty.
    pub invitation: SecretText,
    /// The connection, where it may enrol without a token later.
    pub connection: Option<ConnectionId>,
    /// Where it comes from.
    pub address: Option<IpAddr>,
}

/// A login as it is asked for.
#[derive(Debug)]
pub struct LoginAttempt {
    /// The login as typed.
    pub login: String,
    /// The password.
    pub password: SecretText,
    /// What comes with the password.
    pub second: Second,
    /// The connection, where it may give its code without a token later.
    pub connection: Option<ConnectionId>,
    /// Where it comes from.
    pub address: Option<IpAddr>,
}

/// What comes with a password.
#[derive(Debug)]
pub enum Second {
    /// Nothing: the session waits.
    Nothing,
    /// A code, to go on at once as the check of a code would.
    Code(SecretText),
    /// A recovery code or the administrator's enrolment code: the session then needs enrolment.
    Recovery(SecretText),
}

impl App {
    /// Creates an account without a second factor.
    ///
    /// # Errors
    /// A login or password that breaks a rule, a login that is taken, or no good invitation where registration is by
    /// invitation.
    pub fn register(&self, attempt: RegisterAttempt) -> Result<(), Error> {
        let context = self.context(attempt.address);
        let invitation = match self.limits.registration {
            Registration::Closed => return Err(Refusal::RegistrationClosed.into()),
            Registration::Open => None,
            Registration::Invite if attempt.invitation.is_empty() => return Err(Refusal::InviteRequired.into()),
            Registration::Invite => {
                let code = OneTimeCode::parse(attempt.invitation.expose()).ok_or(Refusal::InviteInvalid)?;
                let hash = self.keys.codes.hash(&code, CodePurpose::Invitation);
                if !self.store.read(|tx| codes::is_invited(tx, &hash, context.now))? {
                    return Err(Refusal::InviteInvalid.into());
                }
                Some(hash)
            }
        };
        let login = Login::parse(&attempt.login).map_err(Refusal::from)?;
        let password = NewPassword::check(attempt.password, login.as_str()).map_err(Refusal::from)?;
        let key = login.key();
        // Before the answer tells whether there is such an account.
        self.throttles.registration(attempt.address)?;
        // Saves a useless hash; the unique index decides.
        if self.store.read(|tx| users::by_key(tx, &key))?.is_some() {
            return Err(Refusal::LoginTaken.into());
        }
        let hash = self.passwords.hash(&password)?;
        let connection = attempt.connection;
        self.settle(move |tx| {
            let on = connection.as_ref().map(|connection| connection.0.as_str());
            let user = NewUser::registered(&login, &key, &hash, context.now, on);
            users::insert(tx, &user)?.ok_or(Refusal::LoginTaken)?;
            if let Some(invitation) = invitation {
                let note = codes::accept(tx, &invitation, context.now)?.ok_or(Refusal::InviteInvalid)?;
                context.audit(tx, login.as_str(), "account.registered", login.as_str(), format!("invited: {note}"))?;
            }
            Ok(())
        })
    }

    /// Checks a password and opens a session. With a code, goes on as [`App::check_code`] would, and no session stays behind
    /// if the code is wrong.
    ///
    /// # Errors
    /// [`Refusal::Credentials`], whichever of login, password and code was wrong.
    pub fn log_in(&self, attempt: LoginAttempt) -> Result<Opened, Error> {
        let key = LoginKey::from_text(&attempt.login);
        let tried = self.throttles.password(&key, attempt.address)?;
        let user = self.store.read(|tx| users::by_key(tx, &key))?;
        // An unknown login costs the same hash, and gets the same answer.
        let verified = self.passwords.verify(&attempt.password, user.as_ref().map(|u| &u.password_hash))?;
        let (Some(user), Verified::Yes | Verified::YesButOld) = (user, verified) else {
            return Err(Refusal::Credentials.into());
        };
        tried.was_right();
        if user.locked_at.is_some() {
            return Err(Refusal::Locked.into());
        }
        if user.awaits_admin && !matches!(attempt.second, Second::Recovery(_)) {
            return Err(Refusal::AwaitsAdmin.into());
        }
        let new_hash =
            if verified == Verified::YesButOld { Some(self.passwords.rehash(&attempt.password)?) } else { None };
        let context = self.context(attempt.address);
        let now = context.now;
        let new = NewSession {
            id: SessionId::random()?,
            user,
            new_hash,
            second: attempt.second,
            connection: attempt.connection.map(|connection| connection.0),
        };
        let (session, login, welcome) = self.settle(move |tx| new.open(tx, &context))?;
        let token = self.token(&session, &login, now)?;
        Ok(Opened { session, token, welcome })
    }

    /// Ends the session that a token names, whatever its state, with its streams.
    ///
    /// # Errors
    /// No token, a bad one, or a session that has ended.
    pub fn log_out(&self, by: &Credential) -> Result<(), Error> {
        let (id, _) = self.sessions.named(by, &self.tokens, self.clock.now())?;
        self.store.write(move |tx| Ok::<_, Error>(sessions::end(tx, End::One(id))?))?;
        Ok(())
    }
}

/// A session that an account opens whose password was right.
struct NewSession {
    id: SessionId,
    /// As it was when the password was verified.
    user: User,
    /// The hash that replaces the password's, where parameters grew.
    new_hash: Option<PasswordHash>,
    second: Second,
    connection: Option<String>,
}

impl NewSession {
    /// Opens it, and completes it if the right code came with the password. Returns the session, the login of its account, and
    /// the news for the user.
    fn open(self, tx: &Tx<'_>, context: &AuditContext) -> Result<(Session, String, Welcome), TxEnd> {
        let user = self.user;
        still_the_same(tx, &user, self.new_hash.as_ref())?;
        let active = factors::active(tx, user.id)?;
        let mut session = Session {
            id: self.id,
            user_id: user.id,
            stage: if active.is_some() { Stage::NeedsCode } else { Stage::NeedsEnrolment },
            base_factor: active.as_ref().map(|f| f.id),
            created_at: context.now,
            expires_at: context.now + context.limits.waiting_session,
            connection: self.connection,
            opened_from: context.opened_from(),
        };
        // Before the session is inserted: a wrong code leaves no session behind, but it counts.
        let passed = match &self.second {
            Second::Nothing => None,
            Second::Code(code) => {
                let passed = accept_code(tx, context, &session, &user.login, Code::parse(code.expose()).as_ref());
                Some(passed.map_err(|end| conceal_the_code(end, user.id))?)
            }
            Second::Recovery(code) => {
                recover(tx, context, &user, code)?;
                session.stage = Stage::NeedsEnrolment;
                None
            }
        };
        sessions::insert(tx, &session, &user.login)?;
        push_out_waiting(tx, context, &session, &user.login)?;
        let mut welcome = Welcome::default();
        if let Some((factor_id, recovery_codes)) = passed {
            welcome = context.complete(tx, &mut session, &user.login, factor_id)?;
            welcome.recovery_codes = recovery_codes;
        } else if matches!(self.second, Second::Recovery(_)) {
            welcome.recovery_codes_left = codes::recovery_left(tx, user.id)?;
        }
        Ok((session, user.login, welcome))
    }
}

/// Ends the oldest waiting sessions of the account of a new one, where there are too many.
fn push_out_waiting(tx: &Tx<'_>, context: &AuditContext, session: &Session, login: &str) -> Result<(), TxEnd> {
    let keep = context.limits.waiting_sessions_per_user;
    let oldest = End::Oldest { user_id: session.user_id, in_hand: session.id, complete: false, keep };
    if sessions::end(tx, oldest)? > 0 {
        log::warn!(
            "a login to {:?} from {} pushed out one that waited for its code: if that was not its owner, somebody else \
             knows the password",
            one_line(login),
            context.opened_from().as_deref().unwrap_or("an unknown address")
        );
    }
    Ok(())
}

/// The account must be as it was when the password was verified. Replaces its hash if there is a new one.
fn still_the_same(tx: &Tx<'_>, verified: &User, new_hash: Option<&PasswordHash>) -> Result<(), TxEnd> {
    match users::by_id(tx, verified.id)? {
        // Another login has just replaced the hash: this one may come again.
        Some(user) if user.password_hash != verified.password_hash => return Err(Refusal::Overloaded.into()),
        Some(user) if user.awaits_admin == verified.awaits_admin && user.locked_at.is_none() => {}
        _ => return Err(Refusal::Credentials.into()),
    }
    if let Some(new_hash) = new_hash {
        users::replace_hash(tx, verified.id, &verified.password_hash, new_hash)?;
    }
    Ok(())
}

/// Uses up a recovery code, or the administrator's enrolment code where the account waits for one.
fn recover(tx: &Tx<'_>, context: &AuditContext, user: &User, code: &SecretText) -> Result<(), TxEnd> {
    let code = OneTimeCode::parse(code.expose()).ok_or(Refusal::Credentials)?;
    let (purpose, action) = if user.awaits_admin {
        (CodePurpose::Enrolment { user_id: user.id }, "enrolment_code.used")
    } else {
        (CodePurpose::Recovery { user_id: user.id }, "recovery.used")
    };
    if !codes::use_up(tx, user.id, &context.keys.codes.hash(&code, purpose), context.now)? {
        return Err(Refusal::Credentials.into());
    }
    context.audit(tx, &user.login, action, &user.login, String::new())?;
    Ok(())
}

/// A refused login does not say that the code was wrong. The log says it of a code that was used before: it may have been
/// watched.
fn conceal_the_code(end: TxEnd, user_id: UserId) -> TxEnd {
    match end {
        TxEnd::Commit(Refusal::Code) => TxEnd::Commit(Refusal::Credentials),
        TxEnd::Rollback(Error::Refused(Refusal::Code | Refusal::EnrolmentNotStarted)) => Refusal::Credentials.into(),
        TxEnd::Rollback(Error::Refused(Refusal::CodeUsed)) => {
            log::warn!("a login of user {user_id} came with a code that was used before");
            Refusal::Credentials.into()
        }
        other => other,
    }
}
