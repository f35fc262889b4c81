//! The thread that sends lines. A line that cannot be sent waits and is sent again under the same id, so that the server stores
//! it once, whatever happened to the first attempt.
//!
//! It sends one line at a time and in order. The person who typed a line waits a moment for its outcome; a later outcome appears
//! between the messages.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use crossbeam_channel::{Receiver, SendTimeoutError, Sender};
use data_encoding::HEXLOWER;

use crate::base::clock::Stopwatch;
use crate::base::lock::{self, lock};
use crate::base::threads::Thread;
use crate::base::wait::Alarm;
use crate::client::backoff::{Backoff, LONGEST};
use crate::client::console::room::current_session::CurrentSession;
use crate::client::console::room::screen_event::ScreenEvent;
use crate::client::console::room::send_queue::{LateOutcome, SendOutcome, SendQueue, UnsentLine};
use crate::client::error::CallError;
use crate::client::link::Link;
use crate::client::read_cursor::StreamState;
use crate::client::server_clock::ServerClock;
use crate::client::session::ClientSession;
use crate::model::reason::Reason;

/// How long a person waits for the outcome of a line before the next prompt.
const MOMENT: Duration = Duration::from_secs(3);
/// How long a script's line is retried.
pub const SCRIPT_PATIENCE: Duration = Duration::from_secs(30);
/// How often an outbox with a full channel checks whether it should stop.
const STOP_CHECK: Duration = Duration::from_millis(100);

/// Whether a failed attempt is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RetryVerdict {
    /// Yes.
    Again,
    /// Only with another session.
    WithNewSession,
    /// No.
    Never,
}

impl RetryVerdict {
    fn for_error(error: &CallError) -> RetryVerdict {
        match error {
            CallError::Unreachable | CallError::Tls(_) | CallError::NoAnswer => RetryVerdict::Again,
            CallError::TooOld => RetryVerdict::Never,
            CallError::Refused(refusal) if refusal.ends_session => RetryVerdict::WithNewSession,
            CallError::Refused(refusal) => match refusal.reason {
                Some(Reason::Draining | Reason::Overloaded | Reason::MessageRate | Reason::TooManyCalls) => {
                    RetryVerdict::Again
                }
                _ => RetryVerdict::Never,
            },
        }
    }
}

/// What the outbox needs.
#[derive(Debug)]
pub struct OutboxPlan {
    /// The connection.
    pub link: Arc<Link>,
    /// The session to send with.
    pub current: Arc<CurrentSession>,
    /// Learns the server's time.
    pub clock: Arc<ServerClock>,
    /// Whether the room is being read. While it is not, the next attempt may wait longer.
    pub stream_state: Arc<StreamState>,
    /// Where late outcomes go.
    pub events: Sender<ScreenEvent>,
    /// A token in it means that something has changed; [`StreamState`] puts one there.
    pub woken: Receiver<()>,
}

/// The running outbox. Dropping it stops the thread; waiting lines stay unsent.
#[derive(Debug)]
pub struct Outbox {
    shared: Arc<SharedQueue>,
    wake: Sender<()>,
    alarm: Alarm,
    thread: Option<Thread>,
}

#[derive(Debug, Default)]
struct SharedQueue {
    queue: Mutex<SendQueue>,
    changed: Condvar,
}

impl Outbox {
    /// Starts the thread; `wake` puts tokens into [`OutboxPlan::woken`].
    ///
    /// # Errors
    /// The system refuses another thread.
    pub fn start(plan: OutboxPlan, wake: Sender<()>) -> io::Result<Outbox> {
        let (shared, alarm) = (Arc::<SharedQueue>::default(), Alarm::default());
        let sending = OutboxThread { plan, shared: shared.clone(), alarm: alarm.clone() };
        let thread = Thread::spawn("outbox", move || sending.run())?;
        Ok(Outbox { shared, wake, alarm, thread: Some(thread) })
    }

    /// Sends `text` for `login`, typed as the line `typed`, and waits a moment for the outcome. For a script (`patient`) it waits
    /// until the line is sent or refused, or [`SCRIPT_PATIENCE`] is over.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn send(&self, login: &str, text: &str, typed: &str, patient: bool) -> io::Result<SendOutcome> {
        let line = UnsentLine {
            login: login.to_owned(),
            client_id: new_client_id()?,
            text: text.to_owned(),
            typed: typed.to_owned(),
        };
        let mut queue = lock(&self.shared.queue);
        if !queue.push(line) {
            return Ok(SendOutcome::QueueFull);
        }
        let first = queue.lines.len() == 1;
        if first {
            // A full channel already holds a token.
            let _ = self.wake.try_send(());
        }
        // If other lines are queued ahead of it, there is no quick answer to wait for.
        if first || patient {
            queue = self.wait_for_outcome(queue, patient);
        }
        let outcome = queue.stop_waiting();
        Ok(outcome.unwrap_or(SendOutcome::Waiting { why: None, lines: queue.lines.len() }))
    }

    fn wait_for_outcome<'a>(
        &'a self,
        mut queue: MutexGuard<'a, SendQueue>,
        patient: bool,
    ) -> MutexGuard<'a, SendQueue> {
        let limit = if patient { SCRIPT_PATIENCE } else { MOMENT };
        let waited = Stopwatch::start();
        loop {
            let outcome = queue.awaited_outcome();
            if outcome.is_some_and(|outcome| !patient || !matches!(outcome, SendOutcome::Waiting { .. })) {
                return queue;
            }
            let Some(left) = waited.left_of(limit) else { return queue };
            queue = lock::wait_timeout(&self.shared.changed, queue, left);
        }
    }

    /// How many lines wait.
    pub fn unsent(&self) -> usize {
        lock(&self.shared.queue).lines.len()
    }

    /// A line that was refused after people stopped waiting for it, as it was typed.
    pub fn take_returned(&self) -> Option<String> {
        lock(&self.shared.queue).take_returned()
    }

    /// Drops the waiting lines, because their account is deleted.
    pub fn clear(&self) {
        lock(&self.shared.queue).lines.clear();
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.alarm.ring();
        let _ = self.wake.try_send(());
        drop(self.thread.take());
    }
}

struct OutboxThread {
    plan: OutboxPlan,
    shared: Arc<SharedQueue>,
    alarm: Alarm,
}

impl OutboxThread {
    fn run(self) {
        let mut backoff = Backoff::new();
        while !self.alarm.is_rung() {
            let Some((session, line)) = self.next() else {
                // Until there is a line and a session, or the end.
                let _ = self.plan.woken.recv();
                continue;
            };
            let result = self.plan.link.send(&session.token, &line.text, &line.client_id, &self.alarm);
            if self.alarm.is_rung() {
                return;
            }
            let verdict = result.as_ref().err().map(RetryVerdict::for_error);
            match (result, verdict) {
                (Ok(receipt), _) => {
                    backoff.reset();
                    if let Some(time) = receipt.server_time {
                        self.plan.clock.heard(time);
                    }
                    self.change(|queue| queue.sent());
                }
                (Err(why), Some(RetryVerdict::Again)) => self.retry_later(why, &mut backoff),
                (Err(why), Some(RetryVerdict::WithNewSession)) if !lock(&self.shared.queue).first_is_awaited() => {
                    self.retry_later(why, &mut backoff);
                }
                (Err(why), _) => self.change(|queue| queue.refused(why)),
            }
        }
    }

    /// The first line, and the session to send it with.
    fn next(&self) -> Option<(ClientSession, UnsentLine)> {
        let session = self.plan.current.get()?;
        let (dropped, first) = {
            let mut queue = lock(&self.shared.queue);
            (queue.drop_foreign(&session.login), queue.lines.front().cloned())
        };
        for outcome in dropped {
            self.report(outcome);
        }
        first.map(|first| (session, first))
    }

    /// Keeps the first line and pauses: briefly if the room is live, otherwise until it is, at most the longest pause.
    fn retry_later(&self, why: CallError, backoff: &mut Backoff) {
        let asked = why.retry_after().unwrap_or_default();
        self.change(|queue| {
            queue.failed(why);
            None
        });
        let pause = if self.plan.stream_state.is_live() { backoff.pause() } else { LONGEST };
        let _ = self.plan.woken.recv_timeout(pause.max(asked.min(LONGEST)));
    }

    fn change(&self, change: impl FnOnce(&mut SendQueue) -> Option<LateOutcome>) {
        let outcome = change(&mut lock(&self.shared.queue));
        self.shared.changed.notify_all();
        if let Some(outcome) = outcome {
            self.report(outcome);
        }
    }

    fn report(&self, outcome: LateOutcome) {
        let mut unsent = ScreenEvent::Outbox(outcome);
        while !self.alarm.is_rung() {
            match self.plan.events.send_timeout(unsent, STOP_CHECK) {
                Err(SendTimeoutError::Timeout(back)) => unsent = back,
                Ok(()) | Err(SendTimeoutError::Disconnected(_)) => return,
            }
        }
    }
}

/// 128 random bits.
fn new_client_id() -> io::Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(HEXLOWER.encode(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::error::ServerRefusal;

    #[test]
    fn a_failed_attempt_is_repeated_if_that_may_help() {
        let refused = |word: &str| CallError::Refused(ServerRefusal::in_response(word, ""));
        for (error, verdict) in [
            (CallError::Unreachable, RetryVerdict::Again),
            (CallError::NoAnswer, RetryVerdict::Again),
            (refused("DRAINING"), RetryVerdict::Again),
            (refused("OVERLOADED"), RetryVerdict::Again),
            (refused("MESSAGE_RATE"), RetryVerdict::Again),
            (refused("TOO_MANY_CALLS"), RetryVerdict::Again),
            (refused("SESSION_ENDED"), RetryVerdict::WithNewSession),
            (refused("TEXT_INVALID"), RetryVerdict::Never),
            (refused("STORAGE_FAILED"), RetryVerdict::Never),
        ] {
            assert_eq!(RetryVerdict::for_error(&error), verdict, "{error:?}");
        }
    }

    #[test]
    fn every_line_has_an_id_of_its_own() {
        let ids: std::collections::HashSet<String> = (0..100).map(|_| new_client_id().unwrap()).collect();
        assert!(ids.len() == 100 && ids.iter().all(|id| id.len() == 32));
    }
}
