//! Calls about the common room: sending, reading the history, subscribing.

use grpcio::{CallOption, ClientSStreamReceiver};

use crate::base::wait::{Alarm, Waited, wait};
use crate::client::error::CallError;
use crate::client::link::{CALL_LIMIT, Link, SEND_CONNECT_LIMIT, refusal, with_token};
use crate::client::types::{HistoryPage, ReceivedMessage, SendReceipt};
use crate::model::ids::EventId;
use crate::model::reason::Reason;
use crate::proto::methods;
use crate::proto::time_of;
use crate::proto::{EventBatch, HistoryFrom, HistoryRequest, Message, Start, SubscribeRequest};
use crate::security::secret::SecretText;

/// The most messages in one page of the history.
pub const PAGE: u32 = 100;

impl Link {
    /// Sends `text` to the common room. When this returns, the text is stored, and only once however often it is sent with the
    /// same `client_id`. Ringing `alarm` cancels the call.
    ///
    /// # Errors
    /// See [`CallError`]. After [`CallError::NoAnswer`] the text may be stored or not.
    pub fn send(
        &self,
        token: &SecretText,
        text: &str,
        client_id: &str,
        alarm: &Alarm,
    ) -> Result<SendReceipt, CallError> {
        let message = Message { text: text.to_owned(), client_id: client_id.to_owned(), ..Default::default() };
        let options = with_token(CallOption::default().timeout(CALL_LIMIT), Some(token))?;
        self.ready(SEND_CONNECT_LIMIT, alarm)?;
        let call = self.client.unary_call_async(&methods::SEND_MESSAGE, &message, options)?;
        let Waited::Ready(answer) = wait(call, alarm, None) else { return Err(CallError::NoAnswer) };
        let answer = answer?;
        if !answer.success {
            return Err(refusal(Reason::StorageFailed.word(), "", 0));
        }
        Ok(SendReceipt { server_time: answer.server_time.as_ref().map(time_of) })
    }

    /// Returns the newest messages of the common room with ids below `before` (`None`: all ids), at most `limit` of them and at most
    /// [`PAGE`].
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn history(&self, token: &SecretText, before: Option<EventId>, limit: u32) -> Result<HistoryPage, CallError> {
        let from = Some(HistoryFrom::Before(before.map_or(0, EventId::to_wire)));
        let request = HistoryRequest { from, limit: limit.min(PAGE), ..Default::default() };
        let answer = self.call(&methods::HISTORY, &request, Some(token), CALL_LIMIT)?;
        Ok(HistoryPage {
            messages: answer.messages.into_iter().map(ReceivedMessage::from).collect(),
            has_more: answer.has_more,
        })
    }

    /// Opens the stream of the common room. It has no deadline.
    ///
    /// # Errors
    /// See [`CallError`].
    pub(in crate::client) fn subscribe(
        &self,
        token: &SecretText,
        start: Start,
    ) -> Result<ClientSStreamReceiver<EventBatch>, CallError> {
        let options = with_token(CallOption::default(), Some(token))?;
        let request = SubscribeRequest { start: Some(start), ..Default::default() };
        Ok(self.client.server_streaming(&methods::SUBSCRIBE, &request, options)?)
    }
}
