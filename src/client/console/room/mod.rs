//! The thread that shows the common room: what the reader hands on, and a word when the session is nearly over.

pub mod outbox;
pub mod render;
pub mod timeline;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};

use crate::base::escape::one_line;
use crate::base::lang::Lang;
use crate::base::lock::lock;
use crate::client::console::room::outbox::Posted;
use crate::client::console::room::timeline::Place;
use crate::client::console::terminal::screen::Screen;
use crate::client::console::text;
use crate::client::server_clock::ServerClock;
use crate::client::session::ClientSession;
use crate::client::stream::StreamEvent;
use crate::client::types::ReceivedMessage;
use crate::model::login::is_spelling_of;

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
    session: Option<ClientSession>,
    /// Whether it took the place of another session, and the room was being read all along.
    renewed: bool,
    warned: bool,
    /// Whether the session is just being ended by ourselves.
    end_expected: bool,
}

impl Presence {
    /// The session there is.
    pub fn session(&self) -> Option<ClientSession> {
        self.lock().session.clone()
    }

    /// Somebody has logged in; answers the mark of this session.
    pub fn enter(&self, session: ClientSession) -> u64 {
        let mut state = self.lock();
        state.mark += 1;
        state.renewed = state.session.replace(session).is_some();
        state.warned = false;
        state.end_expected = false;
        state.mark
    }

    /// Whether the session with `mark` is the latest, and if so whether it took the place of another.
    fn latest(&self, mark: u64) -> Option<bool> {
        let state = self.lock();
        (state.mark == mark).then_some(state.renewed)
    }

    /// Whether a message of `author` is the person's own.
    fn is(&self, author: &str) -> bool {
        self.lock().session.as_ref().is_some_and(|session| is_spelling_of(author, &session.login))
    }

    /// The session there is has ended.
    pub fn leave(&self) -> Option<ClientSession> {
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
    fn nearly_over(&self, clock: &ServerClock) -> Option<crate::base::clock::Time> {
        let mut state = self.lock();
        let end = state.session.as_ref()?.expires_at?;
        if state.warned || clock.until(end) > WARN_BEFORE {
            return None;
        }
        state.warned = true;
        Some(end)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }
}

/// What there is to show.
#[derive(Debug)]
pub enum News {
    /// A reader brings it; with its mark.
    Stream(u64, StreamEvent),
    /// The outbox has it.
    Post(Posted),
}

impl From<(u64, StreamEvent)> for News {
    fn from((mark, event): (u64, StreamEvent)) -> News {
        News::Stream(mark, event)
    }
}

/// What the thread works with.
pub struct Room {
    /// Where to show it.
    pub screen: Arc<Screen>,
    /// Who is logged in.
    pub presence: Arc<Presence>,
    /// What stands on the screen.
    pub place: Arc<Mutex<Place>>,
    /// What the server's clock says.
    pub clock: Arc<ServerClock>,
    /// In which language.
    pub lang: Lang,
    /// What there is to show.
    pub news: Receiver<News>,
}

impl Room {
    /// Shows what comes, until nobody is left who could send anything, or the screen has gone.
    pub fn run(self) {
        let mut mark = 0;
        loop {
            let shown = match self.news.recv_timeout(LOOK_EVERY) {
                Ok(News::Stream(of, event)) => {
                    self.has_entered(&mut mark, of);
                    self.stream_event(of, event)
                }
                Ok(News::Post(posted)) => self.posted(posted),
                Err(RecvTimeoutError::Timeout) => Ok(()),
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if shown.and_then(|()| self.warn()).is_err() {
                return;
            }
        }
    }

    /// The first event of a session's reader says that somebody has logged in.
    fn has_entered(&self, mark: &mut u64, of: u64) {
        if of > *mark {
            *mark = of;
            if self.presence.latest(of) == Some(false) {
                self.place().entered();
            }
        }
    }

    fn said(&self, said: &ReceivedMessage) -> io::Result<()> {
        let ours = self.presence.is(&said.author);
        let turns = {
            let mut place = self.place();
            if !place.said(said.id, ours) {
                return Ok(());
            }
            place.turns(render::date(said.time).as_deref())
        };
        if let Some(time) = said.time {
            self.clock.heard(time);
        }
        self.screen.message(&block(said, turns, &self.screen))
    }

    fn stream_event(&self, mark: u64, event: StreamEvent) -> io::Result<()> {
        match event {
            StreamEvent::Message(said) => self.said(&said),
            StreamEvent::SessionOver(refusal) if self.presence.ended(mark) => {
                let why = text::refusal(&refusal, self.lang);
                self.screen.notice_among_messages(&text::SESSION_OVER.with(self.lang, &[&why]))
            }
            StreamEvent::Gap => self.screen.notice_among_messages(text::GAP.say(self.lang)),
            StreamEvent::StartedOver => {
                self.place().begin_anew();
                self.screen.notice_among_messages(text::ANEW.say(self.lang))
            }
            StreamEvent::CaughtUp { cursor } => {
                let mark = self.place().caught_up(cursor);
                mark.map_or(Ok(()), |mark| self.screen.notice_among_messages(&text::mark(mark, self.lang)))
            }
            StreamEvent::Lost(error) if self.presence.latest(mark).is_some() => {
                self.place().lost();
                self.screen.notice_among_messages(&text::LOST.with(self.lang, &[&text::loss(&error, self.lang)]))
            }
            StreamEvent::SessionOver(_) | StreamEvent::Lost(_) => Ok(()),
        }
    }

    fn posted(&self, posted: Posted) -> io::Result<()> {
        let words = match posted {
            Posted::Sent(lines) => text::SENT_LATE.with(self.lang, &[&text::LINES.count(lines as u64, self.lang)]),
            Posted::Refused(text, error) => {
                let why = text::failure(&error, "", self.lang);
                text::SENT_NOT_LATE.with(self.lang, &[&render::beginning(&text), &why])
            }
            Posted::Dropped { login, text } => text::DROPPED.with(self.lang, &[&one_line(&login), &one_line(&text)]),
        };
        self.screen.notice_among_messages(&words)
    }

    fn place(&self) -> MutexGuard<'_, Place> {
        lock(&self.place)
    }

    fn warn(&self) -> io::Result<()> {
        let Some(end) = self.presence.nearly_over(&self.clock) else { return Ok(()) };
        let end = render::date_and_time(self.clock.local(end));
        self.screen.notice_among_messages(&text::SESSION_ENDING.with(self.lang, &[&end]))
    }
}

/// A message as it is shown, and above it its date where that `turns`.
pub(super) fn block(said: &ReceivedMessage, turns: bool, screen: &Screen) -> String {
    let time = render::time_of_day(said.time);
    let window = screen.window().map(|cells| cells.columns);
    let message = render::message(&time, &said.author, &said.text, window, screen.paint());
    let date = render::date(said.time).filter(|_| turns);
    date.map(|date| format!("{}\n{message}", screen.paint().dim(&render::date_line(&date)))).unwrap_or(message)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::base::clock::{Clock, Time};
    use crate::client::console::room::render::Paint;
    use crate::client::error::{CallError, ServerRefusal};
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

    fn session(expires_at: i64) -> ClientSession {
        let token = SecretText::new("token".to_owned());
        ClientSession { login: "alice".to_owned(), token, expires_at: Some(Time::from_secs(expires_at)) }
    }

    /// What is shown on stdout and stderr when these events come.
    fn show(presence: Arc<Presence>, clock: Clock, events: Vec<(u64, StreamEvent)>) -> (String, String) {
        let (messages, notices) = (Paper::default(), Paper::default());
        let screen = Screen::plain(Box::new(messages.clone()), Box::new(notices.clone()), Paint::None);
        let (sender, receiver) = crossbeam_channel::unbounded();
        for event in events {
            sender.send(event.into()).unwrap();
        }
        drop(sender);
        let clock = Arc::new(ServerClock::new(clock));
        let place = Arc::new(Mutex::new(Place::new(render::date(Some(Time::from_secs(0))))));
        Room { screen: Arc::new(screen), presence, place, clock, lang: Lang::En, news: receiver }.run();
        (messages.text(), notices.text())
    }

    fn said(id: u64, text: &str) -> StreamEvent {
        StreamEvent::Message(ReceivedMessage { id, author: "bob".to_owned(), text: text.to_owned(), time: None })
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
        let over = || StreamEvent::SessionOver(ServerRefusal::in_response("SESSION_ENDED", ""));
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
        let over = |mark| vec![(mark, StreamEvent::SessionOver(ServerRefusal::in_response("SESSION_ENDED", "")))];
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
            let said = ReceivedMessage {
                id: 0,
                author: String::new(),
                text: String::new(),
                time: Some(Time::from_secs(server)),
            };
            (1, StreamEvent::Message(said))
        };
        let ours = Clock::manual(Time::from_secs(77));
        let (_, notices) = show(presence, ours, vec![at(8_000), at(9_099), at(9_101), at(9_200)]);
        assert_eq!(notices.matches("The session ends").count(), 1, "{notices}");
    }

    #[test]
    fn losing_the_connection_and_getting_it_back_are_said_with_what_came_meanwhile() {
        let presence = Arc::new(Presence::default());
        let mark = presence.enter(session(1_000_000));
        let caught_up = |cursor| (mark, StreamEvent::CaughtUp { cursor });
        let lost = || (mark, StreamEvent::Lost(CallError::Unreachable));
        let events =
            vec![(mark, said(1, "a")), caught_up(1), lost(), (mark, said(2, "b")), caught_up(2), lost(), caught_up(2)];
        let (messages, notices) = show(presence, Clock::manual(Time::from_secs(0)), events);
        assert_eq!(messages.lines().count(), 2);
        let notices: Vec<&str> = notices.lines().collect();
        assert_eq!(notices.len(), 5, "{notices:?}");
        assert!(notices[0].contains("now the room is live"));
        assert!(notices[1].contains("Reconnecting"));
        assert!(notices[2].contains("Connected again: 1 message came while the connection was lost"));
        assert!(notices[4].contains("Connected again, nothing was missed"));
    }

    #[test]
    fn what_an_earlier_reader_lost_is_no_news() {
        let presence = Arc::new(Presence::default());
        let first = presence.enter(session(1_000_000));
        presence.enter(session(1_000_000));
        let (_, notices) =
            show(presence, Clock::manual(Time::from_secs(0)), vec![(first, StreamEvent::Lost(CallError::NoAnswer))]);
        assert_eq!(notices, "");
    }

    #[test]
    fn lines_of_another_day_are_below_its_date() {
        let at = |id: u64, days: i64| {
            let (author, text) = ("bob".to_owned(), id.to_string());
            (
                1,
                StreamEvent::Message(ReceivedMessage {
                    id,
                    author,
                    text,
                    time: Some(Time::from_secs(43_200 + days * 86_400)),
                }),
            )
        };
        let events = vec![at(1, 0), at(2, 1), at(3, 1), at(4, 2)];
        let (messages, _) = show(Arc::default(), Clock::system(), events);
        let is_date = |line: &str| line.starts_with("--- 1970-01-");
        let dates: Vec<bool> = messages.lines().map(is_date).collect();
        assert_eq!(dates, [false, true, false, false, true, false], "{messages}");
    }

    #[test]
    fn what_became_of_lines_that_waited_is_said() {
        let (messages, notices) = (Paper::default(), Paper::default());
        let screen = Screen::plain(Box::new(messages.clone()), Box::new(notices.clone()), Paint::None);
        let (sender, news) = crossbeam_channel::unbounded();
        let refusal = CallError::Refused(ServerRefusal::in_response("TEXT_INVALID", ""));
        let (login, text) = ("alice".to_owned(), "hi\x1b".to_owned());
        for posted in [Posted::Sent(2), Posted::Refused(text.clone(), refusal), Posted::Dropped { login, text }] {
            sender.send(News::Post(posted)).unwrap();
        }
        drop(sender);
        let (clock, place) = (Arc::new(ServerClock::new(Clock::system())), Arc::new(Mutex::new(Place::new(None))));
        Room { screen: Arc::new(screen), presence: Arc::default(), place, clock, lang: Lang::En, news }.run();
        let notices = notices.text();
        let notices: Vec<&str> = notices.lines().collect();
        assert!(notices[0].contains("2 lines") && notices[1].contains("hi\\u{1b}") && notices[2].contains("alice"));
    }
}
