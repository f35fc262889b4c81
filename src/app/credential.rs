//! What a caller shows, before anything is proved.

use super::refusal::Refusal;
use crate::security::secret::SecretText;

/// Names a connection: the same for all calls on it, and never the same for two connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionId(pub String);

/// What a caller shows, before anything is proved.
#[derive(Clone, Debug)]
pub enum Credential {
    /// No token, on a connection that a client without tokens for its code may use.
    NoneOn(ConnectionId),
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
