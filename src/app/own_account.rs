//! A person's own account: its sessions, password and recovery codes, and its deletion.

use std::net::IpAddr;

use super::credential::Credential;
use super::reauth::Proof;
use super::refusal::{Error, Refusal};
use super::system::App;
use crate::model::ids::{SessionId, UserId};
use crate::security::passwords::NewPassword;
use crate::security::secret::SecretText;
use crate::store::sessions::{self as rows, End, Session};
use crate::store::users;

/// Which sessions to end.
#[derive(Debug)]
pub enum SessionsToEnd {
    /// The one with this handle ([`SessionId::handle`]).
    One(String),
    /// All but the caller's.
    Others(Proof),
    /// The caller's as well.
    All(Proof),
}

impl App {
    /// The live sessions of the caller's account, oldest first, and the caller's own.
    ///
    /// # Errors
    /// No complete session.
    pub fn own_sessions(&self, by: &Credential) -> Result<(Vec<Session>, SessionId), Error> {
        let now = self.clock.now();
        let caller = self.sessions.caller(by, &self.tokens, now)?;
        let sessions = self.store.read(|tx| rows::live_of(tx, caller.person().id, now))?;
        Ok((sessions, caller.session()))
    }

    /// Ends sessions of the caller's account, with their streams. Returns how many.
    ///
    /// # Errors
    /// No complete session, no such session, or, for more than one, a wrong password or code.
    pub fn end_own_sessions(
        &self,
        by: &Credential,
        which: SessionsToEnd,
        address: Option<IpAddr>,
    ) -> Result<usize, Error> {
        let context = self.context(address);
        let ended = match which {
            SessionsToEnd::One(handle) => {
                let caller = self.sessions.caller(by, &self.tokens, context.now)?;
                self.settle(move |tx| {
                    let person = caller.person();
                    let found = rows::live_of(tx, person.id, context.now)?;
                    let session = found.iter().find(|s| s.id.handle() == handle).ok_or(Refusal::SessionNotFound)?;
                    context.audit(tx, &person.login, "session.ended", &person.login, format!("session {handle}"))?;
                    Ok(rows::end(tx, End::One(session.id))?)
                })?
            }
            SessionsToEnd::Others(proof) => {
                self.end_many(by, &proof, |caller, user| End::Others(user, caller), "others")?
            }
            SessionsToEnd::All(proof) => self.end_many(by, &proof, |_, user| End::All(user), "all")?,
        };
        Ok(ended)
    }

    fn end_many(
        &self,
        by: &Credential,
        proof: &Proof,
        which: fn(SessionId, UserId) -> End,
        detail: &'static str,
    ) -> Result<usize, Error> {
        let (context, reauth) = (self.context(proof.address), self.reauthenticate(by, proof)?);
        self.settle(move |tx| {
            let user = reauth.prove(tx, &context)?;
            let ended =
                rows::end(tx, which(reauth.caller.session(), user.id))? + context.drop_pending_logins(tx, user.id)?;
            context.audit(tx, &user.login, "session.ended", &user.login, detail.to_owned())?;
            Ok(ended)
        })
    }

    /// Replaces the password. Ends the account's other sessions and its pending enrolments. Returns how many sessions.
    ///
    /// # Errors
    /// A wrong old password or code, or a new password that breaks a rule.
    pub fn change_password(&self, by: &Credential, proof: &Proof, new: SecretText) -> Result<usize, Error> {
        // Rules first: they cost nothing, and a code that was used for nothing costs half a minute.
        let login = self.sessions.caller(by, &self.tokens, self.clock.now())?.person().login.clone();
        let new = NewPassword::check(new, &login).map_err(Refusal::NewPassword)?;
        let (context, reauth) = (self.context(proof.address), self.reauthenticate(by, proof)?);
        let hash = self.passwords.hash(&new)?;
        self.settle(move |tx| {
            let user = reauth.prove(tx, &context)?;
            users::set_hash(tx, user.id, &hash)?;
            let others = rows::end(tx, End::Others(user.id, reauth.caller.session()))?;
            let ended = others + context.drop_pending_logins(tx, user.id)?;
            context.audit(tx, &user.login, "password.changed", &user.login, String::new())?;
            Ok(ended)
        })
    }

    /// Makes new recovery codes; the old ones are void. They are shown this once.
    ///
    /// # Errors
    /// A wrong password or code.
    pub fn renew_recovery_codes(&self, by: &Credential, proof: &Proof) -> Result<Vec<SecretText>, Error> {
        let (context, reauth) = (self.context(proof.address), self.reauthenticate(by, proof)?);
        self.settle(move |tx| {
            let user = reauth.prove(tx, &context)?;
            context.drop_pending_logins(tx, user.id)?;
            context.audit(tx, &user.login, "recovery.renewed", &user.login, String::new())?;
            Ok(context.new_recovery_codes(tx, user.id)?)
        })
    }

    /// Deletes the caller's account for good. Its login is never given out again.
    ///
    /// # Errors
    /// A wrong password or code.
    pub fn delete_own_account(&self, by: &Credential, proof: &Proof) -> Result<(), Error> {
        let (context, reauth) = (self.context(proof.address), self.reauthenticate(by, proof)?);
        self.settle(move |tx| {
            let user = reauth.prove(tx, &context)?;
            users::delete(tx, user.id)?;
            context.audit(tx, &user.login, "account.deleted", &user.login, String::new())?;
            Ok(())
        })
    }
}
