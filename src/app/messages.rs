//! Writing to the common room.

use super::App;
use super::refusal::{Error, Refusal};
use super::sessions::Caller;
use crate::security::login::is_spelling_of;
use crate::store::{StoredMessage, Tx, messages, sessions};

/// A text that satisfies the rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text(String);

/// Which rule a text breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// Nothing in it.
    #[error("a message has at least one character: write something")]
    Empty,
    /// Too long.
    #[error("a message has at most {0} bytes: send it in parts")]
    TooLong(usize),
    /// A control character.
    #[error("a message holds no control characters but line breaks and tabs: take U+{0:04X} out")]
    Control(u32),
}

impl Text {
    /// Checks what somebody wants to say, against a length in bytes.
    ///
    /// # Errors
    /// [`TextError`] names the rule that is broken.
    pub fn check(text: String, max_bytes: usize) -> Result<Text, TextError> {
        if text.is_empty() {
            return Err(TextError::Empty);
        }
        if text.len() > max_bytes {
            return Err(TextError::TooLong(max_bytes));
        }
        match text.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\t')) {
            Some(control) => Err(TextError::Control(control.into())),
            None => Ok(Text(text)),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl App {
    /// Stores a message in the caller's name and tells `then` once it is on disk. Does not wait.
    ///
    /// # Errors
    /// Through `then`: somebody else's name, a text that breaks a rule, a session that ended meanwhile, or nothing could be
    /// stored.
    pub fn send(
        &self,
        caller: &Caller,
        author: &str,
        text: String,
        then: impl FnOnce(Result<StoredMessage, Error>) + Send + 'static,
    ) {
        let person = caller.person();
        if !author.is_empty() && !is_spelling_of(author, &person.login) {
            return then(Err(Refusal::Author.into()));
        }
        let text = match Text::check(text, self.limits.text_bytes) {
            Ok(text) => text,
            Err(error) => return then(Err(Refusal::from(error).into())),
        };
        let (user_id, login, now) = (person.id, person.login.clone(), self.clock.now());
        let session = caller.session();
        let write = move |tx: &Tx<'_>| {
            // It may have ended since the caller was proved, and his account with it.
            if !sessions::is_complete(tx, session, now)? {
                return Err(Refusal::SessionEnded.into());
            }
            Ok(messages::append(tx, user_id, &login, text.as_str(), now)?)
        };
        self.store.submit(write, then);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts_are_allowed_or_refused_by_rule() {
        fn check(text: &str, want: Result<(), TextError>) {
            assert_eq!(Text::check(text.into(), 4096).map(|_| ()), want, "{text:?}");
        }
        check("Привет!", Ok(()));
        check("two\nlines\tand a tab", Ok(()));
        check("", Err(TextError::Empty));
        check(&"x".repeat(4096), Ok(()));
        check(&"x".repeat(4097), Err(TextError::TooLong(4096)));
        check(&"я".repeat(2049), Err(TextError::TooLong(4096)));
        check("bell\x07", Err(TextError::Control(7)));
        check("esc\x1b[2J", Err(TextError::Control(0x1b)));
        check("cr\r", Err(TextError::Control(13)));
        check("c1\u{9b}", Err(TextError::Control(0x9b)));
    }

    proptest! {
        #[test]
        fn what_is_allowed_holds_no_control_character(text in any::<String>()) {
            if let Ok(text) = Text::check(text, 4096) {
                prop_assert!(text.as_str().chars().all(|c| !c.is_control() || c == '\n' || c == '\t'));
            }
        }
    }
}
