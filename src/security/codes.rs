//! One-time codes: recovery codes, the administrator's enrolment codes, and invitations.
//!
//! A code has 80 random bits (NIST SP 800-63B, 5.1.2.1, requires 20), so it needs no limit on guesses. It is written as four
//! groups of base32. Only a keyed hash of it is stored: HMAC-SHA-256 under a key that the database does not hold in the clear.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::secret::{SecretBytes, SecretText};
use crate::model::ids::UserId;

/// The random bytes of a code.
const CODE_BYTES: usize = 10;
/// The letters and digits of base32 that these make.
const CODE_LETTERS: usize = 16;
/// Longer texts are not even looked at: people type little around a code.
const MAX_TEXT_BYTES: usize = 64;

/// The purpose of a code. It is part of the hash, so that no code passes for one of another purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodePurpose {
    /// A recovery code of an account.
    Recovery {
        /// The account.
        user_id: UserId,
    },
    /// The administrator's code for an account that lost its second factor.
    Enrolment {
        /// The account.
        user_id: UserId,
    },
    /// An invitation to register.
    Invitation,
}

/// The hash of a code, which is what the database holds.
pub type CodeHash = [u8; 32];

/// A code in the form that is hashed: capitals and digits without hyphens.
#[derive(Clone, PartialEq, Eq)]
pub struct OneTimeCode(SecretText);

impl OneTimeCode {
    /// A new random code.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn random() -> Result<OneTimeCode, getrandom::Error> {
        let bytes = SecretBytes::random(CODE_BYTES)?;
        Ok(OneTimeCode(data_encoding::BASE32_NOPAD.encode(bytes.expose()).into()))
    }

    /// Reads a code as a user types it: in either case, with or without hyphens and blanks. `None` for what cannot be a code.
    pub fn parse(text: &str) -> Option<OneTimeCode> {
        if text.len() > MAX_TEXT_BYTES {
            return None;
        }
        let letters: Zeroizing<String> = Zeroizing::new(
            text.chars().filter(|c| !c.is_whitespace() && *c != '-').map(|c| c.to_ascii_uppercase()).collect(),
        );
        let of_base32 = |b: u8| b.is_ascii_uppercase() || (b'2'..=b'7').contains(&b);
        let is_code = letters.len() == CODE_LETTERS && letters.bytes().all(of_base32);
        is_code.then(|| OneTimeCode(SecretText::new(letters.to_string())))
    }

    /// The code as people read it: `ABCD-EFGH-IJKL-MNOP`.
    pub fn shown(&self) -> SecretText {
        let letters = self.0.expose();
        let mut shown = String::with_capacity(CODE_LETTERS + 3);
        for (n, letter) in letters.chars().enumerate() {
            if n > 0 && n % 4 == 0 {
                shown.push('-');
            }
            shown.push(letter);
        }
        SecretText::new(shown)
    }
}

impl std::fmt::Debug for OneTimeCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// Hashes codes under one key.
pub struct CodeHasher(Hmac<Sha256>);

impl CodeHasher {
    /// Hashes under this key, of any length.
    pub fn new(key: &SecretBytes) -> CodeHasher {
        // HMAC accepts keys of every length (RFC 2104); the empty one only satisfies the type.
        CodeHasher(Hmac::new_from_slice(key.expose()).unwrap_or_else(|_| Hmac::new(&Default::default())))
    }

    /// The hash of a code for a purpose.
    pub fn hash(&self, code: &OneTimeCode, purpose: CodePurpose) -> CodeHash {
        let label = match purpose {
            CodePurpose::Recovery { user_id } => format!("recovery user={user_id} "),
            CodePurpose::Enrolment { user_id } => format!("enrolment user={user_id} "),
            CodePurpose::Invitation => "invitation ".to_owned(),
        };
        let mut mac = self.0.clone();
        mac.update(label.as_bytes());
        mac.update(code.0.expose().as_bytes());
        mac.finalize().into_bytes().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hasher(byte: u8) -> CodeHasher {
        CodeHasher::new(&SecretBytes::new(vec![byte; 32]))
    }

    #[test]
    fn a_code_is_read_back_however_it_is_typed() {
        let code = OneTimeCode::random().unwrap();
        let shown = code.shown();
        assert_eq!(shown.expose().len(), 19);
        for typed in [
            shown.expose().to_owned(),
            shown.expose().to_lowercase(),
            shown.expose().replace('-', " "),
            format!("  {} ", shown.expose().replace('-', "")),
        ] {
            assert_eq!(OneTimeCode::parse(&typed), Some(code.clone()), "{typed}");
        }
        for wrong in
            ["", "123456", "ABCD-EFGH-IJKL-MNO", "ABCD-EFGH-IJKL-MNOPQ", "ABCD-EFGH-IJKL-MNO1", "ÄBCD-EFGH-IJKL-MNO"]
        {
            assert_eq!(OneTimeCode::parse(wrong), None, "{wrong}");
        }
        assert_ne!(OneTimeCode::random().unwrap(), code);
        assert_eq!(format!("{code:?}"), "***");
    }

    #[test]
    fn a_hash_is_valid_for_one_key_one_account_and_one_purpose() {
        let code = OneTimeCode::random().unwrap();
        let hash = hasher(1).hash(&code, CodePurpose::Recovery { user_id: UserId::from_number(7) });
        assert_eq!(hasher(1).hash(&code, CodePurpose::Recovery { user_id: UserId::from_number(7) }), hash);
        for (key, purpose) in [
            (2, CodePurpose::Recovery { user_id: UserId::from_number(7) }),
            (1, CodePurpose::Recovery { user_id: UserId::from_number(8) }),
            (1, CodePurpose::Enrolment { user_id: UserId::from_number(7) }),
            (1, CodePurpose::Invitation),
        ] {
            assert_ne!(hasher(key).hash(&code, purpose), hash, "{purpose:?}");
        }
    }

    proptest! {
        #[test]
        fn wild_text_is_a_code_or_none(text in "\\PC{0,80}") {
            if let Some(code) = OneTimeCode::parse(&text) {
                prop_assert_eq!(OneTimeCode::parse(code.shown().expose()), Some(code));
            }
        }
    }
}
