//! Lines on their way to the server. A line that cannot be sent waits and is sent again by itself, under the same id, so that
//! the server stores it once whatever became of the first try.
//!
//! One thread sends, one line at a time and in order. Whoever has typed a line waits a moment for what becomes of it; after
//! that it is told among the messages.

use std::collections::VecDeque;
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
use crate::client::console::room::{News, Presence};
use crate::client::error::CallError;
use crate::client::link::Link;
use crate::client::read_cursor::StreamState;
use crate::client::server_clock::ServerClock;
use crate::client::session::ClientSession;
use crate::model::login::LoginKey;
use crate::model::reason::Reason;

/// How many lines wait at most.
pub const MAX_UNSENT: usize = 100;
/// How long a person waits for what becomes of a line before being given the prompt again.
const MOMENT: Duration = Duration::from_secs(3);
/// How long a line is tried where no person is there to wait for it.
pub const WITHOUT_A_PERSON: Duration = Duration::from_secs(30);
/// How often a thread that cannot hand on its news looks whether it is still wanted.
const STILL_WANTED: Duration = Duration::from_millis(100);

/// What has become of a line.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is stored.
    Sent,
    /// It was refused, and does not wait any more.
    Refused(CallError),
    /// It waits to be sent again.
    Waits {
        /// Why, if that is known.
        why: Option<CallError>,
        /// How many lines wait, this one included.
        lines: usize,
    },
    /// So many wait already that it was not taken.
    Full,
}

/// What has become of lines that nobody waits for any more.
#[derive(Debug, PartialEq, Eq)]
pub enum Posted {
    /// All that waited has been sent: so many.
    Sent(usize),
    /// This text was refused.
    Refused(String, CallError),
    /// This text was of the login that is logged in no more, and is not sent.
    Dropped {
        /// Whose it was.
        login: String,
        /// What it was.
        text: String,
    },
}

/// A line that is not sent yet.
#[derive(Clone, Debug)]
struct Unsent {
    login: String,
    client_id: String,
    text: String,
    /// As it was typed.
    line: String,
}

/// The lines that wait, in order, and what there is to tell of them. The first is the one that is being sent.
#[derive(Debug, Default)]
struct Queue {
    lines: VecDeque<Unsent>,
    /// The id of the line that somebody waits for, and what has become of it so far.
    awaited: Option<(String, Option<Outcome>)>,
    /// How many lines were sent that nobody waited for any more.
    late: usize,
    /// Lines that were refused when nobody waited for them any more, to be given back for editing.
    returned: VecDeque<String>,
}

impl Queue {
    /// Takes a line that somebody waits for; `false` if too many wait already.
    fn push(&mut self, line: Unsent) -> bool {
        if self.lines.len() >= MAX_UNSENT {
            return false;
        }
        self.awaited = Some((line.client_id.clone(), None));
        self.lines.push_back(line);
        true
    }

    /// Takes out the lines of others than `login`.
    fn drop_foreign(&mut self, login: &str) -> Vec<Posted> {
        let ours = LoginKey::of(login);
        let (ours, foreign) = std::mem::take(&mut self.lines).into_iter().partition(|l| LoginKey::of(&l.login) == ours);
        self.lines = ours;
        foreign.into_iter().map(|Unsent { login, text, .. }: Unsent| Posted::Dropped { login, text }).collect()
    }

    /// The first line was tried in vain.
    fn failed(&mut self, why: CallError) {
        let lines = self.lines.len();
        if let Some(outcome) = self.outcome_of_first() {
            *outcome = Some(Outcome::Waits { why: Some(why), lines });
        }
    }

    /// The first line is stored; what there is to tell.
    fn sent(&mut self) -> Option<Posted> {
        match self.outcome_of_first() {
            Some(outcome) => *outcome = Some(Outcome::Sent),
            None => self.late += 1,
        }
        self.lines.pop_front();
        (self.lines.is_empty() && self.late > 0).then(|| Posted::Sent(std::mem::take(&mut self.late)))
    }

    /// The first line is refused; what there is to tell.
    fn refused(&mut self, why: CallError) -> Option<Posted> {
        if let Some(outcome) = self.outcome_of_first() {
            *outcome = Some(Outcome::Refused(why));
            self.lines.pop_front();
            return None;
        }
        let Unsent { text, line, .. } = self.lines.pop_front()?;
        self.returned.push_back(line);
        Some(Posted::Refused(text, why))
    }

    /// What becomes of the line that somebody waits for, if it is the first.
    fn outcome_of_first(&mut self) -> Option<&mut Option<Outcome>> {
        let first = self.lines.front()?;
        self.awaited.as_mut().filter(|(id, _)| *id == first.client_id).map(|(_, outcome)| outcome)
    }
}

/// What a failed try means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Try again.
    Again,
    /// Not without another session.
    NoSession,
    /// Never.
    Refused,
}

impl Verdict {
    fn of(error: &CallError) -> Verdict {
        match error {
            CallError::Unreachable | CallError::Tls(_) | CallError::NoAnswer => Verdict::Again,
            CallError::TooOld => Verdict::Refused,
            CallError::Refused(refusal) if refusal.ends_session => Verdict::NoSession,
            CallError::Refused(refusal) => match refusal.reason {
                Some(Reason::Draining | Reason::Overloaded) => Verdict::Again,
                _ => Verdict::Refused,
            },
        }
    }
}

/// Lines on their way. Dropping it leaves those that wait unsent.
#[derive(Debug)]
pub struct Outbox {
    desk: Arc<Desk>,
    wake: Sender<()>,
    alarm: Alarm,
    thread: Option<Thread>,
}

#[derive(Debug, Default)]
struct Desk {
    queue: Mutex<Queue>,
    changed: Condvar,
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        lock(&self.queue)
    }
}

/// What the thread works with.
#[derive(Debug)]
pub struct Means {
    /// The connection.
    pub link: Arc<Link>,
    /// Who is logged in.
    pub presence: Arc<Presence>,
    /// What the server's clock says.
    pub clock: Arc<ServerClock>,
    /// Whether the room is being read: while it is not, a try that failed is not repeated in a hurry.
    pub live: Arc<StreamState>,
    /// Where to tell what has become of lines that nobody waits for any more.
    pub news: Sender<News>,
    /// A token in it means that something has changed: [`Live`] puts one there.
    pub woken: Receiver<()>,
}

impl Outbox {
    /// Starts the thread; `wake` puts tokens into [`Means::woken`].
    ///
    /// # Errors
    /// The system refuses another thread.
    pub fn start(means: Means, wake: Sender<()>) -> io::Result<Outbox> {
        let (desk, alarm) = (Arc::<Desk>::default(), Alarm::default());
        let sending = Sending { means, desk: desk.clone(), alarm: alarm.clone() };
        let thread = Thread::spawn("outbox", move || sending.run())?;
        Ok(Outbox { desk, wake, alarm, thread: Some(thread) })
    }

    /// Sends `text` of `login`, which was typed as `line`, and waits a moment for what becomes of it. With
    /// `patiently` it is waited for until it is sent or refused, or [`WITHOUT_A_PERSON`] is over.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub fn send(&self, login: &str, text: &str, line: &str, patiently: bool) -> io::Result<Outcome> {
        let line = Unsent {
            login: login.to_owned(),
            client_id: new_client_id()?,
            text: text.to_owned(),
            line: line.to_owned(),
        };
        let mut queue = self.desk.lock();
        if !queue.push(line) {
            return Ok(Outcome::Full);
        }
        let first = queue.lines.len() == 1;
        if first {
            // Full: there is one in it already.
            let _ = self.wake.try_send(());
        }
        // Behind others that wait, nothing becomes of it in a moment.
        if first || patiently {
            queue = self.settled(queue, patiently);
        }
        let outcome = queue.awaited.take().and_then(|(_, outcome)| outcome);
        Ok(outcome.unwrap_or(Outcome::Waits { why: None, lines: queue.lines.len() }))
    }

    /// Waits for what becomes of the line that is awaited.
    fn settled<'a>(&'a self, mut queue: MutexGuard<'a, Queue>, patiently: bool) -> MutexGuard<'a, Queue> {
        let limit = if patiently { WITHOUT_A_PERSON } else { MOMENT };
        let waited = Stopwatch::start();
        loop {
            let outcome = queue.awaited.as_ref().and_then(|(_, outcome)| outcome.as_ref());
            if outcome.is_some_and(|outcome| !patiently || !matches!(outcome, Outcome::Waits { .. })) {
                return queue;
            }
            let Some(left) = waited.left_of(limit) else { return queue };
            queue = lock::wait_timeout(&self.desk.changed, queue, left);
        }
    }

    /// How many lines wait.
    pub fn unsent(&self) -> usize {
        self.desk.lock().lines.len()
    }

    /// A line that was refused when nobody waited for it any more, as it was typed.
    pub fn returned(&self) -> Option<String> {
        self.desk.lock().returned.pop_front()
    }

    /// Forgets the lines that wait: nobody is there any more whose they could be.
    pub fn forget(&self) {
        self.desk.lock().lines.clear();
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.alarm.ring();
        let _ = self.wake.try_send(());
        drop(self.thread.take());
    }
}

struct Sending {
    means: Means,
    desk: Arc<Desk>,
    alarm: Alarm,
}

impl Sending {
    fn run(self) {
        let mut backoff = Backoff::new();
        while !self.alarm.is_rung() {
            let Some((session, line)) = self.next() else {
                // Something to send, somebody to send it for, or the end.
                let _ = self.means.woken.recv();
                continue;
            };
            let tried = self.means.link.send(&session.token, &line.text, &line.client_id, &self.alarm);
            if self.alarm.is_rung() {
                return;
            }
            let verdict = tried.as_ref().err().map(Verdict::of);
            match (tried, verdict) {
                (Ok(stored), _) => {
                    backoff.reset();
                    if let Some(time) = stored.server_time {
                        self.means.clock.heard(time);
                    }
                    self.settle(|queue| queue.sent());
                }
                (Err(why), Some(Verdict::Again)) => self.try_again(why, &mut backoff),
                (Err(why), Some(Verdict::NoSession)) if !self.is_awaited() => self.try_again(why, &mut backoff),
                (Err(why), _) => self.settle(|queue| queue.refused(why)),
            }
        }
    }

    /// The first line, and the session to send it with.
    fn next(&self) -> Option<(ClientSession, Unsent)> {
        let session = self.means.presence.session()?;
        let (dropped, first) = {
            let mut queue = self.desk.lock();
            (queue.drop_foreign(&session.login), queue.lines.front().cloned())
        };
        for posted in dropped {
            self.tell(posted);
        }
        first.map(|first| (session, first))
    }

    fn is_awaited(&self) -> bool {
        self.desk.lock().outcome_of_first().is_some()
    }

    /// The first line waits: until the room is read again, if it is not, and no longer than a moment.
    fn try_again(&self, why: CallError, backoff: &mut Backoff) {
        self.settle(|queue| {
            queue.failed(why);
            None
        });
        let pause = if self.means.live.is_live() { backoff.pause() } else { LONGEST };
        let _ = self.means.woken.recv_timeout(pause);
    }

    fn settle(&self, change: impl FnOnce(&mut Queue) -> Option<Posted>) {
        let posted = change(&mut self.desk.lock());
        self.desk.changed.notify_all();
        if let Some(posted) = posted {
            self.tell(posted);
        }
    }

    fn tell(&self, posted: Posted) {
        let mut unsent = News::Post(posted);
        while !self.alarm.is_rung() {
            match self.means.news.send_timeout(unsent, STILL_WANTED) {
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

    fn line(login: &str, text: &str) -> Unsent {
        let [login, text, client_id] = [login, text, text].map(str::to_owned);
        Unsent { login, client_id, line: text.clone(), text }
    }

    fn outcome(queue: &mut Queue) -> Option<Outcome> {
        queue.awaited.take().and_then(|(_, outcome)| outcome)
    }

    fn waiting(why: CallError, lines: usize) -> Option<Outcome> {
        Some(Outcome::Waits { why: Some(why), lines })
    }

    #[test]
    fn lines_are_sent_in_order_and_those_nobody_waited_for_are_told_of_at_the_end() {
        let mut queue = Queue::default();
        assert!(queue.push(line("alice", "a")));
        queue.failed(CallError::Unreachable);
        assert_eq!(outcome(&mut queue), waiting(CallError::Unreachable, 1));
        assert!(queue.push(line("alice", "b")));
        assert_eq!(queue.lines.front().map(|line| line.text.as_str()), Some("a"));
        queue.failed(CallError::NoAnswer);
        assert_eq!(outcome(&mut queue), None, "it is not the turn of the one that is waited for");
        assert_eq!((queue.sent(), queue.sent()), (None, Some(Posted::Sent(2))));
        assert!(queue.push(line("alice", "c")));
        assert_eq!(queue.sent(), None);
        assert_eq!(outcome(&mut queue), Some(Outcome::Sent), "whoever waits is told himself");
    }

    #[test]
    fn a_refused_line_does_not_hold_up_the_next_and_is_given_back() {
        let refusal = || CallError::Refused(ServerRefusal::in_response("TEXT_INVALID", ""));
        let mut queue = Queue::default();
        assert!(queue.push(line("alice", "a")));
        assert_eq!(queue.refused(refusal()), None);
        assert_eq!(outcome(&mut queue), Some(Outcome::Refused(refusal())));
        assert!(queue.lines.is_empty() && queue.returned.is_empty(), "whoever waits has it still");
        assert!(queue.push(line("alice", "b")) && queue.push(line("alice", "c")));
        queue.awaited = None;
        assert_eq!(queue.refused(refusal()), Some(Posted::Refused("b".to_owned(), refusal())));
        assert_eq!(queue.returned.pop_front().as_deref(), Some("b"));
        assert_eq!(queue.sent(), Some(Posted::Sent(1)));
    }

    #[test]
    fn no_more_than_a_hundred_lines_wait() {
        let mut queue = Queue::default();
        assert!((0..MAX_UNSENT).all(|number| queue.push(line("alice", &number.to_string()))));
        assert!(!queue.push(line("alice", "one more")));
        assert_eq!(queue.sent(), None);
        assert!(queue.push(line("alice", "one more")));
    }

    #[test]
    fn lines_are_sent_in_their_writers_name_or_not_at_all() {
        let mut queue = Queue::default();
        assert!(queue.push(line("alice", "a")) && queue.push(line("Alice", "b")));
        assert_eq!(queue.drop_foreign("ALICE"), []);
        let dropped = |text: &str, login: &str| Posted::Dropped { login: login.to_owned(), text: text.to_owned() };
        assert_eq!(queue.drop_foreign("bob"), [dropped("a", "alice"), dropped("b", "Alice")]);
        assert!(queue.lines.is_empty());
    }

    #[test]
    fn what_another_try_may_help_is_tried_again() {
        let refused = |word: &str| CallError::Refused(ServerRefusal::in_response(word, ""));
        for (error, verdict) in [
            (CallError::Unreachable, Verdict::Again),
            (CallError::NoAnswer, Verdict::Again),
            (refused("DRAINING"), Verdict::Again),
            (refused("OVERLOADED"), Verdict::Again),
            (refused("SESSION_ENDED"), Verdict::NoSession),
            (refused("TEXT_INVALID"), Verdict::Refused),
            (refused("STORAGE_FAILED"), Verdict::Refused),
        ] {
            assert_eq!(Verdict::of(&error), verdict, "{error:?}");
        }
    }

    #[test]
    fn every_line_has_an_id_of_its_own() {
        let ids: std::collections::HashSet<String> = (0..100).map(|_| new_client_id().unwrap()).collect();
        assert!(ids.len() == 100 && ids.iter().all(|id| id.len() == 32));
    }
}
