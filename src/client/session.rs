//! The session that a login gave us.

use std::time::Duration;

use crate::base::clock::Time;
use crate::proto::Timestamp;
use crate::security::secret::SecretText;

/// A session that has passed its second factor.
#[derive(Clone, Debug)]
pub struct ClientSession {
    /// The login of its account.
    pub login: String,
    /// Names the session to the server.
    pub token: SecretText,
    /// When it ends, by the server's clock; `None` if the server did not say.
    pub expires_at: Option<Time>,
}

/// The time that a protocol timestamp names.
pub fn time_of(timestamp: &Timestamp) -> Time {
    Time::from_secs(timestamp.seconds) + Duration::from_nanos(u64::try_from(timestamp.nanos).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wild_timestamps_do_no_harm() {
        for (seconds, nanos) in [(i64::MAX, i32::MAX), (i64::MIN, i32::MIN), (0, -1)] {
            time_of(&Timestamp { seconds, nanos, ..Default::default() });
        }
    }
}
