//! The thread that reads the common room. It reconnects by itself, continues where it stopped, and reports events through a
//! channel.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, SendTimeoutError, Sender, bounded};
use futures_util::StreamExt;

use crate::base::clock::Stopwatch;
use crate::base::threads::Thread;
use crate::base::wait::{Alarm, Waited, pause, wait};
use crate::client::backoff::Backoff;
use crate::client::error::{CallError, ServerRefusal};
use crate::client::link::Link;
use crate::client::read_cursor::{ReadCursor, StreamState};
use crate::client::types::ReceivedMessage;
use crate::model::ids::Cursor;
use crate::model::reason::Reason;
use crate::proto::{self, Happened};
use crate::security::secret::SecretText;

/// Time limit for one attempt to connect.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How often a reader with a full channel checks whether it should stop.
const STOP_CHECK: Duration = Duration::from_millis(100);
/// A stream may always be silent for this long, whatever the server's heartbeat.
const SILENCE: Duration = Duration::from_secs(30);
/// The reader gives a stream up after this many missing heartbeats.
const HEARTBEATS_MISSED: u32 = 3;

/// What happens in the common room, and to the stream of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamEvent {
    /// A message.
    Message(ReceivedMessage),
    /// The reader has handed on everything that existed when the stream opened; what follows is live. This comes at the start,
    /// and again after [`StreamEvent::Lost`].
    CaughtUp {
        /// The highest id so far; every later message has a higher one.
        cursor: Cursor,
    },
    /// The server no longer keeps some of the messages that should come next.
    Gap,
    /// The server does not know the cursor: it has another database, or an older copy. The reader starts over.
    StartedOver,
    /// The stream was lost and the reader reconnects. It says so once, not at each attempt.
    Lost(CallError),
    /// The session is over, and the reader has ended.
    SessionOver(ServerRefusal),
}

/// What a reader needs.
#[derive(Debug)]
pub struct ReaderPlan {
    /// The connection.
    pub link: Arc<Link>,
    /// The session to read with.
    pub token: SecretText,
    /// The number of the session. It grows, and is sent with each event, so that events of an earlier reader are recognised.
    pub generation: u64,
    /// How far the room has been read.
    pub cursor: ReadCursor,
    /// How many of the last messages to start with if nothing has been read yet.
    pub last: u32,
    /// Learns whether the reader has caught up.
    pub state: Arc<StreamState>,
}

/// A running reader. Dropping it ends the stream and joins the thread.
pub struct StreamReader {
    alarm: Alarm,
    opened: Receiver<()>,
    thread: Option<Thread>,
}

impl StreamReader {
    /// Starts to read. When the channel is full the reader waits, and then so does the server.
    ///
    /// # Errors
    /// The system refuses another thread.
    pub fn start<T: From<(u64, StreamEvent)> + Send + 'static>(
        plan: ReaderPlan,
        events: Sender<T>,
    ) -> io::Result<StreamReader> {
        let alarm = Alarm::default();
        let (open, opened) = bounded(1);
        let reading = ReaderThread {
            plan,
            events,
            alarm: alarm.clone(),
            open: Some(open),
            lost: false,
            backoff: Backoff::new(),
            silence_limit: SilenceLimit::default(),
        };
        let thread = Thread::spawn("stream", move || reading.run())?;
        Ok(StreamReader { alarm, opened, thread: Some(thread) })
    }

    /// Waits at most `limit` until the reader has caught up for the first time.
    pub fn wait_until_caught_up(&self, limit: Duration) {
        // Caught up, failed or late: the events tell which.
        let _ = self.opened.recv_timeout(limit);
    }
}

impl Drop for StreamReader {
    fn drop(&mut self) {
        self.alarm.ring();
        drop(self.thread.take());
    }
}

impl fmt::Debug for StreamReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamReader").finish_non_exhaustive()
    }
}

struct ReaderThread<T> {
    plan: ReaderPlan,
    events: Sender<T>,
    alarm: Alarm,
    /// Dropped when the first attempt has caught up or failed.
    open: Option<Sender<()>>,
    /// Whether [`StreamEvent::Lost`] was reported and no catch-up since.
    lost: bool,
    backoff: Backoff,
    silence_limit: SilenceLimit,
}

/// The reader was told to stop.
struct Stopped;

impl<T: From<(u64, StreamEvent)>> ReaderThread<T> {
    fn run(mut self) {
        self.plan.state.set(self.plan.generation, false);
        // The loop ends when the reader is told to stop, or when its session is over.
        while let Ok(ended) = self.read_once() {
            self.open = None;
            self.plan.state.set(self.plan.generation, false);
            let reported = match ended {
                CallError::Refused(refusal) if refusal.ends_session => {
                    let _ = self.report(StreamEvent::SessionOver(refusal));
                    return;
                }
                CallError::Refused(refusal) if refusal.reason == Some(Reason::CursorInFuture) => {
                    self.plan.cursor.forget();
                    self.report(StreamEvent::StartedOver)
                }
                _ if self.lost => Ok(()),
                error => {
                    self.lost = true;
                    self.report(StreamEvent::Lost(error))
                }
            };
            if reported.is_err() {
                return;
            }
            pause(self.backoff.pause(), &self.alarm);
            if self.alarm.is_rung() {
                return;
            }
        }
    }

    /// Connects, opens the stream and reads it to its end; returns why it ended.
    fn read_once(&mut self) -> Result<CallError, Stopped> {
        if let Err(error) = self.plan.link.ready(CONNECT_LIMIT, &self.alarm) {
            return if self.alarm.is_rung() { Err(Stopped) } else { Ok(error) };
        }
        let start = self.plan.cursor.start(self.plan.last);
        let mut stream = match self.plan.link.subscribe(&self.plan.token, start) {
            Ok(stream) => stream,
            Err(error) => return Ok(error),
        };
        loop {
            let silence = Stopwatch::start();
            match wait(stream.next(), &self.alarm, self.silence_limit.get()) {
                Waited::Ready(Some(Ok(batch))) => {
                    self.backoff.reset();
                    for event in batch.events {
                        self.received(event, silence)?;
                    }
                }
                Waited::Ready(Some(Err(error))) => return Ok(error.into()),
                Waited::Ready(None) => return Ok(CallError::NoAnswer),
                Waited::TimedOut => {
                    stream.cancel();
                    return Ok(CallError::NoAnswer);
                }
                Waited::Stopped => {
                    stream.cancel();
                    return Err(Stopped);
                }
            }
        }
    }

    /// Hands on an event that came after a `silence`. Only then does it count as read.
    fn received(&mut self, event: proto::Event, silence: Stopwatch) -> Result<(), Stopped> {
        // A number beyond all cursors moves nothing.
        let cursor = Cursor::from_wire(event.cursor).unwrap_or(Cursor::START);
        match event.event {
            Some(Happened::Message(message)) => self.report(StreamEvent::Message(message.into()))?,
            Some(Happened::CaughtUp(_)) => {
                self.report(StreamEvent::CaughtUp { cursor })?;
                self.lost = false;
                self.open = None;
                self.plan.state.set(self.plan.generation, true);
            }
            Some(Happened::Gap(_)) => self.report(StreamEvent::Gap)?,
            Some(Happened::Heartbeat(_)) => self.silence_limit.heard_heartbeat(silence.elapsed()),
            // A kind of event that is newer than this client.
            None => {}
        }
        self.plan.cursor.advance(cursor);
        Ok(())
    }

    fn report(&self, event: StreamEvent) -> Result<(), Stopped> {
        let mut unsent = T::from((self.plan.generation, event));
        loop {
            if self.alarm.is_rung() {
                return Err(Stopped);
            }
            match self.events.send_timeout(unsent, STOP_CHECK) {
                Ok(()) => return Ok(()),
                Err(SendTimeoutError::Timeout(back)) => unsent = back,
                Err(SendTimeoutError::Disconnected(_)) => return Err(Stopped),
            }
        }
    }
}

/// How long a stream may be silent, learnt from its heartbeats. There is no limit before the first one: the server may send
/// them as seldom as it likes. Until then only the keepalive of the transport tests the connection.
#[derive(Debug, Default)]
struct SilenceLimit {
    longest: Option<Duration>,
}

impl SilenceLimit {
    /// A heartbeat came after this much silence.
    fn heard_heartbeat(&mut self, silence: Duration) {
        self.longest = self.longest.max(Some(silence));
    }

    fn get(&self) -> Option<Duration> {
        self.longest.map(|longest| longest.saturating_mul(HEARTBEATS_MISSED).max(SILENCE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_given_up_after_three_missing_heartbeats() {
        let mut limit = SilenceLimit::default();
        assert_eq!(limit.get(), None);
        limit.heard_heartbeat(Duration::from_secs(1));
        assert_eq!(limit.get(), Some(SILENCE));
        for seconds in [20, 12] {
            limit.heard_heartbeat(Duration::from_secs(seconds));
        }
        assert_eq!(limit.get(), Some(Duration::from_secs(60)));
    }
}
