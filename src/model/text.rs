//! The texts of messages: which are allowed.

use crate::base::escape::is_blank;

/// The bounds of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextLimits {
    /// The most bytes.
    pub bytes: usize,
    /// The most lines.
    pub lines: usize,
}

/// A text that satisfies the rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageText(String);

/// The rule that a text breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// It is empty.
    #[error("a message has at least one character: write something")]
    Empty,
    /// Nothing of it can be seen.
    #[error("a message of blanks alone says nothing: write something")]
    Blank,
    /// It has too many lines.
    #[error("a message has at most {0} lines: send it in parts")]
    TooManyLines(usize),
    /// It is too long.
    #[error("a message has at most {0} bytes: send it in parts")]
    TooLong(usize),
    /// It has a control character.
    #[error("a message holds no control characters but line breaks and tabs: take U+{0:04X} out")]
    Control(u32),
}

impl MessageText {
    /// Checks a text.
    ///
    /// # Errors
    /// [`TextError`] names the rule that is broken.
    pub fn check(text: String, limits: TextLimits) -> Result<MessageText, TextError> {
        if text.is_empty() {
            return Err(TextError::Empty);
        }
        if text.len() > limits.bytes {
            return Err(TextError::TooLong(limits.bytes));
        }
        if let Some(control) = text.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\t')) {
            return Err(TextError::Control(control.into()));
        }
        if is_blank(&text) {
            return Err(TextError::Blank);
        }
        if text.matches('\n').count() >= limits.lines {
            return Err(TextError::TooManyLines(limits.lines));
        }
        Ok(MessageText(text))
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

    const LIMITS: TextLimits = TextLimits { bytes: 4096, lines: 200 };

    #[test]
    fn texts_are_allowed_or_refused_by_rule() {
        fn check(text: &str, want: Result<(), TextError>) {
            assert_eq!(MessageText::check(text.into(), LIMITS).map(|_| ()), want, "{text:?}");
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
        for blank in [" ", "\n\n\t", "\u{a0}\u{3000}", "\u{200b}\u{feff}", "\u{3164}\n\u{2800}", "\u{e0041}\u{fe0f}"] {
            check(blank, Err(TextError::Blank));
        }
        check("    .", Ok(()));
        check(&format!("a{}", "\n".repeat(199)), Ok(()));
        check(&format!("a{}", "\n".repeat(200)), Err(TextError::TooManyLines(200)));
        check(&"b\n".repeat(1900), Err(TextError::TooManyLines(200)));
    }

    proptest! {
        #[test]
        fn an_allowed_text_has_no_control_characters(text in any::<String>()) {
            if let Ok(text) = MessageText::check(text, LIMITS) {
                prop_assert!(text.as_str().chars().all(|c| !c.is_control() || c == '\n' || c == '\t'));
            }
        }
    }
}
