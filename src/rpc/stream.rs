//! The sender threads, one for each open stream.
//!
//! A thread takes what its mailbox holds and writes it: messages one by one, or many events at once. It rests when there is
//! nothing to do, and then the publisher writes for it ([`Deliver`]); what the publisher cannot write at once is in the
//! mailbox, and wakes it. So do the end of the session and of the server, and the C core (a write that it waits for is over,
//! or the client has gone).

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
use super::status::{Call, Failure};
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

/// Enough for a sender thread, reading from SQLite included; only what is touched costs memory.
const STACK_BYTES: usize = 256 * 1024;

/// How long a stream waits before it asks the store again that could not be read.
const STORE_RETRY: Duration = Duration::from_millis(200);

/// How often a wait looks whether it should go on.
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

    /// Waits until all have ended, at most `limit` together, and no longer once `hurry` says so. Returns how many have not.
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

    /// How many threads there are, ended ones that were not reaped included.
    pub fn len(&self) -> usize {
        lock(&self.threads).len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Both directions of a stream's call.
pub struct Line {
    /// Where the answers go.
    pub sink: DuplexSink<GrpcSlice>,
    /// Nothing more comes from there, but dropping it cancels the call.
    pub requests: Box<dyn Send>,
}

/// In which form messages go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One by one, as `MessageStream` has them.
    Messages,
    /// As events, many at once, with cursors, gaps and heartbeats, as `Subscribe` has them.
    Events,
}

/// Where a stream is written to: by its thread, or by the publisher while the thread rests.
pub struct Outlet {
    line: Line,
    form: Form,
    told_caught_up: bool,
    /// Since something was written.
    silence: Stopwatch,
    /// Rings when a write is over that somebody waits for, and when the client has gone.
    bell: Arc<ThreadWaker>,
    waker: Waker,
}

impl Outlet {
    /// For the calling thread, the stream's.
    fn new(line: Line, form: Form) -> Outlet {
        let bell = ThreadWaker::here();
        let waker = Waker::from(Arc::clone(&bell));
        Outlet { line, form, told_caught_up: form == Form::Messages, silence: Stopwatch::start(), bell, waker }
    }

    /// Whether the write before is over. If not, the bell rings then.
    fn has_room(&mut self) -> Result<bool, ClientGone> {
        match Pin::new(&mut self.line.sink).poll_ready(&mut Context::from_waker(&self.waker)) {
            Poll::Ready(Ok(())) => Ok(true),
            Poll::Ready(Err(_)) => Err(ClientGone),
            Poll::Pending => Ok(false),
        }
    }

    /// Hands a message to the C core, which has room for it. If `more` follow at once, they may leave together.
    fn start_write(&mut self, slice: GrpcSlice, more: bool) -> Result<(), ClientGone> {
        self.silence = Stopwatch::start();
        let flags = WriteFlags::default().buffer_hint(more);
        Pin::new(&mut self.line.sink).start_send((slice, flags)).map_err(|_| ClientGone)
    }

    /// Ends the call with a status, on the stream's thread. A client that does not even take that is cut off.
    fn end(mut self, refusal: Refusal, call: &Call, limit: Duration) {
        let failure = Failure::of(&refusal.into(), call);
        let watch = Stopwatch::start();
        loop {
            match (self.has_room(), watch.left_of(limit)) {
                (Ok(true), _) => break,
                (Ok(false), Some(left)) => thread::park_timeout(left),
                // Dropping the sink cancels the call.
                (Ok(false), None) | (Err(ClientGone), _) => return,
            }
        }
        let _ = within(limit, self.line.sink.fail(failure.status()));
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
            Form::Events => frame.body.events_after(after),
            Form::Messages => {
                let mut each = frame.body.each_after(after);
                match (each.next(), each.next()) {
                    (Some(slice), None) => slice,
                    // Several are several writes.
                    _ => return Offered::Busy,
                }
            }
        };
        match self.start_write(slice, false) {
            Ok(()) => Offered::Taken,
            Err(ClientGone) => Offered::Gone,
        }
    }
}

/// The client went, or its connection did.
struct ClientGone;

/// Why a stream is over.
enum Over {
    ClientGone,
    /// To be told the client.
    Refused(Refusal),
}

impl From<ClientGone> for Over {
    fn from(_: ClientGone) -> Over {
        Over::ClientGone
    }
}

/// What comes after a step.
enum After {
    /// The next one.
    Step,
    /// Nothing is to be done, for so long at most.
    Rest(Option<Duration>),
}

/// What a stream's thread works with.
pub struct Stream {
    /// Where the messages come from.
    pub subscription: Subscription<Outlet>,
    /// Where those come from that went past the mailbox.
    pub app: Arc<App>,
    /// The bounds.
    pub limits: RpcLimits,
    /// Whose it is, for the log.
    pub call: Call,
}

impl Stream {
    /// Serves the stream to its end, on the calling thread.
    pub fn run(mut self, line: Line, form: Form) {
        self.subscription.attach();
        if let Some((outlet, refusal)) = self.serve(Outlet::new(line, form)) {
            outlet.end(refusal, &self.call, self.limits.stream_end);
        }
    }

    /// Writes until the stream is over. Returns what is to be told the client, if he is still there.
    fn serve(&mut self, mut outlet: Outlet) -> Option<(Outlet, Refusal)> {
        loop {
            match self.step(&mut outlet) {
                Ok(After::Step) => {}
                Ok(After::Rest(limit)) => outlet = self.subscription.rest(outlet, limit)?,
                Err(Over::Refused(refusal)) => return Some((outlet, refusal)),
                Err(Over::ClientGone) => return None,
            }
        }
    }

    fn step(&mut self, outlet: &mut Outlet) -> Result<After, Over> {
        if !outlet.told_caught_up && self.subscription.has_caught_up() {
            outlet.told_caught_up = true;
            self.tell(outlet, Happened::CaughtUp(CaughtUp::new()))?;
        }
        match self.subscription.take_next() {
            Next::Frame(frame, after) => self.send(outlet, &frame, after)?,
            Next::Idle => {
                // The bell may have rung for the end of the call; to ask is cheap, and sets the bell anew.
                if outlet.bell.take() {
                    outlet.has_room()?;
                }
                match (outlet.form, outlet.silence.left_of(self.limits.heartbeat)) {
                    (Form::Messages, _) => return Ok(After::Rest(None)),
                    (Form::Events, Some(left)) => return Ok(After::Rest(Some(left))),
                    (Form::Events, None) => self.tell(outlet, Happened::Heartbeat(Heartbeat::new()))?,
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
            Next::Ended(Ended::Session) => return Err(Over::Refused(Refusal::SessionEnded)),
            Next::Ended(Ended::Draining) => return Err(Over::Refused(Refusal::Draining)),
        }
        Ok(After::Step)
    }

    /// Sends what is in a frame after a cursor; as events together with what else is waiting, up to a size.
    fn send(&mut self, outlet: &mut Outlet, frame: &BatchFrame, after: Cursor) -> Result<(), Over> {
        match outlet.form {
            Form::Messages => {
                let mut each = frame.body.each_after(after).peekable();
                while let Some(slice) = each.next() {
                    self.write(outlet, slice, each.peek().is_some())?;
                }
                Ok(())
            }
            Form::Events => {
                let mut batches = vec![frame.body.events_after(after)];
                let mut bytes = batches.iter().map(GrpcSlice::len).sum::<usize>();
                // The write before must be over first: meanwhile more may come, and it leaves together.
                self.wait_for_room(outlet)?;
                while bytes < self.limits.batch_bytes {
                    let Next::Frame(frame, after) = self.subscription.take_next() else { break };
                    let batch = frame.body.events_after(after);
                    bytes += batch.len();
                    batches.push(batch);
                }
                self.write(outlet, wire::joined(&batches), false)
            }
        }
    }

    /// Sends what the store gave, and notes it as delivered.
    fn send_page(&mut self, outlet: &mut Outlet, page: Page) -> Result<(), Over> {
        if page.purged_through > self.subscription.cursor() {
            self.subscription.skip_to(page.purged_through);
            if outlet.form == Form::Events {
                self.tell(outlet, Happened::Gap(Gap::new()))?;
            }
        }
        let after = self.subscription.cursor();
        match page.frame {
            Some(frame) => {
                self.subscription.skip_to(Cursor::behind(frame.last));
                self.send(outlet, &frame, after)
            }
            // Nothing there up to the last message that was: it has been deleted.
            None => {
                self.subscription.skip_to(page.last_id);
                Ok(())
            }
        }
    }

    /// Sends an event that is no message.
    fn tell(&self, outlet: &mut Outlet, happened: Happened) -> Result<(), Over> {
        self.write(outlet, wire::event(self.subscription.cursor(), happened), false)
    }

    /// Hands a message to the C core, waiting for the write before it, but not for ever. See [`Outlet::start_write`].
    fn write(&self, outlet: &mut Outlet, slice: GrpcSlice, more: bool) -> Result<(), Over> {
        self.wait_for_room(outlet)?;
        Ok(outlet.start_write(slice, more)?)
    }

    /// Waits until the write before is over.
    fn wait_for_room(&self, outlet: &mut Outlet) -> Result<(), Over> {
        let watch = Stopwatch::start();
        loop {
            let has_room = outlet.has_room()?;
            if self.subscription.is_revoked() {
                return Err(Over::Refused(Refusal::SessionEnded));
            }
            match watch.left_of(self.limits.stream_stall) {
                _ if has_room => return Ok(()),
                Some(left) => thread::park_timeout(left),
                None => return Err(Over::Refused(Refusal::StreamStalled)),
            }
        }
    }

    /// The next page of what was missed.
    fn read_page(&self) -> Result<Page, String> {
        let (cursor, count) = (self.subscription.cursor(), self.limits.catch_up_page);
        let page = self.app.store.replay_page(cursor, count).map_err(|e| e.to_string())?;
        let ReplayPage { events, last_id, purged_through } = page;
        Ok(Page { frame: Batch::frame(events), last_id, purged_through })
    }
}

/// What the store gave.
struct Page {
    frame: Option<BatchFrame>,
    /// Behind the last id there was.
    last_id: Cursor,
    /// Up to where nothing is kept.
    purged_through: Cursor,
}
