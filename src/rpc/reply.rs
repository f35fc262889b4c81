//! A job's result -> the sink of its call.
//!
//! The sink lives on the poll thread; the job, or the writer's thread after a commit, fills a [`Reply`] from
//! wherever it is. A reply that is dropped answers as well, so that no call is left hanging.

use futures_channel::oneshot;

use super::status::{Call, Failure};
use crate::app::refusal::{Error, Refusal};
use crate::proto::admin::AdminResponse;
use crate::proto::{
    ChangePasswordResponse, DeleteAccountResponse, EndSessionsResponse, ListSessionsResponse, LoginResponse,
    LogoutResponse, NewRecoveryCodesResponse, RegisterResponse, ResponseCheckOtp, ResponseInitOtp, SendResponse,
    timestamp,
};

/// Responses that can say themselves that they are refusals. The others fail the call.
pub trait Answer: Sized {
    /// The response that refuses; `None` where the call is to fail with a status.
    fn refusing(_failure: &Failure) -> Option<Self> {
        None
    }
}

/// The four old calls answer every refusal in the response: old clients print `error`, and have no handler for a failed call.
macro_rules! refuses_in_the_response {
    ($($response:ty $(, $server_time:ident)?;)+) => { $( impl Answer for $response {
        fn refusing(failure: &Failure) -> Option<Self> {
            let mut response = <$response>::new();
            response.error.clone_from(&failure.message);
            response.reason = failure.reason.to_string();
            response.retry_after_seconds = failure.retry_after_seconds();
            $( response.$server_time = Some(timestamp(failure.at)).into(); )?
            Some(response)
        }
    } )+ };
}
refuses_in_the_response!(
    RegisterResponse;
    LoginResponse, server_time;
    ResponseInitOtp;
    ResponseCheckOtp, server_time;
);

/// Every other call fails.
macro_rules! fails {
    ($($response:ty),+) => { $( impl Answer for $response {} )+ };
}
fails!(
    AdminResponse,
    SendResponse,
    LogoutResponse,
    ListSessionsResponse,
    EndSessionsResponse,
    ChangePasswordResponse,
    DeleteAccountResponse,
    NewRecoveryCodesResponse
);

/// What the sink waits for: an answer, or an error and the account that it is about.
type Outcome<A> = Result<A, (Error, Option<String>)>;

/// The way back to a caller. Answers exactly once.
pub struct Reply<A> {
    sender: Option<oneshot::Sender<Outcome<A>>>,
    account: Option<String>,
    started: bool,
}

impl<A: Answer + Send + 'static> Reply<A> {
    /// A reply, and what it will be: the answer, or the failure, which is logged then.
    pub fn pair(call: Call) -> (Reply<A>, impl Future<Output = Result<A, Failure>> + Send + 'static) {
        let (sender, receiver) = oneshot::channel::<Outcome<A>>();
        let account = call.account.clone();
        let answer = async move {
            let result = receiver.await.unwrap_or_else(|_| Err((Error::Fault("the reply was lost".into()), None)));
            result.or_else(|(error, account)| {
                let failure = Failure::of(&error, &Call { account, ..call });
                A::refusing(&failure).ok_or(failure)
            })
        };
        (Reply { sender: Some(sender), account, started: false }, answer)
    }

    /// Notes that the job began: from now on, dropping the reply is a fault and not an overload.
    #[must_use]
    pub fn started(mut self) -> Reply<A> {
        self.started = true;
        self
    }

    /// Notes the account that the call is about, for the log, where the request does not name one.
    #[must_use]
    pub fn about(mut self, login: impl FnOnce() -> Option<String>) -> Reply<A> {
        if self.account.is_none() {
            self.account = login();
        }
        self
    }

    /// Answers.
    pub fn send(mut self, result: Result<A, Error>) {
        if let Some(sender) = self.sender.take() {
            let account = self.account.take();
            // Nobody is there if the caller has gone.
            let _ = sender.send(result.map_err(|error| (error, account)));
        }
    }
}

impl<A> Drop for Reply<A> {
    fn drop(&mut self) {
        if let Some(sender) = self.sender.take() {
            let error = if self.started {
                let thread = std::thread::current();
                Error::Fault(format!("a job ended without an answer on {}", thread.name().unwrap_or("a thread")))
            } else {
                Refusal::Overloaded.into()
            };
            let _ = sender.send(Err((error, self.account.take())));
        }
    }
}
