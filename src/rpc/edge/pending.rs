//! Calls whose message has not come yet.
//!
//! A call begins with its headers, and costs memory from then on; its message may follow, or never. An honest client sends
//! both at once. So each connection's calls are counted from their headers to their message: who leaves more waiting than he
//! may have open (the C core holds only those to that number who agreed to it), lets one wait too long, or takes back one
//! after the other (rapid reset, CVE-2023-44487) is hung up on, by [`super::limiter`].

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use futures_util::StreamExt as _;
use grpcio::{Error, RequestStream, RpcStatus, RpcStatusCode};

use crate::base::clock::Stopwatch;
use crate::base::lock::lock;

/// So many calls may a connection take back before their message came; half of them are forgiven every
/// [`FORGIVE_EVERY`].
const TAKEN_BACK: u32 = 200;
/// See [`TAKEN_BACK`].
const FORGIVE_EVERY: Duration = Duration::from_secs(10);

/// What wakes the limiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// Somebody is to be hung up on.
    Look,
    /// It is over.
    Stop,
}

/// The calls that wait for their message, by connection.
pub struct Pending {
    connections: Mutex<HashMap<SocketAddr, Count>>,
    calls_per_connection: usize,
    header_bytes: usize,
    patience: Duration,
    wake: (Sender<Wake>, Receiver<Wake>),
}

#[derive(Default)]
struct Count {
    /// When the waiting ones began, in that order.
    waiting: BTreeMap<u64, Stopwatch>,
    next: u64,
    taken_back: u32,
    /// One that was too many has been refused.
    refused: bool,
    forgiven: Option<Stopwatch>,
}

impl Count {
    fn forgive(&mut self) {
        let since = self.forgiven.get_or_insert_with(Stopwatch::start);
        if since.left_of(FORGIVE_EVERY).is_none() {
            self.taken_back /= 2;
            self.forgiven = None;
        }
    }
}

impl Pending {
    /// At most so many calls of a connection may wait, each with headers of so many bytes and for so long.
    pub fn new(calls_per_connection: usize, header_bytes: usize, patience: Duration) -> Pending {
        Pending { connections: Mutex::default(), calls_per_connection, header_bytes, patience, wake: bounded(16) }
    }

    /// A call with headers of so many bytes has begun on a connection. `None` if those are too many, which only a client
    /// sends who did not agree to the server's settings, or if it has too many calls already: the call is to be dropped.
    pub fn begin(self: &Arc<Self>, connection: Option<SocketAddr>, header_bytes: usize) -> Option<Awaited> {
        let mut id = 0;
        let too_large = header_bytes > self.header_bytes;
        if let Some(connection) = connection {
            let mut connections = lock(&self.connections);
            let count = connections.entry(connection).or_default();
            if too_large {
                count.taken_back = TAKEN_BACK + 1;
            }
            if count.waiting.len() >= self.calls_per_connection || count.taken_back > TAKEN_BACK {
                count.refused = true;
                drop(connections);
                self.call_limiter();
                return None;
            }
            id = count.next;
            count.next += 1;
            count.waiting.insert(id, Stopwatch::start());
        }
        (!too_large).then(|| Awaited { pending: Arc::clone(self), connection, id, came: false })
    }

    fn end(&self, connection: SocketAddr, id: u64, came: bool) {
        let mut connections = lock(&self.connections);
        let Some(count) = connections.get_mut(&connection) else { return };
        count.waiting.remove(&id);
        if !came {
            count.forgive();
            count.taken_back += 1;
        }
        let too_many = count.taken_back == TAKEN_BACK + 1;
        if count.waiting.is_empty() && count.taken_back == 0 {
            connections.remove(&connection);
        }
        drop(connections);
        if too_many {
            self.call_limiter();
        }
    }

    fn call_limiter(&self) {
        // One that has not been heard yet is enough.
        let _ = self.wake.0.try_send(Wake::Look);
    }

    /// Where the limiter hears what wakes it.
    pub fn wakes(&self) -> &Receiver<Wake> {
        &self.wake.1
    }

    /// Ends the limiter.
    pub fn stop(&self) {
        let _ = self.wake.0.send_timeout(Wake::Stop, self.patience);
    }

    /// The connections that are to be hung up on; they are counted anew from here.
    pub fn offenders(&self) -> Vec<SocketAddr> {
        let mut connections = lock(&self.connections);
        let mut offenders = Vec::new();
        connections.retain(|connection, count| {
            count.forgive();
            let waits = count.waiting.values().next();
            let offends = count.taken_back > TAKEN_BACK
                || std::mem::take(&mut count.refused)
                || waits.is_some_and(|since| since.left_of(self.patience).is_none());
            if offends {
                offenders.push(*connection);
            }
            !offends && (count.taken_back > 0 || !count.waiting.is_empty())
        });
        offenders
    }
}

/// A call that has begun. Dropped before its message came, it was taken back.
pub struct Awaited {
    pending: Arc<Pending>,
    connection: Option<SocketAddr>,
    id: u64,
    came: bool,
}

impl Awaited {
    /// Waits for the one message.
    ///
    /// # Errors
    /// What to answer in its place; nothing where the call is over already.
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

impl Drop for Awaited {
    fn drop(&mut self) {
        if let Some(connection) = self.connection {
            self.pending.end(connection, self.id, self.came);
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

    fn bring(awaited: Option<Awaited>) {
        awaited.unwrap().came = true;
    }

    #[test]
    fn messages_that_come_leave_no_trace() {
        let pending = Arc::new(Pending::new(2, 1_000, DAY));
        for _ in 0..10_000 {
            bring(pending.begin(connection(1), 100));
        }
        assert!(pending.offenders().is_empty() && pending.connections.lock().unwrap().is_empty());
    }

    #[test]
    fn who_leaves_more_waiting_than_he_may_offends_and_nobody_else() {
        let pending = Arc::new(Pending::new(3, 1_000, DAY));
        let held: Vec<_> = (0..3).map(|_| pending.begin(connection(1), 100).unwrap()).collect();
        let other = pending.begin(connection(2), 100).unwrap();
        assert!(pending.begin(connection(1), 100).is_none());
        assert_eq!(pending.wakes().try_recv(), Ok(Wake::Look));
        assert_eq!(pending.offenders(), [connection(1).unwrap()]);
        drop((held, other));
        assert!(pending.offenders().is_empty());
    }

    #[test]
    fn who_sends_larger_headers_than_he_was_told_offends() {
        let pending = Arc::new(Pending::new(3, 1_000, DAY));
        bring(pending.begin(connection(1), 1_000));
        assert!(pending.begin(connection(1), 1_001).is_none());
        assert_eq!(pending.wakes().try_recv(), Ok(Wake::Look));
        assert_eq!(pending.offenders(), [connection(1).unwrap()]);
    }

    #[test]
    fn a_message_that_does_not_come_in_time_offends() {
        let pending = Arc::new(Pending::new(3, 1_000, Duration::ZERO));
        let held = pending.begin(connection(1), 100).unwrap();
        assert_eq!(pending.offenders(), [connection(1).unwrap()]);
        drop(held);
    }

    #[test]
    fn who_takes_back_call_after_call_offends() {
        let pending = Arc::new(Pending::new(10, 1_000, DAY));
        (0..TAKEN_BACK).for_each(|_| drop(pending.begin(connection(1), 100).unwrap()));
        assert!(pending.wakes().is_empty());
        (0..3).for_each(|_| drop(pending.begin(connection(1), 100)));
        assert_eq!(pending.wakes().try_recv(), Ok(Wake::Look));
        assert!(pending.begin(connection(1), 100).is_none() && pending.begin(connection(2), 100).is_some());
        assert_eq!(pending.offenders(), [connection(1).unwrap()]);
    }
}
