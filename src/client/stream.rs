//! The thread that reads the common room, reconnects by itself where it had come to, and says what happens as events in a
//! channel.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crossbeam_channel::{Receiver, SendTimeoutError, Sender, bounded};
use futures_util::StreamExt;

use crate::base::clock::Stopwatch;
use crate::base::lock::lock;
use crate::base::threads::Thread;
use crate::base::wait::{Alarm, Waited, pause, wait};
use crate::client::backoff::Backoff;
use crate::client::error::{CallError, Refusal};
use crate::client::link::Link;
use crate::client::types::Said;
use crate::model::reason::Reason;
use crate::proto::{self, Happened, Start};
use crate::security::secret::SecretText;

/// How long one attempt to connect may take before the pause to the next.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How often a reader that cannot hand on its events looks whether it is still wanted.
const STILL_WANTED: Duration = Duration::from_millis(100);
/// Whatever the server's heartbeat, a stream may be silent for this long.
const SILENCE: Duration = Duration::from_secs(30);
/// A stream that has been silent for so many heartbeats is given up.
const HEARTBEATS_MISSED: u32 = 3;

/// What happens in the common room and to the stream of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Somebody said something.
    Said(Said),
    /// All that was there when the stream was opened has been handed on; what follows is said now. For the first time, or
    /// again after [`Event::Lost`].
    CaughtUp {
        /// No message that was handed on, or passed over, has a higher id; all that follow have.
        cursor: u64,
    },
    /// Some of what should come next is not kept any more.
    Gap,
    /// The server does not know how far we had read: it has another database, or an older one. It begins anew, as for
    /// somebody who has read nothing yet.
    Anew,
    /// The stream was lost; the reader tries to get it back. Said once, not at each attempt.
    Lost(CallError),
    /// The session is of no more use, and the reader has ended.
    Over(Refusal),
}

/// How far the room has been read, by whatever reader: all of them go on from here. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Cursor(Arc<Mutex<Option<u64>>>);

impl Cursor {
    /// Where to begin: behind what was read, or, if nothing was, with the `last` messages.
    fn start(&self, last: u32) -> Start {
        match *lock(&self.0) {
            Some(cursor) => Start::After(cursor),
            None if last == 0 => Start::Now(true),
            None => Start::Last(last),
        }
    }

    /// All up to `cursor` has been handed on. Two readers may overlap: it never goes back.
    fn advance(&self, cursor: u64) {
        let mut read = lock(&self.0);
        *read = Some(read.map_or(cursor, |before| before.max(cursor)));
    }

    fn forget(&self) {
        *lock(&self.0) = None;
    }
}

/// Whether the room is being read just now, for those who would rather do something then.
#[derive(Debug)]
pub struct Live {
    /// The reader that was started last, by its mark, and whether it has caught up.
    state: Mutex<(u64, bool)>,
    wake: Sender<()>,
}

impl Live {
    /// Nobody reads yet. Each time that a reader has caught up, a token is put into `wake`, if there is room.
    pub fn new(wake: Sender<()>) -> Live {
        Live { state: Mutex::default(), wake }
    }

    /// Whether all that is said comes by the stream just now, as far as is known.
    pub fn is(&self) -> bool {
        lock(&self.state).1
    }

    fn set(&self, mark: u64, live: bool) {
        let mut state = lock(&self.state);
        if mark < state.0 {
            return;
        }
        *state = (mark, live);
        if live {
            // Full: there is one in it already.
            let _ = self.wake.try_send(());
        }
    }
}

/// What a reader is to read.
#[derive(Debug)]
pub struct Plan {
    /// The connection.
    pub link: Arc<Link>,
    /// The session to read with.
    pub token: SecretText,
    /// Sent with each event, so that the events of an earlier reader can be told from those of a later one. Grows.
    pub mark: u64,
    /// How far the room has been read.
    pub cursor: Cursor,
    /// With how many of the last messages to begin if nothing has been read yet.
    pub last: u32,
    /// Who wants to know when it has caught up.
    pub live: Arc<Live>,
}

/// A running reader. Dropping it ends the stream and joins the thread.
pub struct Reader {
    alarm: Alarm,
    opened: Receiver<()>,
    thread: Option<Thread>,
}

impl Reader {
    /// Starts to read. When the channel is full, the reader waits, and in the end so does the server.
    ///
    /// # Errors
    /// The system refuses another thread.
    pub fn start<T: From<(u64, Event)> + Send + 'static>(plan: Plan, events: Sender<T>) -> io::Result<Reader> {
        let alarm = Alarm::default();
        let (open, opened) = bounded(1);
        let patience = Patience::default();
        let (alarm_inside, backoff) = (alarm.clone(), Backoff::new());
        let reading = Reading { plan, events, alarm: alarm_inside, open: Some(open), lost: false, backoff, patience };
        let thread = Thread::spawn("stream", move || reading.run())?;
        Ok(Reader { alarm, opened, thread: Some(thread) })
    }

    /// Waits until the reader has caught up for the first time, at most `limit`.
    pub fn wait_until_caught_up(&self, limit: Duration) {
        // Caught up, failed or late: the events tell which.
        let _ = self.opened.recv_timeout(limit);
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.alarm.ring();
        drop(self.thread.take());
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").finish_non_exhaustive()
    }
}

struct Reading<T> {
    plan: Plan,
    events: Sender<T>,
    alarm: Alarm,
    /// Dropped when the reader has caught up, or failed to, for the first time.
    open: Option<Sender<()>>,
    /// Whether [`Event::Lost`] was said and not yet taken back.
    lost: bool,
    backoff: Backoff,
    patience: Patience,
}

/// Nobody wants the stream any more.
struct Unwanted;

impl<T: From<(u64, Event)>> Reading<T> {
    fn run(mut self) {
        self.plan.live.set(self.plan.mark, false);
        // The only way out of the loop is that nobody wants it any more, or that there is no session to read with.
        while let Ok(ended) = self.read_once() {
            self.open = None;
            self.plan.live.set(self.plan.mark, false);
            let said = match ended {
                CallError::Refused(refusal) if refusal.ends_session => {
                    let _ = self.say(Event::Over(refusal));
                    return;
                }
                CallError::Refused(refusal) if refusal.reason == Some(Reason::CursorInFuture) => {
                    self.plan.cursor.forget();
                    self.say(Event::Anew)
                }
                _ if self.lost => Ok(()),
                error => {
                    self.lost = true;
                    self.say(Event::Lost(error))
                }
            };
            if said.is_err() {
                return;
            }
            pause(self.backoff.pause(), &self.alarm);
            if self.alarm.is_rung() {
                return;
            }
        }
    }

    /// Connects, opens the stream and reads it to its end; answers why it ended.
    fn read_once(&mut self) -> Result<CallError, Unwanted> {
        if let Err(error) = self.plan.link.ready(CONNECT_LIMIT, &self.alarm) {
            return if self.alarm.is_rung() { Err(Unwanted) } else { Ok(error) };
        }
        let start = self.plan.cursor.start(self.plan.last);
        let mut stream = match self.plan.link.subscribe(&self.plan.token, start) {
            Ok(stream) => stream,
            Err(error) => return Ok(error),
        };
        loop {
            let silence = Stopwatch::start();
            match wait(stream.next(), &self.alarm, self.patience.limit()) {
                Waited::Ready(Some(Ok(batch))) => {
                    self.backoff.reset();
                    for event in batch.events {
                        self.happened(event, silence)?;
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
                    return Err(Unwanted);
                }
            }
        }
    }

    /// Hands on what came after a `silence`. Only then it counts as read.
    fn happened(&mut self, event: proto::Event, silence: Stopwatch) -> Result<(), Unwanted> {
        let cursor = event.cursor;
        match event.event {
            Some(Happened::Message(message)) => self.say(Event::Said(message.into()))?,
            Some(Happened::CaughtUp(_)) => {
                self.say(Event::CaughtUp { cursor })?;
                self.lost = false;
                self.open = None;
                self.plan.live.set(self.plan.mark, true);
            }
            Some(Happened::Gap(_)) => self.say(Event::Gap)?,
            Some(Happened::Heartbeat(_)) => self.patience.heard_heartbeat(silence.elapsed()),
            // Something newer than we are.
            None => {}
        }
        self.plan.cursor.advance(cursor);
        Ok(())
    }

    fn say(&self, event: Event) -> Result<(), Unwanted> {
        let mut unsent = T::from((self.plan.mark, event));
        loop {
            if self.alarm.is_rung() {
                return Err(Unwanted);
            }
            match self.events.send_timeout(unsent, STILL_WANTED) {
                Ok(()) => return Ok(()),
                Err(SendTimeoutError::Timeout(back)) => unsent = back,
                Err(SendTimeoutError::Disconnected(_)) => return Err(Unwanted),
            }
        }
    }
}

/// How long a stream may be silent, by the heartbeats that were heard. Before the first one there is no limit: the server may
/// send them as seldom as it likes, and until then the connection is tested by the keepalive of the transport alone.
#[derive(Debug, Default)]
struct Patience {
    longest: Option<Duration>,
}

impl Patience {
    /// A heartbeat came after so much silence.
    fn heard_heartbeat(&mut self, silence: Duration) {
        self.longest = self.longest.max(Some(silence));
    }

    fn limit(&self) -> Option<Duration> {
        self.longest.map(|longest| longest.saturating_mul(HEARTBEATS_MISSED).max(SILENCE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_has_read_nothing_begins_with_the_last_messages_and_everybody_else_where_they_stood() {
        let cursor = Cursor::default();
        assert_eq!(cursor.start(20), Start::Last(20));
        assert_eq!(cursor.start(0), Start::Now(true));
        // An empty room has been read as well.
        cursor.advance(0);
        assert_eq!(cursor.start(20), Start::After(0));
        let same = cursor.clone();
        same.advance(7);
        cursor.advance(5);
        assert_eq!(cursor.start(20), Start::After(7));
        same.forget();
        assert_eq!(cursor.start(20), Start::Last(20));
    }

    #[test]
    fn only_the_latest_reader_says_whether_the_room_is_read_and_wakes_who_waits_for_it() {
        let (wake, woken) = bounded(1);
        let live = Live::new(wake);
        live.set(1, true);
        assert!(live.is() && woken.try_recv().is_ok());
        live.set(2, false);
        live.set(1, true);
        assert!(!live.is() && woken.try_recv().is_err());
        live.set(2, true);
        live.set(2, true);
        live.set(1, false);
        assert!(live.is() && woken.try_recv().is_ok());
    }

    #[test]
    fn a_stream_is_given_up_after_three_heartbeats_that_did_not_come() {
        let mut patience = Patience::default();
        assert_eq!(patience.limit(), None);
        patience.heard_heartbeat(Duration::from_secs(1));
        assert_eq!(patience.limit(), Some(SILENCE));
        for seconds in [20, 12] {
            patience.heard_heartbeat(Duration::from_secs(seconds));
        }
        assert_eq!(patience.limit(), Some(Duration::from_secs(60)));
    }
}
