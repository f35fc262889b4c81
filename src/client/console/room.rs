//! The thread that shows the common room: what the reader hands on, and a word when the session is nearly over.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};

use crate::client::console::screen::Screen;
use crate::client::console::shown;
use crate::client::session::{ServerClock, Session};
use crate::client::stream::{Event, Said};
use crate::client::text;
use crate::lang::Lang;

/// How long before its end a session is said to be nearly over.
const WARN_BEFORE: Duration = Duration::from_secs(15 * 60);
/// How often that is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(20);

/// Who is logged in: shared between the thread that asks and the thread that shows.
#[derive(Debug, Default)]
pub struct Presence(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Counts the sessions, so that the end of an earlier one is not taken for the end of this one.
    mark: u64,
    session: Option<Session>,
    warned: bool,
    /// Whether the room is being read just now, as far as is known.
    reading: bool,
    /// Whether the session is just being ended by ourselves.
    end_expected: bool,
}

impl Presence {
    /// The session there is.
    pub fn session(&self) -> Option<Session> {
        self.lock().session.clone()
    }

    /// Somebody has logged in; answers the mark of this session.
    pub fn enter(&self, session: Session) -> u64 {
        let mut state = self.lock();
        state.mark += 1;
        state.session = Some(session);
        state.warned = false;
        state.reading = false;
        state.end_expected = false;
        state.mark
    }

    /// Whether what is said in the room is being read just now.
    pub fn is_reading(&self) -> bool {
        self.lock().reading
    }

    fn set_reading(&self, mark: u64, reading: bool) {
        let mut state = self.lock();
        if state.mark == mark {
            state.reading = reading;
        }
    }

    /// The session there is has ended.
    pub fn leave(&self) -> Option<Session> {
        self.lock().session.take()
    }

    /// Makes a call that ends the session if it succeeds. That end is no news then, even if the stream brings it before the
    /// answer comes.
    pub fn expect_end<T, E>(&self, call: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        self.lock().end_expected = true;
        let done = call();
        self.lock().end_expected = done.is_ok();
        done
    }

    /// The session with `mark` has ended; whether that is news.
    fn ended(&self, mark: u64) -> bool {
        let mut state = self.lock();
        state.mark == mark && state.session.take().is_some() && !state.end_expected
    }

    /// Whether it is time to say, once, that the session is nearly over; answers its end.
    fn nearly_over(&self, clock: &ServerClock) -> Option<crate::clock::Time> {
        let mut state = self.lock();
        let end = state.session.as_ref()?.expires_at?;
        if state.warned || clock.until(end) > WARN_BEFORE {
            return None;
        }
        state.warned = true;
        Some(end)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the thread works with.
pub struct Room {
    /// Where to show it.
    pub screen: Arc<Screen>,
    /// Who is logged in.
    pub presence: Arc<Presence>,
    /// What the server's clock says.
    pub clock: Arc<ServerClock>,
    /// In which language.
    pub lang: Lang,
    /// What the readers hand on, marked with their session.
    pub events: Receiver<(u64, Event)>,
}

impl Room {
    /// Shows what comes, until nobody is left who could send anything, or the screen has gone.
    pub fn run(self) {
        let mut last_id = 0;
        loop {
            let shown = match self.events.recv_timeout(LOOK_EVERY) {
                Ok((_, Event::Said(said))) => self.said(&said, &mut last_id),
                Ok((mark, event)) => self.stream_event(mark, event),
                Err(RecvTimeoutError::Timeout) => Ok(()),
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if shown.and_then(|()| self.warn()).is_err() {
                return;
            }
        }
    }

    fn said(&self, said: &Said, last_id: &mut u64) -> io::Result<()> {
        // While a session is renewed two readers overlap: what one has brought the other need not bring again.
        if said.id != 0 && said.id <= *last_id {
            return Ok(());
        }
        *last_id = said.id.max(*last_id);
        if let Some(time) = said.time {
            self.clock.heard(time);
        }
        let time = shown::time_of_day(said.time);
        let window = self.screen.window().map(|cells| cells.columns);
        self.screen.message(&shown::message(&time, &said.author, &said.text, window, self.screen.paint()))
    }

    fn stream_event(&self, mark: u64, event: Event) -> io::Result<()> {
        self.presence.set_reading(mark, matches!(event, Event::Open { .. }));
        match event {
            Event::Said(_) | Event::Open { again: false } => Ok(()),
            Event::Open { again: true } => self.screen.notice_among_messages(text::BACK.say(self.lang)),
            Event::Lost(error) => {
                self.screen.notice_among_messages(&text::LOST.with(self.lang, &[&text::loss(&error, self.lang)]))
            }
            Event::Over(refusal) if self.presence.ended(mark) => {
                let why = text::refusal(&refusal, self.lang);
                self.screen.notice_among_messages(&text::SESSION_OVER.with(self.lang, &[&why]))
            }
            Event::Over(_) => Ok(()),
        }
    }

    fn warn(&self) -> io::Result<()> {
        let Some(end) = self.presence.nearly_over(&self.clock) else { return Ok(()) };
        let end = shown::date_and_time(self.clock.local(end));
        self.screen.notice_among_messages(&text::SESSION_ENDING.with(self.lang, &[&end]))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::client::console::shown::Paint;
    use crate::client::error::{CallError, Refusal};
    use crate::clock::{Clock, Time};
    use crate::security::secret::SecretText;

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Paper {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    fn session(expires_at: i64) -> Session {
        let token = SecretText::new("token".to_owned());
        Session { login: "alice".to_owned(), token, expires_at: Some(Time::from_secs(expires_at)) }
    }

    /// What is shown on stdout and stderr when these events come.
    fn show(presence: Arc<Presence>, clock: Clock, events: Vec<(u64, Event)>) -> (String, String) {
        let (messages, notices) = (Paper::default(), Paper::default());
        let screen = Screen::plain(Box::new(messages.clone()), Box::new(notices.clone()), Paint::None);
        let (sender, receiver) = crossbeam_channel::unbounded();
        for event in events {
            sender.send(event).unwrap();
        }
        drop(sender);
        let clock = Arc::new(ServerClock::new(clock));
        Room { screen: Arc::new(screen), presence, clock, lang: Lang::En, events: receiver }.run();
        (messages.text(), notices.text())
    }

    fn said(id: u64, text: &str) -> Event {
        Event::Said(Said { id, author: "bob".to_owned(), text: text.to_owned(), time: None })
    }

    #[test]
    fn a_message_that_two_readers_bring_is_shown_once_and_one_without_id_always() {
        let events =
            vec![(1, said(1, "a")), (1, said(2, "b")), (2, said(2, "b")), (2, said(3, "c")), (2, said(0, "d"))];
        let (messages, _) = show(Arc::default(), Clock::system(), events);
        let texts: Vec<&str> = messages.lines().filter_map(|line| line.strip_prefix("[--:--:--] bob: ")).collect();
        assert_eq!(texts, ["a", "b", "c", "d"]);
    }

    #[test]
    fn only_the_end_of_the_present_session_ends_it() {
        let presence = Arc::new(Presence::default());
        let first = presence.enter(session(1_000_000));
        let second = presence.enter(session(1_000_000));
        let over = || Event::Over(Refusal::in_response("SESSION_ENDED", ""));
        let clock = || Clock::manual(Time::from_secs(0));
        assert_eq!(show(presence.clone(), clock(), vec![(first, over())]).1, "");
        assert!(presence.session().is_some());
        assert!(show(presence.clone(), clock(), vec![(second, over())]).1.contains("Type /login"));
        assert!(presence.session().is_none());
    }

    #[test]
    fn an_end_that_is_asked_for_is_no_news() {
        let presence = Arc::new(Presence::default());
        let clock = || Clock::manual(Time::from_secs(0));
        let over = |mark| vec![(mark, Event::Over(Refusal::in_response("SESSION_ENDED", "")))];
        let mark = presence.enter(session(1_000_000));
        let said = presence.expect_end(|| Ok::<_, ()>(show(presence.clone(), clock(), over(mark)).1));
        assert_eq!(said, Ok(String::new()));
        assert!(presence.session().is_none());
        let mark = presence.enter(session(1_000_000));
        assert_eq!(presence.expect_end(|| Err::<(), _>(())), Err(()));
        assert!(show(presence, clock(), over(mark)).1.contains("Type /login"));
    }

    #[test]
    fn a_session_that_is_nearly_over_by_the_servers_clock_is_said_so_once() {
        let presence = Arc::new(Presence::default());
        presence.enter(session(10_000));
        let at = |server: i64| {
            let said = Said { id: 0, author: String::new(), text: String::new(), time: Some(Time::from_secs(server)) };
            (1, Event::Said(said))
        };
        let ours = Clock::manual(Time::from_secs(77));
        let (_, notices) = show(presence, ours, vec![at(8_000), at(9_099), at(9_101), at(9_200)]);
        assert_eq!(notices.matches("The session ends").count(), 1, "{notices}");
    }

    #[test]
    fn losing_the_connection_and_getting_it_back_are_said() {
        let events = vec![(1, Event::Lost(CallError::Unreachable)), (1, Event::Open { again: true })];
        let (_, notices) = show(Arc::default(), Clock::system(), events);
        assert_eq!(notices.lines().count(), 2);
        assert!(notices.contains("Reconnecting") && notices.contains("Connected again"));
    }
}
