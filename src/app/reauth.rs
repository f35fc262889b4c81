//! Reauthentication: a complete session proves password and a fresh code again before it changes how to log in.

use std::net::IpAddr;

use super::audit_context::{AuditContext, Guessing, TxEnd};
use super::caller::Caller;
use super::credential::Credential;
use super::refusal::{Error, Refusal};
use super::system::App;
use crate::security::passwords::Verified;
use crate::security::secret::SecretText;
use crate::security::totp::Code;
use crate::store::sessions::{self, Stage};
use crate::store::users::{self, User};
use crate::store::{Tx, factors};

/// Password and a fresh code, as they are given.
#[derive(Debug)]
pub struct Proof {
    /// The password.
    pub password: SecretText,
    /// A code of the active factor that was not used before.
    pub code: SecretText,
    /// Where they come from.
    pub address: Option<IpAddr>,
}

/// A caller whose password was right. The rest is proved inside the transaction.
pub(super) struct Reauth {
    pub(super) caller: Caller,
    user: User,
    code: Option<Code>,
}

impl App {
    /// Proves the caller and verifies the password. Hashes: not for poll threads.
    pub(super) fn reauthenticate(&self, by: &Credential, proof: &Proof) -> Result<Reauth, Error> {
        let caller = self.sessions.caller(by, &self.tokens, self.clock.now())?;
        let attempt = self.throttles.password(&caller.person().key, proof.address)?;
        let user = self.store.read(|tx| users::by_id(tx, caller.person().id))?;
        let verified = self.passwords.verify(&proof.password, user.as_ref().map(|u| &u.password_hash))?;
        let (Some(user), Verified::Yes | Verified::YesButOld) = (user, verified) else {
            return Err(Refusal::Credentials.into());
        };
        attempt.was_right();
        Ok(Reauth { caller, user, code: Code::parse(proof.code.expose()) })
    }
}

impl Reauth {
    /// Uses the code up, if the session is still complete and the account as it was when the password was verified. Returns
    /// the account.
    pub(super) fn prove(&self, tx: &Tx<'_>, context: &AuditContext) -> Result<User, TxEnd> {
        let session = sessions::live(tx, self.caller.session(), context.now)?.ok_or(Refusal::SessionEnded)?;
        if session.stage != Stage::Complete {
            return Err(Refusal::SecondFactorMissing.into());
        }
        let user = users::by_id(tx, self.user.id)?.ok_or(Refusal::SessionEnded)?;
        if user.password_hash != self.user.password_hash {
            return Err(Refusal::Credentials.into());
        }
        let active = factors::active(tx, user.id)?.ok_or(Refusal::Credentials)?;
        context.use_code(tx, user.id, &active, self.code.as_ref(), Guessing::Counts)?;
        Ok(user)
    }
}
