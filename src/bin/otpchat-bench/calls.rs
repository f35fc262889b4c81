//! Calls with one answer, many at once: at a rate, or as fast as they are answered.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::event::PollFlags;

use crate::connection::{Came, Connection, READ_BYTES, wait};
use crate::http2::{self, Headers, Messages};
use crate::latency::Latencies;
use crate::{BenchError, Stop};
use grpc_otp_chat::base::clock::Stopwatch;

/// How often to look whether to stop.
const LOOK: Duration = Duration::from_millis(100);
/// What one connection takes at once, whatever is asked for.
const MOST_PER_CONNECTION: usize = 100;

/// When the next call goes out.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// So many a second, whether answered or not (within [`Work::in_flight`]).
    Rate(f64),
    /// As soon as there is room in [`Work::in_flight`].
    AsAnswered,
}

/// What is to be done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work {
    /// How many calls.
    pub(crate) count: u32,
    /// No call goes out before the one that is so many before it has been answered.
    pub(crate) in_flight: u32,
    /// When they go out.
    pub(crate) pace: Pace,
    /// How long it may take in all.
    pub(crate) limit: Duration,
}

/// How it went.
#[derive(Clone, Debug, Default)]
pub(crate) struct Done {
    /// Calls that went well.
    pub(crate) good: u32,
    /// Calls that failed.
    pub(crate) bad: u32,
    /// From each call to its answer.
    pub(crate) latencies: Latencies,
    /// From the first call to the last answer.
    pub(crate) took: Duration,
}

/// Connections for calls, used in turn.
#[derive(Debug)]
pub(super) struct Calls {
    connections: Vec<Connection>,
    /// Of each connection, since the callers differ.
    headers: Vec<Headers>,
    buffer: Vec<u8>,
}

/// A call that has not been answered.
struct Open {
    number: u32,
    begun: Duration,
    messages: Messages,
    good: bool,
}

impl Calls {
    /// Connects once for each of `headers`.
    ///
    /// # Errors
    /// The server cannot be reached.
    pub(super) fn open(address: SocketAddr, headers: Vec<Headers>) -> Result<Calls, BenchError> {
        let connect = |_: &Headers| Connection::open(address, http2::LARGEST_WINDOW);
        let connections = headers.iter().map(connect).collect::<io::Result<_>>().map_err(BenchError::Connection)?;
        Ok(Calls { connections, headers, buffer: vec![0; READ_BYTES] })
    }

    /// Does `work`. `request` makes each call's message from its number and the time at which it is due by `watch`; `is_good`
    /// judges an answer.
    ///
    /// # Errors
    /// The connection has gone, the time is over, or somebody wants it stopped.
    pub(super) fn run(
        &mut self,
        work: &Work,
        watch: &Stopwatch,
        stop: &Stop,
        mut request: impl FnMut(u32, Duration) -> Vec<u8>,
        mut is_good: impl FnMut(&[u8]) -> bool,
    ) -> Result<Done, BenchError> {
        let begun = watch.elapsed();
        let mut done = Done::default();
        let mut open: Vec<HashMap<u32, Open>> = self.connections.iter().map(|_| HashMap::new()).collect();
        let mut unanswered = BTreeSet::new();
        let (mut next, mut out) = (0, Vec::new());
        while done.good + done.bad < work.count {
            stop.check()?;
            let mut now = watch.elapsed();
            if now > begun + work.limit {
                return Err(BenchError::TooSlow { what: "calls", missing: work.count - done.good - done.bad });
            }
            let mut full = false;
            let mut pause = LOOK;
            while next < work.count && !full {
                let oldest = unanswered.first().copied().unwrap_or(next);
                if next >= oldest + work.in_flight {
                    break;
                }
                let due = match work.pace {
                    Pace::Rate(rate) => begun + Duration::from_secs_f64(f64::from(next) / rate),
                    Pace::AsAnswered => now,
                };
                if due > now {
                    pause = pause.min(due - now);
                    break;
                }
                let which = next as usize % self.connections.len();
                if open[which].len() >= MOST_PER_CONNECTION {
                    break;
                }
                let message = request(next, due);
                out.clear();
                match self.connections[which].call(&mut out, &self.headers[which], &message) {
                    Some(stream) => {
                        self.connections[which].write(&out).map_err(BenchError::Connection)?;
                        let call = Open { number: next, begun: due, messages: Messages::default(), good: false };
                        open[which].insert(stream, call);
                        unanswered.insert(next);
                        next += 1;
                    }
                    None => full = true,
                }
                now = watch.elapsed();
            }
            if !wait(&self.connections, PollFlags::IN, pause).map_err(BenchError::Connection)? {
                continue;
            }
            for (connection, open) in self.connections.iter_mut().zip(&mut open) {
                let each = |came: Came<'_>| match came {
                    Came::Data(stream, data) => {
                        if let Some(call) = open.get_mut(&stream) {
                            call.messages.take(data, |answer| call.good = is_good(answer));
                        }
                    }
                    Came::End(stream, _) => {
                        let Some(call) = open.remove(&stream) else { return };
                        let took = watch.elapsed().saturating_sub(call.begun);
                        done.latencies.note(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
                        done.good += u32::from(call.good);
                        done.bad += u32::from(!call.good);
                        unanswered.remove(&call.number);
                    }
                };
                connection.read(&mut self.buffer, each).map_err(BenchError::Connection)?;
            }
        }
        done.took = watch.elapsed().saturating_sub(begun);
        Ok(done)
    }
}
