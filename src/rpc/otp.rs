//! `Otp`: reads requests, calls the app, writes responses.

use super::caller::Incoming;
use super::dispatch::Lane;
use super::shared::Shared;
use crate::app::Credential;
use crate::app::enrolment::EnrolmentAttempt;
use crate::app::reauth::Proof;
use crate::app::refusal::Error;
use crate::proto::{
    NewRecoveryCodesRequest, NewRecoveryCodesResponse, RequestCheckOtp, RequestInitOtp, ResponseCheckOtp,
    ResponseInitOtp, timestamp,
};

pub(super) fn init_otp(shared: &Shared, incoming: Incoming, request: RequestInitOtp) -> Result<ResponseInitOtp, Error> {
    let uri = shared.app.start_enrolment(EnrolmentAttempt {
        login: request.login,
        by: incoming.credential_or_connection(),
        password: request.password.into(),
        code: request.otp.into(),
        address: incoming.address,
    })?;
    let mut response = ResponseInitOtp::new();
    uri.expose().clone_into(&mut response.secret);
    Ok(response)
}

/// Only the replacement of a factor comes with a password, which is hashed.
pub(super) fn init_otp_lane(request: &RequestInitOtp) -> Lane {
    if request.password.is_empty() { Lane::Work } else { Lane::Hash }
}

pub(super) fn check_otp(
    shared: &Shared,
    incoming: Incoming,
    request: RequestCheckOtp,
) -> Result<ResponseCheckOtp, Error> {
    let by = incoming.credential_or_connection();
    let opened = shared.app.check_code(&request.login, &request.otp.into(), &by, incoming.address)?;
    let mut response = ResponseCheckOtp::new();
    response.valid = true;
    // A caller without a token has the one of its login: a code alone never gives a token.
    if let Credential::Token(_) = by {
        opened.token.expose().clone_into(&mut response.token);
    }
    response.expires_at = Some(timestamp(opened.session.expires_at)).into();
    response.server_time = Some(timestamp(shared.app.clock.now())).into();
    response.wrong_codes = opened.welcome.wrong_codes;
    response.recovery_codes_left = opened.welcome.recovery_codes_left;
    response.recovery_codes = opened.welcome.recovery_codes.iter().map(|code| code.expose().to_owned()).collect();
    Ok(response)
}

pub(super) fn new_recovery_codes(
    shared: &Shared,
    incoming: Incoming,
    request: NewRecoveryCodesRequest,
) -> Result<NewRecoveryCodesResponse, Error> {
    let proof = Proof { password: request.password.into(), code: request.otp.into(), address: incoming.address };
    let codes = shared.app.renew_recovery_codes(&incoming.credential, &proof)?;
    let mut response = NewRecoveryCodesResponse::new();
    response.recovery_codes = codes.iter().map(|code| code.expose().to_owned()).collect();
    Ok(response)
}
