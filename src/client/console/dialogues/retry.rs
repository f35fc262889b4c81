//! What may help after a refused code or password.

use crate::client::error::CallError;
use crate::model::reason::Reason;

/// How many wrong codes a dialogue accepts, as the predecessor did.
pub const CODE_TRIES: u32 = 3;

/// What may help after a refused code or password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Another code. The refused one did not count as a guess.
    NewCode,
    /// Another code. The refused one counted as a guess.
    NewGuess,
    /// Another password and another code. The refused ones counted as a guess.
    PasswordAndCode,
    /// Nothing.
    Nothing,
}

impl Retry {
    /// What may help after `error`, while the session lasts.
    pub fn after(error: &CallError) -> Retry {
        let CallError::Refused(refusal) = error else { return Retry::NewGuess };
        match refusal.reason {
            Some(Reason::CodeAlreadyUsed | Reason::Throttled | Reason::GuessesSpent) => Retry::NewCode,
            Some(Reason::InvalidCode | Reason::Overloaded) => Retry::NewGuess,
            Some(Reason::InvalidCredentials) => Retry::PasswordAndCode,
            None if !refusal.ends_session => Retry::NewGuess,
            Some(_) | None => Retry::Nothing,
        }
    }
}
