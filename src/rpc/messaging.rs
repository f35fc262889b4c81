//! `Messaging`: caller -> job -> reply, or a stream of its own thread.

use std::sync::Arc;

use crossbeam_channel::bounded;
use futures_channel::oneshot;
use grpcio::{DuplexSink, GrpcSlice, RequestStream};

use super::Shared;
use super::caller::Incoming;
use super::reply::Reply;
use super::status::{Call, Failure};
use super::stream::{Form, Line, Stream};
use super::wire;
use crate::app::messages::{Beginning, Draft, PageFrom};
use crate::app::refusal::{Error, Refusal};
use crate::model::ids::{Cursor, EventId};
use crate::proto::{
    Empty, HistoryFrom, HistoryRequest, HistoryResponse, Message, SendResponse, Start, SubscribeRequest, timestamp,
};

/// Proves the caller and hands the message to the writer, which answers after the commit. No worker waits for it.
pub(super) fn send_message(shared: &Shared, incoming: Incoming, request: Message, reply: Reply<SendResponse>) {
    let app = &shared.app;
    let caller = match app.sessions.caller(&incoming.credential, &app.tokens, app.clock.now()) {
        Ok(caller) => caller,
        Err(refusal) => return reply.about(|| shared.login_of(&incoming)).send(Err(refusal.into())),
    };
    let reply = reply.about(|| Some(caller.person().login.clone()));
    let draft = Draft { author: request.author, text: request.text, client_id: request.client_id };
    app.send(&caller, draft, move |result| {
        reply.send(result.map(|stored| {
            let mut response = SendResponse::new();
            response.success = true;
            response.id = stored.id.to_string();
            response.server_time = Some(timestamp(stored.at)).into();
            response
        }));
    });
}

pub(super) fn history(shared: &Shared, incoming: Incoming, request: HistoryRequest) -> Result<HistoryResponse, Error> {
    let from = match request.from {
        // 0, like every number beyond all ids, is no id that anything could be below of.
        Some(HistoryFrom::Before(id)) => EventId::from_wire(id).map_or(PageFrom::Newest, PageFrom::Before),
        None => PageFrom::Newest,
        Some(HistoryFrom::After(id)) => PageFrom::After(Cursor::from_wire(id).unwrap_or(Cursor::END)),
    };
    let page = shared.app.history(&incoming.credential, from, request.limit)?;
    Ok(HistoryResponse {
        messages: page.messages.iter().map(wire::message).collect(),
        has_more: page.has_more,
        ..Default::default()
    })
}

/// A stream that is not open yet. Dropped without being opened, it refuses.
pub(super) struct Opening {
    line: Option<Line>,
    refuse: Option<oneshot::Sender<(Line, Failure)>>,
    call: Call,
    started: bool,
}

impl Opening {
    /// An opening, and what refuses where it is not to be, on the poll thread.
    pub(super) fn pair<Q: Send + 'static>(
        sink: DuplexSink<GrpcSlice>,
        requests: RequestStream<Q>,
        call: Call,
    ) -> (Opening, impl Future<Output = ()> + Send + 'static) {
        let (refuse, refused) = oneshot::channel::<(Line, Failure)>();
        let refusing = async move {
            if let Ok((Line { sink, requests }, failure)) = refused.await {
                let _ = sink.fail(failure.status()).await;
                drop(requests);
            }
        };
        let line = Line { sink, requests: Box::new(requests) };
        (Opening { line: Some(line), refuse: Some(refuse), call, started: false }, refusing)
    }

    fn refuse(mut self, error: Error) {
        self.refuse_with(&error);
    }

    fn refuse_with(&mut self, error: &Error) {
        if let (Some(line), Some(refuse)) = (self.line.take(), self.refuse.take()) {
            let _ = refuse.send((line, Failure::of(error, &self.call)));
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

/// What a stream asks for.
pub(super) trait Asks: protobuf::Message {
    const FORM: Form;

    /// Where it begins.
    fn beginning(&self) -> Result<Beginning, Refusal>;
}

impl Asks for Empty {
    const FORM: Form = Form::Messages;

    fn beginning(&self) -> Result<Beginning, Refusal> {
        Ok(Beginning::Now)
    }
}

impl Asks for SubscribeRequest {
    const FORM: Form = Form::Events;

    fn beginning(&self) -> Result<Beginning, Refusal> {
        match self.start {
            None | Some(Start::Now(_)) => Ok(Beginning::Now),
            Some(Start::After(cursor)) => {
                Cursor::from_wire(cursor).map(Beginning::After).map_err(|_| Refusal::CursorInFuture)
            }
            Some(Start::Last(count)) => Ok(Beginning::Last(count)),
        }
    }
}

/// Proves the caller, subscribes him, and starts his sender thread.
pub(super) fn open_stream<Q: Asks>(shared: &Shared, incoming: Incoming, request: &Q, mut opening: Opening) {
    opening.started = true;
    let app = &shared.app;
    let now = app.clock.now();
    let caller = match app.sessions.caller(&incoming.credential, &app.tokens, now) {
        Ok(caller) => caller,
        Err(refusal) => {
            opening.call.account = shared.login_of(&incoming);
            return opening.refuse(refusal.into());
        }
    };
    opening.call.account = Some(caller.person().login.clone());
    let after = match request.beginning().map_err(Error::from).and_then(|beginning| app.cursor_of(beginning)) {
        Ok(after) => after,
        Err(error) => return opening.refuse(error),
    };
    let subscription = match shared.hub.subscribe(caller.person().id, caller.session(), after) {
        Ok(subscription) => subscription,
        Err(error) => return opening.refuse(Refusal::from(error).into()),
    };
    // Had the session ended between the two, nobody would have told this stream.
    if !app.sessions.is_complete(caller.session(), now) {
        return opening.refuse(Refusal::SessionEnded.into());
    }
    // The line follows once the thread is there; without one, it is still here to refuse with.
    let (hand_over, line) = bounded(1);
    let id = subscription.id();
    let (app, limits, call) = (Arc::clone(app), shared.limits.clone(), opening.call.clone());
    let run = move || {
        if let Ok(line) = line.recv() {
            Stream { subscription, app, limits, call }.run(line, Q::FORM);
        }
    };
    if let Err(error) = shared.streams.start(id, run) {
        log::error!("the system refuses a thread for another stream: {error}");
        return opening.refuse(Refusal::Overloaded.into());
    }
    if let Some(line) = opening.line.take() {
        let _ = hand_over.send(line);
    }
}
