//! Users for the server under test, registered, enrolled and logged in through the real calls.

use std::sync::Arc;

use grpc_otp_chat::base::clock::Clock;
use grpc_otp_chat::client::endpoint::Endpoint;
use grpc_otp_chat::client::error::CallError;
use grpc_otp_chat::client::link::Link;
use grpc_otp_chat::client::server_clock::ServerClock;
use grpc_otp_chat::security::secret::SecretText;
use grpc_otp_chat::security::totp;

use crate::error::BenchError;
use crate::stop::Stop;

/// The password of every account. The accounts are for servers with throw-away data.
const PASSWORD: &str = "correct horse battery";

/// An account with a complete session.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    /// Its login.
    pub(crate) login: String,
    /// The token of its session.
    pub(crate) token: SecretText,
}

impl Account {
    /// The password of every account.
    pub(crate) fn password() -> SecretText {
        SecretText::new(PASSWORD.to_owned())
    }
}

/// Makes `count` accounts with new names. A code is valid once, and lasts half a minute, so each account logs in once: its
/// enrolment is its login.
///
/// # Errors
/// The server cannot be reached, or refuses a step; or the user stopped the program.
pub(crate) fn make(endpoint: &Endpoint, count: u32, stop: &Stop) -> Result<Vec<Account>, BenchError> {
    let clock = Clock::system();
    let link = Link::new(endpoint, None, Arc::new(ServerClock::new(clock.clone())));
    let run = getrandom::u32().map_err(BenchError::from_machine)?;
    let next = |n| {
        stop.check()?;
        make_one(&link, &clock, format!("bench-{run:08x}-{n}"))
    };
    (0..count).map(next).collect()
}

fn make_one(link: &Link, clock: &Clock, login: String) -> Result<Account, BenchError> {
    let failed = |what| {
        let login = login.clone();
        move |cause: CallError| BenchError::Account { login, what, cause }
    };
    link.register(&login, &Account::password(), None).map_err(failed("register"))?;
    let opened = link.login(&login, &Account::password(), None).map_err(failed("log in"))?;
    let uri = link.init_otp(&login, &opened.token, None).map_err(failed("enrol"))?;
    let secret = totp::secret_in_uri(uri.expose())
        .and_then(totp::secret_from_base32)
        .ok_or_else(|| BenchError::Machine("the server's second factor cannot be read".to_owned()))?;
    let code = totp::code_at(&secret, clock.now().as_secs().div_euclid(totp::STEP_SECS));
    let code = SecretText::new(code.as_str().to_owned());
    let completed = link.check_otp(&login, &opened.token, &code).map_err(failed("confirm a code"))?;
    Ok(Account { login, token: completed.token })
}
