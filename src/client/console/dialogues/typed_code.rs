//! Codes as people type them: from any keyboard, with the blanks and hyphens that they are shown with.

use unicode_normalization::UnicodeNormalization;

use crate::client::console::terminal::front::Front;
use crate::client::console::terminal::prompt::DialogueStop;
use crate::client::console::text::{login, recovery};
use crate::security::secret::SecretText;

/// Number of digits in a code of the authenticator.
const DIGITS: usize = 6;
/// Number of letters and digits in a recovery code: 80 bits in base32.
const LETTERS: usize = 16;
/// Number of letters in a group.
const GROUP: usize = 4;
/// The zeros of the digits that are on keyboards; the nine others follow each. Compatibility forms (fullwidth, bold) are not
/// among them: normalization has turned those into ASCII.
const ZEROS: [char; 21] =
    ['0', '٠', '۰', '߀', '०', '০', '੦', '૦', '୦', '௦', '౦', '೦', '൦', '๐', '໐', '༠', '၀', '០', '᠐', '᱐', '꩐'];

/// An answer to a prompt that accepts both kinds of code.
#[derive(Debug, PartialEq, Eq)]
pub enum TypedCode {
    /// A code of the authenticator. The server decides whether it is right.
    Code(SecretText),
    /// A recovery code in its usual form: `XXXX-XXXX-XXXX-XXXX`.
    Recovery(SecretText),
    /// Neither: a typing mistake that must not cost a guess.
    Neither,
}

impl TypedCode {
    /// Decides which kind it is. Case, blanks and hyphens do not matter, nor from which keyboard the digits come.
    pub fn parse(typed: &SecretText) -> TypedCode {
        // Normalization may lengthen a text. Room for four times as much leaves no copy behind where a code is at stake.
        let mut plain = String::with_capacity(typed.expose().len() * 4 + LETTERS);
        plain.extend(typed.expose().nfkc().filter(|letter| letter.is_alphanumeric()).map(as_ascii));
        let plain = SecretText::new(plain);
        let text = plain.expose();
        if text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return TypedCode::Code(plain);
        }
        if text.len() != LETTERS || !text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return TypedCode::Neither;
        }
        let mut written = String::with_capacity(LETTERS + LETTERS / GROUP);
        for (position, letter) in text.chars().enumerate() {
            if position > 0 && position % GROUP == 0 {
                written.push('-');
            }
            written.push(letter.to_ascii_uppercase());
        }
        TypedCode::Recovery(SecretText::new(written))
    }
}

/// A digit as its ASCII form; any other letter unchanged.
fn as_ascii(letter: char) -> char {
    let value = ZEROS.iter().find_map(|&zero| {
        let offset = u32::from(letter).checked_sub(u32::from(zero))?;
        char::from_digit(offset, 10)
    });
    value.unwrap_or(letter)
}

/// Asks for a code or a recovery code. What is neither is not sent: a person is asked again, a script has failed.
///
/// # Errors
/// [`DialogueStop`].
pub fn ask_any_code(front: &mut Front) -> Result<TypedCode, DialogueStop> {
    loop {
        match TypedCode::parse(&front.ask_code(login::ASK_CODE)?) {
            TypedCode::Neither if front.is_interactive() => front.warn(recovery::NEITHER_CODE, &[])?,
            TypedCode::Neither => {
                front.complain(recovery::NEITHER_CODE, &[])?;
                return Err(DialogueStop::Failed);
            }
            code => return Ok(code),
        }
    }
}

/// Asks for a code of the authenticator, likewise.
///
/// # Errors
/// [`DialogueStop`].
pub fn ask_code(front: &mut Front) -> Result<SecretText, DialogueStop> {
    loop {
        match TypedCode::parse(&front.ask_code(login::ASK_CODE)?) {
            TypedCode::Code(code) => return Ok(code),
            _ if front.is_interactive() => front.warn(login::NOT_A_CODE, &[])?,
            _ => {
                front.complain(login::NOT_A_CODE, &[])?;
                return Err(DialogueStop::Failed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> SecretText {
        SecretText::new(text.to_owned())
    }

    #[test]
    fn six_digits_are_a_code_from_any_keyboard_and_with_any_separator() {
        for typed in [
            "724624",
            "724-624",
            "724 624",
            " 724\u{a0}624 ",
            "724\u{2013}624",
            "7.2.4.6.2.4",
            "724\u{200b}624",
            "\u{202a}724624\u{202c}",
            "７２４６２４",
            "٧٢٤٦٢٤",
            "۷۲۴۶۲۴",
            "७२४६२४",
            "๗๒๔๖๒๔",
            "𝟕𝟐𝟒𝟔𝟐𝟒",
        ] {
            assert_eq!(TypedCode::parse(&secret(typed)), TypedCode::Code(secret("724624")), "{typed}");
        }
    }

    #[test]
    fn a_recovery_code_is_recognised_however_it_is_typed() {
        let written = "ABCD-2345-EFGH-67IJ";
        for typed in [
            written,
            "abcd-2345-efgh-67ij",
            "abcd2345efgh67ij",
            "ABCD2345-efgh67IJ",
            "-ABCD2345EFGH67IJ-",
            "abcd 2345 efgh 67ij",
            "ABCD\u{2013}2345\u{2013}EFGH\u{2013}67IJ",
            "ＡＢＣＤ２３４５ＥＦＧＨ６７ＩＪ",
        ] {
            assert_eq!(TypedCode::parse(&secret(typed)), TypedCode::Recovery(secret(written)), "{typed}");
        }
    }

    #[test]
    fn anything_else_is_no_code_and_is_not_sent() {
        for typed in [
            "",
            "-",
            "12345",
            "1234567",
            "12345678",
            "123456789",
            "abcdef",
            "000000x",
            "12345O",
            "abcd-2345-efgh-67i",
            "abcd2345efgh67ijk",
            "абвгдежзийклмноп",
            "①②③④⑤",
            "½23456",
        ] {
            assert_eq!(TypedCode::parse(&secret(typed)), TypedCode::Neither, "{typed}");
        }
    }
}
