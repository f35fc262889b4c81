//! The sender threads, one for each open stream.
//!
//! A thread writes the frames of its mailbox: messages one by one, or many events at once. While it is idle the publisher
//! writes for it ([`Deliver`]). A frame that the publisher cannot write at once goes into the mailbox and wakes the thread. So
//! do the end of the session, the end of the server, and the C core (a write is over, or the client is gone).

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use futures_util::Sink;
use grpcio::{DuplexSink, GrpcSlice, WriteFlags};

use super::limits::RpcLimits;
use super::status::{CallContext, Failure};
use super::wire::{self, Batch, BatchFrame};
use crate::app::App;
use crate::app::refusal::Refusal;
use crate::base::clock::Stopwatch;
use crate::base::lock::lock;
use crate::base::threads::Thread;
use crate::base::wait::{ThreadWaker, within};
use crate::hub::{Deliver, Ended, Next, Offered, Subscription};
use crate::model::ids::Cursor;
use crate::proto::{CaughtUp, Gap, Happened, Heartbeat};
use crate::store::events::ReplayPage;

/// Enough for a sender thread that reads from the store. Only touched pages cost memory.
const STACK_BYTES: usize = 256 * 1024;

/// How long a stream waits before it reads again from a store that failed.
const STORE_RETRY: Duration = Duration::from_millis(200);

/// How often a wait checks whether to go on.
pub const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The open streams' threads.
#[derive(Default)]
pub struct Streams {
    threads: Mutex<HashMap<u64, Thread>>,
}

impl Streams {
    /// Starts the thread of a stream, by the number of its subscription.
    ///
    /// # Errors
    /// The system refuses another thread.
    pub fn start(&self, id: u64, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let thread = Thread::spawn_small(&format!("stream-{}", id % 10_000_000), STACK_BYTES, run)?;
        lock(&self.threads).insert(id, thread);
        Ok(())
    }

    /// Joins the threads that have ended.
    pub fn reap(&self) {
        let mut threads = lock(&self.threads);
        threads.retain(|_, thread| !thread.has_ended());
    }

    /// Waits until all threads have ended, at most for `limit`, and no longer once `hurry` returns true. Returns how many are
    /// left.
    pub fn join(&self, limit: Duration, hurry: &dyn Fn() -> bool) -> usize {
        let watch = Stopwatch::start();
        loop {
            self.reap();
            match watch.left_of(limit) {
                Some(left) if !self.is_empty() && !hurry() => thread::park_timeout(left.min(LOOK_AGAIN)),
                _ => return self.len(),
            }
        }
    }

    /// How many threads there are, including ended ones that were not reaped.
    pub fn len(&self) -> usize {
        lock(&self.threads).len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Both directions of a stream's call.
pub struct CallEnds {
    /// Where answers are written.
    pub sink: DuplexSink<GrpcSlice>,
    /// Where requests came from. Nothing more comes, but dropping it cancels the call.
    pub requests: Box<dyn Send>,
}

/// In which form events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamForm {
    /// Messages one by one (`MessageStream`).
    Messages,
    /// Events, many at once, with cursors, gaps and heartbeats (`Subscribe`).
    Events,
}

/// Where a stream is written: by its thread, or by the publisher while the thread is idle.
pub struct Outlet {
    ends: CallEnds,
    form: StreamForm,
    told_caught_up: bool,
    /// Since the last write.
    silence: Stopwatch,
    /// Woken when a write that was waited for is over, and when the client is gone.
    woken: Arc<ThreadWaker>,
    waker: Waker,
}

impl Outlet {
    /// An outlet of the calling thread.
    fn new(ends: CallEnds, form: StreamForm) -> Outlet {
        let woken = ThreadWaker::here();
        let waker = Waker::from(Arc::clone(&woken));
        Outlet { ends, form, told_caught_up: form == StreamForm::Messages, silence: Stopwatch::start(), woken, waker }
    }

    /// Whether the last write is over. If not, the waker is woken when it is.
    fn has_room(&mut self) -> Result<bool, ClientGone> {
        match Pin::new(&mut self.ends.sink).poll_ready(&mut Context::from_waker(&self.waker)) {
            Poll::Ready(Ok(())) => Ok(true),
            Poll::Ready(Err(_)) => Err(ClientGone),
            Poll::Pending => Ok(false),
        }
    }

    /// Hands a message to the C core, after [`Outlet::has_room`]. If `more` follow at once, they may leave together.
    fn start_write(&mut self, slice: GrpcSlice, more: bool) -> Result<(), ClientGone> {
        self.silence = Stopwatch::start();
        let flags = WriteFlags::default().buffer_hint(more);
        Pin::new(&mut self.ends.sink).start_send((slice, flags)).map_err(|_| ClientGone)
    }

    /// Ends the call with a status, on the stream's thread. A client that does not take it within `limit` is cut off.
    fn end(mut self, refusal: Refusal, call: &CallContext, limit: Duration) {
        let failure = Failure::from_error(&refusal.into(), call);
        let watch = Stopwatch::start();
        loop {
            match (self.has_room(), watch.left_of(limit)) {
                (Ok(true), _) => break,
                (Ok(false), Some(left)) => thread::park_timeout(left),
                // Dropping the sink cancels the call.
                (Ok(false), None) | (Err(ClientGone), _) => return,
            }
        }
        let _ = within(limit, self.ends.sink.fail(failure.status()));
    }
}

impl Deliver for Outlet {
    type Body = Arc<Batch>;

    fn offer(&mut self, frame: &BatchFrame, after: Cursor) -> Offered {
        match self.has_room() {
            Ok(true) => {}
            Ok(false) => return Offered::Busy,
            Err(ClientGone) => return Offered::Gone,
        }
        let slice = match self.form {
            StreamForm::Events => match frame.body.events_after(after) {
                Some(slice) => slice,
                None => return Offered::Taken,
            },
            StreamForm::Messages => {
                let mut each = frame.body.each_after(after);
                match (each.next(), each.next()) {
                    // A frame that holds nothing for this form counts as written.
                    (None, _) => return Offered::Taken,
                    (Some(slice), None) => slice,
                    // Several messages are several writes.
                    (Some(_), Some(_)) => return Offered::Busy,
                }
            }
        };
        match self.start_write(slice, false) {
            Ok(()) => Offered::Taken,
            Err(ClientGone) => Offered::Gone,
        }
    }
}

/// The client or its connection is gone.
struct ClientGone;

/// Why a stream ends.
enum StreamEnd {
    ClientGone,
    /// The client gets this as its status.
    Refused(Refusal),
}

impl From<ClientGone> for StreamEnd {
    fn from(_: ClientGone) -> StreamEnd {
        StreamEnd::ClientGone
    }
}

/// What follows a step.
enum NextStep {
    /// Another step.
    Now,
    /// Idle, at most for this long.
    Idle(Option<Duration>),
}

/// What a stream's thread works with.
pub struct Stream {
    /// Brings what is published.
    pub subscription: Subscription<Outlet>,
    /// Its store has what went past the mailbox.
    pub app: Arc<App>,
    /// The bounds.
    pub limits: RpcLimits,
    /// The call, for the log.
    pub call: CallContext,
}

impl Stream {
    /// Serves the stream to its end, on the calling thread.
    pub fn run(mut self, ends: CallEnds, form: StreamForm) {
        self.subscription.attach();
        if let Some((outlet, refusal)) = self.serve(Outlet::new(ends, form)) {
            outlet.end(refusal, &self.call, self.limits.stream_end);
        }
    }

    /// Writes until the stream ends. Returns the status for the client, if it is still there.
    fn serve(&mut self, mut outlet: Outlet) -> Option<(Outlet, Refusal)> {
        loop {
            match self.step(&mut outlet) {
                Ok(NextStep::Now) => {}
                Ok(NextStep::Idle(limit)) => outlet = self.subscription.rest(outlet, limit)?,
                Err(StreamEnd::Refused(refusal)) => return Some((outlet, refusal)),
                Err(StreamEnd::ClientGone) => return None,
            }
        }
    }

    fn step(&mut self, outlet: &mut Outlet) -> Result<NextStep, StreamEnd> {
        if !outlet.told_caught_up && self.subscription.has_caught_up() {
            outlet.told_caught_up = true;
            self.tell(outlet, Happened::CaughtUp(CaughtUp::new()))?;
        }
        match self.subscription.take_next() {
            Next::Frame(frame, after) => self.send(outlet, &frame, after)?,
            Next::Idle => {
                // It may have been woken for the end of the call. Asking is cheap and arms it again.
                if outlet.woken.take() {
                    outlet.has_room()?;
                }
                match (outlet.form, outlet.silence.left_of(self.limits.heartbeat)) {
                    (StreamForm::Messages, _) => return Ok(NextStep::Idle(None)),
                    (StreamForm::Events, Some(left)) => return Ok(NextStep::Idle(Some(left))),
                    (StreamForm::Events, None) => self.tell(outlet, Happened::Heartbeat(Heartbeat::new()))?,
                }
            }
            Next::Behind if self.subscription.rejoin() => {}
            Next::Behind => match self.read_page() {
                Ok(page) => self.send_page(outlet, page)?,
                Err(error) => {
                    log::warn!("a stream that fell behind could not read from the store yet: {error}");
                    outlet.has_room()?;
                    thread::park_timeout(STORE_RETRY);
                }
            },
            Next::Ended(Ended::Session) => return Err(StreamEnd::Refused(Refusal::SessionEnded)),
            Next::Ended(Ended::Draining) => return Err(StreamEnd::Refused(Refusal::Draining)),
        }
        Ok(NextStep::Now)
    }

    /// Writes what a frame holds after a cursor. Events leave together with those of further frames, up to a size.
    fn send(&mut self, outlet: &mut Outlet, frame: &BatchFrame, after: Cursor) -> Result<(), StreamEnd> {
        match outlet.form {
            StreamForm::Messages => {
                let mut each = frame.body.each_after(after).peekable();
                while let Some(slice) = each.next() {
                    self.write(outlet, slice, each.peek().is_some())?;
                }
                Ok(())
            }
            StreamForm::Events => {
                let mut batches: Vec<_> = frame.body.events_after(after).into_iter().collect();
                let mut bytes = batches.iter().map(GrpcSlice::len).sum::<usize>();
                // More frames may come while the last write goes on: they leave together.
                self.wait_for_room(outlet)?;
                while bytes < self.limits.batch_bytes {
                    let Next::Frame(frame, after) = self.subscription.take_next() else { break };
                    let batch = frame.body.events_after(after);
                    bytes += batch.as_ref().map_or(0, GrpcSlice::len);
                    batches.extend(batch);
                }
                if batches.is_empty() { Ok(()) } else { self.write(outlet, wire::joined(&batches), false) }
            }
        }
    }

    /// Writes a page of the store, and notes it as delivered.
    fn send_page(&mut self, outlet: &mut Outlet, page: StorePage) -> Result<(), StreamEnd> {
        if page.purged_through > self.subscription.cursor() {
            self.subscription.skip_to(page.purged_through);
            if outlet.form == StreamForm::Events {
                self.tell(outlet, Happened::Gap(Gap::new()))?;
            }
        }
        let after = self.subscription.cursor();
        match page.frame {
            Some(frame) => {
                self.subscription.skip_to(Cursor::behind(frame.last));
                self.send(outlet, &frame, after)
            }
            // Everything up to the last event was deleted.
            None => {
                self.subscription.skip_to(page.last_id);
                Ok(())
            }
        }
    }

    /// Writes an event that is not of the log.
    fn tell(&self, outlet: &mut Outlet, happened: Happened) -> Result<(), StreamEnd> {
        self.write(outlet, wire::event(self.subscription.cursor(), happened), false)
    }

    /// Writes once the last write is over, for which it waits within the limit. See [`Outlet::start_write`].
    fn write(&self, outlet: &mut Outlet, slice: GrpcSlice, more: bool) -> Result<(), StreamEnd> {
        self.wait_for_room(outlet)?;
        Ok(outlet.start_write(slice, more)?)
    }

    /// Waits until the last write is over.
    fn wait_for_room(&self, outlet: &mut Outlet) -> Result<(), StreamEnd> {
        let watch = Stopwatch::start();
        loop {
            let has_room = outlet.has_room()?;
            if self.subscription.is_revoked() {
                return Err(StreamEnd::Refused(Refusal::SessionEnded));
            }
            match watch.left_of(self.limits.stream_stall) {
                _ if has_room => return Ok(()),
                Some(left) => thread::park_timeout(left),
                None => return Err(StreamEnd::Refused(Refusal::StreamStalled)),
            }
        }
    }

    /// The next page after the cursor.
    fn read_page(&self) -> Result<StorePage, String> {
        let (cursor, count) = (self.subscription.cursor(), self.limits.catch_up_page);
        let page = self.app.store.replay_page(cursor, count).map_err(|e| e.to_string())?;
        let ReplayPage { events, last_id, purged_through } = page;
        Ok(StorePage { frame: Batch::frame(events), last_id, purged_through })
    }
}

/// A page of the store.
struct StorePage {
    frame: Option<BatchFrame>,
    /// Behind the last event.
    last_id: Cursor,
    /// Up to where nothing is kept.
    purged_through: Cursor,
}
