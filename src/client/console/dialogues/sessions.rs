//! `/sessions`, and `/logout` for sessions by number, all others, or all.

use std::io;

use crate::base::clock::Time;
use crate::base::escape::one_line;
use crate::client::console::command::LogoutTarget;
use crate::client::console::context::ConsoleContext;
use crate::client::console::dialogues::login::log_out;
use crate::client::console::dialogues::proof::prove;
use crate::client::console::room::render;
use crate::client::console::terminal::front::AfterLine;
use crate::client::console::terminal::prompt::DialogueStop;
use crate::client::console::terminal::table::table;
use crate::client::console::text::{chat, sessions};
use crate::client::session::ClientSession;
use crate::client::types::ListedSession;
use crate::proto::{SessionState, WhichSessions};

/// `/sessions`: lists the account's sessions with the numbers that `/logout` takes.
///
/// # Errors
/// The terminal or pipe failed.
pub fn list_sessions(cx: &mut ConsoleContext) -> io::Result<AfterLine> {
    let Some(session) = cx.session() else { return cx.front.complain(chat::LOG_IN_FIRST, &[]) };
    match cx.account.link.list_sessions(&session.token) {
        Ok(listed) => cx.account.listed = listed,
        Err(error) => return cx.call_failed(&error),
    }
    let heads = [sessions::OPENED, sessions::FROM, sessions::ENDS, sessions::STATE].map(|head| head.text(cx.lang()));
    let [opened, from, ends, state] = heads;
    let listed = cx.account.listed.iter().enumerate();
    let rows: Vec<[String; 6]> = listed.map(|(position, session)| row(cx, position + 1, session)).collect();
    let screen = cx.front.screen();
    screen.block(&table(["", opened, from, ends, state, ""], &rows, screen.columns()))?;
    if cx.front.is_interactive() && rows.len() > 1 {
        cx.front.notice(sessions::SESSIONS_HINT, &[])?;
    }
    Ok(AfterLine::ReadNext)
}

/// `/logout`, for any target.
///
/// # Errors
/// The terminal or pipe failed.
pub fn end_sessions(cx: &mut ConsoleContext, target: LogoutTarget) -> io::Result<AfterLine> {
    match target {
        LogoutTarget::This => log_out(cx),
        LogoutTarget::Number(number) => end_session(cx, number),
        LogoutTarget::Others => end_many(cx, end_others),
        LogoutTarget::All => end_many(cx, end_all),
    }
}

fn end_session(cx: &mut ConsoleContext, number: usize) -> io::Result<AfterLine> {
    let Some(session) = cx.session() else { return cx.front.complain(chat::LOG_IN_FIRST, &[]) };
    if cx.account.listed.is_empty() {
        return cx.front.complain(sessions::LIST_FIRST, &[]);
    }
    let shown_number = number.to_string();
    let Some(listed) = number.checked_sub(1).and_then(|position| cx.account.listed.get(position)) else {
        return cx.front.complain(sessions::NO_SUCH_NUMBER, &[&shown_number]);
    };
    if listed.current {
        return log_out(cx);
    }
    match cx.account.link.end_session(&session.token, &listed.id) {
        Ok(()) => cx.front.notice(sessions::SESSION_N_ENDED, &[&shown_number])?,
        Err(error) => return cx.call_failed(&error),
    }
    Ok(AfterLine::ReadNext)
}

type EndSessions = fn(&mut ConsoleContext, &ClientSession) -> Result<(), DialogueStop>;

fn end_many(cx: &mut ConsoleContext, end: EndSessions) -> io::Result<AfterLine> {
    let Some(session) = cx.session() else { return cx.front.needs_login() };
    let result = end(cx, &session);
    cx.front.finish(result, chat::NOT_DONE)
}

fn end_others(cx: &mut ConsoleContext, session: &ClientSession) -> Result<(), DialogueStop> {
    let others = WhichSessions::OTHERS;
    let ended = prove(cx, |link, proof| link.end_sessions(&session.token, others, proof))?;
    Ok(cx.front.notice(sessions::OTHERS_ENDED, &[&ended.to_string()])?)
}

fn end_all(cx: &mut ConsoleContext, session: &ClientSession) -> Result<(), DialogueStop> {
    let (all, current) = (WhichSessions::ALL, cx.account.current.clone());
    let ended = prove(cx, |link, proof| current.expect_end(|| link.end_sessions(&session.token, all, proof)))?;
    cx.forget_session();
    Ok(cx.front.notice(sessions::ALL_ENDED, &[&ended.to_string()])?)
}

fn row(cx: &ConsoleContext, number: usize, session: &ListedSession) -> [String; 6] {
    let time = |time: Option<Time>| {
        time.map_or_else(|| "?".to_owned(), |time| render::date_and_time(cx.account.clock.local(time)))
    };
    let state = match session.state {
        SessionState::COMPLETE => sessions::STATE_COMPLETE.text(cx.lang()),
        SessionState::NEEDS_CODE => sessions::STATE_NEEDS_CODE.text(cx.lang()),
        SessionState::NEEDS_ENROLMENT => sessions::STATE_NEEDS_ENROLMENT.text(cx.lang()),
        SessionState::SESSION_STATE_UNSPECIFIED => "?",
    };
    let address = if session.address.is_empty() { "?".to_owned() } else { one_line(&session.address) };
    let this = if session.current { sessions::THIS_ONE.text(cx.lang()) } else { "" };
    [number.to_string(), time(session.opened_at), address, time(session.expires_at), state.to_owned(), this.to_owned()]
}
