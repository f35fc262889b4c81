//! The protocol's messages, generated from `proto/` by `build.rs`. The only file that names generated code.
//!
//! The messages of the three services have no package, as the predecessor has them; `proto/*.proto` says what each field
//! means and which are frozen.

pub mod methods;

#[allow(
    clippy::all,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    unused,
    unreachable_pub,
    rustdoc::all,
    rust_2018_idioms
)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/proto/mod.rs"));
}

/// The messages between the administrator's tool and the server.
pub mod admin {
    pub use super::generated::admin::admin_request::{
        AddUser, Command, EndUserSessions, ListInvitations, ListUsers, NewInvitation, OneUser, ResetPassword,
        RevokeInvitation, RotateTokenKey,
    };
    pub use super::generated::admin::{AdminRequest, AdminResponse, AdminSession, AdminUser, Invitation};
}
pub use generated::auth::{
    ChangePasswordRequest, ChangePasswordResponse, DeleteAccountRequest, DeleteAccountResponse, EndSessionsRequest,
    EndSessionsResponse, ListSessionsRequest, ListSessionsResponse, LoginRequest, LoginResponse, LogoutRequest,
    LogoutResponse, RegisterRequest, RegisterResponse, Session, SessionState, WhichSessions,
};
pub use generated::messaging::{
    CaughtUp, Empty, Event, EventBatch, Gap, Heartbeat, HistoryRequest, HistoryResponse, Message, SendResponse,
    SubscribeRequest, event::Event as Happened,
};
/// Where a subscription begins, and where a page of the history does.
pub use generated::messaging::{history_request::From as HistoryFrom, subscribe_request::Start};
pub use generated::otp::{
    NewRecoveryCodesRequest, NewRecoveryCodesResponse, RequestCheckOtp, RequestInitOtp, ResponseCheckOtp,
    ResponseInitOtp,
};
/// Error details (`google.rpc`), sent in `grpc-status-details-bin`.
pub mod details {
    pub use super::generated::status::{BadRequest, ErrorInfo, RetryInfo, Status, bad_request};
}
pub use protobuf::well_known_types::timestamp::Timestamp;

use std::time::Duration;

use crate::base::clock::Time;

/// The paths of all methods that the protocol declares: `/Auth/Login`.
pub fn method_paths() -> Vec<String> {
    use self::generated::{admin, auth, messaging, otp};
    let files =
        [auth::file_descriptor(), otp::file_descriptor(), messaging::file_descriptor(), admin::file_descriptor()];
    let services = files.into_iter().flat_map(|file| &file.proto().service);
    services
        .flat_map(|service| service.method.iter().map(|method| format!("/{}/{}", service.name(), method.name())))
        .collect()
}

/// A time as the wire has it.
pub fn timestamp(time: Time) -> Timestamp {
    let micros = time.as_micros();
    let mut timestamp = Timestamp::new();
    timestamp.seconds = micros.div_euclid(1_000_000);
    timestamp.nanos = i32::try_from(micros.rem_euclid(1_000_000)).unwrap_or(0) * 1_000;
    timestamp
}

/// The time that a protocol timestamp names.
pub fn time_of(timestamp: &Timestamp) -> Time {
    Time::from_secs(timestamp.seconds) + Duration::from_nanos(u64::try_from(timestamp.nanos).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_1970_have_positive_nanos() {
        let t = timestamp(Time::from_micros(-1));
        assert_eq!((t.seconds, t.nanos), (-1, 999_999_000));
    }
    #[test]
    fn a_time_finds_its_way_back() {
        for micros in [-1, 0, 1, 1_700_000_000_123_456] {
            let time = Time::from_micros(micros);
            assert_eq!(time_of(&timestamp(time)), time);
        }
    }

    #[test]
    fn wild_timestamps_do_no_harm() {
        for (seconds, nanos) in [(i64::MAX, i32::MAX), (i64::MIN, i32::MIN), (0, -1)] {
            time_of(&Timestamp { seconds, nanos, ..Default::default() });
        }
    }
}
