//! Why a call failed.

use std::time::Duration;

use grpcio::RpcStatusCode;
use protobuf::Message as _;

use crate::client::tls::fault::TlsFault;
use crate::model::reason::Reason;
use crate::proto::details;

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// There is no connection; the client sent nothing.
    #[error("the server cannot be reached")]
    Unreachable,
    /// There is no connection because TLS failed; the client sent nothing.
    #[error("{0}")]
    Tls(TlsFault),
    /// The connection broke or the deadline passed before an answer came. The server may have done the call or not.
    #[error("no answer came")]
    NoAnswer,
    /// The server does not know this call: it is older than this client.
    #[error("the server does not know this call")]
    TooOld,
    /// The server refused.
    #[error("{0}")]
    Refused(ServerRefusal),
}

impl CallError {
    /// How long the server asks to wait before the next try, if it says so.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            CallError::Refused(refusal) => refusal.retry_after,
            CallError::Unreachable | CallError::Tls(_) | CallError::NoAnswer | CallError::TooOld => None,
        }
    }
}

/// A refusal by the server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", if sentence.is_empty() { word } else { sentence })]
pub struct ServerRefusal {
    /// The reason, if this client knows the word.
    pub reason: Option<Reason>,
    /// The word as it came; empty if there was none.
    pub word: String,
    /// The server's own sentence, as it came. Escape it before showing it.
    pub sentence: String,
    /// Whether the session is over, so that only a new login helps.
    pub ends_session: bool,
    /// How long to wait before the next try, if the server says so.
    pub retry_after: Option<Duration>,
}

impl ServerRefusal {
    /// A refusal that came in a response.
    pub fn in_response(word: &str, sentence: &str) -> ServerRefusal {
        let reason = Reason::from_word(word);
        let ends_session = reason.is_some_and(Reason::ends_session);
        ServerRefusal { reason, word: word.to_owned(), sentence: sentence.to_owned(), ends_session, retry_after: None }
    }

    /// Adds the number of seconds to wait; 0 means that the server did not say.
    pub fn after(self, seconds: u32) -> ServerRefusal {
        let retry_after = (seconds > 0).then(|| Duration::from_secs(seconds.into()));
        ServerRefusal { retry_after, ..self }
    }

    fn in_status(code: RpcStatusCode, message: &str, details: StatusDetails) -> ServerRefusal {
        let word = details.info.map(|info| info.reason).unwrap_or_default();
        let reason = Reason::from_word(&word);
        ServerRefusal {
            reason,
            sentence: if message.is_empty() && word.is_empty() { code.to_string() } else { message.to_owned() },
            word,
            // The reason decides: a wrong password or code is UNAUTHENTICATED too, and the session survives it.
            ends_session: reason.map_or(code == RpcStatusCode::UNAUTHENTICATED, Reason::ends_session),
            retry_after: details.retry_after,
        }
    }
}

impl From<grpcio::Error> for CallError {
    fn from(error: grpcio::Error) -> CallError {
        match error {
            grpcio::Error::RpcFailure(status) | grpcio::Error::RpcFinished(Some(status)) => from_status(&status),
            grpcio::Error::Codec(_) => CallError::Refused(ServerRefusal::in_response("", "the answer cannot be read")),
            grpcio::Error::InvalidMetadata(_) => {
                CallError::Refused(ServerRefusal::in_response(Reason::TokenInvalid.word(), ""))
            }
            _ => CallError::NoAnswer,
        }
    }
}

fn from_status(status: &grpcio::RpcStatus) -> CallError {
    let details = StatusDetails::read(status.details());
    match status.code() {
        // A status that the server itself made has details; without them it comes from the transport.
        RpcStatusCode::UNAVAILABLE | RpcStatusCode::CANCELLED if details.info.is_none() => CallError::NoAnswer,
        RpcStatusCode::DEADLINE_EXCEEDED => CallError::NoAnswer,
        RpcStatusCode::UNIMPLEMENTED if details.info.is_none() => CallError::TooOld,
        code => CallError::Refused(ServerRefusal::in_status(code, status.message(), details)),
    }
}

/// The details of a status; empty if there are none or none that can be read.
#[derive(Default)]
struct StatusDetails {
    info: Option<details::ErrorInfo>,
    retry_after: Option<Duration>,
}

impl StatusDetails {
    fn read(details: &[u8]) -> StatusDetails {
        let Ok(status) = details::Status::parse_from_bytes(details) else { return StatusDetails::default() };
        let find = |name: &str| status.details.iter().find(|any| any.type_url.ends_with(name)).map(|any| &any.value);
        let info = find("/google.rpc.ErrorInfo").and_then(|bytes| details::ErrorInfo::parse_from_bytes(bytes).ok());
        let retry = find("/google.rpc.RetryInfo").and_then(|bytes| details::RetryInfo::parse_from_bytes(bytes).ok());
        let retry_after = retry.and_then(|retry| {
            let delay = retry.retry_delay.as_ref()?;
            let (seconds, nanos) = (u64::try_from(delay.seconds).ok()?, u64::try_from(delay.nanos).ok()?);
            Some(Duration::from_secs(seconds).saturating_add(Duration::from_nanos(nanos)))
                .filter(|wait| !wait.is_zero())
        });
        StatusDetails { info, retry_after }
    }
}

#[cfg(test)]
mod tests {
    use grpcio::RpcStatus;
    use protobuf::well_known_types::any::Any;

    use super::*;

    fn packed(name: &str, message: &impl protobuf::Message) -> Any {
        Any {
            type_url: format!("type.googleapis.com/google.rpc.{name}"),
            value: message.write_to_bytes().unwrap(),
            ..Default::default()
        }
    }

    fn details_with(details: Vec<Any>) -> Vec<u8> {
        details::Status { details, ..Default::default() }.write_to_bytes().unwrap()
    }

    fn info(reason: &str) -> Any {
        packed("ErrorInfo", &details::ErrorInfo { reason: reason.to_owned(), ..Default::default() })
    }

    fn delay(seconds: i64, nanos: i32) -> Any {
        let delay = protobuf::well_known_types::duration::Duration { seconds, nanos, ..Default::default() };
        packed("RetryInfo", &details::RetryInfo { retry_delay: Some(delay).into(), ..Default::default() })
    }

    fn details_of(reason: &str) -> Vec<u8> {
        details_with(vec![info(reason)])
    }

    fn failed(code: RpcStatusCode, details: Vec<u8>) -> CallError {
        grpcio::Error::RpcFailure(RpcStatus::with_details(code, "a sentence".to_owned(), details)).into()
    }

    fn refused(code: RpcStatusCode, details: Vec<u8>) -> ServerRefusal {
        match failed(code, details) {
            CallError::Refused(refusal) => refusal,
            other => panic!("{other:?} is no refusal"),
        }
    }

    #[test]
    fn a_refusal_by_the_server_differs_from_a_lost_connection() {
        assert_eq!(failed(RpcStatusCode::UNAVAILABLE, vec![]), CallError::NoAnswer);
        assert_eq!(failed(RpcStatusCode::DEADLINE_EXCEEDED, vec![]), CallError::NoAnswer);
        assert_eq!(failed(RpcStatusCode::UNIMPLEMENTED, vec![]), CallError::TooOld);
        let draining = refused(RpcStatusCode::UNAVAILABLE, details_of("DRAINING"));
        assert_eq!((draining.reason, draining.ends_session), (Some(Reason::Draining), false));
    }

    #[test]
    fn the_reason_decides_whether_the_session_is_over_and_an_unknown_one_leaves_it_to_the_status() {
        for &reason in Reason::ALL {
            let ends = ["TOKEN_MISSING", "TOKEN_INVALID", "SESSION_ENDED", "SECOND_FACTOR_MISSING"];
            let refusal = refused(RpcStatusCode::UNAUTHENTICATED, details_of(reason.word()));
            assert_eq!(refusal.ends_session, ends.contains(&reason.word()), "{reason}");
            assert_eq!(ServerRefusal::in_response(reason.word(), "").ends_session, refusal.ends_session, "{reason}");
        }
        for details in [vec![], details_of("SOMETHING_NEWER"), vec![0xff; 7]] {
            assert!(refused(RpcStatusCode::UNAUTHENTICATED, details.clone()).ends_session);
            assert!(!refused(RpcStatusCode::PERMISSION_DENIED, details).ends_session);
        }
    }

    #[test]
    fn the_time_to_wait_is_read_from_details_and_from_responses() {
        let waits = |delay: Any| {
            let details = details_with(vec![info("THROTTLED"), delay]);
            refused(RpcStatusCode::RESOURCE_EXHAUSTED, details).retry_after
        };
        assert_eq!(waits(delay(90, 500_000_000)), Some(Duration::from_millis(90_500)));
        for nothing in [delay(0, 0), delay(-1, 0), delay(1, -1)] {
            assert_eq!(waits(nothing), None);
        }
        let refusal = ServerRefusal::in_response("THROTTLED", "");
        assert_eq!(refusal.clone().after(0).retry_after, None);
        assert_eq!(refusal.after(7).retry_after, Some(Duration::from_secs(7)));
    }
}
