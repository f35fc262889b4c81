//! Time-based one-time passwords (RFC 6238): SHA-1, 6 digits, 30 seconds, because Google Authenticator supports nothing else.
//! Pure functions of secret, code and time.

use data_encoding::{BASE32_NOPAD, Specification};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use totp_rs::{Algorithm, Builder, Secret, Totp};

use super::secret::SecretBytes;
use crate::NAME;
use crate::base::clock::Time;

/// The length of a new secret, in bytes (RFC 4226, section 4, R6).
pub const SECRET_BYTES: usize = 20;
/// How long a step lasts, in seconds.
pub const STEP_SECS: i64 = 30;
/// The name that authenticators show beside the login.
pub const ISSUER: &str = NAME;

/// A number of 30-second steps since the Unix epoch.
pub type Step = i64;

/// The last used step of a factor before its first code.
pub const NO_STEP: Step = -1;

/// The result of testing a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeVerdict {
    /// Right and not used before. The step that it uses up.
    Fresh(Step),
    /// Right, but this step or a later one has been used.
    AlreadyUsed,
    /// Wrong.
    Wrong,
}

/// Tests a code against a secret at a time: the current step and one on either side, all in constant time.
///
/// Of the steps that match, the highest above `last_step` counts: two steps may share digits, and stopping at the first
/// match would refuse a fresh code.
pub fn check(secret: &SecretBytes, code: &Code, now: Time, last_step: Step) -> CodeVerdict {
    let totp = totp(secret);
    let current = now.as_secs().div_euclid(STEP_SECS);
    let mut matched = Choice::from(0);
    let mut fresh = i64::MIN;
    for step in [current - 1, current, current + 1].into_iter().filter(|step| *step >= 0) {
        let hit = digits(&totp, step).as_bytes().ct_eq(code.0.as_bytes());
        matched |= hit;
        let above = Choice::from(u8::from(step > last_step));
        fresh.conditional_assign(&step, hit & above);
    }
    match (fresh != i64::MIN, bool::from(matched)) {
        (true, _) => CodeVerdict::Fresh(fresh),
        (false, true) => CodeVerdict::AlreadyUsed,
        (false, false) => CodeVerdict::Wrong,
    }
}

/// The code of a step: what an authenticator shows from `step * 30` seconds on. For tests and tools.
pub fn code_at(secret: &SecretBytes, step: Step) -> Code {
    Code(digits(&totp(secret), step))
}

/// Six digits, as a user types them.
#[derive(Clone, PartialEq, Eq)]
pub struct Code(String);

impl Code {
    /// Takes six ASCII digits; spaces between them are as authenticators print them and do not count.
    ///
    /// `None` for anything else, which no secret can match.
    pub fn parse(text: &str) -> Option<Code> {
        // Longer texts are not even looked at: people type a few spaces at most.
        if text.len() > 32 {
            return None;
        }
        let digits: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        (digits.len() == 6 && digits.bytes().all(|b| b.is_ascii_digit())).then_some(Code(digits))
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// A new random secret.
///
/// # Errors
/// The system has no randomness.
pub fn new_secret() -> Result<SecretBytes, getrandom::Error> {
    SecretBytes::random(SECRET_BYTES)
}

/// The `otpauth://` URI that an authenticator imports (Google's key URI format).
pub fn uri(login: &str, secret: &SecretBytes) -> String {
    let login = percent_encode(login);
    let secret = zeroize::Zeroizing::new(BASE32_NOPAD.encode(secret.expose()));
    format!("otpauth://totp/{ISSUER}:{login}?secret={}&issuer={ISSUER}", secret.as_str())
}

/// The secret that an `otpauth://` URI names, as it is written there; `None` if it names none.
pub fn secret_in_uri(uri: &str) -> Option<&str> {
    let (_, query) = uri.split_once('?')?;
    query.split('&').find_map(|pair| pair.strip_prefix("secret=")).filter(|secret| !secret.is_empty())
}

/// A secret in base32 as the predecessor kept it: in either case, with spaces, hyphens or padding, of any length.
///
/// `None` if it cannot be read or is empty.
pub fn secret_from_base32(text: &str) -> Option<SecretBytes> {
    let mut lenient = Specification::new();
    lenient.symbols.push_str("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567");
    lenient.translate.from.push_str("abcdefghijklmnopqrstuvwxyz");
    lenient.translate.to.push_str("ABCDEFGHIJKLMNOPQRSTUVWXYZ");
    lenient.ignore.push_str(" -=");
    lenient.check_trailing_bits = false;
    let secret = SecretBytes::new(lenient.encoding().ok()?.decode(text.as_bytes()).ok()?);
    (!secret.expose().is_empty()).then_some(secret)
}

fn totp(secret: &SecretBytes) -> Totp {
    // Secrets of old databases may be shorter than RFC 4226 requires. They keep working.
    Builder::new()
        .with_algorithm(Algorithm::SHA1)
        .with_digits(6)
        .with_step_duration(STEP_SECS.unsigned_abs())
        .with_secret(Secret::new(secret.expose().into()))
        .build_noncompliant()
}

fn digits(totp: &Totp, step: Step) -> String {
    let seconds = u64::try_from(step.saturating_mul(STEP_SECS)).unwrap_or(0);
    totp.generate(seconds).to_string()
}

/// RFC 3986: everything but the unreserved characters.
fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rfc_secret() -> SecretBytes {
        SecretBytes::new(b"12345678901234567890".to_vec())
    }

    /// RFC 6238, appendix B, SHA-1: the last six of the eight digits.
    #[test]
    fn the_vectors_of_rfc_6238_hold() {
        fn check_vector(secs: i64, code: &str) {
            assert_eq!(code_at(&rfc_secret(), secs / 30).as_str(), code, "at {secs} s");
            let verdict = check(&rfc_secret(), &Code::parse(code).unwrap(), Time::from_secs(secs), NO_STEP);
            assert_eq!(verdict, CodeVerdict::Fresh(secs / 30), "at {secs} s");
        }
        check_vector(59, "287082");
        check_vector(1_111_111_109, "081804");
        check_vector(1_111_111_111, "050471");
        check_vector(1_234_567_890, "005924");
        check_vector(2_000_000_000, "279037");
        check_vector(20_000_000_000, "353130");
    }

    #[test]
    fn one_step_either_side_is_accepted_and_no_more() {
        let now = Time::from_secs(1_000 * 30 + 7);
        let at = |step| check(&rfc_secret(), &code_at(&rfc_secret(), step), now, NO_STEP);
        assert_eq!(at(998), CodeVerdict::Wrong, "the one before the previous");
        assert_eq!(at(999), CodeVerdict::Fresh(999));
        assert_eq!(at(1_000), CodeVerdict::Fresh(1_000));
        assert_eq!(at(1_001), CodeVerdict::Fresh(1_001));
        assert_eq!(at(1_002), CodeVerdict::Wrong, "the one after the next");
    }

    #[test]
    fn a_used_step_and_all_before_it_are_used_up() {
        let now = Time::from_secs(1_000 * 30);
        let code = |step| code_at(&rfc_secret(), step);
        assert_eq!(check(&rfc_secret(), &code(1_000), now, 1_000), CodeVerdict::AlreadyUsed);
        assert_eq!(check(&rfc_secret(), &code(999), now, 1_000), CodeVerdict::AlreadyUsed);
        assert_eq!(check(&rfc_secret(), &code(1_001), now, 1_000), CodeVerdict::Fresh(1_001));
    }

    /// With this secret two neighbouring steps share their digits. Using the earlier one must not use up the later one.
    #[test]
    fn neighbouring_steps_that_share_digits_are_told_apart() {
        let (secret, step) = (0u32..)
            .map(|n| SecretBytes::new([&n.to_be_bytes()[..], &[7; 16]].concat()))
            .find_map(|s| (0..64).find(|n| code_at(&s, *n) == code_at(&s, n + 1)).map(|n| (s, n)))
            .unwrap();
        let now = Time::from_secs((step + 1) * 30);
        assert_eq!(check(&secret, &code_at(&secret, step), now, step), CodeVerdict::Fresh(step + 1));
        assert_eq!(check(&secret, &code_at(&secret, step), now, NO_STEP), CodeVerdict::Fresh(step + 1));
        assert_eq!(check(&secret, &code_at(&secret, step), now, step + 1), CodeVerdict::AlreadyUsed);
    }

    #[test]
    fn the_first_seconds_of_1970_have_no_step_before_them() {
        let code = code_at(&rfc_secret(), 0);
        assert_eq!(check(&rfc_secret(), &code, Time::from_secs(0), NO_STEP), CodeVerdict::Fresh(0));
    }

    #[test]
    fn old_secrets_are_read_as_pyotp_reads_them() {
        fn reads(text: &str, want: Option<&[u8]>) {
            assert_eq!(secret_from_base32(text).as_ref().map(SecretBytes::expose), want, "{text:?}");
        }
        reads("GEZDGNBVGY3TQOJQ", Some(b"1234567890"));
        reads("gezdgnbvgy3tqojq", Some(b"1234567890"));
        reads("GEZD GNBV GY3T QOJQ", Some(b"1234567890"));
        reads("GEZDG===", Some(b"123"));
        reads("", None);
        reads("===", None);
        reads("not base32!", None);
        reads("0189", None);
    }

    #[test]
    fn the_uri_names_issuer_and_login_and_escapes_what_it_must() {
        let uri = uri("Вася&x=1", &rfc_secret());
        assert!(uri.starts_with("otpauth://totp/grpc-otp-chat:%D0%92%D0%B0%D1%81%D1%8F%26x%3D1?secret="), "{uri}");
        assert!(uri.ends_with("?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=grpc-otp-chat"), "{uri}");
    }

    proptest! {
        #[test]
        fn only_six_digits_are_a_code(text in "\\PC{0,12}") {
            if let Some(code) = Code::parse(&text) {
                prop_assert!(code.as_str().len() == 6 && code.as_str().bytes().all(|b| b.is_ascii_digit()));
            }
        }

        #[test]
        fn a_code_is_spent_by_itself(secret in proptest::collection::vec(any::<u8>(), 1..40), secs in 0i64..4_000_000_000) {
            let secret = SecretBytes::new(secret);
            let now = Time::from_secs(secs);
            let code = code_at(&secret, secs / 30);
            let CodeVerdict::Fresh(step) = check(&secret, &code, now, NO_STEP) else { panic!("refused") };
            prop_assert_eq!(check(&secret, &code, now, step), CodeVerdict::AlreadyUsed);
        }
    }
}
