//! `Messaging`: reads requests, calls the app, writes responses.

use std::sync::Arc;

use super::caller::Incoming;
use super::opening::StreamRequest;
use super::reply::Reply;
use super::shared::Shared;
use super::stream::StreamForm;
use super::wire;
use crate::app::messages::{Beginning, Draft, PageFrom};
use crate::app::refusal::{Error, Refusal};
use crate::model::ids::{Cursor, EventId};
use crate::proto::{
    Empty, HistoryFrom, HistoryRequest, HistoryResponse, Message, SendResponse, Start, SubscribeRequest, timestamp,
};
use crate::store::Appended;

/// Proves the caller and hands the message to the writer, which answers after the commit. No worker waits for it.
pub(super) fn send_message(shared: &Shared, incoming: Incoming, request: Message, reply: Reply<SendResponse>) {
    let caller = match shared.caller(&incoming) {
        Ok(caller) => caller,
        Err(refusal) => return reply.about(|| shared.login_of(&incoming)).send(Err(refusal.into())),
    };
    let reply = reply.about(|| Some(caller.person().login.clone()));
    let draft = Draft { author: request.author, text: request.text, client_id: request.client_id };
    let wait = match shared.app.throttles.message(caller.person().id) {
        Ok(wait) => wait,
        Err(refusal) => return reply.send(Err(refusal.into())),
    };
    let app = Arc::clone(&shared.app);
    let append = move |reply: Reply<SendResponse>| {
        app.send(caller.member(), draft, move |result| reply.send(result.map(sent)));
    };
    if wait.is_zero() {
        append(reply);
    } else {
        let reply = reply.queued();
        // A full pacer drops the reply, which then says so.
        let _ = shared.pacer.run_in(wait, move || append(reply.started()));
    }
}

fn sent(stored: Appended) -> SendResponse {
    let mut response = SendResponse::new();
    response.success = true;
    response.id = stored.id.to_string();
    response.server_time = Some(timestamp(stored.at)).into();
    response
}

pub(super) fn history(shared: &Shared, incoming: Incoming, request: HistoryRequest) -> Result<HistoryResponse, Error> {
    let from = match request.from {
        // 0, like every number beyond all ids, is no id: every message is older.
        Some(HistoryFrom::Before(id)) => EventId::from_wire(id).map_or(PageFrom::Newest, PageFrom::Before),
        None => PageFrom::Newest,
        Some(HistoryFrom::After(id)) => PageFrom::After(Cursor::from_wire(id).unwrap_or(Cursor::END)),
    };
    let page = shared.app.history(shared.caller(&incoming)?.member(), from, request.limit)?;
    Ok(HistoryResponse {
        messages: page.messages.iter().map(wire::message).collect(),
        has_more: page.has_more,
        ..Default::default()
    })
}

/// `MessageStream`.
impl StreamRequest for Empty {
    const FORM: StreamForm = StreamForm::Messages;

    fn beginning(&self) -> Result<Beginning, Refusal> {
        Ok(Beginning::Now)
    }
}

/// `Subscribe`.
impl StreamRequest for SubscribeRequest {
    const FORM: StreamForm = StreamForm::Events;

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
