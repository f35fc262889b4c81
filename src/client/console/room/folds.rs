//! Messages that are shown in part, because they would fill the window: `/more` shows them whole.

use std::collections::VecDeque;

use crate::client::types::ReceivedMessage;

/// How many folded messages are kept, the last ones.
const KEPT: usize = 100;

/// The folded messages, numbered from 1 in the order in which they were shown.
#[derive(Debug, Default)]
pub struct Folds {
    kept: VecDeque<ReceivedMessage>,
    /// How many there were before the ones that are kept.
    dropped: usize,
}

impl Folds {
    /// Keeps a message that was folded; returns its number.
    pub fn keep(&mut self, message: ReceivedMessage) -> usize {
        if self.kept.len() == KEPT {
            self.kept.pop_front();
            self.dropped += 1;
        }
        self.kept.push_back(message);
        self.dropped + self.kept.len()
    }

    /// The message with a number, or the last one; `None` if there is none, or it is no longer kept.
    pub fn get(&self, number: Option<usize>) -> Option<&ReceivedMessage> {
        match number {
            None => self.kept.back(),
            Some(number) => self.kept.get(number.checked_sub(self.dropped + 1)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_folded_messages_are_found_by_number() {
        let message = |text: String| ReceivedMessage { id: None, author: String::new(), text, time: None };
        let mut folds = Folds::default();
        assert_eq!(folds.get(None), None);
        for number in 1..=KEPT + 5 {
            assert_eq!(folds.keep(message(number.to_string())), number);
        }
        let text = |number| folds.get(number).map(|message| message.text.as_str());
        assert_eq!((text(None), text(Some(105)), text(Some(6))), (Some("105"), Some("105"), Some("6")));
        assert_eq!((text(Some(5)), text(Some(0)), text(Some(106))), (None, None, None));
    }
}
