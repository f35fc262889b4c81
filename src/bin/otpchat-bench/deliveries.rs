//! What the streams have brought, whichever way they are read.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use crossbeam_channel::Sender;

use crate::check::Checker;
use crate::http2::MessageReader;
use crate::latency::Latencies;
use crate::plan::StreamKind;
use crate::text::{self, StreamItem};
use grpc_otp_chat::base::lock::lock;

/// How many faults are shown.
const SHOWN_FAULTS: usize = 5;

/// What the streams have brought.
#[derive(Debug, Default)]
pub(crate) struct Deliveries {
    round: u32,
    streams: Vec<ReadStream>,
    /// Streams that have brought anything at all.
    pub(crate) ready: usize,
    /// Streams that have brought every message of this round.
    complete: usize,
    /// Messages of this round, on all streams.
    pub(crate) count: u64,
    /// The gRPC messages that they came in.
    pub(crate) packets: u64,
    /// From the time in a text to its arrival, on all streams.
    pub(crate) latencies: Latencies,
    /// When the last of them arrived, by the stopwatch.
    pub(crate) last: Duration,
    faults: Vec<String>,
}

#[derive(Debug, Default)]
struct ReadStream {
    messages: MessageReader,
    ready: bool,
    checker: Checker,
}

impl Deliveries {
    pub(crate) fn new(streams: u32) -> Deliveries {
        let mut deliveries = Deliveries::default();
        deliveries.streams.resize_with(streams as usize, ReadStream::default);
        deliveries
    }

    /// Begins a round of `count` messages, at most `in_flight` of them unanswered at once.
    pub(crate) fn begin(&mut self, round: u32, count: u32, in_flight: u32) {
        self.round = round;
        (self.complete, self.count, self.packets) = (0, 0, 0);
        self.latencies = Latencies::default();
        for stream in &mut self.streams {
            stream.checker = Checker::new(count, in_flight);
        }
    }

    /// A stream has brought a piece of its gRPC messages.
    pub(crate) fn take_data(&mut self, which: usize, kind: StreamKind, data: &[u8], now: Duration) {
        let Some(stream) = self.streams.get_mut(which) else { return };
        let mut messages = std::mem::take(&mut stream.messages);
        messages.take(data, |message| self.take_message(which, kind, message, now));
        self.streams[which].messages = messages;
    }

    /// A stream has brought a gRPC message.
    pub(crate) fn take_message(&mut self, which: usize, kind: StreamKind, message: &[u8], now: Duration) {
        self.packets += 1;
        match kind {
            StreamKind::MessageStream => self.take_item(which, text::message(message), now),
            StreamKind::Subscribe => text::batch(message, |item| self.take_item(which, item, now)),
        }
    }

    fn take_item(&mut self, which: usize, item: StreamItem, now: Duration) {
        let stream = &mut self.streams[which];
        if !std::mem::replace(&mut stream.ready, true) {
            self.ready += 1;
        }
        let (stamp, id) = match item {
            StreamItem::Message(Some(stamp), id) => (stamp, id),
            StreamItem::Message(None, _) | StreamItem::CaughtUp => return,
            StreamItem::Gap => return self.fault(format!("stream {which} was told that something is missing")),
        };
        // The messages that showed that the streams were open may arrive late.
        if stamp.round != self.round {
            return;
        }
        let outcome = stream.checker.take(stamp.number, id);
        self.complete += usize::from(stream.checker.is_complete());
        self.count += 1;
        self.latencies.note(u64::try_from(now.as_micros()).unwrap_or(u64::MAX).saturating_sub(stamp.micros));
        self.last = now;
        if let Err(fault) = outcome {
            self.fault(format!("stream {which}: {fault}"));
        }
    }

    /// Something is wrong.
    pub(crate) fn fault(&mut self, words: String) {
        if self.faults.len() < SHOWN_FAULTS {
            self.faults.push(words);
        }
    }

    /// What is wrong so far.
    pub(crate) fn faults(&self) -> &[String] {
        &self.faults
    }

    /// Whether every stream has every message of this round.
    pub(crate) fn is_complete(&self) -> bool {
        self.complete == self.streams.len()
    }

    /// How many deliveries of this round are missing.
    pub(crate) fn missing(&self) -> u32 {
        self.streams.iter().map(|stream| stream.checker.missing()).sum()
    }

    /// Whether all streams brought the messages in the same order.
    pub(crate) fn has_one_order(&self) -> bool {
        let mut prints = self.streams.iter().map(|stream| stream.checker.fingerprint());
        let first = prints.next();
        prints.all(|print| Some(print) == first)
    }

    /// Changes whenever a waiting round has to look again.
    fn progress(&self) -> (usize, usize, usize) {
        (self.ready, self.complete, self.faults.len())
    }
}

/// The deliveries, for a thread that reads and one that waits. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct SharedDeliveries {
    deliveries: Arc<Mutex<Deliveries>>,
    changed: Sender<()>,
}

impl SharedDeliveries {
    /// `changed` hears of progress.
    pub(crate) fn new(deliveries: Arc<Mutex<Deliveries>>, changed: Sender<()>) -> SharedDeliveries {
        SharedDeliveries { deliveries, changed }
    }

    /// Changes the deliveries, and reports progress.
    pub(crate) fn update<T>(&self, change: impl FnOnce(&mut Deliveries) -> T) -> T {
        let mut deliveries = lock(&self.deliveries);
        let before = deliveries.progress();
        let value = change(&mut deliveries);
        if deliveries.progress() != before {
            let _ = self.changed.try_send(());
        }
        value
    }
}
