//! The sender threads, one for each open stream.
//!
//! A thread takes what its mailbox holds and writes it. It parks when there is nothing to do, and is woken by the hub (a
//! frame, or the end) or by the C core (the pending write is done, or the client has gone).

use std::collections::{HashMap, VecDeque};
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
use super::wire;
use crate::app::App;
use crate::app::refusal::Refusal;
use crate::clock::Stopwatch;
use crate::config::RpcLimits;
use crate::hub::{Ended, Frame, Next, Subscription};
use crate::proto::Empty;
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

/// Both directions of a stream's call.
pub struct Line {
    /// Where the frames go.
    pub sink: DuplexSink<GrpcSlice>,
    /// Nothing more comes from there, but dropping it cancels the call.
    pub requests: RequestStream<Empty>,
}

/// A stream and all that its thread needs.
pub struct Stream {
    /// Where the frames go.
    pub line: Line,
    /// Where they come from.
    pub subscription: Subscription<GrpcSlice>,
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

impl Stream {
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
        // Read from the store, to be written before anything of the mailbox.
        let mut page: VecDeque<Frame<GrpcSlice>> = VecDeque::new();
        loop {
            let next = match page.pop_front() {
                Some(_) if self.subscription.is_revoked() => Next::Ended(Ended::Session),
                Some(frame) => {
                    self.subscription.delivered(frame.id);
                    Next::Frame(frame)
                }
                None => self.subscription.take_next(),
            };
            match next {
                Next::Frame(frame) => {
                    if let Err(over) = self.write(frame, &mut cx) {
                        return over;
                    }
                }
                // The waker may have rung for the end of the call; to ask is cheap, and registers it anew.
                Next::Idle => {
                    if bell.take() && matches!(Pin::new(&mut self.line.sink).poll_ready(&mut cx), Poll::Ready(Err(_))) {
                        return Over::ClientGone;
                    }
                    thread::park();
                }
                Next::Behind => {
                    if self.subscription.rejoin() {
                        continue;
                    }
                    match self.read_page() {
                        Ok((frames, last)) => {
                            // Nothing there up to the last message that was: it has been deleted.
                            if frames.is_empty() {
                                self.subscription.skip_to(last);
                            }
                            page = frames;
                        }
                        Err(error) => {
                            log::warn!("a stream that fell behind could not read from the store yet: {error}");
                            if matches!(Pin::new(&mut self.line.sink).poll_ready(&mut cx), Poll::Ready(Err(_))) {
                                return Over::ClientGone;
                            }
                            thread::park_timeout(STORE_RETRY);
                        }
                    }
                }
                Next::Ended(Ended::Session) => return Over::Refused(Refusal::SessionEnded),
                Next::Ended(Ended::Draining) => return Over::Refused(Refusal::Draining),
            }
        }
    }

    /// Hands one frame to the C core, waiting for the write before it, but not for ever.
    fn write(&mut self, frame: Frame<GrpcSlice>, cx: &mut Context<'_>) -> Result<(), Over> {
        let watch = Stopwatch::start();
        loop {
            match Pin::new(&mut self.line.sink).poll_ready(cx) {
                Poll::Ready(Ok(())) => break,
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
        Pin::new(&mut self.line.sink).start_send((frame.body, WriteFlags::default())).map_err(|_| Over::ClientGone)
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

    /// The next page of what was missed, and the last id there was before it was read.
    fn read_page(&self) -> Result<(VecDeque<Frame<GrpcSlice>>, i64), String> {
        let (cursor, count) = (self.subscription.cursor(), self.limits.catch_up_page);
        let read = |c: &_| Ok((messages::last_id(c)?, messages::after(c, cursor, count)?));
        let (last, messages) = self.app.store.replay(read).map_err(|e| e.to_string())?;
        let frames = messages.iter().map(|message| wire::frame(message).map_err(|e| e.to_string()));
        Ok((frames.collect::<Result<_, _>>()?, last))
    }
}
