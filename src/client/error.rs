//! Why a call failed, for the person who made it.

use grpcio::RpcStatusCode;
use protobuf::Message as _;

use crate::client::tls::Fault;
use crate::proto::details;
use crate::reason::Reason;

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// There is no connection; nothing was sent.
    #[error("the server cannot be reached")]
    Unreachable,
    /// There is no connection, and TLS is why; nothing was sent.
    #[error("{0}")]
    Tls(Fault),
    /// The connection went, or the time was over, before an answer came: it may have been done or not.
    #[error("no answer came")]
    NoAnswer,
    /// The server refused.
    #[error("{0}")]
    Refused(Refusal),
}

/// A refusal by the server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", if sentence.is_empty() { word } else { sentence })]
pub struct Refusal {
    /// Why, if this client knows the word.
    pub reason: Option<Reason>,
    /// The word as it came; empty if none did.
    pub word: String,
    /// The server's own sentence, as it came: not to be shown without escaping.
    pub sentence: String,
    /// Whether the session is of no more use: only logging in again helps.
    pub ends_session: bool,
}

impl Refusal {
    /// A refusal that came in a response.
    pub fn in_response(word: &str, sentence: &str) -> Refusal {
        let reason = Reason::from_word(word);
        let ends_session = matches!(reason, Some(Reason::TokenMissing | Reason::TokenInvalid | Reason::SessionEnded));
        Refusal { reason, word: word.to_owned(), sentence: sentence.to_owned(), ends_session }
    }

    fn in_status(code: RpcStatusCode, message: &str, info: Option<details::ErrorInfo>) -> Refusal {
        let word = info.map(|info| info.reason).unwrap_or_default();
        Refusal {
            reason: Reason::from_word(&word),
            sentence: if message.is_empty() && word.is_empty() { code.to_string() } else { message.to_owned() },
            word,
            ends_session: code == RpcStatusCode::UNAUTHENTICATED,
        }
    }
}

impl From<grpcio::Error> for CallError {
    fn from(error: grpcio::Error) -> CallError {
        match error {
            grpcio::Error::RpcFailure(status) | grpcio::Error::RpcFinished(Some(status)) => from_status(&status),
            grpcio::Error::Codec(_) => CallError::Refused(Refusal::in_response("", "the answer cannot be read")),
            grpcio::Error::InvalidMetadata(_) => {
                CallError::Refused(Refusal::in_response(Reason::TokenInvalid.word(), ""))
            }
            _ => CallError::NoAnswer,
        }
    }
}

fn from_status(status: &grpcio::RpcStatus) -> CallError {
    let info = error_info(status.details());
    match status.code() {
        // What the server itself says carries details; without them the connection speaks.
        RpcStatusCode::UNAVAILABLE | RpcStatusCode::CANCELLED if info.is_none() => CallError::NoAnswer,
        RpcStatusCode::DEADLINE_EXCEEDED => CallError::NoAnswer,
        code => CallError::Refused(Refusal::in_status(code, status.message(), info)),
    }
}

/// The `ErrorInfo` among the details of a status; `None` where there is none, or none that can be read.
fn error_info(details: &[u8]) -> Option<details::ErrorInfo> {
    let status = details::Status::parse_from_bytes(details).ok()?;
    let info = status.details.iter().find(|any| any.type_url.ends_with("/google.rpc.ErrorInfo"))?;
    details::ErrorInfo::parse_from_bytes(&info.value).ok()
}

#[cfg(test)]
mod tests {
    use grpcio::RpcStatus;
    use protobuf::well_known_types::any::Any;

    use super::*;

    fn details_of(reason: &str) -> Vec<u8> {
        let info = details::ErrorInfo { reason: reason.to_owned(), ..Default::default() };
        let any = Any {
            type_url: "type.googleapis.com/google.rpc.ErrorInfo".to_owned(),
            value: info.write_to_bytes().unwrap(),
            ..Default::default()
        };
        details::Status { details: vec![any], ..Default::default() }.write_to_bytes().unwrap()
    }

    fn failed(code: RpcStatusCode, details: Vec<u8>) -> CallError {
        grpcio::Error::RpcFailure(RpcStatus::with_details(code, "a sentence".to_owned(), details)).into()
    }

    #[test]
    fn what_the_server_says_is_told_apart_from_a_connection_that_went() {
        assert_eq!(failed(RpcStatusCode::UNAVAILABLE, vec![]), CallError::NoAnswer);
        assert_eq!(failed(RpcStatusCode::DEADLINE_EXCEEDED, vec![]), CallError::NoAnswer);
        let CallError::Refused(draining) = failed(RpcStatusCode::UNAVAILABLE, details_of("DRAINING")) else {
            panic!("a refusal")
        };
        assert_eq!((draining.reason, draining.ends_session), (Some(Reason::Draining), false));
    }

    #[test]
    fn an_unauthenticated_call_ends_the_session_whatever_its_details() {
        for details in [vec![], details_of("SESSION_ENDED"), details_of("SOMETHING_NEWER"), vec![0xff; 7]] {
            let CallError::Refused(refusal) = failed(RpcStatusCode::UNAUTHENTICATED, details) else {
                panic!("a refusal")
            };
            assert!(refusal.ends_session);
        }
    }
}
