//! What a caller shows, before anything is proved.

use super::refusal::Refusal;
use crate::security::secret::SecretText;

/// A connection, as the wire names it: the same for all calls on it, and never the same for two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection(pub String);

/// What a caller shows, before anything is proved.
#[derive(Clone, Debug)]
pub enum Credential {
    /// No token, on a connection that a client without tokens for its code may use.
    NoneOn(Connection),
    /// No token, elsewhere.
    None,
    /// One token.
    Token(SecretText),
    /// Several tokens, or one that is no text.
    Garbled,
}

impl Credential {
    /// The token, if there is exactly one.
    pub(super) fn token(&self) -> Result<&SecretText, Refusal> {
        match self {
            Credential::Token(token) => Ok(token),
            Credential::None | Credential::NoneOn(_) => Err(Refusal::TokenMissing),
            Credential::Garbled => Err(Refusal::TokenInvalid),
        }
    }
}
