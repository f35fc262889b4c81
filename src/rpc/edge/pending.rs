//! Pending calls: their headers have come, but not yet their message.
//!
//! A call begins with its headers, and costs memory from then on; its message may follow, or never. An honest client sends
//! both at once. So the calls of each connection are counted from their headers to their message. The limiter closes a
//! connection that has more of them pending than it may have open (the C core bounds only clients that have acknowledged that
//! number), leaves one pending for too long, or cancels one after the other (rapid reset, CVE-2023-44487).

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use futures_util::StreamExt as _;
use grpcio::{Error, RequestStream, RpcStatus, RpcStatusCode};

use crate::base::clock::Stopwatch;
use crate::base::lock::lock;

/// How many calls a connection may cancel before their message came; half of them are forgiven every [`FORGIVE_EVERY`].
const MAX_CANCELLED: u32 = 200;
/// See [`MAX_CANCELLED`].
const FORGIVE_EVERY: Duration = Duration::from_secs(10);

/// What wakes the limiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimiterSignal {
    /// There is a connection to close.
    Look,
    /// The server stops.
    Stop,
}

/// The pending calls of all connections.
pub struct PendingCalls {
    connections: Mutex<HashMap<SocketAddr, ConnectionCalls>>,
    calls_per_connection: usize,
    header_bytes: usize,
    patience: Duration,
    signals: (Sender<LimiterSignal>, Receiver<LimiterSignal>),
}

/// The pending calls of a connection.
#[derive(Default)]
struct ConnectionCalls {
    /// When they began, in that order.
    pending: BTreeMap<u64, Stopwatch>,
    next: u64,
    cancelled: u32,
    /// A call was refused.
    refused: bool,
    forgiven: Option<Stopwatch>,
}

impl ConnectionCalls {
    fn forgive(&mut self) {
        let since = self.forgiven.get_or_insert_with(Stopwatch::start);
        if since.left_of(FORGIVE_EVERY).is_none() {
            self.cancelled /= 2;
            self.forgiven = None;
        }
    }
}

impl PendingCalls {
    /// At most so many calls of a connection may be pending, each with headers of so many bytes and for at most `patience`.
    pub fn new(calls_per_connection: usize, header_bytes: usize, patience: Duration) -> PendingCalls {
        PendingCalls {
            connections: Mutex::default(),
            calls_per_connection,
            header_bytes,
            patience,
            signals: bounded(16),
        }
    }

    /// A call with headers of so many bytes has begun on a connection. `None` if the call must be dropped: the connection has
    /// too many pending calls, or the headers are too large, which only happens with a client that has not acknowledged the
    /// server's settings.
    pub fn begin(self: &Arc<Self>, connection: Option<SocketAddr>, header_bytes: usize) -> Option<PendingCall> {
        let mut id = 0;
        let too_large = header_bytes > self.header_bytes;
        if let Some(connection) = connection {
            let mut connections = lock(&self.connections);
            let calls = connections.entry(connection).or_default();
            if too_large {
                calls.cancelled = MAX_CANCELLED + 1;
            }
            if calls.pending.len() >= self.calls_per_connection || calls.cancelled > MAX_CANCELLED {
                calls.refused = true;
                drop(connections);
                self.call_limiter();
                return None;
            }
            id = calls.next;
            calls.next += 1;
            calls.pending.insert(id, Stopwatch::start());
        }
        (!too_large).then(|| PendingCall { all: Arc::clone(self), connection, id, came: false })
    }

    fn end(&self, connection: SocketAddr, id: u64, came: bool) {
        let mut connections = lock(&self.connections);
        let Some(calls) = connections.get_mut(&connection) else { return };
        calls.pending.remove(&id);
        if !came {
            calls.forgive();
            calls.cancelled += 1;
        }
        let too_many = calls.cancelled == MAX_CANCELLED + 1;
        if calls.pending.is_empty() && calls.cancelled == 0 {
            connections.remove(&connection);
        }
        drop(connections);
        if too_many {
            self.call_limiter();
        }
    }

    fn call_limiter(&self) {
        // A signal that the limiter has not received yet is enough.
        let _ = self.signals.0.try_send(LimiterSignal::Look);
    }

    /// Where the limiter receives its signals.
    pub fn signals(&self) -> &Receiver<LimiterSignal> {
        &self.signals.1
    }

    /// Ends the limiter.
    pub fn stop_limiter(&self) {
        let _ = self.signals.0.send_timeout(LimiterSignal::Stop, self.patience);
    }

    /// The connections to close; their calls are counted anew from here.
    pub fn offenders(&self) -> Vec<SocketAddr> {
        let mut connections = lock(&self.connections);
        let mut offenders = Vec::new();
        connections.retain(|connection, calls| {
            calls.forgive();
            let oldest = calls.pending.values().next();
            let offends = calls.cancelled > MAX_CANCELLED
                || std::mem::take(&mut calls.refused)
                || oldest.is_some_and(|since| since.left_of(self.patience).is_none());
            if offends {
                offenders.push(*connection);
            }
            !offends && (calls.cancelled > 0 || !calls.pending.is_empty())
        });
        offenders
    }
}

/// A call that has begun. Dropped before its message came, it counts as cancelled.
pub struct PendingCall {
    all: Arc<PendingCalls>,
    connection: Option<SocketAddr>,
    id: u64,
    came: bool,
}

impl PendingCall {
    /// Waits for the one message.
    ///
    /// # Errors
    /// The status to answer with; nothing where the call is over already.
    pub async fn message<Q>(mut self, messages: &mut RequestStream<Q>) -> Result<Q, Option<RpcStatus>> {
        let message = messages.next().await;
        self.came = matches!(message, Some(Ok(_)));
        match message {
            Some(Ok(message)) => Ok(message),
            Some(Err(Error::Codec(_))) => {
                Err(Some(RpcStatus::with_message(RpcStatusCode::INTERNAL, "the message cannot be decoded".to_owned())))
            }
            Some(Err(_)) => Err(None),
            None => Err(Some(RpcStatus::with_message(RpcStatusCode::INTERNAL, "no message came".to_owned()))),
        }
    }
}

impl Drop for PendingCall {
    fn drop(&mut self) {
        if let Some(connection) = self.connection {
            self.all.end(connection, self.id, self.came);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn connection(port: u16) -> Option<SocketAddr> {
        Some(([127, 0, 0, 1], port).into())
    }

    fn bring(call: Option<PendingCall>) {
        call.unwrap().came = true;
    }

    #[test]
    fn messages_that_come_leave_no_trace() {
        let pending = Arc::new(PendingCalls::new(2, 1_000, DAY));
        for _ in 0..10_000 {
            bring(pending.begin(connection(1), 100));
        }
        assert!(pending.offenders().is_empty() && pending.connections.lock().unwrap().is_empty());
    }

    #[test]
    fn a_connection_with_more_pending_calls_than_it_may_have_offends_and_no_other() {
        let pending = Arc::new(PendingCalls::new(3, 1_000, DAY));
        let held: Vec<_> = (0..3).map(|_| pending.begin(connection(1), 100).unwrap()).collect();
        let other = pending.begin(connection(2), 100).unwrap();
        assert!(pending.begin(connection(1), 100).is_none());
        assert_eq!(pending.signals().try_recv(), Ok(LimiterSignal::Look));
        assert_eq!(pending.offenders(), [connection(1).unwrap()]);
        drop((held, other));
        assert!(pending.offenders().is_empty());
    }

    #[test]
    fn headers_beyond_the_bound_offend() {
        let pending = Arc::new(PendingCalls::new(3, 1_000, DAY));
        bring(pending.begin(connection(1), 1_000));
        assert!(pending.begin(connection(1), 1_001).is_none());
        assert_eq!(pending.signals().try_recv(), Ok(LimiterSignal::Look));
        assert_eq!(pending.offenders(), [connection(1).unwrap()]);
    }

    #[test]
    fn a_message_that_does_not_come_in_time_offends() {
        let pending = Arc::new(PendingCalls::new(3, 1_000, Duration::ZERO));
        let held = pending.begin(connection(1), 100).unwrap();
        assert_eq!(pending.offenders(), [connection(1).unwrap()]);
        drop(held);
    }

    #[test]
    fn a_connection_that_cancels_call_after_call_offends() {
        let pending = Arc::new(PendingCalls::new(10, 1_000, DAY));
        (0..MAX_CANCELLED).for_each(|_| drop(pending.begin(connection(1), 100).unwrap()));
        assert!(pending.signals().is_empty());
        (0..3).for_each(|_| drop(pending.begin(connection(1), 100)));
        assert_eq!(pending.signals().try_recv(), Ok(LimiterSignal::Look));
        assert!(pending.begin(connection(1), 100).is_none() && pending.begin(connection(2), 100).is_some());
        assert_eq!(pending.offenders(), [connection(1).unwrap()]);
    }
}
