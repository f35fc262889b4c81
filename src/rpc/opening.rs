//! A stream from the poll thread to a thread of its own: proved, subscribed, started, or refused.

use std::sync::Arc;

use crossbeam_channel::bounded;
use futures_channel::oneshot;
use grpcio::{DuplexSink, GrpcSlice, RequestStream};

use super::caller::Incoming;
use super::shared::Shared;
use super::status::{CallContext, Failure};
use super::stream::{CallEnds, Stream, StreamForm};
use crate::app::messages::Beginning;
use crate::app::refusal::{Error, Refusal};

/// The request of a call that opens a stream.
pub(super) trait StreamRequest: protobuf::Message {
    /// The form in which messages go out.
    const FORM: StreamForm;

    /// Where the stream begins.
    fn beginning(&self) -> Result<Beginning, Refusal>;
}

/// A stream that is not open yet. Dropped before it is opened, it refuses.
pub(super) struct Opening {
    ends: Option<CallEnds>,
    refuse: Option<oneshot::Sender<(CallEnds, Failure)>>,
    context: CallContext,
    started: bool,
}

impl Opening {
    /// An opening, and the future that refuses on the poll thread if the stream is not opened.
    pub(super) fn pair<Q: Send + 'static>(
        sink: DuplexSink<GrpcSlice>,
        requests: RequestStream<Q>,
        context: CallContext,
    ) -> (Opening, impl Future<Output = ()> + Send + 'static) {
        let (refuse, refused) = oneshot::channel::<(CallEnds, Failure)>();
        let refusing = async move {
            if let Ok((CallEnds { sink, requests }, failure)) = refused.await {
                let _ = sink.fail(failure.status()).await;
                drop(requests);
            }
        };
        let ends = CallEnds { sink, requests: Box::new(requests) };
        (Opening { ends: Some(ends), refuse: Some(refuse), context, started: false }, refusing)
    }

    pub(super) fn refuse(mut self, error: Error) {
        self.refuse_with(&error);
    }

    fn refuse_with(&mut self, error: &Error) {
        if let (Some(ends), Some(refuse)) = (self.ends.take(), self.refuse.take()) {
            let _ = refuse.send((ends, Failure::from_error(error, &self.context)));
        }
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        let error =
            if self.started { Error::Fault("a stream was not opened".into()) } else { Refusal::Overloaded.into() };
        self.refuse_with(&error);
    }
}

/// Proves the caller, subscribes them, and starts the thread of the stream.
pub(super) fn open_stream<Q: StreamRequest>(shared: &Shared, incoming: Incoming, request: &Q, mut opening: Opening) {
    opening.started = true;
    let app = &shared.app;
    let caller = match shared.caller(&incoming) {
        Ok(caller) => caller,
        Err(refusal) => {
            opening.context.account = shared.login_of(&incoming);
            return opening.refuse(refusal.into());
        }
    };
    opening.context.account = Some(caller.person().login.clone());
    let beginning = request.beginning().map_err(Error::from);
    let after = match beginning.and_then(|beginning| app.cursor_of(caller.member(), beginning)) {
        Ok(after) => after,
        Err(error) => return opening.refuse(error),
    };
    let subscription = match shared.hub.subscribe(caller.person().id, caller.session(), after) {
        Ok(subscription) => subscription,
        Err(error) => return opening.refuse(Refusal::from(error).into()),
    };
    // A session that ended before the subscription existed did not end this stream.
    if !app.sessions.is_complete(caller.session(), app.clock.now()) {
        return opening.refuse(Refusal::SessionEnded.into());
    }
    // The thread gets the ends of the call once it runs. Without a thread, they are still here to refuse with.
    let (hand_over, handed_over) = bounded(1);
    let id = subscription.id();
    let (app, limits, call) = (Arc::clone(app), shared.limits.clone(), opening.context.clone());
    let run = move || {
        if let Ok(ends) = handed_over.recv() {
            Stream { subscription, app, limits, call }.run(ends, Q::FORM);
        }
    };
    if let Err(error) = shared.streams.start(id, run) {
        log::error!("the system refuses a thread for another stream: {error}");
        return opening.refuse(Refusal::Overloaded.into());
    }
    if let Some(ends) = opening.ends.take() {
        let _ = hand_over.send(ends);
    }
}
