//! `/history`: what was said before the oldest message on the screen.

use std::io;

use crate::base::lock::lock;
use crate::client::console::room::render;
use crate::client::console::text;
use crate::client::console::{Console, Next, room};
use crate::client::error::CallError;
use crate::client::link::room::PAGE;
use crate::client::types::HistoryPage;
use crate::security::secret::SecretText;

impl Console {
    /// `/history`: the `count` messages before the oldest that is shown so far.
    pub(in crate::client::console) fn show_history(&mut self, count: u32) -> io::Result<Next> {
        let Some(session) = self.presence.session() else { return self.needs_login() };
        let before = lock(&self.place).older_than();
        let mut page = match self.fetch(&session.token, before, count) {
            Ok(page) => page,
            Err(error) => return self.call_failed(&error),
        };
        let mut blocks = Vec::with_capacity(page.messages.len());
        {
            let mut place = lock(&self.place);
            place.take_up(&mut page);
            for said in &page.messages {
                let turns = place.turns(render::date(said.time).as_deref());
                blocks.push(room::block(said, turns, &self.screen));
            }
        }
        if !blocks.is_empty() {
            self.screen.notice(text::OLDER.say(self.lang))?;
            self.screen.page(&blocks.join("\n"))?;
        }
        let end = if page.has_more { text::STILL_OLDER } else { text::NOTHING_OLDER };
        self.screen.notice(end.say(self.lang)).map(|()| Next::Line)
    }

    /// The newest `count` messages below the id `before`, by as many calls as it takes.
    fn fetch(&self, token: &SecretText, before: u64, count: u32) -> Result<HistoryPage, CallError> {
        let mut pages = Vec::new();
        let (mut before, mut left, mut has_more) = (before, count, true);
        while left > 0 && has_more {
            let page = self.link.history(token, before, left.min(PAGE))?;
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
}
