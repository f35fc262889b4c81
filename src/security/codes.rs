//! One-time codes that stand in for a lost second factor or let somebody register: recovery codes, the administrator's
//! enrolment codes, and invitations.
//!
//! 80 random bits each (NIST SP 800-63B, 5.1.2.1, asks for 20 at least), so that no budget of guesses is needed; written as
//! four groups of base32. Only a keyed hash of them is kept: HMAC-SHA-256 under a key that the database does not hold in the
//! clear.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::secret::{SecretBytes, SecretText};
use crate::model::ids::UserId;

/// How many random bytes a code has.
const CODE_BYTES: usize = 10;
/// How many letters and digits of base32 that is.
const CODE_LETTERS: usize = 16;
/// Nobody types more around a code: what is longer is not looked at.
const MAX_TEXT_BYTES: usize = 64;

/// What a code is good for. Part of its hash: none passes for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// One of an account's recovery codes.
    Recovery {
        /// Whose.
        user_id: UserId,
    },
    /// The administrator's code for an account that lost its second factor.
    Enrolment {
        /// Whose.
        user_id: UserId,
    },
    /// An invitation to register.
    Invitation,
}

/// What is kept of a code.
pub type CodeHash = [u8; 32];

/// A code in the one form that is hashed: capitals and digits without hyphens.
#[derive(Clone, PartialEq, Eq)]
pub struct OneTimeCode(SecretText);

impl OneTimeCode {
    /// A new random code.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub fn random() -> Result<OneTimeCode, getrandom::Error> {
        let bytes = SecretBytes::random(CODE_BYTES)?;
        Ok(OneTimeCode(data_encoding::BASE32_NOPAD.encode(bytes.expose()).into()))
    }

    /// Reads what somebody typed: in either case, with hyphens and blanks or without. `None` for what no code can be.
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
    /// Takes the key, of any length.
    pub fn new(key: &SecretBytes) -> CodeHasher {
        // HMAC takes keys of every length (RFC 2104); the empty one is only what the type asks for.
        CodeHasher(Hmac::new_from_slice(key.expose()).unwrap_or_else(|_| Hmac::new(&Default::default())))
    }

    /// The hash of a code for a purpose.
    pub fn hash(&self, code: &OneTimeCode, purpose: Purpose) -> CodeHash {
        let label = match purpose {
            Purpose::Recovery { user_id } => format!("recovery user={user_id} "),
            Purpose::Enrolment { user_id } => format!("enrolment user={user_id} "),
            Purpose::Invitation => "invitation ".to_owned(),
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
    fn a_hash_is_good_for_one_key_one_account_and_one_purpose() {
        let code = OneTimeCode::random().unwrap();
        let hash = hasher(1).hash(&code, Purpose::Recovery { user_id: UserId::from_number(7) });
        assert_eq!(hasher(1).hash(&code, Purpose::Recovery { user_id: UserId::from_number(7) }), hash);
        for (key, purpose) in [
            (2, Purpose::Recovery { user_id: UserId::from_number(7) }),
            (1, Purpose::Recovery { user_id: UserId::from_number(8) }),
            (1, Purpose::Enrolment { user_id: UserId::from_number(7) }),
            (1, Purpose::Invitation),
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
