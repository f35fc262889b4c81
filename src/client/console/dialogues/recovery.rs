//! Recovery codes: `/recovery`, and showing new codes.

use std::io;

use zeroize::{Zeroize, Zeroizing};

use crate::base::escape::one_line;
use crate::client::console::context::ConsoleContext;
use crate::client::console::dialogues::proof::prove;
use crate::client::console::terminal::front::AfterLine;
use crate::client::console::terminal::paint::Paint;
use crate::client::console::terminal::prompt::DialogueStop;
use crate::client::console::text::{chat, recovery};
use crate::client::session::ClientSession;
use crate::security::secret::SecretText;

/// With fewer codes left, it is time for new ones.
const FEW: u32 = 4;
/// Space before each code.
const INDENT: &str = "    ";
/// Windows from this width on have room for two columns.
const TWO_COLUMNS: usize = 56;

/// `/recovery`: makes new recovery codes.
///
/// # Errors
/// The terminal or pipe failed.
pub fn new_recovery_codes(cx: &mut ConsoleContext) -> io::Result<AfterLine> {
    let Some(session) = cx.session() else { return cx.front.needs_login() };
    let result = make_recovery_codes(cx, &session);
    cx.front.finish(result, chat::NOT_DONE)
}

fn make_recovery_codes(cx: &mut ConsoleContext, session: &ClientSession) -> Result<(), DialogueStop> {
    let codes = prove(cx, |link, proof| link.new_recovery_codes(&session.token, proof))?;
    cx.front.notice(recovery::OLD_CODES_VOID, &[])?;
    Ok(show_recovery_codes(cx, &codes)?)
}

/// Shows new recovery codes, this once and nowhere else.
///
/// # Errors
/// The screen is gone.
pub fn show_recovery_codes(cx: &ConsoleContext, codes: &[SecretText]) -> io::Result<()> {
    if codes.is_empty() {
        return Ok(());
    }
    cx.front.notice(recovery::RECOVERY_CODES, &[])?;
    let screen = cx.front.screen();
    screen.block(&block_of_codes(codes, screen.columns(), screen.paint()))
}

/// Warns if only few recovery codes are left.
///
/// # Errors
/// The screen is gone.
pub fn warn_of_few(cx: &ConsoleContext, left: u32) -> io::Result<()> {
    if left >= FEW {
        return Ok(());
    }
    cx.front.warn(recovery::FEW_RECOVERY_CODES, &[&left.to_string()])
}

/// The codes as a block between empty lines; in two columns, read downwards, if the window is wide enough.
fn block_of_codes(codes: &[SecretText], window: Option<usize>, paint: Paint) -> Zeroizing<String> {
    let columns = if window.is_some_and(|columns| columns >= TWO_COLUMNS) { 2 } else { 1 };
    let rows = codes.len().div_ceil(columns);
    // The whole capacity at once: a text that grows leaves copies behind.
    let mut block = Zeroizing::new(String::with_capacity(codes.len() * 64 + 16));
    block.push('\n');
    for row in 0..rows {
        for code in codes.iter().skip(row).step_by(rows) {
            let mut shown = one_line(code.expose());
            let mut painted = paint.bold(&shown);
            block.push_str(INDENT);
            block.push_str(&painted);
            shown.zeroize();
            painted.zeroize();
        }
        block.push('\n');
    }
    block.push('\n');
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> SecretText {
        SecretText::new(text.to_owned())
    }

    #[test]
    fn each_code_is_whole_and_separate_in_any_window() {
        let codes: Vec<SecretText> = (0..10).map(|number| secret(&format!("AAAA-BBBB-CCCC-DDD{number}"))).collect();
        let wide = block_of_codes(&codes, Some(80), Paint::None);
        assert!(wide.starts_with("\n    AAAA-BBBB-CCCC-DDD0    AAAA-BBBB-CCCC-DDD5\n"), "{}", *wide);
        assert!(wide.ends_with("DDD4    AAAA-BBBB-CCCC-DDD9\n\n"), "{}", *wide);
        for window in [None, Some(24), Some(40)] {
            let narrow = block_of_codes(&codes, window, Paint::None);
            assert_eq!(narrow.lines().count(), 12);
            assert!(narrow.lines().all(|line| line.len() <= 24), "{}", *narrow);
        }
        let sly = block_of_codes(&[secret("\u{1b}[2J")], None, Paint::None);
        assert_eq!(*sly, "\n    \\u{1b}[2J\n\n");
    }
}
