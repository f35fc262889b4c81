//! `/help` and `/whoami`.

use std::io;

use crate::client::console::context::ConsoleContext;
use crate::client::console::room::render;
use crate::client::console::terminal::front::AfterLine;
use crate::client::console::terminal::layout;
use crate::client::console::text::{chat, help};

/// `/help`: shows all commands.
///
/// # Errors
/// The terminal or pipe failed.
pub fn show_help(cx: &ConsoleContext) -> io::Result<AfterLine> {
    let window = cx.front.screen().columns();
    let lines: Vec<String> = help::lines(cx.lang()).iter().map(|line| layout::help_line(line, window)).collect();
    cx.front.screen().block(&lines.join("\n"))?;
    Ok(AfterLine::ReadNext)
}

/// `/whoami`: shows login, server, and when the session ends.
///
/// # Errors
/// The terminal or pipe failed.
pub fn whoami(cx: &ConsoleContext) -> io::Result<AfterLine> {
    let server = cx.account.server();
    match cx.session() {
        None => cx.front.notice(chat::WHOAMI_NOBODY, &[&server])?,
        Some(session) => match session.expires_at {
            None => cx.front.notice(chat::WHOAMI_OPEN, &[&session.login, &server])?,
            Some(end) => {
                let minutes = cx.account.clock.until(end).as_secs() / 60;
                let (hours, minutes) = ((minutes / 60).to_string(), (minutes % 60).to_string());
                let end = render::date_and_time(cx.account.clock.local(end));
                cx.front.notice(chat::WHOAMI, &[&session.login, &server, &end, &hours, &minutes])?;
            }
        },
    }
    Ok(AfterLine::ReadNext)
}
