//! Reads the streams with as little work as possible: one thread for all connections.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

use crate::connection::{Connection, READ_BYTES, StreamEvent, timespec};
use crate::deliveries::{Deliveries, SharedDeliveries};
use crate::error::BenchError;
use crate::http2::Headers;
use crate::plan::StreamPlan;
use grpc_otp_chat::base::clock::Stopwatch;
use grpc_otp_chat::base::threads::Thread;
use grpc_otp_chat::security::secret::SecretText;

/// How often it looks whether to end.
const END_CHECK_EVERY: Duration = Duration::from_millis(100);

/// Open streams and the thread that reads them. Dropping it closes them.
#[derive(Debug)]
pub(crate) struct LightReader {
    end: Arc<AtomicBool>,
    // Joined by its drop, after `end` was set.
    _thread: Thread,
}

struct Reactor {
    connections: Vec<Option<Connection>>,
    plan: StreamPlan,
    deliveries: SharedDeliveries,
    end: Arc<AtomicBool>,
    watch: Stopwatch,
}

impl LightReader {
    /// Opens the streams.
    ///
    /// # Errors
    /// The server cannot be reached.
    pub(crate) fn open(
        plan: &StreamPlan,
        deliveries: SharedDeliveries,
        watch: Stopwatch,
    ) -> Result<LightReader, BenchError> {
        let end = Arc::new(AtomicBool::new(false));
        let reactor = Reactor {
            connections: open_streams(plan)?.into_iter().map(Some).collect(),
            plan: plan.clone(),
            deliveries,
            end: Arc::clone(&end),
            watch,
        };
        let thread = Thread::spawn("bench-readers", move || reactor.run()).map_err(BenchError::Connection)?;
        Ok(LightReader { end, _thread: thread })
    }
}

impl Drop for LightReader {
    fn drop(&mut self) {
        self.end.store(true, Ordering::SeqCst);
    }
}

/// Opens streams without reading from them.
///
/// # Errors
/// The server cannot be reached.
pub(crate) fn open_streams(plan: &StreamPlan) -> Result<Vec<Connection>, BenchError> {
    let mut out = Vec::new();
    let open = |n: u32| {
        let token = plan.token_of(n).map(SecretText::expose);
        let headers = Headers::new(plan.kind.method(), &plan.authority, token);
        let mut connection = Connection::open(plan.address, plan.window)?;
        out.clear();
        for _ in plan.streams_of(n) {
            connection.call(&mut out, &headers, plan.kind.request());
        }
        connection.write(&out)?;
        Ok(connection)
    };
    (0..plan.connections).map(open).collect::<io::Result<_>>().map_err(BenchError::Connection)
}

impl Reactor {
    fn run(mut self) {
        if let Err(error) = self.read_all() {
            self.deliveries.update(|deliveries| deliveries.fault(error.to_string()));
        }
    }

    fn read_all(&mut self) -> io::Result<()> {
        let poll = epoll::create(CreateFlags::CLOEXEC)?;
        for (n, connection) in self.connections.iter().flatten().enumerate() {
            epoll::add(&poll, connection, EventData::new_u64(n as u64), EventFlags::IN)?;
        }
        let mut buffer = vec![0; READ_BYTES];
        let mut events = Vec::with_capacity(256);
        let shared = self.deliveries.clone();
        while !self.end.load(Ordering::SeqCst) {
            events.clear();
            let limit = timespec(END_CHECK_EVERY);
            match epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), Some(&limit)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            shared.update(|deliveries| {
                for event in &events {
                    let which = usize::try_from(event.data.u64()).unwrap_or(usize::MAX);
                    self.read(which, &mut buffer, deliveries);
                }
            });
        }
        Ok(())
    }

    fn read(&mut self, which: usize, buffer: &mut [u8], deliveries: &mut Deliveries) {
        let Some(slot) = self.connections.get_mut(which) else { return };
        let Some(connection) = slot else { return };
        let kind = self.plan.kind;
        let first = u32::try_from(which).map_or(0, |which| self.plan.streams_of(which).start);
        let now = self.watch.elapsed();
        let outcome = connection.read(buffer, |event| match event {
            StreamEvent::Data(stream, data) => deliveries.take_data(first + index_of(stream), kind, data, now),
            StreamEvent::End(stream, code) => {
                let why = code.map_or_else(String::new, |code| format!(" (HTTP/2 code {code})"));
                deliveries.fault(format!("stream {} was ended by the server{why}", first + index_of(stream)));
            }
        });
        if let Err(error) = outcome {
            deliveries.fault(format!("a connection broke: {error}"));
            *slot = None;
        }
    }
}

/// Index of the stream within its connection: a client numbers its streams 1, 3, 5 and so on.
fn index_of(stream: u32) -> usize {
    stream as usize / 2
}
