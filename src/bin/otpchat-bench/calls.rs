//! Calls with one answer, many at once: at a rate, or as fast as they are answered.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::event::PollFlags;

use crate::connection::{Connection, READ_BYTES, StreamEvent, wait};
use crate::error::BenchError;
use crate::http2::{self, Headers, MessageReader};
use crate::latency::Latencies;
use crate::stop::Stop;
use grpc_otp_chat::base::clock::Stopwatch;

/// How often to look whether to stop.
const STOP_CHECK_EVERY: Duration = Duration::from_millis(100);
/// The most open calls of one connection, whatever is asked for.
const MOST_PER_CONNECTION: usize = 100;

/// When the next call goes out.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// So many a second, whether answered or not (within [`Work::in_flight`]).
    Rate(f64),
    /// As soon as there is room in [`Work::in_flight`].
    AsAnswered,
}

/// The calls to make.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work {
    /// How many calls.
    pub(crate) count: u32,
    /// The most unanswered calls: a call waits for the answer to the call this far before it.
    pub(crate) in_flight: u32,
    /// When they go out.
    pub(crate) pace: Pace,
    /// How long all of it may take.
    pub(crate) limit: Duration,
}

/// How the calls went.
#[derive(Clone, Debug, Default)]
pub(crate) struct CallResults {
    /// Calls that succeeded.
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
pub(crate) struct Calls {
    connections: Vec<Connection>,
    /// One a connection, since each has a caller of its own.
    headers: Vec<Headers>,
    buffer: Vec<u8>,
}

/// A call that has not been answered.
struct OpenCall {
    number: u32,
    begun: Duration,
    messages: MessageReader,
    good: bool,
}

impl Calls {
    /// Connects once for each of `headers`.
    ///
    /// # Errors
    /// The server cannot be reached.
    pub(crate) fn open(address: SocketAddr, headers: Vec<Headers>) -> Result<Calls, BenchError> {
        let connect = |_: &Headers| Connection::open(address, http2::LARGEST_WINDOW);
        let connections = headers.iter().map(connect).collect::<io::Result<_>>().map_err(BenchError::Connection)?;
        Ok(Calls { connections, headers, buffer: vec![0; READ_BYTES] })
    }

    /// Does `work`. `request` makes each call's message from its number and the time at which it is due by `watch`; `is_good`
    /// judges an answer.
    ///
    /// # Errors
    /// The connection broke, the time is over, or the user stopped the program.
    pub(crate) fn run(
        &mut self,
        work: &Work,
        watch: &Stopwatch,
        stop: &Stop,
        mut request: impl FnMut(u32, Duration) -> Vec<u8>,
        mut is_good: impl FnMut(&[u8]) -> bool,
    ) -> Result<CallResults, BenchError> {
        let mut run = Run::new(self, work, watch);
        while run.answered() < work.count {
            stop.check()?;
            if watch.elapsed() > run.begun + work.limit {
                return Err(BenchError::TooSlow { what: "calls", missing: work.count - run.answered() });
            }
            let pause = run.send_due(&mut request)?;
            if wait(&run.calls.connections, PollFlags::IN, pause).map_err(BenchError::Connection)? {
                run.take_answers(&mut is_good)?;
            }
        }
        run.results.took = watch.elapsed().saturating_sub(run.begun);
        Ok(run.results)
    }
}

/// Work on the way.
struct Run<'a> {
    calls: &'a mut Calls,
    work: &'a Work,
    watch: &'a Stopwatch,
    begun: Duration,
    results: CallResults,
    /// The number of the next call.
    next: u32,
    unanswered: BTreeSet<u32>,
    /// The calls of each connection by their streams.
    open: Vec<HashMap<u32, OpenCall>>,
    out: Vec<u8>,
}

impl<'a> Run<'a> {
    fn new(calls: &'a mut Calls, work: &'a Work, watch: &'a Stopwatch) -> Run<'a> {
        let open = calls.connections.iter().map(|_| HashMap::new()).collect();
        let (results, unanswered) = (CallResults::default(), BTreeSet::new());
        Run { calls, work, watch, begun: watch.elapsed(), results, next: 0, unanswered, open, out: Vec::new() }
    }

    fn answered(&self) -> u32 {
        self.results.good + self.results.bad
    }

    /// Sends the calls that are due and allowed; returns how long to wait for answers before looking again.
    fn send_due(&mut self, request: &mut impl FnMut(u32, Duration) -> Vec<u8>) -> Result<Duration, BenchError> {
        while self.next < self.work.count {
            let oldest = self.unanswered.first().copied().unwrap_or(self.next);
            if self.next >= oldest + self.work.in_flight {
                break;
            }
            let now = self.watch.elapsed();
            let due = match self.work.pace {
                Pace::Rate(rate) => self.begun + Duration::from_secs_f64(f64::from(self.next) / rate),
                Pace::AsAnswered => now,
            };
            if due > now {
                return Ok(STOP_CHECK_EVERY.min(due - now));
            }
            let which = self.next as usize % self.calls.connections.len();
            if self.open[which].len() >= MOST_PER_CONNECTION {
                break;
            }
            let message = request(self.next, due);
            self.out.clear();
            let connection = &mut self.calls.connections[which];
            let Some(stream) = connection.call(&mut self.out, &self.calls.headers[which], &message) else { break };
            connection.write(&self.out).map_err(BenchError::Connection)?;
            let call = OpenCall { number: self.next, begun: due, messages: MessageReader::default(), good: false };
            self.open[which].insert(stream, call);
            self.unanswered.insert(self.next);
            self.next += 1;
        }
        Ok(STOP_CHECK_EVERY)
    }

    fn take_answers(&mut self, is_good: &mut impl FnMut(&[u8]) -> bool) -> Result<(), BenchError> {
        let Run { calls, watch, results, unanswered, open, .. } = self;
        for (connection, open) in calls.connections.iter_mut().zip(open) {
            let each = |event: StreamEvent<'_>| match event {
                StreamEvent::Data(stream, data) => {
                    if let Some(call) = open.get_mut(&stream) {
                        call.messages.take(data, |answer| call.good = is_good(answer));
                    }
                }
                StreamEvent::End(stream, _) => {
                    let Some(call) = open.remove(&stream) else { return };
                    let took = watch.elapsed().saturating_sub(call.begun);
                    results.latencies.note(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
                    results.good += u32::from(call.good);
                    results.bad += u32::from(!call.good);
                    unanswered.remove(&call.number);
                }
            };
            connection.read(&mut calls.buffer, each).map_err(BenchError::Connection)?;
        }
        Ok(())
    }
}
