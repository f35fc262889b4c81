//! What a right code does, within one transaction.

use super::AppLimits;
use super::refusal::{Error, Refusal};
use crate::clock::Time;
use crate::security::totp::{self, Code, Verdict};
use crate::security::vault::Vault;
use crate::store::factors::{self, Factor};
use crate::store::sessions::{self, End, Session, SessionId, State};
use crate::store::{Tx, users};

/// Uses a code up. Of any number of callers with the same code, one gets through.
pub(super) fn use_code(
    tx: &Tx<'_>,
    vault: &Vault,
    user_id: i64,
    factor: &Factor,
    code: Option<&Code>,
    now: Time,
) -> Result<(), Error> {
    let code = code.ok_or(Refusal::Code)?;
    let secret = vault.open(user_id, &factor.sealed)?;
    match totp::check(&secret, code, now, factor.last_step) {
        Verdict::Fresh(step) if factors::use_step(tx, user_id, factor.id, step)? => Ok(()),
        Verdict::Fresh(_) | Verdict::AlreadyUsed => Err(Refusal::CodeUsed.into()),
        Verdict::Wrong => Err(Refusal::Code.into()),
    }
}

/// Completes a session on a factor. Adds to `ended` what had to give way.
pub(super) fn complete(
    tx: &Tx<'_>,
    limits: &AppLimits,
    session: &mut Session,
    factor_id: i64,
    now: Time,
    ended: &mut Vec<SessionId>,
) -> Result<(), Error> {
    if session.state != State::Complete {
        session.expires_at = now + limits.complete_session;
    }
    session.state = State::Complete;
    session.base_factor = Some(factor_id);
    session.connection = None;
    sessions::complete(tx, session.id, factor_id, session.expires_at)?;
    let (user_id, keep) = (session.user_id, limits.complete_sessions_per_user);
    ended.extend(sessions::end(tx, End::Oldest { user_id, in_hand: session.id, complete: true, keep })?);
    Ok(())
}

/// Confirms a pending factor by its first code: it becomes the active one, by compare-and-swap on the factor that was there
/// when the session opened; every other session and pending factor of the account goes.
pub(super) fn confirm(
    tx: &Tx<'_>,
    vault: &Vault,
    session: &Session,
    pending: &Factor,
    code: Option<&Code>,
    now: Time,
) -> Result<Vec<SessionId>, Error> {
    let user_id = session.user_id;
    if factors::active(tx, user_id)?.map(|factor| factor.id) != session.base_factor {
        return Err(Refusal::EnrolmentOvertaken.into());
    }
    use_code(tx, vault, user_id, pending, code, now)?;
    factors::activate(tx, user_id, pending.id)?;
    users::set_enrolled(tx, user_id, now)?;
    Ok(sessions::end(tx, End::Others(user_id, session.id))?)
}
