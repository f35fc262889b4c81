//! `Auth`: reads requests, calls the app, writes responses.

use super::caller::Incoming;
use super::dispatch::Lane;
use super::shared::Shared;
use crate::app::accounts::{LoginAttempt, RegisterAttempt, Second};
use crate::app::own_account::SessionsToEnd;
use crate::app::reauth::Proof;
use crate::app::refusal::{Error, Refusal};
use crate::proto::{
    ChangePasswordRequest, ChangePasswordResponse, DeleteAccountRequest, DeleteAccountResponse, EndSessionsRequest,
    EndSessionsResponse, ListSessionsRequest, ListSessionsResponse, LoginRequest, LoginResponse, LogoutRequest,
    LogoutResponse, RegisterRequest, RegisterResponse, Session, SessionState, WhichSessions, timestamp,
};
use crate::store::sessions::Stage;

pub(super) fn register(
    shared: &Shared,
    incoming: Incoming,
    request: RegisterRequest,
) -> Result<RegisterResponse, Error> {
    shared.app.register(RegisterAttempt {
        login: request.login,
        password: request.password.into(),
        invitation: request.invite.into(),
        connection: incoming.legacy_connection(),
        address: incoming.address,
    })?;
    let mut response = RegisterResponse::new();
    response.success = true;
    Ok(response)
}

pub(super) fn login(shared: &Shared, incoming: Incoming, request: LoginRequest) -> Result<LoginResponse, Error> {
    let second = match (request.otp.is_empty(), request.recovery_code.is_empty()) {
        (true, true) => Second::Nothing,
        (false, true) => Second::Code(request.otp.into()),
        (true, false) => Second::Recovery(request.recovery_code.into()),
        (false, false) => return Err(Refusal::Request("recovery_code").into()),
    };
    let attempt = LoginAttempt {
        login: request.login,
        password: request.password.into(),
        second,
        connection: incoming.legacy_connection(),
        address: incoming.address,
    };
    let opened = shared.app.log_in(attempt)?;
    let mut response = LoginResponse::new();
    response.success = true;
    opened.token.expose().clone_into(&mut response.token);
    response.state = state(opened.session.stage).into();
    response.expires_at = Some(timestamp(opened.session.expires_at)).into();
    response.server_time = Some(timestamp(shared.app.clock.now())).into();
    response.wrong_codes = opened.welcome.wrong_codes;
    response.recovery_codes_left = opened.welcome.recovery_codes_left;
    response.recovery_codes = opened.welcome.recovery_codes.iter().map(|code| code.expose().to_owned()).collect();
    Ok(response)
}

pub(super) fn list_sessions(
    shared: &Shared,
    incoming: Incoming,
    _: ListSessionsRequest,
) -> Result<ListSessionsResponse, Error> {
    let (sessions, current) = shared.app.own_sessions(&incoming.credential)?;
    let mut response = ListSessionsResponse::new();
    response.sessions = sessions
        .into_iter()
        .map(|session| Session {
            id: session.id.handle(),
            state: state(session.stage).into(),
            opened_at: Some(timestamp(session.created_at)).into(),
            expires_at: Some(timestamp(session.expires_at)).into(),
            address: session.opened_from.unwrap_or_default(),
            current: session.id == current,
            ..Default::default()
        })
        .collect();
    Ok(response)
}

pub(super) fn end_sessions(
    shared: &Shared,
    incoming: Incoming,
    request: EndSessionsRequest,
) -> Result<EndSessionsResponse, Error> {
    let which = request.which.enum_value_or_default();
    let proof = Proof { password: request.password.into(), code: request.otp.into(), address: incoming.address };
    let which = match which {
        WhichSessions::ONE => SessionsToEnd::One(request.id),
        WhichSessions::OTHERS => SessionsToEnd::Others(proof),
        WhichSessions::ALL => SessionsToEnd::All(proof),
        WhichSessions::WHICH_SESSIONS_UNSPECIFIED => return Err(Refusal::Request("which").into()),
    };
    let ended = shared.app.end_own_sessions(&incoming.credential, which, incoming.address)?;
    let mut response = EndSessionsResponse::new();
    response.ended = u32::try_from(ended).unwrap_or(u32::MAX);
    Ok(response)
}

/// One session is ended without a password; the others take one, which is hashed.
pub(super) fn end_sessions_lane(request: &EndSessionsRequest) -> Lane {
    match request.which.enum_value_or_default() {
        WhichSessions::ONE => Lane::Work,
        _ => Lane::Hash,
    }
}

pub(super) fn change_password(
    shared: &Shared,
    incoming: Incoming,
    request: ChangePasswordRequest,
) -> Result<ChangePasswordResponse, Error> {
    let proof = Proof { password: request.password.into(), code: request.otp.into(), address: incoming.address };
    let ended = shared.app.change_password(&incoming.credential, &proof, request.new_password.into())?;
    let mut response = ChangePasswordResponse::new();
    response.ended_sessions = u32::try_from(ended).unwrap_or(u32::MAX);
    Ok(response)
}

pub(super) fn delete_account(
    shared: &Shared,
    incoming: Incoming,
    request: DeleteAccountRequest,
) -> Result<DeleteAccountResponse, Error> {
    let proof = Proof { password: request.password.into(), code: request.otp.into(), address: incoming.address };
    shared.app.delete_own_account(&incoming.credential, &proof)?;
    Ok(DeleteAccountResponse::new())
}

pub(super) fn logout(shared: &Shared, incoming: Incoming, _: LogoutRequest) -> Result<LogoutResponse, Error> {
    shared.app.log_out(&incoming.credential)?;
    Ok(LogoutResponse::new())
}

fn state(stage: Stage) -> SessionState {
    match stage {
        Stage::NeedsCode => SessionState::NEEDS_CODE,
        Stage::NeedsEnrolment => SessionState::NEEDS_ENROLMENT,
        Stage::Complete => SessionState::COMPLETE,
    }
}
