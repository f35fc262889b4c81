//! Tokens: JSON Web Tokens (RFC 7519) under HS256 and nothing else.
//!
//! A token only names a session; the server's row of the session says what it may do. Times are compared by our clock, so the
//! library's own check of the time is switched off.

use std::sync::{OnceLock, RwLock};

use hmac::{Hmac, KeyInit, Mac};
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error as JwtError, ErrorKind};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::secret::{SecretBytes, SecretText};
use crate::NAME;
use crate::base::clock::Time;
use crate::base::lock::{read, write};
use crate::model::ids::UserId;

/// The `iss` claim of our tokens.
pub const ISSUER: &str = NAME;

/// Longer than any token of ours. A longer one is not even decoded.
const MAX_TOKEN_BYTES: usize = 2048;

/// The claims of a token. `user_id`, `login` and `exp` are those of the predecessor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The account's number.
    pub user_id: UserId,
    /// The account's login.
    pub login: String,
    /// When the token ends, in seconds since the Unix epoch.
    pub exp: i64,
    /// When it was issued, in seconds since the Unix epoch.
    pub iat: i64,
    /// [`ISSUER`].
    pub iss: String,
    /// The session that it names.
    pub sid: String,
}

/// Issues tokens under one key, and proves those under that key and, for a while, under the previous one.
pub struct Tokens {
    keys: RwLock<KeyRing>,
    validation: Validation,
}

struct KeyRing {
    encoding: EncodingKey,
    decoding: DecodingKey,
    /// The previous key, and until when tokens under it are valid.
    previous: Option<(DecodingKey, Time)>,
}

/// A token that proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not one of ours: malformed, changed, another key, another algorithm.
    #[error("the token is not valid")]
    Invalid,
    /// It has expired.
    #[error("the token has expired")]
    Expired,
}

/// A token could not be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a token could not be signed")]
pub struct SignError;

impl Tokens {
    /// Issues and proves tokens under a key that `security::keys` has checked.
    pub fn new(key: &SecretBytes) -> Tokens {
        static PROVIDER: OnceLock<()> = OnceLock::new();
        PROVIDER.get_or_init(|| {
            // Fails only if another part of the process has installed one, which then proves tokens.
            let _ = HS256_ONLY.install_default();
        });
        let mut validation = Validation::new(Algorithm::HS256);
        validation.validate_exp = false;
        validation.leeway = 0;
        validation.set_issuer(&[ISSUER]);
        validation.set_required_spec_claims(&["exp", "iss"]);
        Tokens { keys: RwLock::new(KeyRing::from_key(key)), validation }
    }

    /// Also proves tokens under the previous key, until `until`.
    #[must_use]
    pub fn with_previous_key(self, key: &SecretBytes, until: Time) -> Tokens {
        write(&self.keys).previous = Some((DecodingKey::from_secret(key.expose()), until));
        self
    }

    /// Replaces the key: new tokens are issued under `key`, and those under the old one are valid until `until`.
    pub fn rotate(&self, key: &SecretBytes, until: Time) {
        let mut ring = write(&self.keys);
        let old = std::mem::replace(&mut *ring, KeyRing::from_key(key));
        ring.previous = Some((old.decoding, until));
    }

    /// Signs a token.
    ///
    /// # Errors
    /// [`SignError`] if the claims cannot be written as JSON.
    pub fn issue(&self, claims: &Claims) -> Result<SecretText, SignError> {
        let ring = read(&self.keys);
        let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &ring.encoding);
        token.map(SecretText::new).map_err(|_| SignError)
    }

    /// Proves a token at a time.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn prove(&self, token: &str, now: Time) -> Result<Claims, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::Invalid);
        }
        let ring = read(&self.keys);
        let under = |key| jsonwebtoken::decode::<Claims>(token, key, &self.validation);
        let previous = ring.previous.as_ref().filter(|(_, until)| now < *until);
        let claims = under(&ring.decoding)
            .or_else(|error| previous.map_or(Err(error), |(key, _)| under(key)))
            .map_err(|_| TokenError::Invalid)?
            .claims;
        if now >= Time::from_secs(claims.exp) { Err(TokenError::Expired) } else { Ok(claims) }
    }
}

impl KeyRing {
    fn from_key(key: &SecretBytes) -> KeyRing {
        KeyRing {
            encoding: EncodingKey::from_secret(key.expose()),
            decoding: DecodingKey::from_secret(key.expose()),
            previous: None,
        }
    }
}

/// The library's own backends include RSA and elliptic curves; this one supports HS256 only.
static HS256_ONLY: CryptoProvider = CryptoProvider {
    signer_factory: |algorithm, key| {
        hs256(*algorithm)?;
        Ok(Box::new(Hs256::new(key.as_bytes())?))
    },
    verifier_factory: |algorithm, key| {
        hs256(*algorithm)?;
        Ok(Box::new(Hs256::new(key.try_get_as_bytes()?)?))
    },
    key_utils: KeyUtils::new_unimplemented(),
};

fn hs256(algorithm: Algorithm) -> Result<(), JwtError> {
    if algorithm == Algorithm::HS256 { Ok(()) } else { Err(ErrorKind::InvalidAlgorithm.into()) }
}

struct Hs256(Hmac<Sha256>);

impl Hs256 {
    fn new(key: &[u8]) -> Result<Hs256, JwtError> {
        Ok(Hs256(Hmac::new_from_slice(key).map_err(|_| ErrorKind::InvalidKeyFormat)?))
    }
}

impl signature::Signer<Vec<u8>> for Hs256 {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        Ok(self.0.clone().chain_update(message).finalize().into_bytes().to_vec())
    }
}

impl signature::Verifier<Vec<u8>> for Hs256 {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        self.0.clone().chain_update(message).verify_slice(signature).map_err(|_| signature::Error::new())
    }
}

impl JwtSigner for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

impl JwtVerifier for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::BASE64URL_NOPAD;
    use proptest::prelude::*;

    const NOW: Time = Time::from_secs(1_000_000);

    fn tokens(byte: u8) -> Tokens {
        Tokens::new(&SecretBytes::new((0..32).map(|n| n ^ byte).collect()))
    }

    fn claims() -> Claims {
        Claims {
            user_id: UserId::from_number(7),
            login: "Вася".into(),
            exp: NOW.as_secs() + 86_400,
            iat: NOW.as_secs(),
            iss: ISSUER.into(),
            sid: "5f".into(),
        }
    }

    fn forged(header: &str, payload: &str, signature: &[u8]) -> String {
        let part = |text: &str| BASE64URL_NOPAD.encode(text.as_bytes());
        format!("{}.{}.{}", part(header), part(payload), BASE64URL_NOPAD.encode(signature))
    }

    #[test]
    fn a_token_proves_its_claims_until_it_expires() {
        let token = tokens(1).issue(&claims()).unwrap();
        assert_eq!(tokens(1).prove(token.expose(), NOW), Ok(claims()));
        let end = Time::from_secs(claims().exp);
        assert_eq!(tokens(1).prove(token.expose(), Time::from_micros(end.as_micros() - 1)), Ok(claims()));
        assert_eq!(tokens(1).prove(token.expose(), end), Err(TokenError::Expired), "no leeway");
    }

    #[test]
    fn forged_tokens_prove_nothing() {
        let token = tokens(1).issue(&claims()).unwrap().expose().to_owned();
        let payload = serde_json_of(&claims());
        let refused = |token: &str| assert_eq!(tokens(1).prove(token, NOW), Err(TokenError::Invalid), "{token}");
        refused(tokens(2).issue(&claims()).unwrap().expose());
        refused(&forged(r#"{"alg":"none","typ":"JWT"}"#, &payload, b""));
        refused(&forged(r#"{"alg":"HS256","typ":"JWT"}"#, &payload, b""));
        refused(&forged(r#"{"alg":"HS512","typ":"JWT"}"#, &payload, &[0; 64]));
        refused(&forged(r#"{"alg":"RS256","typ":"JWT"}"#, &payload, &[0; 256]));
        let parts: Vec<&str> = token.split('.').collect();
        let other = BASE64URL_NOPAD.encode(payload.replace("\"user_id\":7", "\"user_id\":8").as_bytes());
        refused(&format!("{}.{other}.{}", parts[0], parts[2]));
        refused(&format!("{}.{}.", parts[0], parts[1]));
        refused(&format!("{token}x"));
        refused("");
        refused(&"a".repeat(1 << 20));
        let foreign = Claims { iss: "somebody".into(), ..claims() };
        refused(tokens(1).issue(&foreign).unwrap().expose());
    }

    fn serde_json_of(claims: &Claims) -> String {
        let token = tokens(1).issue(claims).unwrap();
        let payload = token.expose().split('.').nth(1).unwrap().to_owned();
        String::from_utf8(BASE64URL_NOPAD.decode(payload.as_bytes()).unwrap()).unwrap()
    }

    proptest! {
        #[test]
        fn wild_tokens_never_panic(text in "\\PC{0,200}", three in "[A-Za-z0-9_-]{0,60}\\.[A-Za-z0-9_-]{0,60}\\.[A-Za-z0-9_-]{0,60}") {
            prop_assert!(tokens(1).prove(&text, NOW).is_err());
            prop_assert!(tokens(1).prove(&three, NOW).is_err());
        }
    }
}
