//! The table of calls: one row each.
//!
//! A row names the method (`proto::methods`, with the types of its messages), the lane, and the handler. A new call is a row
//! here and a handler in the file of its service. It fails with a status; only the calls that the predecessor had answer
//! refusals in the response.

use std::sync::Arc;

use grpcio::Service;

use super::dispatch::{CallRow, Lane, call, deferred, frozen, service, stream};
use super::shared::Shared;
use super::{admin, auth, messaging, otp, wire};
use crate::proto::methods;

/// The calls that the network can make.
fn network() -> Vec<CallRow> {
    vec![
        //     method                         lane             handler
        frozen(&methods::REGISTER, Lane::hash, |request| &request.login, auth::register),
        frozen(&methods::LOGIN, Lane::hash, |request| &request.login, auth::login),
        call(&methods::LOGOUT, Lane::work, auth::logout),
        call(&methods::LIST_SESSIONS, Lane::work, auth::list_sessions),
        call(&methods::END_SESSIONS, auth::end_sessions_lane, auth::end_sessions),
        call(&methods::CHANGE_PASSWORD, Lane::hash, auth::change_password),
        call(&methods::DELETE_ACCOUNT, Lane::hash, auth::delete_account),
        frozen(&methods::INIT_OTP, otp::init_otp_lane, |request| &request.login, otp::init_otp),
        frozen(&methods::CHECK_OTP, Lane::work, |request| &request.login, otp::check_otp),
        call(&methods::NEW_RECOVERY_CODES, Lane::hash, otp::new_recovery_codes),
        deferred(&methods::SEND_MESSAGE, Lane::work, messaging::send_message),
        call(&methods::HISTORY, Lane::large, messaging::history),
        stream(&wire::MESSAGE_STREAM),
        stream(&wire::SUBSCRIBE),
    ]
}

/// The calls that only the administrator's socket takes.
fn administrator() -> Vec<CallRow> {
    vec![call(&methods::ADMIN_RUN, Lane::administrator, admin::run)]
}

/// What listens on the network.
pub(super) fn network_service(shared: &Arc<Shared>) -> Service {
    service(network(), shared)
}

/// What listens on the administrator's socket.
pub(super) fn administrator_service(shared: &Arc<Shared>) -> Service {
    service(administrator(), shared)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::method_paths;

    #[test]
    fn every_method_of_the_protocol_has_one_row_and_only_the_network_service_serves_the_network() {
        let sorted = |rows: Vec<CallRow>| {
            let mut paths: Vec<String> = rows.iter().map(|row| row.method().to_owned()).collect();
            paths.sort();
            paths
        };
        let (admin, mut network_paths): (Vec<String>, Vec<String>) =
            method_paths().into_iter().partition(|path| path.starts_with("/Admin/"));
        network_paths.sort();
        assert_eq!(sorted(network()), network_paths);
        assert_eq!(sorted(administrator()), admin);
    }
}
