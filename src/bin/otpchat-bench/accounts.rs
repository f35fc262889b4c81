//! Users for the server under test, registered, enrolled and logged in through the real calls.

use std::sync::Arc;

use grpc_otp_chat::base::clock::Clock;
use grpc_otp_chat::client::endpoint::Endpoint;
use grpc_otp_chat::client::error::CallError;
use grpc_otp_chat::client::link::Link;
use grpc_otp_chat::client::server_clock::ServerClock;
use grpc_otp_chat::security::secret::SecretText;
use grpc_otp_chat::security::totp;

use crate::{BenchError, Stop};

/// Every account's password. The accounts are for servers that are thrown away.
const PASSWORD: &str = "correct horse battery";

/// Somebody who may chat.
#[derive(Clone, Debug)]
pub(super) struct Account {
    /// His name.
    pub(super) login: String,
    /// His session.
    pub(super) token: SecretText,
}

impl Account {
    /// His password.
    pub(super) fn password() -> SecretText {
        SecretText::new(PASSWORD.to_owned())
    }
}

/// Makes `count` accounts with new names. A code is good once in half a minute, so each account logs in once: its enrolment
/// is its login.
///
/// # Errors
/// The server cannot be reached, or does not let them in; or somebody wants it stopped.
pub(super) fn make(endpoint: &Endpoint, count: u32, stop: &Stop) -> Result<Vec<Account>, BenchError> {
    let clock = Clock::system();
    let link = Link::new(endpoint, None, Arc::new(ServerClock::new(clock.clone())));
    let run = getrandom::u32().map_err(|error| BenchError::Machine(error.to_string()))?;
    let next = |n| {
        stop.check()?;
        enter(&link, &clock, format!("bench-{run:08x}-{n}"))
    };
    (0..count).map(next).collect()
}

fn enter(link: &Link, clock: &Clock, login: String) -> Result<Account, BenchError> {
    let failed = |what| {
        let login = login.clone();
        move |cause: CallError| BenchError::Account { login, what, cause }
    };
    link.register(&login, &Account::password(), None).map_err(failed("register"))?;
    let opened = link.login(&login, &Account::password(), None).map_err(failed("log in"))?;
    let uri = link.init_otp(&login, &opened.token, None).map_err(failed("enrol"))?;
    let secret = uri.expose().split("secret=").nth(1).and_then(|rest| rest.split('&').next());
    let secret = secret
        .and_then(totp::secret_from_base32)
        .ok_or_else(|| BenchError::Machine("the server's second factor cannot be read".to_owned()))?;
    let code = totp::code_at(&secret, clock.now().as_secs().div_euclid(totp::STEP_SECS));
    let code = SecretText::new(code.as_str().to_owned());
    let completed = link.check_otp(&login, &opened.token, &code).map_err(failed("confirm a code"))?;
    Ok(Account { login, token: completed.token })
}
