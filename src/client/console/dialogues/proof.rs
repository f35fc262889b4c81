//! Asks for password and an unused code, and makes a call with them.

use crate::client::console::context::ConsoleContext;
use crate::client::console::dialogues::retry::{CODE_TRIES, Retry};
use crate::client::console::dialogues::typed_code::ask_code;
use crate::client::console::terminal::prompt::DialogueStop;
use crate::client::console::text::sentence::Sentence;
use crate::client::console::text::{account, login};
use crate::client::error::CallError;
use crate::client::link::Link;
use crate::client::types::OwnerProof;

/// A proof, and how often it may still be refused as wrong.
pub struct ProofAttempt {
    /// The proof.
    pub proof: OwnerProof,
    tries: u32,
    ask_password: Sentence,
}

/// Asks for the proof and makes `call` with it, until the call succeeds or nothing more can help.
///
/// # Errors
/// [`DialogueStop`], as with every dialogue.
pub fn prove<T>(
    cx: &mut ConsoleContext,
    call: impl Fn(&Link, &OwnerProof) -> Result<T, CallError>,
) -> Result<T, DialogueStop> {
    let mut attempt = ask_proof(cx, login::ASK_PASSWORD)?;
    loop {
        match call(&cx.account.link, &attempt.proof) {
            Ok(answer) => return Ok(answer),
            Err(error) => ask_proof_again(cx, &error, &mut attempt)?,
        }
    }
}

/// Asks for password and code.
///
/// # Errors
/// [`DialogueStop`].
pub fn ask_proof(cx: &mut ConsoleContext, ask_password: Sentence) -> Result<ProofAttempt, DialogueStop> {
    if cx.front.is_interactive() {
        cx.front.notice(account::PROOF_PLEASE, &[])?;
    }
    let password = cx.front.ask_password(ask_password)?;
    let code = ask_code(&mut cx.front)?;
    Ok(ProofAttempt { proof: OwnerProof { password, code }, tries: CODE_TRIES, ask_password })
}

/// Tells why the proof was refused, and asks again for the parts that may be wrong.
///
/// # Errors
/// [`DialogueStop`].
pub fn ask_proof_again(
    cx: &mut ConsoleContext,
    error: &CallError,
    attempt: &mut ProofAttempt,
) -> Result<(), DialogueStop> {
    let retry = match error {
        // The server may have done it. Repeating it is not what was asked for.
        CallError::NoAnswer => {
            cx.front.complain(account::DONE_PERHAPS, &[])?;
            return Err(DialogueStop::Failed);
        }
        CallError::Refused(refusal) if refusal.ends_session => {
            cx.session_over(refusal)?;
            return Err(DialogueStop::Failed);
        }
        CallError::Refused(_) => Retry::after(error),
        _ => Retry::Nothing,
    };
    cx.account.warn_of_failure(&cx.front, error)?;
    if matches!(retry, Retry::NewGuess | Retry::PasswordAndCode) {
        attempt.tries = attempt.tries.saturating_sub(1);
    }
    if retry == Retry::Nothing || attempt.tries == 0 {
        return Err(DialogueStop::Failed);
    }
    if retry == Retry::PasswordAndCode {
        attempt.proof.password = cx.front.ask_password(attempt.ask_password)?;
    }
    attempt.proof.code = ask_code(&mut cx.front)?;
    Ok(())
}
