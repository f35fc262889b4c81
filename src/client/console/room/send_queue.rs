//! The lines that wait to be sent, and what happened to them.

use std::collections::VecDeque;

use crate::client::error::CallError;
use crate::model::login::LoginKey;

/// The most lines that wait.
pub const MAX_UNSENT: usize = 100;

/// What happened to a line, for the person who waits for it.
#[derive(Debug, PartialEq, Eq)]
pub enum SendOutcome {
    /// It is stored.
    Sent,
    /// It was refused and no longer waits.
    Refused(CallError),
    /// It waits to be sent again.
    Waiting {
        /// The cause, if it is known.
        why: Option<CallError>,
        /// How many lines wait, this one included.
        lines: usize,
    },
    /// It was not taken, because too many lines wait already.
    QueueFull,
}

/// What happened to lines that are no longer waited for.
#[derive(Debug, PartialEq, Eq)]
pub enum LateOutcome {
    /// All waiting lines were sent; this many.
    Sent(usize),
    /// This text was refused.
    Refused(String, CallError),
    /// This text was dropped, because its author is no longer logged in.
    Dropped {
        /// The author.
        login: String,
        /// The text.
        text: String,
    },
}

/// A line that is not sent yet.
#[derive(Clone, Debug)]
pub(super) struct UnsentLine {
    pub(super) login: String,
    pub(super) client_id: String,
    pub(super) text: String,
    /// The line as it was typed.
    pub(super) typed: String,
}

/// The lines in order. The outbox is sending the first.
#[derive(Debug, Default)]
pub(super) struct SendQueue {
    pub(super) lines: VecDeque<UnsentLine>,
    /// The id of the line that a person waits for, and what happened to it so far.
    awaited: Option<(String, Option<SendOutcome>)>,
    /// How many lines were sent after people stopped waiting for them.
    sent_late: usize,
    /// Lines that were refused after people stopped waiting for them, to be edited again.
    returned: VecDeque<String>,
}

impl SendQueue {
    /// Adds a line that a person waits for; `false` if too many lines wait already.
    pub(super) fn push(&mut self, line: UnsentLine) -> bool {
        if self.lines.len() >= MAX_UNSENT {
            return false;
        }
        self.awaited = Some((line.client_id.clone(), None));
        self.lines.push_back(line);
        true
    }

    /// Removes the lines of other accounts than `login`.
    pub(super) fn drop_foreign(&mut self, login: &str) -> Vec<LateOutcome> {
        let ours = LoginKey::from_text(login);
        let (ours, foreign) =
            std::mem::take(&mut self.lines).into_iter().partition(|l| LoginKey::from_text(&l.login) == ours);
        self.lines = ours;
        foreign.into_iter().map(|UnsentLine { login, text, .. }| LateOutcome::Dropped { login, text }).collect()
    }

    /// An attempt to send the first line failed.
    pub(super) fn failed(&mut self, why: CallError) {
        let lines = self.lines.len();
        if let Some(outcome) = self.outcome_of_first() {
            *outcome = Some(SendOutcome::Waiting { why: Some(why), lines });
        }
    }

    /// The first line is stored. Returns what to report.
    pub(super) fn sent(&mut self) -> Option<LateOutcome> {
        match self.outcome_of_first() {
            Some(outcome) => *outcome = Some(SendOutcome::Sent),
            None => self.sent_late += 1,
        }
        self.lines.pop_front();
        (self.lines.is_empty() && self.sent_late > 0).then(|| LateOutcome::Sent(std::mem::take(&mut self.sent_late)))
    }

    /// The first line was refused. Returns what to report.
    pub(super) fn refused(&mut self, why: CallError) -> Option<LateOutcome> {
        if let Some(outcome) = self.outcome_of_first() {
            *outcome = Some(SendOutcome::Refused(why));
            self.lines.pop_front();
            return None;
        }
        let UnsentLine { text, typed, .. } = self.lines.pop_front()?;
        self.returned.push_back(typed);
        Some(LateOutcome::Refused(text, why))
    }

    /// Whether a person waits for the first line.
    pub(super) fn first_is_awaited(&mut self) -> bool {
        self.outcome_of_first().is_some()
    }

    /// What happened so far to the line that a person waits for.
    pub(super) fn awaited_outcome(&self) -> Option<&SendOutcome> {
        self.awaited.as_ref().and_then(|(_, outcome)| outcome.as_ref())
    }

    /// The person stops waiting. Returns what happened to the line so far.
    pub(super) fn stop_waiting(&mut self) -> Option<SendOutcome> {
        self.awaited.take().and_then(|(_, outcome)| outcome)
    }

    /// A refused line, to be edited again.
    pub(super) fn take_returned(&mut self) -> Option<String> {
        self.returned.pop_front()
    }

    /// Where to put the outcome of the first line, if a person waits for it.
    fn outcome_of_first(&mut self) -> Option<&mut Option<SendOutcome>> {
        let first = self.lines.front()?;
        self.awaited.as_mut().filter(|(id, _)| *id == first.client_id).map(|(_, outcome)| outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::error::ServerRefusal;

    fn line(login: &str, text: &str) -> UnsentLine {
        let [login, text, client_id] = [login, text, text].map(str::to_owned);
        UnsentLine { login, client_id, typed: text.clone(), text }
    }

    fn waiting(why: CallError, lines: usize) -> Option<SendOutcome> {
        Some(SendOutcome::Waiting { why: Some(why), lines })
    }

    #[test]
    fn lines_are_sent_in_order_and_late_ones_are_reported_together() {
        let mut queue = SendQueue::default();
        assert!(queue.push(line("alice", "a")));
        queue.failed(CallError::Unreachable);
        assert_eq!(queue.stop_waiting(), waiting(CallError::Unreachable, 1));
        assert!(queue.push(line("alice", "b")));
        assert_eq!(queue.lines.front().map(|line| line.text.as_str()), Some("a"));
        queue.failed(CallError::NoAnswer);
        assert_eq!(queue.stop_waiting(), None, "the first line is not the awaited one");
        assert_eq!((queue.sent(), queue.sent()), (None, Some(LateOutcome::Sent(2))));
        assert!(queue.push(line("alice", "c")));
        assert_eq!(queue.sent(), None);
        assert_eq!(queue.stop_waiting(), Some(SendOutcome::Sent), "a person who waits gets the outcome directly");
    }

    #[test]
    fn a_refused_line_does_not_block_the_next_and_comes_back() {
        let refusal = || CallError::Refused(ServerRefusal::in_response("TEXT_INVALID", ""));
        let mut queue = SendQueue::default();
        assert!(queue.push(line("alice", "a")));
        assert_eq!(queue.refused(refusal()), None);
        assert_eq!(queue.stop_waiting(), Some(SendOutcome::Refused(refusal())));
        assert!(queue.lines.is_empty() && queue.returned.is_empty(), "a person who waits still has the line");
        assert!(queue.push(line("alice", "b")) && queue.push(line("alice", "c")));
        queue.awaited = None;
        assert_eq!(queue.refused(refusal()), Some(LateOutcome::Refused("b".to_owned(), refusal())));
        assert_eq!(queue.take_returned().as_deref(), Some("b"));
        assert_eq!(queue.sent(), Some(LateOutcome::Sent(1)));
    }

    #[test]
    fn at_most_a_hundred_lines_wait() {
        let mut queue = SendQueue::default();
        assert!((0..MAX_UNSENT).all(|number| queue.push(line("alice", &number.to_string()))));
        assert!(!queue.push(line("alice", "one more")));
        assert_eq!(queue.sent(), None);
        assert!(queue.push(line("alice", "one more")));
    }

    #[test]
    fn a_line_is_sent_for_its_author_or_not_at_all() {
        let mut queue = SendQueue::default();
        assert!(queue.push(line("alice", "a")) && queue.push(line("Alice", "b")));
        assert_eq!(queue.drop_foreign("ALICE"), []);
        let dropped = |text: &str, login: &str| LateOutcome::Dropped { login: login.to_owned(), text: text.to_owned() };
        assert_eq!(queue.drop_foreign("bob"), [dropped("a", "alice"), dropped("b", "Alice")]);
        assert!(queue.lines.is_empty());
    }
}
