//! The sweep: ends and deletes what has expired, in small steps.

use super::refusal::Error;
use super::system::App;
use crate::model::ids::RoomId;
use crate::store::{codes, deleted_authors, messages, sessions, users};

/// How many messages are purged in one go. Where more than that arrive for long, the purge catches up afterwards.
const PURGE_STEP: u32 = 2_000;

/// How many messages are looked at in one go for a deleted account.
const DELETED_AUTHOR_STEP: u32 = 2_000;

impl App {
    /// Ends sessions and codes that have expired and accounts that were never enrolled, and takes the next step of purging
    /// messages and of renaming or deleting those of deleted accounts. Call it every second or so.
    ///
    /// # Errors
    /// The store's.
    pub fn sweep(&self) -> Result<(), Error> {
        let now = self.clock.now();
        let too_old = now - self.limits.unenrolled_account;
        // Streams end in time also when the database cannot be read.
        self.sessions.expire(now);
        self.throttles.sweep();
        let retention = self.limits.retention;
        let (expired, deleted, old) = self.store.read(|tx| {
            let expired = sessions::any_expired(tx, now)?
                || codes::any_expired(tx, now)?
                || users::any_unenrolled_before(tx, too_old)?;
            Ok((expired, deleted_authors::any(tx)?, messages::any_to_purge(tx, RoomId::COMMON, retention, now)?))
        })?;
        if expired {
            self.store.write(move |tx| {
                sessions::end(tx, sessions::End::Expired(now))?;
                codes::delete_expired(tx, now)?;
                let gone = users::delete_unenrolled_before(tx, too_old)?;
                if gone > 0 {
                    log::info!("deleted {gone} accounts that were not enrolled in time");
                }
                Ok::<_, Error>(())
            })?;
        }
        if deleted {
            let keep = self.limits.keep_messages_of_deleted;
            self.store.write(move |tx| Ok::<_, Error>(deleted_authors::step(tx, DELETED_AUTHOR_STEP, keep)?))?;
        }
        if old {
            self.store
                .write(move |tx| Ok::<_, Error>(messages::purge(tx, RoomId::COMMON, retention, now, PURGE_STEP)?))?;
        }
        Ok(())
    }
}
