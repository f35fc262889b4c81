//! The thread that shows the common room: the messages, what happens to the stream and the outbox, and a warning before the
//! session ends.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};

use crate::base::escape::one_line;
use crate::base::lang::Lang;
use crate::base::lock::lock;
use crate::base::writing::text_line;
use crate::client::console::room::current_session::CurrentSession;
use crate::client::console::room::render;
use crate::client::console::room::screen_event::ScreenEvent;
use crate::client::console::room::send_queue::LateOutcome;
use crate::client::console::room::timeline::Timeline;
use crate::client::console::terminal::screen::Screen;
use crate::client::console::text::{failures, outbox, room};
use crate::client::server_clock::ServerClock;
use crate::client::stream::StreamEvent;
use crate::client::types::ReceivedMessage;

/// How often the printer checks whether the session ends soon.
const CHECK_EVERY: Duration = Duration::from_secs(20);

/// What the printer needs.
pub struct RoomPrinter {
    /// Where it prints.
    pub screen: Arc<Screen>,
    /// The session that is logged in.
    pub current: Arc<CurrentSession>,
    /// Which messages are on the screen.
    pub timeline: Arc<Mutex<Timeline>>,
    /// Learns the server's time.
    pub clock: Arc<ServerClock>,
    /// The language of the console.
    pub lang: Lang,
    /// What to show.
    pub events: Receiver<ScreenEvent>,
}

impl RoomPrinter {
    /// Shows events until every sender is gone, or the screen.
    pub fn run(self) {
        let mut latest = 0;
        loop {
            let shown = match self.events.recv_timeout(CHECK_EVERY) {
                Ok(ScreenEvent::Stream(generation, event)) => {
                    self.note_login(&mut latest, generation);
                    self.show_stream_event(generation, event)
                }
                Ok(ScreenEvent::Outbox(outcome)) => self.show_late_outcome(outcome),
                Err(RecvTimeoutError::Timeout) => Ok(()),
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if shown.and_then(|()| self.warn_of_end()).is_err() {
                return;
            }
        }
    }

    /// The first event of a new generation shows that a session has started.
    fn note_login(&self, latest: &mut u64, generation: u64) {
        if generation > *latest {
            *latest = generation;
            if self.current.renewed(generation) == Some(false) {
                lock(&self.timeline).logged_in();
            }
        }
    }

    fn show_message(&self, message: &ReceivedMessage) -> io::Result<()> {
        let ours = self.current.is_author(&message.author);
        let (block, live) = {
            let mut timeline = lock(&self.timeline);
            if !timeline.message(message.id, ours) {
                return Ok(());
            }
            let starts_day = timeline.starts_day(render::date(message.time).as_deref());
            let block = render::block(message, starts_day, &self.screen, self.lang, &mut timeline.folds);
            (block, timeline.is_live())
        };
        // A replayed message says when it was sent, not what time it is.
        if let Some(time) = message.time.filter(|_| live) {
            self.clock.heard(time);
        }
        self.screen.message(&block)
    }

    fn show_stream_event(&self, generation: u64, event: StreamEvent) -> io::Result<()> {
        match event {
            StreamEvent::Message(message) => self.show_message(&message),
            StreamEvent::SessionOver(refusal) if self.current.ended(generation) => {
                let why = failures::refusal(&refusal, self.lang);
                self.notice(&room::SESSION_OVER.with(self.lang, &[&why]))
            }
            StreamEvent::Gap => self.notice(room::GAP.text(self.lang)),
            StreamEvent::StartedOver => {
                lock(&self.timeline).start_over();
                self.notice(room::ANEW.text(self.lang))
            }
            StreamEvent::CaughtUp { cursor } => {
                let divider = lock(&self.timeline).caught_up(cursor);
                divider.map_or(Ok(()), |divider| self.notice(&divider.text(self.lang)))
            }
            StreamEvent::Lost(error) if self.current.renewed(generation).is_some() => {
                lock(&self.timeline).lost();
                self.notice(&room::LOST.with(self.lang, &[&failures::short_failure(&error, self.lang)]))
            }
            StreamEvent::SessionOver(_) | StreamEvent::Lost(_) => Ok(()),
        }
    }

    fn show_late_outcome(&self, outcome: LateOutcome) -> io::Result<()> {
        let text = match outcome {
            LateOutcome::Sent(lines) => outbox::SENT_LATE.with(self.lang, &[&outbox::lines(lines, self.lang)]),
            LateOutcome::Refused(text, error) => {
                let why = failures::failure(&error, "", self.lang);
                outbox::SENT_NOT_LATE.with(self.lang, &[&render::beginning(&text), &why])
            }
            LateOutcome::Dropped { login, text } => {
                outbox::DROPPED.with(self.lang, &[&one_line(&login), &text_line(&text)])
            }
        };
        self.notice(&text)
    }

    fn warn_of_end(&self) -> io::Result<()> {
        let Some(end) = self.current.warn_of_end(&self.clock) else { return Ok(()) };
        let end = render::date_and_time(self.clock.local(end));
        self.notice(&room::SESSION_ENDING.with(self.lang, &[&end]))
    }

    fn notice(&self, text: &str) -> io::Result<()> {
        self.screen.notice_among_messages(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::{Clock, Time};
    use crate::base::terminal::testing::Captured;
    use crate::client::console::terminal::paint::Paint;
    use crate::client::error::{CallError, ServerRefusal};
    use crate::client::session::ClientSession;
    use crate::model::ids::EventId;
    use crate::model::ids::testing::cursor;
    use crate::security::secret::SecretText;

    fn session(expires_at: i64) -> ClientSession {
        let token = SecretText::new("token".to_owned());
        ClientSession { login: "alice".to_owned(), token, expires_at: Some(Time::from_secs(expires_at)) }
    }

    /// The messages and notices that these events produce.
    fn show(current: Arc<CurrentSession>, clock: Clock, events: Vec<(u64, StreamEvent)>) -> (String, String) {
        show_by(current, Arc::new(ServerClock::new(clock)), events)
    }

    fn show_by(
        current: Arc<CurrentSession>,
        clock: Arc<ServerClock>,
        events: Vec<(u64, StreamEvent)>,
    ) -> (String, String) {
        let (messages, notices) = (Captured::default(), Captured::default());
        let screen = Screen::plain(messages.output(), notices.output(), Paint::None);
        let (sender, receiver) = crossbeam_channel::unbounded();
        for event in events {
            sender.send(event.into()).unwrap();
        }
        drop(sender);
        let timeline = Arc::new(Mutex::new(Timeline::new(render::date(Some(Time::from_secs(0))))));
        RoomPrinter { screen: Arc::new(screen), current, timeline, clock, lang: Lang::En, events: receiver }.run();
        (messages.text(), notices.text())
    }

    fn message(id: u64, text: &str) -> StreamEvent {
        let id = EventId::from_wire(id).ok();
        StreamEvent::Message(ReceivedMessage { id, author: "bob".to_owned(), text: text.to_owned(), time: None })
    }

    #[test]
    fn a_message_from_two_readers_appears_once_and_one_without_an_id_always() {
        let events = vec![
            (1, message(1, "a")),
            (1, message(2, "b")),
            (2, message(2, "b")),
            (2, message(3, "c")),
            (2, message(0, "d")),
        ];
        let (messages, _) = show(Arc::default(), Clock::system(), events);
        let texts: Vec<&str> = messages.lines().filter_map(|line| line.strip_prefix("[--:--:--] bob: ")).collect();
        assert_eq!(texts, ["a", "b", "c", "d"]);
    }

    #[test]
    fn only_the_end_of_the_latest_session_ends_it() {
        let current = Arc::new(CurrentSession::default());
        let first = current.set(session(1_000_000));
        let second = current.set(session(1_000_000));
        let over = || StreamEvent::SessionOver(ServerRefusal::in_response("SESSION_ENDED", ""));
        let clock = || Clock::manual(Time::from_secs(0));
        assert_eq!(show(current.clone(), clock(), vec![(first, over())]).1, "");
        assert!(current.get().is_some());
        assert!(show(current.clone(), clock(), vec![(second, over())]).1.contains("Type /login"));
        assert!(current.get().is_none());
    }

    #[test]
    fn an_expected_end_is_not_reported() {
        let current = Arc::new(CurrentSession::default());
        let clock = || Clock::manual(Time::from_secs(0));
        let over = |mark| vec![(mark, StreamEvent::SessionOver(ServerRefusal::in_response("SESSION_ENDED", "")))];
        let mark = current.set(session(1_000_000));
        let said = current.expect_end(|| Ok::<_, ()>(show(current.clone(), clock(), over(mark)).1));
        assert_eq!(said, Ok(String::new()));
        assert!(current.get().is_none());
        let mark = current.set(session(1_000_000));
        assert_eq!(current.expect_end(|| Err::<(), _>(())), Err(()));
        assert!(show(current, clock(), over(mark)).1.contains("Type /login"));
    }

    #[test]
    fn the_end_of_a_session_by_the_servers_clock_is_warned_of_once() {
        let current = Arc::new(CurrentSession::default());
        current.set(session(10_000));
        let at = |server: i64| {
            let said = ReceivedMessage {
                id: None,
                author: String::new(),
                text: String::new(),
                time: Some(Time::from_secs(server)),
            };
            (1, StreamEvent::Message(said))
        };
        let ours = || Clock::manual(Time::from_secs(77));
        let live = (1, StreamEvent::CaughtUp { cursor: cursor(0) });
        let (_, notices) = show(current.clone(), ours(), vec![live.clone(), at(8_000), at(9_099)]);
        assert_eq!(notices.matches("The session ends").count(), 0, "{notices}");
        let (_, notices) = show(current, ours(), vec![live, at(9_101), at(9_200)]);
        assert_eq!(notices.matches("The session ends").count(), 1, "{notices}");
    }

    #[test]
    fn only_live_messages_set_the_servers_clock() {
        let at = |server: i64| {
            let (author, text, time) = ("bob".to_owned(), String::new(), Some(Time::from_secs(server)));
            (1, StreamEvent::Message(ReceivedMessage { id: None, author, text, time }))
        };
        let caught_up = || (1, StreamEvent::CaughtUp { cursor: cursor(0) });
        let lost = || (1, StreamEvent::Lost(CallError::NoAnswer));
        for (events, clock) in [
            // The last messages before a login, what came while the connection was lost, and after the server started over.
            (vec![at(5_000), caught_up()], 100_000),
            (vec![caught_up(), at(99_000), lost(), at(5_000)], 99_000),
            (vec![caught_up(), at(99_000), (1, StreamEvent::StartedOver), at(5_000)], 99_000),
            (vec![at(5_000), caught_up(), at(99_000)], 99_000),
        ] {
            let theirs = Arc::new(ServerClock::new(Clock::manual(Time::from_secs(100_000))));
            let current = Arc::new(CurrentSession::default());
            current.set(session(1_000_000));
            show_by(current, theirs.clone(), events);
            assert_eq!(theirs.now(), Time::from_secs(clock));
        }
    }

    #[test]
    fn a_lost_connection_and_its_return_are_reported_with_the_messages_between() {
        let current = Arc::new(CurrentSession::default());
        let mark = current.set(session(1_000_000));
        let caught_up = |number| (mark, StreamEvent::CaughtUp { cursor: cursor(number) });
        let lost = || (mark, StreamEvent::Lost(CallError::Unreachable));
        let events = vec![
            (mark, message(1, "a")),
            caught_up(1),
            lost(),
            (mark, message(2, "b")),
            caught_up(2),
            lost(),
            caught_up(2),
        ];
        let (messages, notices) = show(current, Clock::manual(Time::from_secs(0)), events);
        assert_eq!(messages.lines().count(), 2);
        let notices: Vec<&str> = notices.lines().collect();
        assert_eq!(notices.len(), 5, "{notices:?}");
        assert!(notices[0].contains("from here on the room is live"));
        assert!(notices[1].contains("Reconnecting"));
        assert!(notices[2].contains("Connected again: 1 message came while the connection was lost"));
        assert!(notices[4].contains("Connected again, nothing was missed"));
    }

    #[test]
    fn an_earlier_readers_loss_is_not_reported() {
        let current = Arc::new(CurrentSession::default());
        let first = current.set(session(1_000_000));
        current.set(session(1_000_000));
        let (_, notices) =
            show(current, Clock::manual(Time::from_secs(0)), vec![(first, StreamEvent::Lost(CallError::NoAnswer))]);
        assert_eq!(notices, "");
    }

    #[test]
    fn messages_of_another_day_are_below_its_date() {
        let at = |id: u64, days: i64| {
            let (author, text) = ("bob".to_owned(), id.to_string());
            (
                1,
                StreamEvent::Message(ReceivedMessage {
                    id: EventId::from_wire(id).ok(),
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
    fn the_outcome_of_waiting_lines_is_reported() {
        let (messages, notices) = (Captured::default(), Captured::default());
        let screen = Screen::plain(messages.output(), notices.output(), Paint::None);
        let (sender, events) = crossbeam_channel::unbounded();
        let refusal = CallError::Refused(ServerRefusal::in_response("TEXT_INVALID", ""));
        let (login, text) = ("alice".to_owned(), "hi\x1b".to_owned());
        let outcomes =
            [LateOutcome::Sent(2), LateOutcome::Refused(text.clone(), refusal), LateOutcome::Dropped { login, text }];
        for outcome in outcomes {
            sender.send(ScreenEvent::Outbox(outcome)).unwrap();
        }
        drop(sender);
        let (clock, timeline) =
            (Arc::new(ServerClock::new(Clock::system())), Arc::new(Mutex::new(Timeline::new(None))));
        let screen = Arc::new(screen);
        RoomPrinter { screen, current: Arc::default(), timeline, clock, lang: Lang::En, events }.run();
        let notices = notices.text();
        let notices: Vec<&str> = notices.lines().collect();
        assert!(notices[0].contains("2 lines") && notices[1].contains("hi\\u{1b}") && notices[2].contains("alice"));
    }
}
