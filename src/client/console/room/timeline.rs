//! What of the common room stands on the screen: so that nothing is shown twice, whichever way it comes, and what has to be
//! said between the messages.

use crate::client::types::HistoryPage;

/// What of the room stands on the screen, from one message to another without a hole but those that were said.
#[derive(Debug)]
pub struct Place {
    /// The highest id that was shown or passed over; what the stream brings up to here is not shown again.
    newest: u64,
    /// Nothing below this id was shown. `None` until anything is known of the room.
    oldest: Option<u64>,
    /// The day of the line that was shown last.
    day: Option<String>,
    reading: Reading,
    /// Messages shown since the room was last live, and those of them that others said.
    came: u64,
    came_from_others: u64,
}

/// How the stream stands to the room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// Nothing was read yet.
    Beginning,
    /// All that is said comes at once.
    Live,
    /// The connection was lost.
    Lost,
    /// Nobody was logged in.
    Away,
}

/// What is said when the stream has caught up. The numbers are those of messages by others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The last messages were shown; from here on the room is live.
    Live,
    /// The connection is back.
    Back(u64),
    /// So much was said while nobody was logged in.
    Meanwhile(u64),
}

impl Place {
    /// Nothing is shown yet, and it is `today`.
    pub fn new(today: Option<String>) -> Place {
        Place { newest: 0, oldest: None, day: today, reading: Reading::Beginning, came: 0, came_from_others: 0 }
    }

    /// The stream brings the message with `id`, or 0 if it has none; whether it is to be shown.
    pub fn said(&mut self, id: u64, ours: bool) -> bool {
        if id != 0 {
            // A reader that takes up after another may bring once more what that one has brought.
            if id <= self.newest {
                return false;
            }
            self.newest = id;
            self.oldest.get_or_insert(id);
        }
        self.came += 1;
        self.came_from_others += u64::from(!ours);
        true
    }

    /// The stream has brought all there was up to `cursor`; what there is to say.
    pub fn caught_up(&mut self, cursor: u64) -> Option<Mark> {
        self.newest = self.newest.max(cursor);
        self.oldest.get_or_insert(cursor.saturating_add(1));
        let mark = match self.reading {
            Reading::Beginning => (self.came > 0).then_some(Mark::Live),
            Reading::Lost => Some(Mark::Back(self.came_from_others)),
            Reading::Away => (self.came_from_others > 0).then_some(Mark::Meanwhile(self.came_from_others)),
            Reading::Live => None,
        };
        self.now(Reading::Live);
        mark
    }

    /// The connection is lost.
    pub fn lost(&mut self) {
        if self.reading == Reading::Live {
            self.now(Reading::Lost);
        }
    }

    /// Somebody has logged in where nobody was.
    pub fn entered(&mut self) {
        if self.reading != Reading::Beginning {
            self.now(Reading::Away);
        }
    }

    /// The server does not know of what was shown: it begins anew.
    pub fn begin_anew(&mut self) {
        (self.newest, self.oldest) = (0, None);
        self.now(Reading::Beginning);
    }

    /// The id below which the history goes on; 0 for the newest of all.
    pub fn older_than(&self) -> u64 {
        self.oldest.unwrap_or(0)
    }

    /// A page of the history is to be shown: takes out what the stream has brought in the meantime, and counts the rest as
    /// shown.
    pub fn take_up(&mut self, page: &mut HistoryPage) {
        if let Some(oldest) = self.oldest {
            page.messages.retain(|said| said.id < oldest);
        }
        if let [first, .., last] | [first @ last] = page.messages.as_slice() {
            self.newest = self.newest.max(last.id);
            self.oldest = Some(first.id);
        }
    }

    /// A line of `day` is shown next; whether that has to be said.
    pub fn turns(&mut self, day: Option<&str>) -> bool {
        let turns = day.is_some() && self.day.as_deref() != day;
        if turns {
            self.day = day.map(str::to_owned);
        }
        turns
    }

    fn now(&mut self, reading: Reading) {
        self.reading = reading;
        (self.came, self.came_from_others) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::types::ReceivedMessage;

    const OTHERS: bool = false;
    const OURS: bool = true;

    fn page(ids: &[u64]) -> HistoryPage {
        let said = |&id| ReceivedMessage { id, author: String::new(), text: String::new(), time: None };
        HistoryPage { messages: ids.iter().map(said).collect(), has_more: false }
    }

    fn ids(page: &HistoryPage) -> Vec<u64> {
        page.messages.iter().map(|said| said.id).collect()
    }

    #[test]
    fn the_last_messages_are_followed_by_a_mark_where_the_room_is_live() {
        let mut place = Place::new(None);
        assert!(place.said(5, OTHERS) && place.said(6, OURS));
        assert_eq!(place.caught_up(6), Some(Mark::Live));
        assert_eq!(Place::new(None).caught_up(0), None, "an empty room needs none");
    }

    #[test]
    fn after_a_lost_connection_the_messages_of_others_are_counted_and_none_is_shown_twice() {
        let mut place = Place::new(None);
        place.caught_up(4);
        assert!(place.said(5, OTHERS));
        place.lost();
        assert!(!place.said(5, OTHERS) && place.said(6, OTHERS));
        // Lost once more before all of it had come.
        place.lost();
        assert!(place.said(7, OURS) && place.said(8, OTHERS));
        assert_eq!(place.caught_up(8), Some(Mark::Back(2)));
        place.lost();
        assert_eq!(place.caught_up(8), Some(Mark::Back(0)));
        assert!(place.said(0, OTHERS) && place.said(0, OTHERS), "what has no id is always shown");
    }

    #[test]
    fn a_renewed_session_is_no_news_and_one_after_a_logout_tells_what_came_meanwhile() {
        let mut place = Place::new(None);
        place.entered();
        assert!(place.said(1, OTHERS));
        assert_eq!(place.caught_up(1), Some(Mark::Live));
        assert!(place.said(2, OTHERS));
        assert_eq!(place.caught_up(2), None);
        place.entered();
        assert!(place.said(3, OTHERS));
        assert_eq!(place.caught_up(3), Some(Mark::Meanwhile(1)));
        place.entered();
        assert_eq!(place.caught_up(3), None);
    }

    #[test]
    fn on_a_database_that_is_another_one_everything_begins_anew() {
        let mut place = Place::new(None);
        place.caught_up(100);
        place.lost();
        place.begin_anew();
        assert!(place.said(1, OTHERS));
        assert_eq!(place.caught_up(1), Some(Mark::Live));
        assert_eq!(place.older_than(), 1);
    }

    #[test]
    fn the_history_goes_on_below_what_is_shown_and_never_shows_a_message_twice() {
        let mut place = Place::new(None);
        assert_eq!(place.older_than(), 0);
        place.caught_up(10);
        assert_eq!(place.older_than(), 11, "also when nothing was shown yet");
        let mut older = page(&[8, 9, 10]);
        place.take_up(&mut older);
        assert_eq!((ids(&older), place.older_than()), (vec![8, 9, 10], 8));
        place.take_up(&mut page(&[]));
        assert_eq!(place.older_than(), 8);
        // Asked for before the stream had brought anything, answered after it had.
        let mut place = Place::new(None);
        assert!(place.said(9, OTHERS));
        let mut newest = page(&[7, 8, 9]);
        place.take_up(&mut newest);
        assert_eq!(ids(&newest), [7, 8]);
        // And the other way round.
        let mut place = Place::new(None);
        place.take_up(&mut page(&[7]));
        assert!(!place.said(7, OTHERS) && place.said(8, OTHERS));
        assert_eq!(place.older_than(), 7);
    }

    #[test]
    fn the_date_is_said_where_it_changes_and_not_for_today() {
        let mut place = Place::new(Some("2026-11-24".to_owned()));
        let days = ["2026-11-24", "2026-11-23", "2026-11-23", "2026-11-24", "2026-11-24"];
        assert_eq!(days.map(|day| place.turns(Some(day))), [false, true, false, true, false]);
        assert!(!place.turns(None), "a line without a time says nothing of the day");
        assert!(!place.turns(Some("2026-11-24")));
    }
}
