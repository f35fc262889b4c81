//! The way from a job's result back to the sink of its call.
//!
//! The sink lives on the poll thread; the job, or the writer's thread after a commit, fills a [`Reply`] from wherever it is.
//! A reply that is dropped answers as well, so that no call is left hanging.

use futures_channel::oneshot;

use super::status::{CallContext, Failure};
use crate::app::refusal::{Error, Refusal};
use crate::proto::{LoginResponse, RegisterResponse, ResponseCheckOtp, ResponseInitOtp, timestamp};

/// Responses that carry refusals. Clients of the predecessor print `error`, and have no handler for a failed call.
pub trait RefusesInResponse {
    /// The response that refuses.
    fn refusing(failure: &Failure) -> Self;
}

macro_rules! refuses_in_response {
    ($($response:ty $(, $server_time:ident)?;)+) => { $( impl RefusesInResponse for $response {
        fn refusing(failure: &Failure) -> Self {
            let mut response = <$response>::new();
            response.error.clone_from(&failure.message);
            response.reason = failure.reason.to_string();
            response.retry_after_seconds = failure.retry_after_seconds();
            $( response.$server_time = Some(timestamp(failure.at)).into(); )?
            response
        }
    } )+ };
}
refuses_in_response!(
    RegisterResponse;
    LoginResponse, server_time;
    ResponseInitOtp;
    ResponseCheckOtp, server_time;
);

/// What the sink waits for: an answer, or an error and the account that the call was about.
type JobResult<A> = Result<A, (Error, Option<String>)>;

/// The way back to a caller. Answers exactly once.
pub struct Reply<A> {
    sender: Option<oneshot::Sender<JobResult<A>>>,
    account: Option<String>,
    started: bool,
}

impl<A: Send + 'static> Reply<A> {
    /// A reply, and what it will be: the answer, which may be a refusal by `refusing`, or the failure. Either kind of refusal
    /// is logged.
    pub fn pair(
        context: CallContext,
        refusing: Option<fn(&Failure) -> A>,
    ) -> (Reply<A>, impl Future<Output = Result<A, Failure>> + Send + 'static) {
        let (sender, receiver) = oneshot::channel::<JobResult<A>>();
        let account = context.account.clone();
        let answer = async move {
            let result = receiver.await.unwrap_or_else(|_| Err((Error::Fault("the reply was lost".into()), None)));
            result.or_else(|(error, account)| {
                let failure = Failure::from_error(&error, &CallContext { account, ..context });
                refusing.map(|refusing| refusing(&failure)).ok_or(failure)
            })
        };
        (Reply { sender: Some(sender), account, started: false }, answer)
    }

    /// Notes that the job has begun: dropping the reply is then a fault and no longer an overload.
    #[must_use]
    pub fn started(mut self) -> Reply<A> {
        self.started = true;
        self
    }

    /// Notes that the call waits in a queue again: dropping the reply is an overload.
    #[must_use]
    pub fn queued(mut self) -> Reply<A> {
        self.started = false;
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
            // The caller may have gone.
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
