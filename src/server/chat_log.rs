//! Chat lines in the log.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::base::escape::one_line;
use crate::base::logging::CHAT_TARGET;
use crate::base::writing::text_line;
use crate::model::event::Event;

/// Logs a message as `[18:30:15] user1: text`, in local time.
pub(super) fn log_line(message: &Event) {
    let at = Timestamp::from_microsecond(message.at.as_micros()).unwrap_or_default();
    let local = at.to_zoned(TimeZone::system()).strftime("%H:%M:%S").to_string();
    log::info!(target: CHAT_TARGET, "[{local}] {}: {}", one_line(&message.author), text_line(&message.text));
}
