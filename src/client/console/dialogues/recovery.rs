//! Recovery codes: showing new ones, telling a typed one from a code of the authenticator, and `/recovery`.

use std::io;

use zeroize::{Zeroize, Zeroizing};

use crate::base::escape::one_line;
use crate::client::console::room::render::Paint;
use crate::client::console::terminal::prompt::{Done, or_leave};
use crate::client::console::text;
use crate::client::console::{Console, Next};
use crate::client::session::ClientSession;
use crate::security::secret::SecretText;

/// Letters and digits of a recovery code: 80 bits in base32.
const LETTERS: usize = 16;
/// They are written in groups of so many.
const GROUP: usize = 4;
/// More than a code of the authenticator has, so that what is this long is meant to be a recovery code.
const LONGER_THAN_A_CODE: usize = 9;
/// With fewer left, it is time for new ones.
const FEW: u32 = 4;
/// Codes stand this far from the edge and from each other.
const INDENT: &str = "    ";
/// Windows from this width on have room for two side by side.
const TWO_COLUMNS: usize = 56;

/// What was typed where both kinds of code will do.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::client::console) enum Typed {
    /// A code of the authenticator: right or wrong, the server says.
    Code(SecretText),
    /// A recovery code, as it is written: `XXXX-XXXX-XXXX-XXXX`.
    Recovery(SecretText),
    /// Too long for the one and not the length of the other: a slip, which shall not cost a guess.
    Neither,
}

impl Typed {
    /// Tells which it is; case and hyphens of a recovery code are free.
    pub(in crate::client::console) fn read(typed: SecretText) -> Typed {
        let plain = || typed.expose().chars().filter(|&letter| letter != '-');
        if plain().count() < LONGER_THAN_A_CODE {
            return Typed::Code(typed);
        }
        if plain().count() != LETTERS || !plain().all(|letter| letter.is_ascii_alphanumeric()) {
            return Typed::Neither;
        }
        let mut written = String::with_capacity(LETTERS + LETTERS / GROUP);
        for (place, letter) in plain().enumerate() {
            if place > 0 && place % GROUP == 0 {
                written.push('-');
            }
            written.push(letter.to_ascii_uppercase());
        }
        Typed::Recovery(SecretText::new(written))
    }
}

impl Console {
    /// `/recovery`: new recovery codes.
    pub(in crate::client::console) fn new_recovery_codes(&mut self) -> io::Result<Next> {
        let Some(session) = self.presence.session() else { return self.needs_login() };
        let done = self.make_recovery_codes(&session)?;
        self.finish(done, text::NOT_DONE)
    }

    fn make_recovery_codes(&mut self, session: &ClientSession) -> io::Result<Done<()>> {
        let codes = or_leave!(self.prove(|link, proof| link.new_recovery_codes(&session.token, proof))?);
        self.screen.notice(text::OLD_CODES_VOID.say(self.lang))?;
        self.show_recovery_codes(&codes)?;
        Ok(Done::With(()))
    }

    /// Shows new recovery codes, this once and nowhere else.
    pub(in crate::client::console) fn show_recovery_codes(&self, codes: &[SecretText]) -> io::Result<()> {
        if codes.is_empty() {
            return Ok(());
        }
        self.screen.notice(text::RECOVERY_CODES.say(self.lang))?;
        let window = self.screen.window().map(|window| window.columns);
        self.screen.raw(&set_apart(codes, window, self.screen.paint()))
    }

    /// Says so when only few recovery codes are left.
    pub(in crate::client::console) fn warn_of_few(&self, left: u32) -> io::Result<()> {
        if left >= FEW {
            return Ok(());
        }
        self.screen.error(&text::FEW_RECOVERY_CODES.with(self.lang, &[&left.to_string()]))
    }
}

/// The codes as a block between empty lines; in two columns, read downwards, where the window has room.
fn set_apart(codes: &[SecretText], window: Option<usize>, paint: Paint) -> Zeroizing<String> {
    let columns = if window.is_some_and(|columns| columns >= TWO_COLUMNS) { 2 } else { 1 };
    let rows = codes.len().div_ceil(columns);
    // Room for all of it at once: a text that grows leaves copies behind.
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
    fn a_recovery_code_is_told_from_a_code_however_it_is_typed() {
        let written = "ABCD-2345-EFGH-67IJ";
        for typed in [written, "abcd-2345-efgh-67ij", "abcd2345efgh67ij", "ABCD2345-efgh67IJ", "-ABCD2345EFGH67IJ-"] {
            assert_eq!(Typed::read(secret(typed)), Typed::Recovery(secret(written)), "{typed}");
        }
        for typed in ["123456", "000000x", "12345", "abcdef", "12345678", "-"] {
            assert_eq!(Typed::read(secret(typed)), Typed::Code(secret(typed)), "{typed}");
        }
        for typed in ["123456789", "abcd-2345-efgh-67i", "abcd2345efgh67ijk", "абвгдежзийклмноп", "abcd 2345efgh67i"]
        {
            assert_eq!(Typed::read(secret(typed)), Typed::Neither, "{typed}");
        }
    }

    #[test]
    fn codes_stand_apart_each_whole_in_any_window() {
        let codes: Vec<SecretText> = (0..10).map(|number| secret(&format!("AAAA-BBBB-CCCC-DDD{number}"))).collect();
        let wide = set_apart(&codes, Some(80), Paint::None);
        assert!(wide.starts_with("\n    AAAA-BBBB-CCCC-DDD0    AAAA-BBBB-CCCC-DDD5\n"), "{}", *wide);
        assert!(wide.ends_with("DDD4    AAAA-BBBB-CCCC-DDD9\n\n"), "{}", *wide);
        for window in [None, Some(24), Some(40)] {
            let narrow = set_apart(&codes, window, Paint::None);
            assert_eq!(narrow.lines().count(), 12);
            assert!(narrow.lines().all(|line| line.len() <= 24), "{}", *narrow);
        }
        let sly = set_apart(&[secret("\u{1b}[2J")], None, Paint::None);
        assert_eq!(*sly, "\n    \\u{1b}[2J\n\n");
    }
}
