//! Which messages of the common room are on the screen. So no message appears twice, whichever way it comes, and the lines
//! between messages appear in the right place.

use crate::client::console::room::folds::Folds;
use crate::client::console::text::room::Divider;
use crate::client::types::HistoryPage;
use crate::model::ids::{Cursor, EventId};

/// The range of messages on the screen. Its only holes are those that the console has mentioned.
#[derive(Debug)]
pub struct Timeline {
    /// Behind the last message that was shown or skipped; the stream's messages up to here are not shown again.
    newest: Cursor,
    /// No message below this id was shown. `None` until the first message or cursor.
    oldest: Option<EventId>,
    /// The day of the last message on the screen.
    day: Option<String>,
    state: ReadState,
    /// How many messages were shown since the room was last live.
    shown: u64,
    /// How many of them other people sent.
    shown_of_others: u64,
    /// The messages that are on the screen in part.
    pub folds: Folds,
}

/// What the stream is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReadState {
    /// Nothing was read yet.
    Starting,
    /// New messages arrive as they are sent.
    Live,
    /// The connection was lost.
    Lost,
    /// There was no session.
    LoggedOut,
}

impl Timeline {
    /// Starts with an empty screen on the day `today`.
    pub fn new(today: Option<String>) -> Timeline {
        Timeline {
            newest: Cursor::START,
            oldest: None,
            day: today,
            state: ReadState::Starting,
            shown: 0,
            shown_of_others: 0,
            folds: Folds::default(),
        }
    }

    /// The stream brings a message with `id`, if it has one. Returns whether to show it.
    pub fn message(&mut self, id: Option<EventId>, ours: bool) -> bool {
        if let Some(id) = id {
            // A new reader may repeat messages of the one before it.
            if !id.is_after(self.newest) {
                return false;
            }
            self.newest = Cursor::behind(id);
            self.oldest.get_or_insert(id);
        }
        self.shown += 1;
        self.shown_of_others += u64::from(!ours);
        true
    }

    /// The stream has brought everything up to `cursor`. Returns the divider to show.
    pub fn caught_up(&mut self, cursor: Cursor) -> Option<Divider> {
        self.newest = self.newest.max(cursor);
        self.oldest = self.oldest.or(cursor.next_id());
        let divider = match self.state {
            ReadState::Starting => (self.shown > 0).then_some(Divider::Live),
            ReadState::Lost => Some(Divider::Back(self.shown_of_others)),
            ReadState::LoggedOut => (self.shown_of_others > 0).then_some(Divider::Meanwhile(self.shown_of_others)),
            ReadState::Live => None,
        };
        self.enter_state(ReadState::Live);
        divider
    }

    /// Whether messages arrive as they are sent.
    pub fn is_live(&self) -> bool {
        self.state == ReadState::Live
    }

    /// The connection is lost.
    pub fn lost(&mut self) {
        if self.state == ReadState::Live {
            self.enter_state(ReadState::Lost);
        }
    }

    /// A session started while there was none.
    pub fn logged_in(&mut self) {
        if self.state != ReadState::Starting {
            self.enter_state(ReadState::LoggedOut);
        }
    }

    /// The server does not know the messages on the screen: the stream starts over.
    pub fn start_over(&mut self) {
        (self.newest, self.oldest) = (Cursor::START, None);
        self.enter_state(ReadState::Starting);
    }

    /// The id below which the history continues; `None` for the newest messages.
    pub fn oldest(&self) -> Option<EventId> {
        self.oldest
    }

    /// A page of the history is about to be shown. Removes messages that the stream has brought meanwhile, and counts the rest
    /// as shown.
    pub fn add_page(&mut self, page: &mut HistoryPage) {
        if let Some(oldest) = self.oldest {
            page.messages.retain(|said| said.id.is_none_or(|id| id < oldest));
        }
        if let [first, .., last] | [first @ last] = page.messages.as_slice() {
            self.newest = last.id.map_or(self.newest, |id| self.newest.max(Cursor::behind(id)));
            self.oldest = first.id.or(self.oldest);
        }
    }

    /// A message of `day` is shown next. Returns whether a date line goes before it.
    pub fn starts_day(&mut self, day: Option<&str>) -> bool {
        let starts = day.is_some() && self.day.as_deref() != day;
        if starts {
            self.day = day.map(str::to_owned);
        }
        starts
    }

    fn enter_state(&mut self, state: ReadState) {
        self.state = state;
        (self.shown, self.shown_of_others) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::types::ReceivedMessage;
    use crate::model::ids::testing::cursor;

    fn id(number: i64) -> Option<EventId> {
        EventId::from_db(number).ok()
    }

    const OTHERS: bool = false;
    const OURS: bool = true;

    fn page(ids: &[i64]) -> HistoryPage {
        let said = |&number| ReceivedMessage { id: id(number), author: String::new(), text: String::new(), time: None };
        HistoryPage { messages: ids.iter().map(said).collect(), has_more: false }
    }

    fn ids(page: &HistoryPage) -> Vec<i64> {
        page.messages.iter().filter_map(|said| said.id).map(EventId::to_db).collect()
    }

    #[test]
    fn a_divider_follows_the_last_messages() {
        let mut timeline = Timeline::new(None);
        assert!(timeline.message(id(5), OTHERS) && timeline.message(id(6), OURS));
        assert_eq!(timeline.caught_up(cursor(6)), Some(Divider::Live));
        assert_eq!(Timeline::new(None).caught_up(cursor(0)), None, "an empty room needs no divider");
    }

    #[test]
    fn after_a_lost_connection_messages_of_others_are_counted_and_none_appears_twice() {
        let mut timeline = Timeline::new(None);
        timeline.caught_up(cursor(4));
        assert!(timeline.message(id(5), OTHERS));
        timeline.lost();
        assert!(!timeline.message(id(5), OTHERS) && timeline.message(id(6), OTHERS));
        // Lost again before everything had come.
        timeline.lost();
        assert!(timeline.message(id(7), OURS) && timeline.message(id(8), OTHERS));
        assert_eq!(timeline.caught_up(cursor(8)), Some(Divider::Back(2)));
        timeline.lost();
        assert_eq!(timeline.caught_up(cursor(8)), Some(Divider::Back(0)));
        assert!(
            timeline.message(id(0), OTHERS) && timeline.message(id(0), OTHERS),
            "a message without an id is always shown"
        );
    }

    #[test]
    fn a_renewed_session_needs_no_divider_and_one_after_a_logout_counts_what_came_meanwhile() {
        let mut timeline = Timeline::new(None);
        timeline.logged_in();
        assert!(timeline.message(id(1), OTHERS));
        assert_eq!(timeline.caught_up(cursor(1)), Some(Divider::Live));
        assert!(timeline.message(id(2), OTHERS));
        assert_eq!(timeline.caught_up(cursor(2)), None);
        timeline.logged_in();
        assert!(timeline.message(id(3), OTHERS));
        assert_eq!(timeline.caught_up(cursor(3)), Some(Divider::Meanwhile(1)));
        timeline.logged_in();
        assert_eq!(timeline.caught_up(cursor(3)), None);
    }

    #[test]
    fn a_stream_that_starts_over_forgets_what_was_shown() {
        let mut timeline = Timeline::new(None);
        timeline.caught_up(cursor(100));
        timeline.lost();
        timeline.start_over();
        assert!(timeline.message(id(1), OTHERS));
        assert_eq!(timeline.caught_up(cursor(1)), Some(Divider::Live));
        assert_eq!(timeline.oldest(), id(1));
    }

    #[test]
    fn the_history_continues_below_the_oldest_message_and_never_repeats_one() {
        let mut timeline = Timeline::new(None);
        assert_eq!(timeline.oldest(), id(0));
        timeline.caught_up(cursor(10));
        assert_eq!(timeline.oldest(), id(11), "even before anything is shown");
        let mut older = page(&[8, 9, 10]);
        timeline.add_page(&mut older);
        assert_eq!((ids(&older), timeline.oldest()), (vec![8, 9, 10], id(8)));
        timeline.add_page(&mut page(&[]));
        assert_eq!(timeline.oldest(), id(8));
        // The page was requested before the stream brought its first message, and came after it.
        let mut timeline = Timeline::new(None);
        assert!(timeline.message(id(9), OTHERS));
        let mut newest = page(&[7, 8, 9]);
        timeline.add_page(&mut newest);
        assert_eq!(ids(&newest), [7, 8]);
        // The other way round.
        let mut timeline = Timeline::new(None);
        timeline.add_page(&mut page(&[7]));
        assert!(!timeline.message(id(7), OTHERS) && timeline.message(id(8), OTHERS));
        assert_eq!(timeline.oldest(), id(7));
    }

    #[test]
    fn a_date_line_goes_where_the_date_changes_but_not_for_today() {
        let mut timeline = Timeline::new(Some("2026-11-24".to_owned()));
        let days = ["2026-11-24", "2026-11-23", "2026-11-23", "2026-11-24", "2026-11-24"];
        assert_eq!(days.map(|day| timeline.starts_day(Some(day))), [false, true, false, true, false]);
        assert!(!timeline.starts_day(None), "a message without a time has no day");
        assert!(!timeline.starts_day(Some("2026-11-24")));
    }
}
