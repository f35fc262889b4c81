//! `/passwd`, `/otp` and `/delete-account`: each asks for password and an unused code, and changes the account.

use std::io;

use crate::client::console::context::ConsoleContext;
use crate::client::console::dialogues::enrolment::{EnrolmentPurpose, confirm_enrolment};
use crate::client::console::dialogues::proof::{ask_proof, ask_proof_again, prove};
use crate::client::console::terminal::front::AfterLine;
use crate::client::console::terminal::prompt::DialogueStop;
use crate::client::console::text::{account, chat, failures};
use crate::client::error::CallError;
use crate::client::session::ClientSession;
use crate::model::reason::Reason;
use crate::security::secret::SecretText;

/// `/passwd`: changes the password.
///
/// # Errors
/// The terminal or pipe failed, as with every command.
pub fn change_password(cx: &mut ConsoleContext) -> io::Result<AfterLine> {
    let Some(session) = cx.session() else { return cx.front.needs_login() };
    let result = new_password(cx, &session);
    cx.front.finish(result, chat::NOT_DONE)
}

/// `/otp`: replaces the second factor.
///
/// # Errors
/// The terminal or pipe failed.
pub fn replace_factor(cx: &mut ConsoleContext) -> io::Result<AfterLine> {
    let Some(session) = cx.session() else { return cx.front.needs_login() };
    let result = new_factor(cx, session);
    cx.front.finish(result, chat::NOT_DONE)
}

/// `/delete-account`: deletes the account permanently.
///
/// # Errors
/// The terminal or pipe failed.
pub fn delete_account(cx: &mut ConsoleContext) -> io::Result<AfterLine> {
    let Some(session) = cx.session() else { return cx.front.needs_login() };
    let result = delete(cx, &session);
    cx.front.finish(result, chat::NOT_DONE)
}

fn new_password(cx: &mut ConsoleContext, session: &ClientSession) -> Result<(), DialogueStop> {
    let mut attempt = ask_proof(cx, account::ASK_OLD_PASSWORD)?;
    let mut new = ask_new_password(cx)?;
    loop {
        match cx.account.link.change_password(&session.token, &attempt.proof, &new) {
            Ok(ended) => return Ok(cx.front.notice(account::PASSWORD_CHANGED, &[&ended.to_string()])?),
            Err(CallError::Refused(refusal)) if refusal.reason == Some(Reason::WeakPassword) => {
                cx.front.warn_text(&failures::refusal(&refusal, cx.lang()))?;
                new = ask_new_password(cx)?;
            }
            Err(error) => ask_proof_again(cx, &error, &mut attempt)?,
        }
    }
}

fn ask_new_password(cx: &mut ConsoleContext) -> Result<SecretText, DialogueStop> {
    cx.front.ask_new_password(account::ASK_NEW_PASSWORD, account::ASK_NEW_PASSWORD_AGAIN)
}

fn new_factor(cx: &mut ConsoleContext, session: ClientSession) -> Result<(), DialogueStop> {
    let ClientSession { login, token, .. } = session;
    let uri = prove(cx, |link, proof| link.init_otp(&login, &token, Some(proof)))?;
    let completed = confirm_enrolment(cx, &login, &token, &uri, EnrolmentPurpose::Replace)?;
    // The new session lasts longer, so it reads the room from now on.
    if completed.token != token {
        cx.enter(ClientSession { login, token: completed.token, expires_at: completed.expires_at })?;
    }
    Ok(())
}

fn delete(cx: &mut ConsoleContext, session: &ClientSession) -> Result<(), DialogueStop> {
    cx.front.notice(account::DELETE_WARNING, &[&session.login])?;
    let confirmed = cx.front.ask_login(account::CONFIRM_LOGIN)?;
    if confirmed != session.login {
        cx.front.complain(account::LOGIN_DIFFERS, &[&session.login])?;
        return Err(DialogueStop::Failed);
    }
    let current = cx.account.current.clone();
    prove(cx, |link, proof| current.expect_end(|| link.delete_account(&session.token, proof)))?;
    cx.forget_session();
    cx.composer.outbox.clear();
    Ok(cx.front.notice(account::DELETED, &[&session.login])?)
}
