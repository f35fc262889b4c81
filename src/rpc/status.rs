//! What a refused caller gets, and what the log says of it.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use grpcio::{RpcStatus, RpcStatusCode as Code};
use protobuf::Message as _;
use protobuf::well_known_types::any::Any;

use crate::NAME;
use crate::app::refusal::{Error, sentence};
use crate::base::clock::{Clock, Time};
use crate::base::escape::one_line;
use crate::model::reason::{CallStatus, Reason};
use crate::proto::details;

/// The `domain` of every `ErrorInfo` of ours.
pub const DOMAIN: &str = NAME;

/// The longest account name that is logged, in characters: no account has a longer one.
const MAX_ACCOUNT_CHARS: usize = 64;

/// A call, for the log.
#[derive(Clone, Debug)]
pub struct CallContext {
    /// The method's path.
    pub method: &'static str,
    /// The caller's address, where that is known.
    pub address: Option<IpAddr>,
    /// The account that the call is about, as the caller wrote it, or as the token proves.
    pub account: Option<String>,
    /// Tells when it was refused.
    pub clock: Clock,
}

/// A failure as the caller gets it. Its text names nothing of the server's inside.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The reason.
    pub reason: Reason,
    /// The sentence for people.
    pub message: String,
    /// When, by the server's clock.
    pub at: Time,
    field: Option<&'static str>,
    retry_after: Option<Duration>,
}

/// A number by which the administrator finds a user's failure in the log.
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

fn code(status: CallStatus) -> Code {
    match status {
        CallStatus::Unauthenticated => Code::UNAUTHENTICATED,
        CallStatus::PermissionDenied => Code::PERMISSION_DENIED,
        CallStatus::InvalidArgument => Code::INVALID_ARGUMENT,
        CallStatus::NotFound => Code::NOT_FOUND,
        CallStatus::AlreadyExists => Code::ALREADY_EXISTS,
        CallStatus::FailedPrecondition => Code::FAILED_PRECONDITION,
        CallStatus::ResourceExhausted => Code::RESOURCE_EXHAUSTED,
        CallStatus::Unavailable => Code::UNAVAILABLE,
        CallStatus::Internal => Code::INTERNAL,
    }
}

impl Failure {
    /// Turns an error into what its caller gets, and logs it in one line: address, reason, method and account, in this order
    /// and with the account quoted, so that no text of a stranger can pass for another field (`fail2ban/`). The cause of a
    /// fault goes to the log only, under the incident id that the caller gets.
    pub fn from_error(error: &Error, call: &CallContext) -> Failure {
        let (reason, message, field, cause) = match error {
            Error::Refused(refusal) => (refusal.reason(), refusal.to_string(), refusal.field(), None),
            Error::Storage(cause) => incident(Reason::StorageFailed, "the server could not store this", cause),
            Error::Fault(cause) => incident(Reason::Internal, "something went wrong on the server", cause),
        };
        let retry_after = match error {
            Error::Refused(refusal) => refusal.retry_after(),
            Error::Storage(_) => Some(Duration::from_secs(1)),
            Error::Fault(_) => None,
        };
        let at = call.clock.now();
        let failure = Failure { reason, message, at, field, retry_after };
        log::log!(target: "refused", reason.level(), "{}", failure.line(call, cause.as_deref()));
        failure
    }

    /// The line of the log.
    fn line(&self, call: &CallContext, cause: Option<&str>) -> String {
        let address = call.address.map_or_else(|| "-".to_owned(), |address| address.to_string());
        let account: String = call.account.as_deref().unwrap_or("-").chars().take(MAX_ACCOUNT_CHARS).collect();
        let account = one_line(&account).replace('"', "\\u{22}");
        let mut line =
            format!("refused address={address} reason={} method={} account=\"{account}\"", self.reason, call.method);
        if matches!(self.reason, Reason::InvalidCode | Reason::InvalidCredentials) {
            // Shows the administrator a code that failed because of a wrong clock.
            let at = jiff::Timestamp::from_microsecond(self.at.as_micros()).unwrap_or_default();
            line.push_str(&format!(" server_time={}", at.strftime("%Y-%m-%dT%H:%M:%SZ")));
        }
        if let Some(cause) = cause {
            line.push(' ');
            line.push_str(cause);
        }
        line
    }

    /// How long to wait before the next try, in whole seconds, rounded up; 0 if that is not known.
    pub fn retry_after_seconds(&self) -> u32 {
        let wait = self.retry_after.unwrap_or_default();
        u32::try_from(wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).unwrap_or(u32::MAX)
    }

    /// The status of a failed call, with `google.rpc.Status` details.
    pub fn status(&self) -> RpcStatus {
        let code = code(self.reason.status());
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
        if self.retry_after.is_some() {
            let mut delay = protobuf::well_known_types::duration::Duration::new();
            delay.seconds = self.retry_after_seconds().into();
            let mut retry = details::RetryInfo::new();
            retry.retry_delay = Some(delay).into();
            status.details.extend(Any::pack(&retry));
        }
        // Encoding never fails for these messages; a status without details would still say what matters.
        let details = status.write_to_bytes().unwrap_or_default();
        RpcStatus::with_details(code, self.message.clone(), details)
    }
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

    fn call(account: Option<&str>) -> CallContext {
        CallContext {
            method: "/Auth/Login",
            address: Some(IpAddr::from([192, 0, 2, 7])),
            account: account.map(str::to_owned),
            clock: Clock::manual(Time::from_secs(1_700_000_000)),
        }
    }

    #[test]
    fn a_line_of_the_log_has_address_reason_method_and_account_and_no_text_of_a_caller_can_forge_one() {
        let line =
            |refusal: Refusal, account| Failure::from_error(&refusal.into(), &call(account)).line(&call(account), None);
        assert_eq!(
            line(Refusal::Credentials, Some("user1")),
            "refused address=192.0.2.7 reason=INVALID_CREDENTIALS method=/Auth/Login account=\"user1\" server_time=2023-11-14T22:13:20Z"
        );
        assert_eq!(
            line(Refusal::Code, None),
            "refused address=192.0.2.7 reason=INVALID_CODE method=/Auth/Login account=\"-\" server_time=2023-11-14T22:13:20Z"
        );
        let forged = "x\" address=10.0.0.1 reason=INVALID_CREDENTIALS\nrefused address=10.0.0.2";
        let line = line(Refusal::Credentials, Some(forged));
        assert!(line.starts_with("refused address=192.0.2.7 reason=") && line.lines().count() == 1, "{line}");
        assert_eq!(line.matches('"').count(), 2, "{line}");
        assert!(line.len() < 512);
    }

    #[test]
    fn a_failed_call_carries_reason_field_and_delay() {
        let text = Refusal::Text(crate::model::text::TextError::Empty);
        let status = Failure::from_error(&text.into(), &call(None)).status();
        assert_eq!(status.code(), Code::INVALID_ARGUMENT);
        let parsed = details::Status::parse_from_bytes(status.details()).unwrap();
        let info: details::ErrorInfo = parsed.details[0].unpack().unwrap().unwrap();
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("TEXT_INVALID", DOMAIN));
        let bad: details::BadRequest = parsed.details[1].unpack().unwrap().unwrap();
        assert_eq!(bad.field_violations[0].field, "text");

        let status = Failure::from_error(&Refusal::Overloaded.into(), &call(None)).status();
        let parsed = details::Status::parse_from_bytes(status.details()).unwrap();
        let retry: details::RetryInfo = parsed.details[1].unpack().unwrap().unwrap();
        assert_eq!(retry.retry_delay.seconds, 1);

        let status =
            Failure::from_error(&Refusal::Throttled(Duration::from_millis(4_001)).into(), &call(None)).status();
        assert_eq!(status.code(), Code::RESOURCE_EXHAUSTED);
        let parsed = details::Status::parse_from_bytes(status.details()).unwrap();
        let retry: details::RetryInfo = parsed.details[1].unpack().unwrap().unwrap();
        assert_eq!(retry.retry_delay.seconds, 5, "rounded up");
    }

    #[test]
    fn the_cause_of_a_fault_stays_on_the_server() {
        let failure = Failure::from_error(&Error::Fault("no such table: secret_things".into()), &call(None));
        assert_eq!(failure.status().code(), Code::INTERNAL);
        assert!(failure.message.contains("incident id"));
        assert!(!format!("{:?}", failure.status()).contains("secret_things"));
    }
}
