//! The texts of messages: which are allowed.

/// A text that satisfies the rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageText(String);

/// The rule that a text breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// It is empty.
    #[error("a message has at least one character: write something")]
    Empty,
    /// It is too long.
    #[error("a message has at most {0} bytes: send it in parts")]
    TooLong(usize),
    /// It has a control character.
    #[error("a message holds no control characters but line breaks and tabs: take U+{0:04X} out")]
    Control(u32),
}

impl MessageText {
    /// Checks a text, against a length in bytes.
    ///
    /// # Errors
    /// [`TextError`] names the rule that is broken.
    pub fn check(text: String, max_bytes: usize) -> Result<MessageText, TextError> {
        if text.is_empty() {
            return Err(TextError::Empty);
        }
        if text.len() > max_bytes {
            return Err(TextError::TooLong(max_bytes));
        }
        match text.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\t')) {
            Some(control) => Err(TextError::Control(control.into())),
            None => Ok(MessageText(text)),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts_are_allowed_or_refused_by_rule() {
        fn check(text: &str, want: Result<(), TextError>) {
            assert_eq!(MessageText::check(text.into(), 4096).map(|_| ()), want, "{text:?}");
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
        fn an_allowed_text_has_no_control_characters(text in any::<String>()) {
            if let Ok(text) = MessageText::check(text, 4096) {
                prop_assert!(text.as_str().chars().all(|c| !c.is_control() || c == '\n' || c == '\t'));
            }
        }
    }
}
