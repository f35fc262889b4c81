//! The administrator's commands: the same whether a running server gets them over its socket or the tool works on the database
//! itself. Each change is in the audit.

use std::fs;
use std::time::Duration;

use protobuf::MessageField;

use super::audit_context::{AuditContext, TxEnd};
use super::refusal::{Error, Refusal};
use super::system::{App, TokenKey};
use crate::base::clock::Time;
use crate::base::escape::one_line;
use crate::base::lock::lock;
use crate::model::ids::UserId;
use crate::model::login::{Login, LoginKey};
use crate::proto::admin::{AdminRequest, AdminResponse, AdminSession, AdminUser, Command, Invitation};
use crate::proto::{Timestamp, timestamp};
use crate::security::codes::{CodePurpose, OneTimeCode};
use crate::security::keys::{self, KeyGuard};
use crate::security::passwords::{NewPassword, PasswordHash};
use crate::security::secret::SecretText;
use crate::store::sessions::{self as rows, End};
use crate::store::users::{NewUser, User};
use crate::store::{DbError, ReadTx, Tx, codes, factors, guesses, users};

/// The actor in the audit.
const ACTOR: &str = "admin";

/// The longest note of an invitation, in bytes.
const MAX_NOTE_BYTES: usize = 200;

/// How long an invitation may be good, in hours: a year.
const MAX_INVITATION_HOURS: u32 = 24 * 366;

impl App {
    /// Carries out a command of the administrator. Hashes: not for poll threads.
    ///
    /// # Errors
    /// An account, session or invitation that is not there, a login or password that breaks a rule, or nothing to do.
    pub fn administrate(&self, request: AdminRequest) -> Result<AdminResponse, Error> {
        match request.command.ok_or(Refusal::Request("command"))? {
            Command::ListUsers(_) => self.list_users(),
            Command::ShowUser(of) => self.show_user(&of.login),
            Command::AddUser(of) => self.add_user(&of.login, of.password.into()),
            Command::LockUser(of) => self.lock_user(&of.login),
            Command::UnlockUser(of) => self.unlock_user(&of.login),
            Command::ResetOtp(of) => self.reset_otp(&of.login),
            Command::ResetPassword(of) => self.reset_password(&of.login, of.password.into()),
            Command::ListSessions(of) => self.list_sessions_of(&of.login),
            Command::EndSessions(of) => self.end_sessions_of(&of.login, of.id),
            Command::DeleteUser(of) => self.delete_user(&of.login),
            Command::NewInvitation(of) => self.invite(of.note, of.hours),
            Command::ListInvitations(_) => self.list_invitations(),
            Command::RevokeInvitation(of) => self.revoke_invitation(of.id),
            Command::RotateTokenKey(of) => self.rotate_token_key(of.now),
        }
    }

    fn list_users(&self) -> Result<AdminResponse, Error> {
        let users =
            self.store.read(|tx| users::all(tx)?.into_iter().map(|user| self.admin_user(tx, user)).collect())?;
        Ok(AdminResponse { users, ..Default::default() })
    }

    fn show_user(&self, login: &str) -> Result<AdminResponse, Error> {
        let user = self.user(login)?;
        let user = self.store.read(|tx| self.admin_user(tx, user))?;
        Ok(AdminResponse { users: vec![user], ..Default::default() })
    }

    /// An account as the administrator sees it.
    fn admin_user(&self, tx: &ReadTx<'_>, user: User) -> Result<AdminUser, DbError> {
        let now = self.clock.now();
        Ok(AdminUser {
            has_second_factor: factors::active(tx, user.id)?.is_some(),
            guesses_left: guesses::left(tx, user.id, &self.limits.guesses, now)?,
            recovery_codes_left: codes::recovery_left(tx, user.id)?,
            sessions: u32::try_from(rows::live_of(tx, user.id, now)?.len()).unwrap_or(u32::MAX),
            id: user.id.number(),
            login: user.login,
            created_at: some(Some(user.created_at)),
            enrolled_at: some(user.enrolled_at),
            locked_at: some(user.locked_at),
            last_login_at: some(user.last_login_at),
            awaits_enrolment_code: user.awaits_admin,
            ..Default::default()
        })
    }

    /// The account that a login belongs to.
    fn user(&self, login: &str) -> Result<User, Error> {
        let key = LoginKey::from_text(login);
        Ok(self.store.read(|tx| users::by_key(tx, &key))?.ok_or(Refusal::UserNotFound)?)
    }

    /// Adds an account that enrols with a code, so that a password that was seen on its way is not enough.
    fn add_user(&self, login: &str, password: SecretText) -> Result<AdminResponse, Error> {
        let login = Login::parse(login).map_err(Refusal::from)?;
        let (hash, made) = self.password_or_new(login.as_str(), password)?;
        let (context, key) = (self.context(None), login.key());
        let enrolment_code = self.settle(move |tx| {
            let user = NewUser::registered(&login, &key, &hash, context.now, None);
            let id = users::insert(tx, &user)?.ok_or(Refusal::LoginTaken)?;
            users::set_awaits_admin(tx, id)?;
            context.audit(tx, ACTOR, "user.add", login.as_str(), String::new())?;
            new_enrolment_code(tx, &context, id)
        })?;
        Ok(AdminResponse {
            password: made.map(|p| p.expose().to_owned()).unwrap_or_default(),
            enrolment_code: enrolment_code.expose().to_owned(),
            ..Default::default()
        })
    }

    /// The hash of a password. Where none is given, makes one and returns it as well.
    fn password_or_new(&self, login: &str, given: SecretText) -> Result<(PasswordHash, Option<SecretText>), Error> {
        let made = if given.is_empty() { Some(OneTimeCode::random()?.shown()) } else { None };
        let password = made.clone().unwrap_or(given);
        let password = NewPassword::check(password, login).map_err(Refusal::from)?;
        Ok((self.passwords.hash(&password)?, made))
    }

    fn lock_user(&self, login: &str) -> Result<AdminResponse, Error> {
        self.change_user(login, "user.lock", |tx, context, user| {
            users::set_locked(tx, user.id, Some(context.now))?;
            Ok(((), shut_out(tx, user.id)?))
        })
        .map(|((), ended)| ended_sessions(ended))
    }

    fn unlock_user(&self, login: &str) -> Result<AdminResponse, Error> {
        self.change_user(login, "user.unlock", |tx, _, user| {
            users::set_locked(tx, user.id, None)?;
            Ok(((), 0))
        })
        .map(|_| AdminResponse::new())
    }

    fn reset_otp(&self, login: &str) -> Result<AdminResponse, Error> {
        let (code, ended) = self.change_user(login, "user.reset-otp", |tx, context, user| {
            factors::delete_all(tx, user.id)?;
            users::set_awaits_admin(tx, user.id)?;
            let ended = shut_out(tx, user.id)?;
            Ok((new_enrolment_code(tx, context, user.id)?, ended))
        })?;
        Ok(AdminResponse { enrolment_code: code.expose().to_owned(), ..ended_sessions(ended) })
    }

    fn reset_password(&self, login: &str, password: SecretText) -> Result<AdminResponse, Error> {
        let user = self.user(login)?;
        let (hash, made) = self.password_or_new(&user.login, password)?;
        let ((), ended) = self.change_user(login, "user.reset-password", move |tx, _, user| {
            users::set_hash(tx, user.id, &hash)?;
            Ok(((), shut_out(tx, user.id)?))
        })?;
        let password = made.map(|p| p.expose().to_owned()).unwrap_or_default();
        Ok(AdminResponse { password, ..ended_sessions(ended) })
    }

    fn list_sessions_of(&self, login: &str) -> Result<AdminResponse, Error> {
        let (user, now) = (self.user(login)?, self.clock.now());
        let mut response = AdminResponse::new();
        response.sessions = self
            .store
            .read(|tx| rows::live_of(tx, user.id, now))?
            .into_iter()
            .map(|session| AdminSession {
                id: session.id.handle(),
                state: session.stage.word().to_owned(),
                opened_at: some(Some(session.created_at)),
                expires_at: some(Some(session.expires_at)),
                address: session.opened_from.unwrap_or_default(),
                ..Default::default()
            })
            .collect();
        Ok(response)
    }

    fn end_sessions_of(&self, login: &str, handle: String) -> Result<AdminResponse, Error> {
        let ((), ended) = self.change_user(login, "user.sessions", move |tx, context, user| {
            if handle.is_empty() {
                return Ok(((), rows::end(tx, End::All(user.id))?));
            }
            let found = rows::live_of(tx, user.id, context.now)?;
            let session = found.iter().find(|s| s.id.handle() == handle).ok_or(Refusal::SessionNotFound)?;
            Ok(((), rows::end(tx, End::One(session.id))?))
        })?;
        Ok(ended_sessions(ended))
    }

    fn delete_user(&self, login: &str) -> Result<AdminResponse, Error> {
        let ((), ended) =
            self.change_user(login, "user.delete", |tx, _, user| Ok(((), users::delete(tx, user.id)?)))?;
        Ok(ended_sessions(ended))
    }

    /// Changes an account, with a row in the audit. `change` returns how many sessions it ended.
    fn change_user<T: Send + 'static>(
        &self,
        login: &str,
        action: &'static str,
        change: impl FnOnce(&Tx<'_>, &AuditContext, &User) -> Result<(T, usize), TxEnd> + Send + 'static,
    ) -> Result<(T, usize), Error> {
        let (context, key) = (self.context(None), LoginKey::from_text(login));
        self.settle(move |tx| {
            let user = users::by_key(tx, &key)?.ok_or(Refusal::UserNotFound)?;
            let (changed, ended) = change(tx, &context, &user)?;
            let detail = if ended == 0 { String::new() } else { format!("sessions ended: {ended}") };
            context.audit(tx, ACTOR, action, &user.login, detail)?;
            Ok((changed, ended))
        })
    }

    fn invite(&self, note: String, hours: u32) -> Result<AdminResponse, Error> {
        if note.len() > MAX_NOTE_BYTES || note != one_line(&note) {
            return Err(Refusal::Request("note").into());
        }
        if !(1..=MAX_INVITATION_HOURS).contains(&hours) {
            return Err(Refusal::Request("hours").into());
        }
        let (context, code) = (self.context(None), OneTimeCode::random()?);
        let hash = self.keys.codes.hash(&code, CodePurpose::Invitation);
        let expires_at = context.now + Duration::from_secs(u64::from(hours) * 3600);
        let made = self.settle(move |tx| {
            let made = codes::invite(tx, &hash, note, context.now, expires_at)?;
            context.audit(tx, ACTOR, "invite.new", &made.note, format!("invitation {}", made.id))?;
            Ok(made)
        })?;
        Ok(AdminResponse {
            invitations: vec![invitation(made)],
            invitation_code: code.shown().expose().to_owned(),
            ..Default::default()
        })
    }

    fn list_invitations(&self) -> Result<AdminResponse, Error> {
        let now = self.clock.now();
        let found = self.store.read(|tx| codes::invitations(tx, now))?;
        Ok(AdminResponse { invitations: found.into_iter().map(invitation).collect(), ..Default::default() })
    }

    fn revoke_invitation(&self, id: i64) -> Result<AdminResponse, Error> {
        let context = self.context(None);
        self.settle(move |tx| {
            if !codes::revoke(tx, id)? {
                return Err(Refusal::InvitationNotFound.into());
            }
            context.audit(tx, ACTOR, "invite.revoke", "", format!("invitation {id}"))?;
            Ok(AdminResponse::new())
        })
    }

    /// Makes a new key for tokens. Tokens under the old one stay good for a while, or are void at once.
    fn rotate_token_key(&self, now: bool) -> Result<AdminResponse, Error> {
        let TokenKey { path, guard, grace, rotating } = &self.token_key;
        if *guard == KeyGuard::Place {
            return Err(Refusal::KeyHandedIn.into());
        }
        let _alone = lock(rotating);
        let context = self.context(None);
        // There is room for one old key: holders of tokens under it would have to log in.
        if let Some(since) = keys::changed_at(&keys::path_of_old(path))
            && !now
            && context.now < since + *grace
        {
            return Err(Refusal::RotatedLately((since + *grace).since(context.now)).into());
        }
        let key = keys::rotate(path).map_err(|error| Error::Storage(error.to_string()))?;
        let grace = if now {
            // Not even after a restart.
            fs::remove_file(keys::path_of_old(path)).map_err(|error| Error::Storage(error.to_string()))?;
            Duration::ZERO
        } else {
            *grace
        };
        self.tokens.rotate(&key, context.now + grace);
        let detail = format!("the new key has the id {}", keys::key_id(&key));
        self.settle(move |tx| Ok(context.audit(tx, ACTOR, "token-key.rotate", "", detail)?))?;
        let hours = u32::try_from(grace.as_secs() / 3600).unwrap_or(u32::MAX);
        Ok(AdminResponse { old_key_hours: hours, ..Default::default() })
    }
}

/// Ends every session of an account, and deletes its pending factors.
fn shut_out(tx: &Tx<'_>, user_id: UserId) -> Result<usize, DbError> {
    let ended = rows::end(tx, End::All(user_id))?;
    factors::delete_pending(tx, user_id)?;
    Ok(ended)
}

/// A new enrolment code in place of whatever codes the account has.
fn new_enrolment_code(tx: &Tx<'_>, context: &AuditContext, user_id: UserId) -> Result<SecretText, TxEnd> {
    let code = OneTimeCode::random()?;
    let hash = context.keys.codes.hash(&code, CodePurpose::Enrolment { user_id });
    codes::replace_enrolment(tx, user_id, &hash, context.now + context.limits.enrolment_code)?;
    Ok(code.shown())
}

fn ended_sessions(ended: usize) -> AdminResponse {
    AdminResponse { ended_sessions: u32::try_from(ended).unwrap_or(u32::MAX), ..Default::default() }
}

fn invitation(invitation: codes::Invitation) -> Invitation {
    Invitation {
        id: invitation.id,
        note: invitation.note,
        created_at: some(Some(invitation.created_at)),
        expires_at: some(Some(invitation.expires_at)),
        ..Default::default()
    }
}

fn some(time: Option<Time>) -> MessageField<Timestamp> {
    time.map(timestamp).into()
}
