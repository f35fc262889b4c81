//! `/history` shows the messages before the oldest one on the screen, `/more` a folded message whole.

use std::io;

use crate::client::console::context::ConsoleContext;
use crate::client::console::room::render;
use crate::client::console::terminal::front::AfterLine;
use crate::client::console::text::room;
use crate::client::error::CallError;
use crate::client::link::Link;
use crate::client::link::room::PAGE;
use crate::client::types::HistoryPage;
use crate::model::ids::EventId;
use crate::security::secret::SecretText;

/// `/history`: shows the `count` messages before the oldest one on the screen.
///
/// # Errors
/// The terminal or pipe failed.
pub fn show_history(cx: &mut ConsoleContext, count: u32) -> io::Result<AfterLine> {
    let Some(session) = cx.session() else { return cx.front.needs_login() };
    let before = cx.room.timeline().oldest();
    let mut page = match fetch(&cx.account.link, &session.token, before, count) {
        Ok(page) => page,
        Err(error) => return cx.call_failed(&error),
    };
    let mut blocks = Vec::with_capacity(page.messages.len());
    {
        let mut timeline = cx.room.timeline();
        timeline.add_page(&mut page);
        for message in &page.messages {
            let starts_day = timeline.starts_day(render::date(message.time).as_deref());
            blocks.push(render::block(message, starts_day, cx.front.screen(), cx.lang(), &mut timeline.folds));
        }
    }
    if !blocks.is_empty() {
        cx.front.notice(room::OLDER, &[])?;
        cx.front.screen().page(&blocks.join("\n"))?;
    }
    cx.front.notice(if page.has_more { room::STILL_OLDER } else { room::NOTHING_OLDER }, &[])?;
    Ok(AfterLine::ReadNext)
}

/// `/more`: shows a folded message whole, the one with a number or the last one.
///
/// # Errors
/// The terminal or pipe failed.
pub fn show_folded(cx: &mut ConsoleContext, number: Option<usize>) -> io::Result<AfterLine> {
    let folded = cx.room.timeline().folds.get(number).cloned();
    match folded {
        Some(message) => cx.front.screen().page(&render::whole(&message, cx.front.screen()))?,
        None => return cx.front.complain(room::NOTHING_FOLDED, &[]),
    }
    Ok(AfterLine::ReadNext)
}

/// The newest `count` messages, of those below the id `before` if there is one, in as many calls as necessary.
fn fetch(link: &Link, token: &SecretText, before: Option<EventId>, count: u32) -> Result<HistoryPage, CallError> {
    let mut pages = Vec::new();
    let (mut before, mut left, mut has_more) = (before, count, true);
    while left > 0 && has_more {
        let page = link.history(token, before, left.min(PAGE))?;
        let Some(oldest) = page.messages.first() else {
            has_more = false;
            break;
        };
        before = oldest.id;
        left = left.saturating_sub(u32::try_from(page.messages.len()).unwrap_or(u32::MAX));
        has_more = page.has_more;
        pages.push(page.messages);
    }
    Ok(HistoryPage { messages: pages.into_iter().rev().flatten().collect(), has_more })
}
