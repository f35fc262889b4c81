//! One table: what went wrong -> status code, reason, log level; and the form it takes on the wire.

use std::fmt;

use grpcio::{RpcStatus, RpcStatusCode as Code};
use log::Level;
use protobuf::Message as _;
use protobuf::well_known_types::any::Any;

use crate::app::refusal::Error;
use crate::proto::details;
use crate::reason::Reason;

/// The `domain` of every `ErrorInfo` of ours.
pub const DOMAIN: &str = "grpc-otp-chat";

/// How long a client should wait after [`Reason::Overloaded`] and the like, in seconds.
const TRY_AGAIN_SECONDS: i64 = 1;

/// A failure as the caller gets it. The text names nothing of the server's inside.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The word for it.
    pub reason: Reason,
    /// The sentence for it.
    pub message: String,
    field: Option<&'static str>,
}

/// A number by which the administrator finds in the log what a user saw.
#[derive(Clone, Copy, Debug)]
struct Incident(u32);

impl Incident {
    fn new() -> Incident {
        // Without randomness every incident has the number 0; better than none.
        Incident(getrandom::u32().unwrap_or(0))
    }
}

impl fmt::Display for Incident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// The table.
fn rule(reason: Reason) -> (Code, Level) {
    match reason {
        Reason::TokenMissing | Reason::TokenInvalid | Reason::SessionEnded | Reason::SecondFactorMissing => {
            (Code::UNAUTHENTICATED, Level::Info)
        }
        Reason::InvalidCredentials | Reason::InvalidCode | Reason::CodeAlreadyUsed => {
            (Code::UNAUTHENTICATED, Level::Warn)
        }
        Reason::AuthorMismatch | Reason::EnrolmentRefused => (Code::PERMISSION_DENIED, Level::Warn),
        Reason::LoginInvalid | Reason::WeakPassword | Reason::TextInvalid => (Code::INVALID_ARGUMENT, Level::Info),
        Reason::LoginTaken => (Code::ALREADY_EXISTS, Level::Info),
        Reason::EnrolmentCodeRequired | Reason::EnrolmentNotStarted | Reason::EnrolmentOvertaken => {
            (Code::FAILED_PRECONDITION, Level::Info)
        }
        Reason::TooManyStreams => (Code::RESOURCE_EXHAUSTED, Level::Warn),
        Reason::StreamStalled => (Code::RESOURCE_EXHAUSTED, Level::Info),
        Reason::Overloaded => (Code::UNAVAILABLE, Level::Warn),
        Reason::Draining => (Code::UNAVAILABLE, Level::Info),
        Reason::StorageFailed => (Code::UNAVAILABLE, Level::Error),
        Reason::Internal => (Code::INTERNAL, Level::Error),
    }
}

impl Failure {
    /// Turns an error into what its caller gets, and logs it: one line, with `method`, `peer` and the reason. The cause of a
    /// fault goes to the log only, under the incident id that the caller gets.
    pub fn of(error: &Error, method: &str, peer: &str) -> Failure {
        let (reason, message, field, cause) = match error {
            Error::Refused(refusal) => (refusal.reason(), sentence(&refusal.to_string()), refusal.field(), None),
            Error::Storage(cause) => incident(Reason::StorageFailed, "the server could not store this", cause),
            Error::Fault(cause) => incident(Reason::Internal, "something went wrong on the server", cause),
        };
        let cause = cause.map_or_else(String::new, |cause| format!(" {cause}"));
        log::log!(target: "refused", rule(reason).1, "{method} peer={peer} reason={reason}{cause}");
        Failure { reason, message, field }
    }

    /// The status of a failed call, with `google.rpc.Status` details.
    pub fn status(&self) -> RpcStatus {
        let code = rule(self.reason).0;
        let mut status = details::Status::new();
        status.code = code.into();
        status.message.clone_from(&self.message);
        let mut info = details::ErrorInfo::new();
        info.reason = self.reason.to_string();
        info.domain = DOMAIN.to_owned();
        status.details.extend(Any::pack(&info));
        if code == Code::INVALID_ARGUMENT
            && let Some(field) = self.field
        {
            let mut violation = details::bad_request::FieldViolation::new();
            field.clone_into(&mut violation.field);
            violation.description.clone_from(&self.message);
            let mut bad = details::BadRequest::new();
            bad.field_violations.push(violation);
            status.details.extend(Any::pack(&bad));
        }
        if code == Code::UNAVAILABLE {
            let mut delay = protobuf::well_known_types::duration::Duration::new();
            delay.seconds = TRY_AGAIN_SECONDS;
            let mut retry = details::RetryInfo::new();
            retry.retry_delay = Some(delay).into();
            status.details.extend(Any::pack(&retry));
        }
        // Encoding fails for no message of ours; a status without details would still say what matters.
        let details = status.write_to_bytes().unwrap_or_default();
        RpcStatus::with_details(code, self.message.clone(), details)
    }
}

/// What a person reads begins with a capital letter and ends with a full stop.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| format!("{}{}.", first.to_uppercase(), letters.as_str()))
}

fn incident(reason: Reason, what: &str, cause: &str) -> (Reason, String, Option<&'static str>, Option<String>) {
    let incident = Incident::new();
    let message = sentence(&format!("{what}: tell the administrator the incident id {incident}"));
    (reason, message, None, Some(format!("incident={incident} cause={cause:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::refusal::Refusal;

    #[test]
    fn a_failed_call_carries_reason_field_and_delay() {
        let text = Refusal::Text(crate::app::messages::TextError::Empty);
        let status = Failure::of(&text.into(), "Test", "ipv4:127.0.0.1:1").status();
        assert_eq!(status.code(), Code::INVALID_ARGUMENT);
        let parsed = details::Status::parse_from_bytes(status.details()).unwrap();
        let info: details::ErrorInfo = parsed.details[0].unpack().unwrap().unwrap();
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("TEXT_INVALID", DOMAIN));
        let bad: details::BadRequest = parsed.details[1].unpack().unwrap().unwrap();
        assert_eq!(bad.field_violations[0].field, "text");

        let status = Failure::of(&Refusal::Overloaded.into(), "Test", "x").status();
        let parsed = details::Status::parse_from_bytes(status.details()).unwrap();
        let retry: details::RetryInfo = parsed.details[1].unpack().unwrap().unwrap();
        assert_eq!(retry.retry_delay.seconds, TRY_AGAIN_SECONDS);
    }

    #[test]
    fn the_cause_of_a_fault_stays_on_the_server() {
        let failure = Failure::of(&Error::Fault("no such table: secret_things".into()), "Test", "x");
        assert_eq!(failure.status().code(), Code::INTERNAL);
        assert!(failure.message.contains("incident id"));
        assert!(!format!("{:?}", failure.status()).contains("secret_things"));
    }
}
