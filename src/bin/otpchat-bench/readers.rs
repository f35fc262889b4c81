//! The streams: all connections that listen, read by one thread.

use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

use crate::check::Checker;
use crate::connection::{Came, Connection, READ_BYTES, timespec};
use crate::http2::{Headers, Messages};
use crate::latency::Latencies;
use crate::ordinary::Ordinary;
use crate::text::{self, Found};
use crate::{BenchError, Reader, Stop, StreamKind};
use grpc_otp_chat::base::clock::Stopwatch;
use grpc_otp_chat::base::lock::lock;
use grpc_otp_chat::base::threads::Thread;
use grpc_otp_chat::security::secret::SecretText;

/// How often to look whether to stop.
const LOOK: Duration = Duration::from_millis(100);
/// A fault is shown; a thousand of them are not.
const SHOWN_FAULTS: usize = 5;

/// Who listens where.
#[derive(Clone, Debug)]
pub(super) struct Listening {
    /// The server.
    pub(super) address: SocketAddr,
    /// Which call.
    pub(super) kind: StreamKind,
    /// How many connections.
    pub(super) connections: u32,
    /// How many streams in all.
    pub(super) streams: u32,
    /// What each stream may have under way to us, in bytes.
    pub(super) window: u32,
    /// Whose the connections are, in turn; `None` where nobody logs in.
    pub(super) tokens: Vec<Option<SecretText>>,
    /// The server as it is named.
    pub(super) authority: String,
    /// Who reads.
    pub(super) reader: Reader,
}

impl Listening {
    /// The streams of a connection: as many on each as possible.
    pub(super) fn streams_of(&self, connection: u32) -> Range<usize> {
        let bound = |n: u32| n as usize * self.streams as usize / self.connections as usize;
        bound(connection)..bound(connection + 1)
    }
}

/// What the streams have brought.
#[derive(Debug, Default)]
pub(super) struct State {
    round: u32,
    streams: Vec<Stream>,
    /// Streams that have brought anything at all.
    pub(super) ready: usize,
    /// Streams to which everything of this round has come.
    complete: usize,
    /// Messages of this round, on all streams.
    pub(super) deliveries: u64,
    /// gRPC messages that they came in.
    pub(super) packets: u64,
    /// From the time that a text says to its arrival, on all streams.
    pub(super) latencies: Latencies,
    /// When the last of them came, by the stopwatch.
    pub(super) last: Duration,
    faults: Vec<String>,
}

#[derive(Debug, Default)]
struct Stream {
    messages: Messages,
    ready: bool,
    checker: Checker,
}

/// The open streams. Dropping it hangs up on all.
#[derive(Debug)]
pub(super) struct Readers {
    state: Arc<Mutex<State>>,
    changed: Receiver<()>,
    over: Arc<AtomicBool>,
    // Joined when `over` was said, by `drop`.
    _thread: Option<Thread>,
    _ordinary: Option<Ordinary>,
}

struct Reactor {
    connections: Vec<Option<Connection>>,
    listening: Listening,
    state: Arc<Mutex<State>>,
    changed: Sender<()>,
    over: Arc<AtomicBool>,
    watch: Stopwatch,
}

impl Readers {
    /// Opens the streams. That they are open is known when something came.
    ///
    /// # Errors
    /// The server cannot be reached.
    pub(super) fn open(listening: &Listening, watch: Stopwatch) -> Result<Readers, BenchError> {
        let mut state = State::default();
        state.streams.resize_with(listening.streams as usize, Stream::default);
        let state = Arc::new(Mutex::new(state));
        let over = Arc::new(AtomicBool::new(false));
        let (changed_tx, changed) = bounded(1);
        let mut readers = Readers { state, changed, over, _thread: None, _ordinary: None };
        if listening.reader == Reader::Grpcio {
            readers._ordinary = Some(Ordinary::open(listening, &readers.state, &changed_tx, watch)?);
            return Ok(readers);
        }
        let reactor = Reactor {
            connections: connect(listening)?.into_iter().map(Some).collect(),
            listening: listening.clone(),
            state: Arc::clone(&readers.state),
            changed: changed_tx,
            over: Arc::clone(&readers.over),
            watch,
        };
        let thread = Thread::spawn("bench-readers", move || reactor.run()).map_err(BenchError::Connection)?;
        readers._thread = Some(thread);
        Ok(readers)
    }

    /// What has come so far.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Begins a round of `count` messages, at most `in_flight` under way at once.
    pub(super) fn begin(&self, round: u32, count: u32, in_flight: u32) {
        let mut state = self.state();
        state.round = round;
        (state.complete, state.deliveries, state.packets) = (0, 0, 0);
        state.latencies = Latencies::default();
        for stream in &mut state.streams {
            stream.checker = Checker::new(count, in_flight);
        }
    }

    /// Waits until `enough` is so.
    ///
    /// Returns whether it is, within `limit`.
    ///
    /// # Errors
    /// A stream got something wrong, or has ended; or somebody wants it stopped.
    pub(super) fn wait(
        &self,
        limit: Duration,
        stop: &Stop,
        enough: impl Fn(&State) -> bool,
    ) -> Result<bool, BenchError> {
        let watch = Stopwatch::start();
        loop {
            stop.check()?;
            {
                let state = self.state();
                if !state.faults.is_empty() {
                    return Err(BenchError::Faults(state.faults.clone()));
                }
                if enough(&state) {
                    return Ok(true);
                }
            }
            let Some(left) = watch.left_of(limit) else { return Ok(false) };
            let _ = self.changed.recv_timeout(left.min(LOOK));
        }
    }

    /// Waits until every stream has every message of this round, in one order.
    ///
    /// # Errors
    /// They have not, within `limit`; and as [`Readers::wait`].
    pub(super) fn finish(&self, limit: Duration, stop: &Stop) -> Result<(), BenchError> {
        let all = self.wait(limit, stop, |state| state.complete == state.streams.len())?;
        let state = self.state();
        if !all {
            let missing = state.streams.iter().map(|stream| stream.checker.missing()).sum();
            return Err(BenchError::TooSlow { what: "deliveries", missing });
        }
        let mut prints = state.streams.iter().map(|stream| stream.checker.fingerprint());
        let first = prints.next();
        if prints.any(|print| Some(print) != first) {
            return Err(BenchError::Faults(vec!["two streams got the messages in different orders".to_owned()]));
        }
        Ok(())
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
    }
}

/// Opens streams that nobody ever reads from.
///
/// # Errors
/// The server cannot be reached.
pub(super) fn open_unread(listening: &Listening) -> Result<Vec<Connection>, BenchError> {
    connect(listening)
}

fn connect(listening: &Listening) -> Result<Vec<Connection>, BenchError> {
    let headers = |token: &Option<SecretText>| {
        Headers::new(listening.kind.method(), &listening.authority, token.as_ref().map(SecretText::expose))
    };
    let headers: Vec<_> = listening.tokens.iter().map(headers).collect();
    let mut out = Vec::new();
    let open = |n: u32| {
        let mut connection = Connection::open(listening.address, listening.window)?;
        out.clear();
        for _ in listening.streams_of(n) {
            connection.call(&mut out, &headers[n as usize % headers.len()], listening.kind.request());
        }
        connection.write(&out)?;
        Ok(connection)
    };
    (0..listening.connections).map(open).collect::<io::Result<_>>().map_err(BenchError::Connection)
}

impl Reactor {
    fn run(mut self) {
        if let Err(error) = self.read_on() {
            lock(&self.state).faults.push(error.to_string());
        }
    }

    fn read_on(&mut self) -> io::Result<()> {
        let poll = epoll::create(CreateFlags::CLOEXEC)?;
        for (n, connection) in self.connections.iter().flatten().enumerate() {
            epoll::add(&poll, connection, EventData::new_u64(n as u64), EventFlags::IN)?;
        }
        let mut buffer = vec![0; READ_BYTES];
        let mut events = Vec::with_capacity(256);
        while !self.over.load(Ordering::SeqCst) {
            events.clear();
            match epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), Some(&timespec(LOOK))) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let state = Arc::clone(&self.state);
            let mut state = lock(&state);
            let before = state.progress();
            for event in &events {
                let which = usize::try_from(event.data.u64()).unwrap_or(usize::MAX);
                self.read(which, &mut buffer, &mut state);
            }
            if state.progress() != before {
                let _ = self.changed.try_send(());
            }
        }
        Ok(())
    }

    fn read(&mut self, which: usize, buffer: &mut [u8], state: &mut State) {
        let Some(slot) = self.connections.get_mut(which) else { return };
        let Some(connection) = slot else { return };
        let kind = self.listening.kind;
        let first = u32::try_from(which).map_or(0, |which| self.listening.streams_of(which).start);
        let now = self.watch.elapsed();
        let outcome = connection.read(buffer, |came| match came {
            Came::Data(stream, data) => state.take(first + place(stream), kind, data, now),
            Came::End(stream, code) => {
                let why = code.map_or_else(String::new, |code| format!(" (HTTP/2 code {code})"));
                state.fault(format!("stream {} was ended by the server{why}", first + place(stream)));
            }
        });
        if let Err(error) = outcome {
            state.fault(format!("a connection broke: {error}"));
            *slot = None;
        }
    }
}

/// The how-manieth of its connection a stream is: clients give odd numbers from 1 on.
fn place(stream: u32) -> usize {
    stream as usize / 2
}

impl State {
    fn take(&mut self, which: usize, kind: StreamKind, data: &[u8], now: Duration) {
        let Some(stream) = self.streams.get_mut(which) else { return };
        let mut messages = std::mem::take(&mut stream.messages);
        messages.take(data, |message| self.take_message(which, kind, message, now));
        self.streams[which].messages = messages;
    }

    /// A stream has brought a gRPC message.
    pub(super) fn take_message(&mut self, which: usize, kind: StreamKind, message: &[u8], now: Duration) {
        self.packets += 1;
        match kind {
            StreamKind::MessageStream => self.found(which, text::message(message), now),
            StreamKind::Subscribe => text::batch(message, |found| self.found(which, found, now)),
        }
    }

    /// Changes when somebody who waits wants to know.
    pub(super) fn progress(&self) -> (usize, usize, usize) {
        (self.ready, self.complete, self.faults.len())
    }

    fn found(&mut self, which: usize, found: Found, now: Duration) {
        let stream = &mut self.streams[which];
        if !std::mem::replace(&mut stream.ready, true) {
            self.ready += 1;
        }
        let (mark, id) = match found {
            Found::Message(Some(mark), id) => (mark, id),
            Found::Message(None, _) | Found::CaughtUp => return,
            Found::Gap => return self.fault(format!("stream {which} was told that something is missing")),
        };
        // What tells that the streams are open may come late.
        if mark.round != self.round {
            return;
        }
        let outcome = stream.checker.take(mark.number, id);
        self.complete += usize::from(stream.checker.is_complete());
        self.deliveries += 1;
        self.latencies.note(u64::try_from(now.as_micros()).unwrap_or(u64::MAX).saturating_sub(mark.micros));
        self.last = now;
        if let Err(fault) = outcome {
            self.fault(format!("stream {which}: {fault}"));
        }
    }

    /// Something is wrong.
    pub(super) fn fault(&mut self, words: String) {
        if self.faults.len() < SHOWN_FAULTS {
            self.faults.push(words);
        }
    }
}
