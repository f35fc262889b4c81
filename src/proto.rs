//! The protocol's messages, generated from `proto/` by `build.rs`. The only file that names generated code.
//!
//! The messages of the three services have no package, as the predecessor has them; `proto/*.proto` says what each field
//! means and which are frozen.

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

pub use generated::auth::{
    ChangePasswordRequest, ChangePasswordResponse, DeleteAccountRequest, DeleteAccountResponse, EndSessionsRequest,
    EndSessionsResponse, ListSessionsRequest, ListSessionsResponse, LoginRequest, LoginResponse, LogoutRequest,
    LogoutResponse, RegisterRequest, RegisterResponse, Session, SessionState, WhichSessions,
};
pub use generated::messaging::{Empty, Message, SendResponse};
pub use generated::otp::{
    NewRecoveryCodesRequest, NewRecoveryCodesResponse, RequestCheckOtp, RequestInitOtp, ResponseCheckOtp,
    ResponseInitOtp,
};
/// Error details (`google.rpc`), sent in `grpc-status-details-bin`.
pub mod details {
    pub use super::generated::status::{BadRequest, ErrorInfo, RetryInfo, Status, bad_request};
}
pub use protobuf::well_known_types::timestamp::Timestamp;
