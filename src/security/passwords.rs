//! Passwords: which are allowed, and how they are stored.
//!
//! Argon2id with the parameters that OWASP's Password Storage Cheat Sheet gives as the minimum (19 MiB, two passes, one
//! lane), stored as a PHC string with the parameters inside. The predecessor's hashes, SHA-256 in hex, are wrapped: Argon2id
//! over the hex, so that an old row is as hard to crack as a new one.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock};

use argon2::password_hash::phc;
use argon2::{Algorithm, Argon2, Block, Params, Version};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::secret::SecretText;
use crate::base::lock::lock;
use crate::model::login::LoginKey;

/// The fewest characters of a password (there is always a second factor as well).
pub const MIN_CHARS: usize = 8;
/// The most bytes of a new password.
pub const MAX_BYTES: usize = 256;

/// Marks a hash over the hex of SHA-256 over the password.
const WRAPPED: &str = "sha256+";

/// A new password that satisfies the rules.
#[derive(Debug)]
pub struct NewPassword(SecretText);

/// The rule that a new password breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Too short.
    #[error("a password has at least {MIN_CHARS} characters: choose a longer one")]
    TooShort,
    /// Too long.
    #[error("a password has at most {MAX_BYTES} bytes: choose a shorter one")]
    TooLong,
    /// A common password, which attackers try first.
    #[error("this password is one of those that are tried first: choose another")]
    Common,
    /// The password is the login.
    #[error("the password is the login: choose another")]
    IsLogin,
}

impl NewPassword {
    /// Checks a password for the account with this login. There are no composition rules (NIST SP 800-63B, 5.1.1.2).
    ///
    /// # Errors
    /// [`PasswordError`] names the rule that is broken.
    pub fn check(password: SecretText, login: &str) -> Result<NewPassword, PasswordError> {
        let text = password.expose();
        if text.len() > MAX_BYTES {
            return Err(PasswordError::TooLong);
        }
        if text.chars().count() < MIN_CHARS {
            return Err(PasswordError::TooShort);
        }
        if LoginKey::from_text(text) == LoginKey::from_text(login) {
            return Err(PasswordError::IsLogin);
        }
        if is_common(text) {
            return Err(PasswordError::Common);
        }
        Ok(NewPassword(password))
    }
}

fn is_common(text: &str) -> bool {
    let lower = Zeroizing::new(text.to_lowercase());
    let chars = Zeroizing::new(lower.chars().map(u32::from).collect::<Vec<_>>());
    // All characters the same, or each one up or down by one: aaaaaaaa, 12345678, hgfedcba.
    let step = |by: i64| chars.windows(2).all(|w| i64::from(w[1]) - i64::from(w[0]) == by);
    step(0)
        || step(1)
        || step(-1)
        || include_str!("common_passwords.txt").lines().any(|common| common == lower.as_str())
}

/// A hash as the database holds it.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// From the text that [`PasswordHash::as_str`] returned.
    pub fn from_stored(text: String) -> PasswordHash {
        PasswordHash(text)
    }

    /// A PHC string, marked in front if it wraps a hash of the predecessor.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A password could not be hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a password could not be hashed")]
pub struct HashError;

/// The result of verifying a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verified {
    /// Wrong, or there is no such account.
    No,
    /// Right.
    Yes,
    /// Right, but the hash should be replaced: it wraps an old one, or has smaller parameters.
    YesButOld,
}

/// Hashes and verifies passwords.
#[derive(Clone, Debug)]
pub struct Passwords {
    params: Params,
    decoy: OnceLock<PasswordHash>,
    memory: HashMemory,
}

/// The memory of earlier hashes, kept for the next ones: at most as many pieces as there were hashes at once. If it were freed,
/// glibc before 2.38 would not reuse aligned memory, and each login would take another 19 MiB from the system.
#[derive(Clone, Default)]
struct HashMemory(Arc<Mutex<Vec<Vec<Block>>>>);

impl HashMemory {
    fn with<R>(&self, blocks: usize, work: impl FnOnce(&mut [Block]) -> R) -> R {
        let kept = lock(&self.0).pop();
        let mut memory = kept.filter(|kept| kept.len() >= blocks).unwrap_or_else(|| vec![Block::default(); blocks]);
        let result = work(memory.get_mut(..blocks).unwrap_or_default());
        lock(&self.0).push(memory);
        result
    }
}

impl fmt::Debug for HashMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashMemory(***)")
    }
}

/// The cost of one hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Memory, in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl Default for Cost {
    /// OWASP's minimum.
    fn default() -> Cost {
        Cost { memory_kib: 19_456, passes: 2, lanes: 1 }
    }
}

impl Passwords {
    /// # Errors
    /// [`HashError`] if Argon2 does not take the cost.
    pub fn new(cost: Cost) -> Result<Passwords, HashError> {
        let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, None).map_err(|_| HashError)?;
        Ok(Passwords { params, decoy: OnceLock::new(), memory: HashMemory::default() })
    }

    /// Hashes a new password. It takes tens of milliseconds of one core, on purpose.
    ///
    /// # Errors
    /// [`HashError`].
    pub fn hash(&self, password: &NewPassword) -> Result<PasswordHash, HashError> {
        self.argon2id(password.0.expose())
    }

    /// Hashes a password again that was just verified. It keeps working even if it breaks today's rules.
    ///
    /// # Errors
    /// [`HashError`].
    pub fn rehash(&self, verified: &SecretText) -> Result<PasswordHash, HashError> {
        self.argon2id(verified.expose())
    }

    /// Wraps a hash of the predecessor: SHA-256 over the password, in hex of either case.
    ///
    /// # Errors
    /// [`HashError`].
    pub fn wrap_sha256_hex(&self, hex: &str) -> Result<PasswordHash, HashError> {
        let inner = self.argon2id(&hex.trim().to_ascii_lowercase())?;
        Ok(PasswordHash(format!("{WRAPPED}{}", inner.0)))
    }

    /// Verifies a password against the hash of an account. Without an account, it verifies against a decoy, which takes as long
    /// and is never right.
    ///
    /// # Errors
    /// [`HashError`] if the stored hash cannot be read.
    pub fn verify(&self, password: &SecretText, stored: Option<&PasswordHash>) -> Result<Verified, HashError> {
        let Some(stored) = stored else {
            let decoy = match self.decoy.get() {
                Some(decoy) => decoy,
                None => {
                    let made = self.argon2id("nobody's password")?;
                    self.decoy.get_or_init(|| made)
                }
            };
            let _ = self.verify_phc(password.expose(), &decoy.0)?;
            return Ok(Verified::No);
        };
        match stored.0.strip_prefix(WRAPPED) {
            Some(phc) => {
                let hex = Zeroizing::new(data_encoding::HEXLOWER.encode(&Sha256::digest(password.expose())));
                let right = self.verify_phc(&hex, phc)?.0;
                Ok(if right { Verified::YesButOld } else { Verified::No })
            }
            None => Ok(match self.verify_phc(password.expose(), &stored.0)? {
                (false, _) => Verified::No,
                (true, params) if self.outgrown(&params) => Verified::YesButOld,
                (true, _) => Verified::Yes,
            }),
        }
    }

    /// Makes the decoy now, so that the first unknown login does not take twice as long as later ones.
    ///
    /// # Errors
    /// [`HashError`].
    pub fn warm_up(&self) -> Result<(), HashError> {
        self.verify(&SecretText::new(String::new()), None).map(|_| ())
    }

    fn outgrown(&self, stored: &Params) -> bool {
        stored.m_cost() < self.params.m_cost() || stored.t_cost() < self.params.t_cost()
    }

    fn argon2id(&self, input: &str) -> Result<PasswordHash, HashError> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|_| HashError)?;
        let salt = phc::Salt::new(&random).map_err(|_| HashError)?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, self.params.clone());
        let hash = phc::PasswordHash {
            algorithm: Algorithm::Argon2id.ident(),
            version: Some(Version::V0x13.into()),
            params: phc::ParamsString::try_from(&self.params).map_err(|_| HashError)?,
            salt: Some(salt),
            hash: Some(self.output(&argon2, input, &salt, Params::DEFAULT_OUTPUT_LEN)?),
        };
        Ok(PasswordHash(hash.to_string()))
    }

    /// Whether the input is right, and the parameters of the hash.
    fn verify_phc(&self, input: &str, phc: &str) -> Result<(bool, Params), HashError> {
        let hash = phc::PasswordHash::new(phc).map_err(|_| HashError)?;
        let params = Params::try_from(&hash).map_err(|_| HashError)?;
        let algorithm = Algorithm::try_from(hash.algorithm.as_str()).map_err(|_| HashError)?;
        let version = hash.version.map_or(Ok(Version::default()), Version::try_from).map_err(|_| HashError)?;
        let (Some(salt), Some(expected)) = (&hash.salt, &hash.hash) else { return Err(HashError) };
        let argon2 = Argon2::new(algorithm, version, params.clone());
        let output = self.output(&argon2, input, salt, expected.len())?;
        // In constant time.
        Ok((&output == expected, params))
    }

    fn output(&self, argon2: &Argon2<'_>, input: &str, salt: &[u8], length: usize) -> Result<phc::Output, HashError> {
        let hash = |out: &mut [u8]| {
            self.memory.with(argon2.params().block_count(), |memory| {
                argon2.hash_password_into_with_memory(input.as_bytes(), salt, out, memory)
            })
        };
        let mut out = Zeroizing::new(vec![0; length]);
        hash(&mut out).map_err(|_| HashError)?;
        phc::Output::new(&out).map_err(|_| HashError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The smallest cost that Argon2 allows: these tests are about rules.
    const CHEAP: Cost = Cost { memory_kib: 8, passes: 1, lanes: 1 };

    fn secret(text: &str) -> SecretText {
        SecretText::new(text.into())
    }

    fn new_password(text: &str) -> Result<NewPassword, PasswordError> {
        NewPassword::check(secret(text), "alice.smith")
    }

    #[test]
    fn passwords_are_allowed_or_refused_by_rule() {
        fn check(text: &str, want: Result<(), PasswordError>) {
            assert_eq!(new_password(text).map(|_| ()), want, "{text:?}");
        }
        check("correct horse", Ok(()));
        check("лошадь-7", Ok(()));
        check("short12", Err(PasswordError::TooShort));
        check("", Err(PasswordError::TooShort));
        check(&"xy".repeat(128), Ok(()));
        check(&"xy".repeat(129), Err(PasswordError::TooLong));
        check("password", Err(PasswordError::Common));
        check("QWERTY123", Err(PasswordError::Common));
        check("aaaaaaaaaa", Err(PasswordError::Common));
        check("123456789", Err(PasswordError::Common));
        check("hgfedcba", Err(PasswordError::Common));
        check("Alice.Smith", Err(PasswordError::IsLogin));
    }

    #[test]
    fn a_hash_knows_its_password_and_no_other() {
        let passwords = Passwords::new(CHEAP).unwrap();
        let hash = passwords.hash(&new_password("correct horse").unwrap()).unwrap();
        assert_eq!(passwords.verify(&secret("correct horse"), Some(&hash)), Ok(Verified::Yes));
        assert_eq!(passwords.verify(&secret("correct house"), Some(&hash)), Ok(Verified::No));
        assert_eq!(passwords.verify(&secret("correct horse"), None), Ok(Verified::No));
        assert!(hash.as_str().starts_with("$argon2id$v=19$m=8,t=1,p=1$"));
        assert_eq!(format!("{hash:?}"), "***");
    }

    #[test]
    fn memory_is_reused() {
        let passwords = Passwords::new(CHEAP).unwrap();
        let kept = || passwords.memory.0.lock().unwrap().iter().map(|piece| piece.as_ptr()).collect::<Vec<_>>();
        passwords.warm_up().unwrap();
        let first = kept();
        passwords.warm_up().unwrap();
        assert_eq!((first.len(), kept()), (1, first));
    }

    #[test]
    fn an_old_hash_is_wrapped_and_asks_to_be_replaced() {
        let passwords = Passwords::new(CHEAP).unwrap();
        // SHA-256 of "secret", in hex, as Python's hexdigest writes it.
        let hex = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
        let hash = passwords.wrap_sha256_hex(hex).unwrap();
        assert!(!hash.as_str().contains(hex));
        assert_eq!(passwords.verify(&secret("secret"), Some(&hash)), Ok(Verified::YesButOld));
        assert_eq!(passwords.verify(&secret(hex), Some(&hash)), Ok(Verified::No), "the hash is not the password");
    }

    #[test]
    fn a_hash_of_smaller_parameters_asks_to_be_replaced() {
        let old = Passwords::new(CHEAP).unwrap().hash(&new_password("correct horse").unwrap()).unwrap();
        let grown = Passwords::new(Cost { memory_kib: 16, ..CHEAP }).unwrap();
        assert_eq!(grown.verify(&secret("correct horse"), Some(&old)), Ok(Verified::YesButOld));
    }

    #[test]
    fn a_hash_that_cannot_be_read_is_an_error_not_a_yes() {
        let passwords = Passwords::new(CHEAP).unwrap();
        let broken = PasswordHash::from_stored("$argon2id$nonsense".into());
        assert_eq!(passwords.verify(&secret("x"), Some(&broken)), Err(HashError));
    }
}
