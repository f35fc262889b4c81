//! `/register`, `/login` and `/logout`: opens and ends sessions.

use std::io;

use crate::base::escape::one_line;
use crate::client::console::account_session::reason;
use crate::client::console::context::ConsoleContext;
use crate::client::console::dialogues::enrolment::{EnrolmentPurpose, enrol};
use crate::client::console::dialogues::recovery::warn_of_few;
use crate::client::console::dialogues::retry::{CODE_TRIES, Retry};
use crate::client::console::dialogues::typed_code::{TypedCode, ask_any_code};
use crate::client::console::room::render;
use crate::client::console::terminal::front::AfterLine;
use crate::client::console::terminal::prompt::DialogueStop;
use crate::client::console::text::{chat, login as text, outbox, recovery};
use crate::client::error::CallError;
use crate::client::session::ClientSession;
use crate::client::types::{CompletedSession, LoginNotes, OpenedSession};
use crate::model::reason::Reason;
use crate::proto::SessionState;
use crate::security::secret::SecretText;

/// What a code opened.
enum CodeResult {
    /// A code of the authenticator: the session is complete.
    Complete(CompletedSession),
    /// A recovery code: another session, which needs enrolment.
    NeedsEnrolment(OpenedSession),
}

/// `/register`: creates an account, sets up its second factor, and logs in.
///
/// # Errors
/// The terminal or pipe failed, as with every command.
pub fn register(cx: &mut ConsoleContext) -> io::Result<AfterLine> {
    if let Some(session) = cx.session() {
        cx.front.complain(text::LOG_OUT_FIRST, &[&session.login])?;
        return cx.front.finish(Err(DialogueStop::Failed), chat::NOT_DONE);
    }
    let result = register_and_enrol(cx);
    cx.front.finish(result, text::NOT_LOGGED_IN)
}

/// `/login`: logs in. While logged in it renews the session for the same login; the old session lasts until then.
///
/// # Errors
/// The terminal or pipe failed.
pub fn log_in(cx: &mut ConsoleContext) -> io::Result<AfterLine> {
    let old = cx.session();
    let result = open_session(cx, old.as_ref().map(|session| session.login.clone()));
    match (&result, &old) {
        (Ok(()), Some(old)) => {
            // Best effort: the new session is what counts, and the old one ends by itself.
            let _ = cx.account.link.logout(&old.token);
        }
        (Err(DialogueStop::Terminal(_)), _) => {}
        (Err(_), Some(_)) if cx.session().is_some() => cx.front.notice(text::STILL_OLD, &[])?,
        _ => {}
    }
    cx.front.finish(result, text::NOT_LOGGED_IN)
}

/// `/logout`: ends the session, here and on the server.
///
/// # Errors
/// The terminal or pipe failed.
pub fn log_out(cx: &mut ConsoleContext) -> io::Result<AfterLine> {
    let Some(session) = cx.forget_session() else { return cx.front.complain(chat::LOG_IN_FIRST, &[]) };
    let unsent = cx.composer.outbox.unsent();
    if unsent > 0 {
        let lines = outbox::lines(unsent, cx.lang());
        cx.front.notice(text::UNSENT_AT_LOGOUT, &[&lines, &session.login])?;
    }
    match cx.account.link.logout(&session.token) {
        Ok(()) => cx.front.notice(text::LOGGED_OUT, &[&session.login])?,
        Err(CallError::Refused(refusal)) if refusal.ends_session => {
            cx.front.notice(text::LOGGED_OUT, &[&session.login])?;
        }
        Err(_) => return cx.front.complain(text::LOGGED_OUT_HERE, &[]),
    }
    Ok(AfterLine::ReadNext)
}

fn register_and_enrol(cx: &mut ConsoleContext) -> Result<(), DialogueStop> {
    let login = cx.front.ask_login(text::ASK_LOGIN)?;
    let password = cx.front.ask_new_password(text::ASK_PASSWORD, text::ASK_PASSWORD_AGAIN)?;
    create_account(cx, &login, &password)?;
    cx.front.notice(text::REGISTERED, &[&one_line(&login)])?;
    match cx.account.link.login(&login, &password, None) {
        Ok(opened) => complete(cx, login, &password, opened, EnrolmentPurpose::Registered),
        Err(error) => {
            complain(cx, &error)?;
            cx.front.complain(text::REGISTERED_ONLY, &[])?;
            Err(DialogueStop::Failed)
        }
    }
}

/// Creates the account. Asks for an invitation if the server wants one; login and password stay.
fn create_account(cx: &mut ConsoleContext, login: &str, password: &SecretText) -> Result<(), DialogueStop> {
    let mut invite = None;
    loop {
        let error = match cx.account.link.register(login, password, invite.as_ref()) {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        match reason(&error) {
            Some(Reason::InviteRequired) if invite.is_none() => {
                cx.front.screen().notice(Reason::InviteRequired.sentence(cx.lang()))?;
            }
            Some(Reason::InviteInvalid) => cx.account.warn_of_failure(&cx.front, &error)?,
            _ => return Err(complain(cx, &error)?),
        }
        invite = Some(cx.front.ask_code(text::ASK_INVITE)?);
    }
}

fn open_session(cx: &mut ConsoleContext, known_login: Option<String>) -> Result<(), DialogueStop> {
    let login = match known_login {
        Some(login) => {
            cx.front.notice(text::RENEWING, &[&login])?;
            login
        }
        None => cx.front.ask_login(text::ASK_LOGIN)?,
    };
    let password = cx.front.ask_password(text::ASK_PASSWORD)?;
    match cx.account.link.login(&login, &password, None) {
        Ok(opened) => complete(cx, login, &password, opened, EnrolmentPurpose::First),
        Err(error) if reason(&error) == Some(Reason::EnrolmentCodeRequired) => {
            cx.front.screen().notice(Reason::EnrolmentCodeRequired.sentence(cx.lang()))?;
            let opened = open_by_enrolment_code(cx, &login, &password)?;
            complete(cx, login, &password, opened, EnrolmentPurpose::Reset)
        }
        Err(error) => {
            cx.account.warn_of_skew(&cx.front)?;
            Err(complain(cx, &error)?)
        }
    }
}

/// Logs in with the administrator's one-time code.
fn open_by_enrolment_code(
    cx: &mut ConsoleContext,
    login: &str,
    password: &SecretText,
) -> Result<OpenedSession, DialogueStop> {
    let mut tries = CODE_TRIES;
    loop {
        let code = cx.front.ask_code(text::ASK_ENROLMENT_CODE)?;
        match cx.account.link.login(login, password, Some(&code)) {
            Ok(opened) => return Ok(opened),
            Err(error) => may_try_again(cx, &error, &mut tries)?,
        }
    }
}

/// Gives the session what it still needs, and enters the room with it. A session that does not become complete is ended on the
/// server as well.
fn complete(
    cx: &mut ConsoleContext,
    login: String,
    password: &SecretText,
    opened: OpenedSession,
    why: EnrolmentPurpose,
) -> Result<(), DialogueStop> {
    cx.account.warn_of_skew(&cx.front)?;
    let OpenedSession { token, state, expires_at, notes } = opened;
    let result = match state {
        SessionState::COMPLETE => Ok(CompletedSession { token: token.clone(), expires_at, notes }),
        SessionState::NEEDS_ENROLMENT => {
            match why {
                EnrolmentPurpose::First => cx.front.notice(text::NO_FACTOR_YET, &[])?,
                EnrolmentPurpose::Recovery { .. } => cx.front.notice(recovery::RECOVERY_USED, &[])?,
                EnrolmentPurpose::Registered | EnrolmentPurpose::Reset | EnrolmentPurpose::Replace => {}
            }
            enrol(cx, &login, &token, why)
        }
        SessionState::NEEDS_CODE | SessionState::SESSION_STATE_UNSPECIFIED => {
            match ask_code(cx, &login, password, &token) {
                Ok(CodeResult::Complete(completed)) => Ok(completed),
                Ok(CodeResult::NeedsEnrolment(opened)) => {
                    // Best effort: this session ends by itself within minutes.
                    let _ = cx.account.link.logout(&token);
                    let left = opened.notes.recovery_codes_left;
                    return complete(cx, login, password, opened, EnrolmentPurpose::Recovery { left });
                }
                Err(stop) => Err(stop),
            }
        }
    };
    match result {
        Ok(CompletedSession { token, expires_at, notes }) => {
            let session = ClientSession { login, token, expires_at };
            cx.enter(session.clone())?;
            Ok(welcome(cx, &session, &notes)?)
        }
        Err(stop) => {
            let _ = cx.account.link.logout(&token);
            Err(stop)
        }
    }
}

/// Asks for a code or a recovery code.
fn ask_code(
    cx: &mut ConsoleContext,
    login: &str,
    password: &SecretText,
    token: &SecretText,
) -> Result<CodeResult, DialogueStop> {
    if cx.front.is_interactive() {
        cx.front.plain(recovery::RECOVERY_HINT, &[])?;
    }
    let mut tries = CODE_TRIES;
    loop {
        let typed = ask_any_code(&mut cx.front)?;
        let link = &cx.account.link;
        let result = match typed {
            TypedCode::Code(code) => match link.check_otp(login, token, &code) {
                // Another login with this password has pushed the session out while the code was typed.
                Err(error) if reason(&error) == Some(Reason::SessionEnded) => {
                    link.login_with_code(login, password, &code).map(|opened| CodeResult::Complete(opened.into()))
                }
                checked => checked.map(CodeResult::Complete),
            },
            TypedCode::Recovery(code) => link.login(login, password, Some(&code)).map(CodeResult::NeedsEnrolment),
            TypedCode::Neither => continue,
        };
        match result {
            Ok(opened) => return Ok(opened),
            Err(error) => may_try_again(cx, &error, &mut tries)?,
        }
    }
}

/// Tells why a code was refused. Returns if another one may help, and one of `tries` is left.
fn may_try_again(cx: &mut ConsoleContext, error: &CallError, tries: &mut u32) -> Result<(), DialogueStop> {
    cx.account.warn_of_failure(&cx.front, error)?;
    match Retry::after(error) {
        Retry::NewCode => return Ok(()),
        Retry::NewGuess | Retry::PasswordAndCode => *tries = tries.saturating_sub(1),
        Retry::Nothing => return Err(DialogueStop::Failed),
    }
    if *tries > 0 {
        return Ok(());
    }
    if cx.front.is_interactive() {
        cx.front.warn(text::NOT_LOGGED_IN, &[])?;
    }
    Err(DialogueStop::Failed)
}

/// Tells what a person should know after a login.
fn welcome(cx: &mut ConsoleContext, session: &ClientSession, notes: &LoginNotes) -> io::Result<()> {
    match session.expires_at {
        Some(end) => {
            let end = render::date_and_time(cx.account.clock.local(end));
            cx.front.notice(text::LOGGED_IN, &[&session.login, &end])?;
        }
        None => cx.front.notice(text::LOGGED_IN_OPEN, &[&session.login])?,
    }
    if notes.wrong_codes > 0 {
        cx.front.warn(text::WRONG_CODES, &[&notes.wrong_codes.to_string()])?;
    }
    if notes.recovery_codes.is_empty() {
        warn_of_few(cx, notes.recovery_codes_left)?;
    }
    cx.account.warn_of_skew(&cx.front)
}

/// Tells why a call failed, when no other try can help.
fn complain(cx: &mut ConsoleContext, error: &CallError) -> io::Result<DialogueStop> {
    let why = cx.account.failure(error, cx.lang());
    cx.front.complain_text(&why)?;
    Ok(DialogueStop::Failed)
}
