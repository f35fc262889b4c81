//! Sends a line to the room, and tells what happened to it.

use std::io;

use crate::base::duration_words;
use crate::base::escape::one_line;
use crate::base::writing::text_line;
use crate::client::console::context::ConsoleContext;
use crate::client::console::room::outbox::SCRIPT_PATIENCE;
use crate::client::console::room::send_queue::{MAX_UNSENT, SendOutcome};
use crate::client::console::terminal::front::AfterLine;
use crate::client::console::text::{chat, failures, outbox, room};
use crate::client::error::CallError;

/// Sends `text`, typed as `line` after `prompt`. A refused line becomes the next draft.
///
/// # Errors
/// The terminal or pipe failed.
pub fn send(cx: &mut ConsoleContext, prompt: &str, line: &str, text: &str) -> io::Result<AfterLine> {
    let Some(session) = cx.session() else {
        cx.composer.keep(line);
        return cx.front.complain(chat::LOG_IN_FIRST, &[]);
    };
    match cx.composer.outbox.send(&session.login, text, line, !cx.front.is_interactive())? {
        SendOutcome::Sent => {
            // The stream brings it back in its place among the others. It appears only there.
            if cx.room.is_live() {
                cx.front.screen().take_back(prompt, line)?;
            }
            Ok(AfterLine::ReadNext)
        }
        SendOutcome::Waiting { why, lines } if cx.front.is_interactive() => {
            tell_waiting(cx, why.as_ref(), lines)?;
            Ok(AfterLine::ReadNext)
        }
        SendOutcome::Waiting { why, .. } => give_up(cx, why.as_ref(), text),
        SendOutcome::Refused(error) => {
            cx.composer.keep(line);
            tell_refused(cx, &error)
        }
        SendOutcome::QueueFull => {
            cx.composer.keep(line);
            let lines = outbox::lines(MAX_UNSENT, cx.lang());
            cx.front.complain(outbox::TOO_MANY_UNSENT, &[&lines])
        }
    }
}

/// The line waits, one of `lines`.
fn tell_waiting(cx: &ConsoleContext, why: Option<&CallError>, lines: usize) -> io::Result<()> {
    if let Some(error @ CallError::Tls(_)) = why {
        // Waiting does not help: a person must act.
        return cx.front.warn(outbox::WAITS_FOR_YOU, &[&cx.account.failure(error, cx.lang())]);
    }
    if lines > 1 {
        return cx.front.notice(outbox::WAIT, &[&outbox::lines(lines, cx.lang())]);
    }
    cx.front.notice(outbox::WAITS, &[&cause(cx, why)])
}

/// A script ends at a line that could not be sent, because the following lines may refer to it.
fn give_up(cx: &mut ConsoleContext, why: Option<&CallError>, text: &str) -> io::Result<AfterLine> {
    let limit = duration_words::in_words(SCRIPT_PATIENCE, cx.lang());
    let why = cause(cx, why);
    cx.front.complain_text(&outbox::GIVEN_UP.with(cx.lang(), &[&limit, &one_line(&why), &text_line(text)]))?;
    Ok(AfterLine::Quit)
}

fn cause(cx: &ConsoleContext, why: Option<&CallError>) -> String {
    let lang = cx.lang();
    why.map_or_else(|| outbox::NO_ANSWER_YET.text(lang).to_owned(), |error| failures::short_failure(error, lang))
}

fn tell_refused(cx: &mut ConsoleContext, error: &CallError) -> io::Result<AfterLine> {
    let why = match error {
        CallError::Refused(refusal) if refusal.ends_session => {
            cx.forget_session();
            room::SESSION_OVER.with(cx.lang(), &[&failures::refusal(refusal, cx.lang())])
        }
        error => cx.account.failure(error, cx.lang()),
    };
    cx.front.complain(outbox::SENT_NOT, &[&why])
}
