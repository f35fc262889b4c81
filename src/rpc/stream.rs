//! The sender threads, one for each open stream.
//!
//! A thread takes what its mailbox holds and writes it: messages one by one, or many events at once. It parks when there is nothing to do, and is woken by the hub (a
//! frame, or the end) or by the C core (the pending write is done, or the client has gone).

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use futures_util::Sink;
use grpcio::{DuplexSink, GrpcSlice, RequestStream, WriteFlags};

use super::status::{Call, Failure};
use super::wait::{Bell, within};
use super::wire::{self, Batch, BatchFrame};
use crate::app::App;
use crate::app::refusal::Refusal;
use crate::clock::Stopwatch;
use crate::config::RpcLimits;
use crate::hub::{Ended, Next, Subscription};
use crate::proto::{CaughtUp, Gap, Happened, Heartbeat};
use crate::store::messages;
use crate::threads::Thread;

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
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).insert(id, thread);
        Ok(())
    }

    /// Joins the threads that have ended.
    pub fn reap(&self) {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
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
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Both directions of a stream's call. `Q` is what it asked for.
pub struct Line<Q> {
    /// Where the answers go.
    pub sink: DuplexSink<GrpcSlice>,
    /// Nothing more comes from there, but dropping it cancels the call.
    pub requests: RequestStream<Q>,
}

/// In which form messages go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One by one, as `MessageStream` has them.
    Messages,
    /// As events, many at once, with cursors, gaps and heartbeats, as `Subscribe` has them.
    Events,
}

/// A stream and all that its thread needs.
pub struct Stream<Q> {
    /// Where the answers go.
    pub line: Line<Q>,
    /// In which form.
    pub form: Form,
    /// Where the messages come from.
    pub subscription: Subscription<Arc<Batch>>,
    /// Where those come from that went past the mailbox.
    pub app: Arc<App>,
    /// The bounds.
    pub limits: RpcLimits,
    /// Whose it is, for the log.
    pub call: Call,
}

/// Why a stream is over.
enum Over {
    /// The client went, or its connection did.
    ClientGone,
    /// To be told the client.
    Refused(Refusal),
}

impl<Q> Stream<Q> {
    /// Serves the stream to its end, on the calling thread.
    pub fn run(mut self) {
        let bell = Bell::here();
        self.subscription.attach();
        let over = self.serve(&bell);
        if let Over::Refused(refusal) = over {
            self.end(refusal, &bell);
        }
    }

    /// Writes until the stream is over.
    fn serve(&mut self, bell: &Arc<Bell>) -> Over {
        let waker = Waker::from(Arc::clone(bell));
        let mut cx = Context::from_waker(&waker);
        let mut told_caught_up = self.form == Form::Messages;
        let mut silence = Stopwatch::start();
        loop {
            if !told_caught_up && self.subscription.has_caught_up() {
                told_caught_up = true;
                if let Err(over) = self.tell(Happened::CaughtUp(CaughtUp::new()), &mut cx) {
                    return over;
                }
            }
            let next = self.subscription.take_next();
            let sent = match next {
                Next::Frame(frame, after) => self.send(&frame, after, &mut cx),
                // The waker may have rung for the end of the call; to ask is cheap, and registers it anew.
                Next::Idle => {
                    if bell.take() && self.is_gone(&mut cx) {
                        return Over::ClientGone;
                    }
                    match (self.form, silence.left_of(self.limits.heartbeat)) {
                        (Form::Messages, _) => thread::park(),
                        (Form::Events, Some(left)) => thread::park_timeout(left),
                        (Form::Events, None) => {
                            if let Err(over) = self.tell(Happened::Heartbeat(Heartbeat::new()), &mut cx) {
                                return over;
                            }
                            silence = Stopwatch::start();
                        }
                    }
                    continue;
                }
                Next::Behind => {
                    if self.subscription.rejoin() {
                        continue;
                    }
                    match self.read_page() {
                        Ok(page) => self.send_page(page, &mut cx),
                        Err(error) => {
                            log::warn!("a stream that fell behind could not read from the store yet: {error}");
                            if self.is_gone(&mut cx) {
                                return Over::ClientGone;
                            }
                            thread::park_timeout(STORE_RETRY);
                            continue;
                        }
                    }
                }
                Next::Ended(Ended::Session) => return Over::Refused(Refusal::SessionEnded),
                Next::Ended(Ended::Draining) => return Over::Refused(Refusal::Draining),
            };
            if let Err(over) = sent {
                return over;
            }
            silence = Stopwatch::start();
        }
    }

    fn is_gone(&mut self, cx: &mut Context<'_>) -> bool {
        matches!(Pin::new(&mut self.line.sink).poll_ready(cx), Poll::Ready(Err(_)))
    }

    /// Sends what is in a frame after an id; as events together with what else is waiting, up to a size.
    fn send(&mut self, frame: &BatchFrame, after: i64, cx: &mut Context<'_>) -> Result<(), Over> {
        match self.form {
            Form::Messages => frame.body.each_after(after).try_for_each(|slice| self.write(slice, cx)),
            Form::Events => {
                let mut batches = vec![frame.body.events_after(after)];
                let mut bytes = batches.iter().map(GrpcSlice::len).sum::<usize>();
                // The write before must be over first: meanwhile more may come, and it leaves together.
                self.wait_for_room(cx)?;
                while bytes < self.limits.batch_bytes {
                    let Next::Frame(frame, after) = self.subscription.take_next() else { break };
                    let batch = frame.body.events_after(after);
                    bytes += batch.len();
                    batches.push(batch);
                }
                match batches.len() {
                    1 => batches.into_iter().try_for_each(|batch| self.write(batch, cx)),
                    _ => self.write(wire::joined(batches), cx),
                }
            }
        }
    }

    /// Sends what the store gave, and notes it as delivered.
    fn send_page(&mut self, page: Page, cx: &mut Context<'_>) -> Result<(), Over> {
        if page.purged_through > self.subscription.cursor() {
            self.subscription.skip_to(page.purged_through);
            if self.form == Form::Events {
                self.tell(Happened::Gap(Gap::new()), cx)?;
            }
        }
        let after = self.subscription.cursor();
        match page.frame {
            Some(frame) => {
                self.subscription.skip_to(frame.last);
                self.send(&frame, after, cx)
            }
            // Nothing there up to the last message that was: it has been deleted.
            None => {
                self.subscription.skip_to(page.last_id);
                Ok(())
            }
        }
    }

    /// Sends an event that is no message.
    fn tell(&mut self, happened: Happened, cx: &mut Context<'_>) -> Result<(), Over> {
        self.write(wire::event(self.subscription.cursor(), happened), cx)
    }

    /// Hands bytes to the C core, waiting for the write before them, but not for ever.
    fn write(&mut self, slice: GrpcSlice, cx: &mut Context<'_>) -> Result<(), Over> {
        self.wait_for_room(cx)?;
        Pin::new(&mut self.line.sink).start_send((slice, WriteFlags::default())).map_err(|_| Over::ClientGone)
    }

    /// Waits until the write before is over.
    fn wait_for_room(&mut self, cx: &mut Context<'_>) -> Result<(), Over> {
        let watch = Stopwatch::start();
        loop {
            match Pin::new(&mut self.line.sink).poll_ready(cx) {
                Poll::Ready(Ok(())) if self.subscription.is_revoked() => {
                    return Err(Over::Refused(Refusal::SessionEnded));
                }
                Poll::Ready(Ok(())) => return Ok(()),
                Poll::Ready(Err(_)) => return Err(Over::ClientGone),
                Poll::Pending if self.subscription.is_revoked() => {
                    return Err(Over::Refused(Refusal::SessionEnded));
                }
                Poll::Pending => match watch.left_of(self.limits.stream_stall) {
                    Some(left) => thread::park_timeout(left),
                    None => return Err(Over::Refused(Refusal::StreamStalled)),
                },
            }
        }
    }

    /// Ends the call with a status. A client that does not even take that is cut off.
    fn end(mut self, refusal: Refusal, bell: &Arc<Bell>) {
        let failure = Failure::of(&refusal.into(), &self.call);
        let waker = Waker::from(Arc::clone(bell));
        let mut cx = Context::from_waker(&waker);
        let watch = Stopwatch::start();
        loop {
            match Pin::new(&mut self.line.sink).poll_ready(&mut cx) {
                Poll::Ready(Ok(())) => break,
                Poll::Ready(Err(_)) => return,
                Poll::Pending => match watch.left_of(self.limits.stream_end) {
                    Some(left) => thread::park_timeout(left),
                    // Dropping the sink cancels the call.
                    None => return,
                },
            }
        }
        let _ = within(self.limits.stream_end, self.line.sink.fail(failure.status()));
    }

    /// The next page of what was missed.
    fn read_page(&self) -> Result<Page, String> {
        let (cursor, count) = (self.subscription.cursor(), self.limits.catch_up_page);
        let read = |c: &rusqlite::Connection| {
            // One view of the database for all three.
            let view = c.unchecked_transaction()?;
            let (last_id, purged_through) = (messages::last_id(&view)?, messages::purged_through(&view)?);
            let frame = Batch::frame(messages::after(&view, cursor.max(purged_through), count)?);
            Ok(Page { frame, last_id, purged_through })
        };
        self.app.store.replay(read).map_err(|e| e.to_string())
    }
}

/// What the store gave.
struct Page {
    frame: Option<BatchFrame>,
    /// The last id there was.
    last_id: i64,
    /// Up to where nothing is kept.
    purged_through: i64,
}
