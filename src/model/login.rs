//! Logins: which are allowed, and which count as the same.
//!
//! A login is NFKC-normalised, and unique without regard to case and to look-alikes (the skeleton of Unicode TR 39): `Bob`
//! and `bob` are one, and so are `paypal` with a Latin and with a Cyrillic `а`.

use std::fmt;
use std::ops::RangeInclusive;

use unicode_normalization::UnicodeNormalization;
use unicode_security::confusable_detection::skeleton;

/// The number of characters of a login.
pub const LOGIN_CHARS: RangeInclusive<usize> = 2..=32;

/// Longer than any login. A longer text is not even normalised.
const MAX_BYTES: usize = 1024;

/// Letters that are invisible (Hangul fillers, Khmer inherent vowels): logins that differ only in these look the same.
const INVISIBLE: [char; 6] = ['\u{115F}', '\u{1160}', '\u{3164}', '\u{FFA0}', '\u{17B4}', '\u{17B5}'];

/// A login that satisfies today's rules, normalised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login(String);

impl Login {
    /// Normalises and checks a new login.
    ///
    /// # Errors
    /// [`LoginError`] names the rule that is broken.
    pub fn parse(text: &str) -> Result<Login, LoginError> {
        if text.len() > MAX_BYTES {
            return Err(LoginError::Length);
        }
        let login: String = text.nfkc().collect();
        if !LOGIN_CHARS.contains(&login.chars().count()) {
            return Err(LoginError::Length);
        }
        let allowed = |c: char| (c.is_alphanumeric() && !INVISIBLE.contains(&c)) || matches!(c, '_' | '.' | '-');
        if !login.chars().all(allowed) {
            return Err(LoginError::Character);
        }
        if !login.chars().any(char::is_alphanumeric) {
            return Err(LoginError::NoLetter);
        }
        Ok(Login(login))
    }

    /// The login as it is displayed.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key by which it is looked up.
    pub fn key(&self) -> LoginKey {
        LoginKey::from_text(&self.0)
    }
}

/// The rule that a login breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// Too short or too long.
    #[error("a login has {} to {} characters: choose another", LOGIN_CHARS.start(), LOGIN_CHARS.end())]
    Length,
    /// A character that is not allowed.
    #[error("a login is made of letters, digits, '_', '.' and '-' only: choose another")]
    Character,
    /// Nothing but punctuation.
    #[error("a login needs at least one letter or digit: choose another")]
    NoLetter,
}

/// Whether a text is a login in another spelling: NFKC and case do not count, look-alikes do.
pub fn is_spelling_of(text: &str, login: &str) -> bool {
    let normal = |text: &str| fold(&text.nfkc().collect::<String>());
    text.len() <= MAX_BYTES && normal(text) == normal(login)
}

/// Logins with equal keys count as the same.
///
/// Any text has a key, so that accounts with logins that break today's rules are found as well.
#[derive(Clone)]
pub struct LoginKey {
    name: String,
    look: String,
}

impl LoginKey {
    /// The key of any text. A text that is far too long has an empty one, as the empty text has.
    pub fn from_text(text: &str) -> LoginKey {
        if text.len() > MAX_BYTES {
            return LoginKey { name: String::new(), look: String::new() };
        }
        let normal: String = text.nfkc().collect();
        LoginKey { name: skeleton(&fold(&normal)).collect(), look: fold(&skeleton(&normal).collect::<String>()) }
    }

    /// Equal for logins that differ only in case, or in look-alikes of the same case. Accounts are looked up by it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Equal for logins that look alike as written, such as `Ivan` and `lvan`. Unique as well, but never looked up.
    pub fn look(&self) -> &str {
        &self.look
    }
}

/// By name alone: `Ivan` and `ivan` are one login although they look different.
impl PartialEq for LoginKey {
    fn eq(&self, other: &LoginKey) -> bool {
        self.name == other.name
    }
}

impl Eq for LoginKey {}

impl fmt::Debug for LoginKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LoginKey({:?})", self.name)
    }
}

/// Case folding that survives NFKC (Unicode 3.13, D146 without the decompositions that NFKC has done).
fn fold(text: &str) -> String {
    caseless::default_case_fold_str(text).nfkc().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn logins_are_allowed_or_refused_by_rule() {
        fn check(text: &str, want: Result<&str, LoginError>) {
            assert_eq!(Login::parse(text).as_ref().map(Login::as_str).map_err(|e| *e), want, "{text:?}");
        }
        check("user1", Ok("user1"));
        check("Вася", Ok("Вася"));
        check("a_b.c-d", Ok("a_b.c-d"));
        check("ｂｏｂ", Ok("bob"));
        check("李四", Ok("李四"));
        check("a", Err(LoginError::Length));
        check("", Err(LoginError::Length));
        check(&"a".repeat(32), Ok(&"a".repeat(32)));
        check(&"a".repeat(33), Err(LoginError::Length));
        check(&"я".repeat(32), Ok(&"я".repeat(32)));
        check("../x", Err(LoginError::Character));
        check("a b", Err(LoginError::Character));
        check("a\0b", Err(LoginError::Character));
        check("a\u{202E}b", Err(LoginError::Character));
        check("a\u{200B}b", Err(LoginError::Character));
        check("a\u{3164}b", Err(LoginError::Character));
        check("..", Err(LoginError::NoLetter));
    }

    #[test]
    fn logins_that_could_be_mistaken_for_one_another_share_a_key() {
        fn same(a: &str, b: &str) -> bool {
            let (a, b) = (LoginKey::from_text(a), LoginKey::from_text(b));
            a.name() == b.name() || a.look() == b.look()
        }
        assert!(same("Bob", "bob"));
        assert!(same("bob", "bоb"), "a Cyrillic о");
        assert!(same("Ivan", "lvan"), "a capital I and a small l");
        assert!(same("STRASSE", "straße"));
        assert!(same("ВАСЯ", "вася"));
        assert!(same("ОДИССЕЙς", "ОДИССЕЙσ"));
        assert_eq!(
            LoginKey::from_text("Ivan"),
            LoginKey::from_text("ivan"),
            "although a capital I looks like a small l"
        );
        assert!(!same("bob", "rob"));
        assert!(!same("user1", "user2"));
    }

    #[test]
    fn a_spelling_differs_in_case_and_width_and_in_nothing_else() {
        assert!(is_spelling_of("BOB", "bob"));
        assert!(is_spelling_of("ｂｏｂ", "bob"));
        assert!(!is_spelling_of("bоb", "bob"), "a Cyrillic о");
        assert!(!is_spelling_of("\u{200b}bob", "bob"));
    }

    proptest! {
        #[test]
        fn any_text_has_a_key_and_normalising_again_changes_nothing(text in "\\PC{0,40}") {
            let _ = LoginKey::from_text(&text);
            if let Ok(login) = Login::parse(&text) {
                prop_assert_eq!(Login::parse(login.as_str()).map(|l| l.as_str().to_owned()), Ok(login.as_str().to_owned()));
                prop_assert_eq!(login.key(), LoginKey::from_text(&text));
            }
        }

        #[test]
        fn wild_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let text = String::from_utf8_lossy(&bytes);
            let _ = (Login::parse(&text), LoginKey::from_text(&text));
        }
    }
}
