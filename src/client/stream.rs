//! The thread that reads the common room, reconnects by itself, and says what happens as events in a channel.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, SendTimeoutError, Sender, bounded};
use futures_util::StreamExt;

use crate::client::backoff::Backoff;
use crate::client::error::{CallError, Refusal};
use crate::client::link::Link;
use crate::client::session::time_of;
use crate::client::wait::{Bell, Waited, pause, wait};
use crate::clock::Time;
use crate::proto::Message;
use crate::security::secret::SecretText;
use crate::threads::Thread;

/// How long one attempt to connect may take before the pause to the next.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// The server answers an accepted stream only with its first message, but a refused one at once: a stream that has not
/// failed for this long is taken to be open.
const SETTLED: Duration = Duration::from_millis(300);
/// How often a reader that cannot hand on its events looks whether it is still wanted.
const STILL_WANTED: Duration = Duration::from_millis(100);

/// What happens in the common room and to the stream of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The stream is open: for the first time, or `again` after [`Event::Lost`].
    Open {
        /// Whether it had been lost.
        again: bool,
    },
    /// Somebody said something.
    Said(Said),
    /// The stream was lost; the reader tries to get it back. Said once, not at each attempt.
    Lost(CallError),
    /// The session is of no more use, and the reader has ended.
    Over(Refusal),
}

/// A message of the common room, as it came: not to be shown without escaping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Its id: grows in order; 0 where the server gives none.
    pub id: u64,
    /// Who said it.
    pub author: String,
    /// What.
    pub text: String,
    /// When, by the server's clock.
    pub time: Option<Time>,
}

impl From<Message> for Said {
    fn from(message: Message) -> Said {
        let time = message.send_time.as_ref().map(time_of);
        Said { id: message.id, author: message.author, text: message.text, time }
    }
}

/// A running reader. Dropping it ends the stream and joins the thread.
pub struct Reader {
    bell: Bell,
    opened: Receiver<()>,
    thread: Option<Thread>,
}

impl Reader {
    /// Starts to read with the session of `token`. Each event is sent with `mark`, so that the events of an earlier reader
    /// can be told from those of a later one. When the channel is full, the reader waits, and in the end so does the
    /// server.
    ///
    /// # Errors
    /// The system refuses another thread.
    pub fn start(link: Arc<Link>, token: SecretText, mark: u64, events: Sender<(u64, Event)>) -> io::Result<Reader> {
        let bell = Bell::default();
        let (open, opened) = bounded(1);
        let reading = Reading {
            link,
            token,
            mark,
            events,
            bell: bell.clone(),
            open: Some(open),
            lost: false,
            backoff: Backoff::new(),
        };
        let thread = Thread::spawn("stream", move || reading.run())?;
        Ok(Reader { bell, opened, thread: Some(thread) })
    }

    /// Waits until the stream has opened for the first time, at most `limit`. What is said before that is not read.
    pub fn wait_until_open(&self, limit: Duration) {
        // Open, failed or late: the events tell which.
        let _ = self.opened.recv_timeout(limit);
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.bell.ring();
        drop(self.thread.take());
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").finish_non_exhaustive()
    }
}

struct Reading {
    link: Arc<Link>,
    token: SecretText,
    mark: u64,
    events: Sender<(u64, Event)>,
    bell: Bell,
    /// Dropped when the stream has opened, or failed to, for the first time.
    open: Option<Sender<()>>,
    /// Whether [`Event::Lost`] was said and not yet taken back.
    lost: bool,
    backoff: Backoff,
}

/// Nobody wants the stream any more.
struct Unwanted;

impl Reading {
    fn run(mut self) {
        // The only way out of the loop is that nobody wants it any more, or that there is no session to read with.
        while let Ok(ended) = self.read_once() {
            self.open = None;
            let said = match ended {
                CallError::Refused(refusal) if refusal.ends_session => {
                    let _ = self.say(Event::Over(refusal));
                    return;
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
            pause(self.backoff.pause(), &self.bell);
            if self.bell.is_rung() {
                return;
            }
        }
    }

    /// Connects, opens the stream and reads it to its end; answers why it ended.
    fn read_once(&mut self) -> Result<CallError, Unwanted> {
        if let Err(error) = self.link.ready(CONNECT_LIMIT, &self.bell) {
            return if self.bell.is_rung() { Err(Unwanted) } else { Ok(error) };
        }
        let mut stream = match self.link.open_stream(&self.token) {
            Ok(stream) => stream,
            Err(error) => return Ok(error),
        };
        let mut limit = Some(SETTLED);
        loop {
            match wait(stream.next(), &self.bell, limit) {
                Waited::TimedOut => self.settled(&mut limit)?,
                Waited::Ready(Some(Ok(message))) => {
                    self.settled(&mut limit)?;
                    self.say(Event::Said(message.into()))?;
                }
                Waited::Ready(Some(Err(error))) => return Ok(error.into()),
                Waited::Ready(None) => return Ok(CallError::NoAnswer),
                Waited::Stopped => {
                    stream.cancel();
                    return Err(Unwanted);
                }
            }
        }
    }

    /// The stream is open; says so the first time.
    fn settled(&mut self, limit: &mut Option<Duration>) -> Result<(), Unwanted> {
        if limit.take().is_none() {
            return Ok(());
        }
        self.backoff.reset();
        self.open = None;
        let again = std::mem::take(&mut self.lost);
        self.say(Event::Open { again })
    }

    fn say(&self, event: Event) -> Result<(), Unwanted> {
        let mut unsent = (self.mark, event);
        loop {
            if self.bell.is_rung() {
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
