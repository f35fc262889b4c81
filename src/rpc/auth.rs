//! `Auth`: caller -> job -> reply.

use super::Shared;
use super::caller::Incoming;
use super::wire::timestamp;
use crate::app::accounts::LoginAttempt;
use crate::app::refusal::Error;
use crate::proto::{
    LoginRequest, LoginResponse, LogoutRequest, LogoutResponse, RegisterRequest, RegisterResponse, SessionState,
};
use crate::store::sessions::State;

pub(super) fn register(
    shared: &Shared,
    incoming: Incoming,
    request: RegisterRequest,
) -> Result<RegisterResponse, Error> {
    let on = incoming.legacy_connection();
    shared.app.register(&request.login, request.password.into(), on)?;
    let mut response = RegisterResponse::new();
    response.success = true;
    Ok(response)
}

pub(super) fn login(shared: &Shared, incoming: Incoming, request: LoginRequest) -> Result<LoginResponse, Error> {
    let attempt = LoginAttempt {
        login: request.login,
        password: request.password.into(),
        code: Some(request.otp).filter(|otp| !otp.is_empty()).map(Into::into),
        connection: incoming.legacy_connection(),
    };
    let opened = shared.app.log_in(attempt)?;
    let mut response = LoginResponse::new();
    response.success = true;
    opened.token.expose().clone_into(&mut response.token);
    response.state = state(opened.session.state).into();
    response.expires_at = Some(timestamp(opened.session.expires_at)).into();
    Ok(response)
}

pub(super) fn logout(shared: &Shared, incoming: Incoming, _: LogoutRequest) -> Result<LogoutResponse, Error> {
    shared.app.log_out(&incoming.credential)?;
    Ok(LogoutResponse::new())
}

fn state(state: State) -> SessionState {
    match state {
        State::NeedsCode => SessionState::NEEDS_CODE,
        State::NeedsEnrolment => SessionState::NEEDS_ENROLMENT,
        State::Complete => SessionState::COMPLETE,
    }
}
